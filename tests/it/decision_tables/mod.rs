//! Compares all decisions with `tests/tables/*.txt`, which `tests/tables/generate.py` generated from the specification.

mod permission;

use std::collections::{BTreeMap, BTreeSet};

use queuegate::domain::{
    change::{Change, Event},
    decide::{AccessRequest, SupervisorAction, SupervisorRequest, decide, decide_supervisor},
    explain::AccessExplanation,
    ids::{Lineage, OrganizationId, QueueRef, SessionId, UserRef},
    language::Language,
    model::{Basis, Channel, Organization, Queue, QueueKind, Role, RoleAssignment, Session, SignInChannel, User},
    settings::{Etag, PermissionSettings, Switch, UnassignedQueueSignIn},
    snapshot::Snapshot,
    time::Timestamp,
    vocabulary::Reason,
};

const NOW: i64 = 1_000_000;

type Row = BTreeMap<String, String>;

fn rows(table: &str) -> Vec<Row> {
    let mut lines = table.lines();
    let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(cells.len(), heading.len(), "{line}");
            heading.iter().map(ToString::to_string).zip(cells.into_iter().map(str::to_owned)).collect()
        })
        .collect()
}

fn column(rows: &[Row], name: &str) -> BTreeSet<String> {
    rows.iter().map(|row| row[name].clone()).collect()
}

fn names<T: ToString>(values: &[T]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The organization of one row.
struct Scene(Snapshot);

impl Scene {
    fn new(settings: PermissionSettings) -> Self {
        let mut scene = Self(Snapshot::empty(Lineage { store_id: 1, epoch: 1 }));
        let organization = Organization { organization_id: id(), display_name: String::new() };
        scene.apply(Event::OrganizationCreated { organization, settings, etag: Etag(1) });
        scene.queue("elsewhere", QueueKind::CallQueue);
        scene
    }

    fn apply(&mut self, event: Event) {
        self.0.apply(&Change { organization_id: id(), event }).unwrap();
    }

    fn user(&mut self, user_id: &str, state: &str) {
        if state != "unknown" {
            let user = User {
                user_id: user_id.parse().unwrap(),
                display_name: Default::default(),
                extension: None,
                contact_center_license: true,
                disabled: state == "disabled",
                login: None,
            };
            self.apply(Event::UserCreated { user });
        }
    }

    fn queue(&mut self, queue_id: &str, kind: QueueKind) {
        let queue_id = queue_id.parse().unwrap();
        self.apply(Event::QueueCreated {
            queue: Queue { queue_id, display_name: String::new(), extension: None, kind },
        });
    }

    fn role(&mut self, user_id: &str, role: Role, queue_id: Option<&str>) {
        let queue_id = queue_id.map(|id| id.parse().unwrap());
        let assignment =
            RoleAssignment { user_id: user_id.parse().unwrap(), role, queue_id, penalty: Default::default() };
        self.apply(Event::RoleAssigned { assignment });
    }

    fn session(&mut self, state: &str) {
        let expire_time = match state {
            "none" => return,
            "live" => None,
            "live_until_later" => Some(Timestamp::from_unix_ms(NOW + 1)),
            "expired" => Some(Timestamp::from_unix_ms(NOW)),
            other => panic!("{other}"),
        };
        let session = Session {
            session_id: SessionId::from_bits(1),
            user_id: "user".parse().unwrap(),
            queue_id: "queue".parse().unwrap(),
            channel: Channel::FeatureCode,
            basis: Basis::Assigned,
            signed_in_by: "user".parse().unwrap(),
            sign_in_time: Timestamp::from_unix_ms(0),
            expire_time,
            device: String::new(),
            end: None,
        };
        self.apply(Event::SessionStarted { session, justification: String::new() });
    }

    /// A user and a queue of a row, and the session between them if both exist.
    fn user_and_queue(&mut self, row: &Row) {
        self.user("user", &row["user"]);
        if row["queue"] != "unknown" {
            self.queue("queue", row["queue"].parse().unwrap());
        }
        if row["user"] != "unknown" && row["queue"] != "unknown" {
            self.session(&row["session"]);
        }
    }
}

fn id() -> OrganizationId {
    "acme".parse().unwrap()
}

#[test]
fn queue_access_is_decided_as_the_table_says() {
    let rows = rows(include_str!("../../tables/queue_access.txt"));
    assert_eq!(rows.len(), 3 * 5 * 2 * 5 * 2 * 4 * 2);
    let (user, queue) = (UserRef::Id("user".parse().unwrap()), QueueRef::Id("queue".parse().unwrap()));
    for row in &rows {
        let mut settings = PermissionSettings::default();
        settings.unassigned_queue_sign_in = row["setting"].parse().unwrap();
        let mut scene = Scene::new(settings);
        scene.user_and_queue(row);
        if row["user"] != "unknown" {
            match row["role"].as_str() {
                "none" => {}
                "AGENT_elsewhere" => scene.role("user", Role::Agent, Some("elsewhere")),
                role => scene.role("user", role.parse().unwrap(), None),
            }
            if row["assigned"] == "yes" && row["queue"] != "unknown" {
                scene.role("user", Role::Agent, Some("queue"));
            }
        }
        let channel: SignInChannel = row["channel"].parse().unwrap();
        let organization = scene.0.organization("acme").unwrap();
        let request = AccessRequest { user: &user, queue: &queue, channel };
        let decision = decide(organization, request, Timestamp::from_unix_ms(NOW));
        let expected: Reason = row["reason"].parse().unwrap();
        assert_eq!(decision.reason, expected, "{row:?}");
        let explanation = AccessExplanation::new(&decision, request);
        assert_sentences(|language| explanation.in_language(language));
    }
}

/// Every language has a sentence of its own.
fn assert_sentences(said: impl Fn(Language) -> String) {
    let all: BTreeSet<String> = Language::ALL.iter().map(|&language| said(language)).collect();
    assert_eq!(all.len(), Language::ALL.len(), "{all:?}");
    assert!(all.iter().all(|sentence| sentence.ends_with('.') && sentence.len() > 20), "{all:?}");
}

#[test]
fn a_supervisor_is_decided_on_as_the_table_says() {
    let rows = rows(include_str!("../../tables/supervisor.txt"));
    assert_eq!(rows.len(), 3 * 6 * 2 * 3 * 5 * 3 * 2);
    let (user, queue) = (UserRef::Id("user".parse().unwrap()), QueueRef::Id("queue".parse().unwrap()));
    let supervisor = UserRef::Id("supervisor".parse().unwrap());
    for row in &rows {
        let mut settings = PermissionSettings::default();
        settings.set(Switch::LimitToAssignedQueues, row["limit_to_assigned_queues"] == "on");
        let mut scene = Scene::new(settings);
        scene.user_and_queue(row);
        scene.user("supervisor", &row["supervisor"]);
        if row["supervisor"] != "unknown" {
            match row["role"].as_str() {
                "none" => {}
                "SUPERVISOR_of_queue" if row["queue"] == "unknown" => {}
                "SUPERVISOR_of_queue" => scene.role("supervisor", Role::Supervisor, Some("queue")),
                "SUPERVISOR_elsewhere" => scene.role("supervisor", Role::Supervisor, Some("elsewhere")),
                role => scene.role("supervisor", role.parse().unwrap(), None),
            }
        }
        let action = match row["action"].as_str() {
            "sign_in" => SupervisorAction::SignIn,
            "sign_out" => SupervisorAction::SignOut,
            other => panic!("{other}"),
        };
        let request = SupervisorRequest { supervisor: &supervisor, user: &user, queue: &queue, action };
        let decision = decide_supervisor(scene.0.organization("acme").unwrap(), request, Timestamp::from_unix_ms(NOW));
        let expected: Reason = row["reason"].parse().unwrap();
        assert_eq!(decision.reason, expected, "{row:?}");
        let explanation = AccessExplanation::of_supervisor(&decision, &request);
        assert_sentences(|language| explanation.in_language(language));
    }
}

#[test]
fn the_tables_cover_every_value_there_is() {
    let access = rows(include_str!("../../tables/queue_access.txt"));
    let supervisor = rows(include_str!("../../tables/supervisor.txt"));
    let mut kinds = names(QueueKind::ALL);
    kinds.insert("unknown".to_owned());
    assert_eq!(column(&access, "queue"), kinds);
    assert_eq!(column(&supervisor, "queue"), kinds);
    assert_eq!(column(&access, "channel"), names(SignInChannel::ALL));
    assert_eq!(column(&access, "setting"), names(UnassignedQueueSignIn::ALL));
    for table in [&access, &supervisor] {
        let roles = column(table, "role");
        assert!(names(Role::ALL).is_subset(&roles), "{roles:?}");
    }
    let reasons: BTreeSet<String> = column(&access, "reason").union(&column(&supervisor, "reason")).cloned().collect();
    assert_eq!(reasons, names(Reason::ALL));
}
