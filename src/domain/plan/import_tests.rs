//! The effects and the reports of imports.

use super::{Context, import_problems, plan, plan_refusal};
use crate::domain::{
    change::{Change, Event},
    command::{Action, Command, ImportReport, Missing, Outcome, QueuePatch, Rejection},
    directory::{Directory, QueueEntry, UserEntry},
    export::{queue_entries, user_entries},
    fixture::{Fixture, now, queue, user},
    ids::UserId,
    model::{Queue, QueueKind, Role, SignInChannel, User},
    settings::{SettingsPatch, Switch},
    snapshot::OrganizationState,
};

fn describe(organization: &OrganizationState) -> Directory {
    Directory {
        organization_id: Some(organization.attributes().organization_id.clone()),
        display_name: Some(organization.attributes().display_name.clone()),
        queues: queue_entries(organization).collect(),
        users: user_entries(organization).collect(),
        ..Directory::default()
    }
}

fn queue_entry(line: u32, queue_id: &str, extension: Option<&str>) -> QueueEntry {
    let Queue { queue_id, display_name, extension, kind } = queue(queue_id, extension, QueueKind::CallQueue);
    QueueEntry { line, queue_id, display_name, extension, kind }
}

fn user_entry(line: u32, user_id: &str, extension: Option<&str>, agent_of: &[&str]) -> UserEntry {
    let User { user_id, display_name, extension, contact_center_license, disabled, login } = user(user_id, extension);
    let agent_of = agent_of.iter().map(|id| id.parse().unwrap()).collect();
    let (roles, supervisor_of) = (Vec::new(), Vec::new());
    UserEntry {
        line,
        user_id,
        display_name: display_name.to_string(),
        extension,
        login,
        contact_center_license,
        disabled,
        roles,
        agent_of,
        penalties: Vec::new(),
        supervisor_of,
    }
}

fn import(fixture: &mut Fixture, directory: &Directory, missing: Missing) -> ImportReport {
    match fixture.ask(Action::Import { directory: directory.clone(), missing }).unwrap() {
        Outcome::Imported { report } => report,
        other => panic!("{other:?}"),
    }
}

/// Return a document in which queues swap extensions and one queue is new. ann has another number, and eve takes her
/// extension and becomes an agent and a supervisor.
fn document() -> Directory {
    let mut settings = SettingsPatch::default();
    settings.turn(Switch::ViewSkills, true).unwrap();
    let eve = UserEntry {
        supervisor_of: vec!["q9".parse().unwrap()],
        roles: vec![Role::Agent],
        ..user_entry(5, "eve", Some("101"), &["q1"])
    };
    Directory {
        display_name: Some("Acme Ltd".to_owned()),
        settings,
        queues: vec![queue_entry(1, "q1", None), queue_entry(2, "q2", Some("801")), queue_entry(3, "q9", None)],
        users: vec![user_entry(4, "ann", Some("109"), &["q1"]), eve, user_entry(6, "new", None, &[])],
        ..Directory::default()
    }
}

#[test]
fn an_import_moves_logins_and_reports_those_in_use() {
    let mut fixture = Fixture::new();
    let with = |line, user_id: &str, login: &str| UserEntry {
        login: Some(login.parse().unwrap()),
        ..user_entry(line, user_id, None, &[])
    };
    let mut ask = |users: Vec<UserEntry>| {
        let directory = Directory { users, ..Directory::default() };
        fixture.ask(Action::Import { directory, missing: Missing::Keep })
    };
    ask(vec![with(1, "ann", "a"), with(2, "bob", "b"), with(3, "cle", "c")]).unwrap();
    let Outcome::Imported { report } = ask(vec![with(1, "ann", "b"), with(2, "bob", "a")]).unwrap() else { panic!() };
    assert_eq!((report.users_updated, report.changes.len()), (2, 2));
    let Err(Rejection::FaultyDocument(problems)) =
        ask(vec![with(1, "ann", "c"), with(2, "eve", "x"), with(3, "new", "x")])
    else {
        panic!()
    };
    let paths: Vec<_> = problems.iter().map(|problem| (problem.line, problem.path.as_str())).collect();
    assert_eq!(paths, [(3, "users[2].login"), (1, "users[0].login")]);
    let owner = |login: &str| fixture.organization().user_with_login(&login.parse().unwrap()).map(UserId::as_str);
    assert_eq!((owner("a"), owner("b"), owner("c"), owner("x")), (Some("bob"), Some("ann"), Some("cle"), None));
}

#[test]
fn an_import_reports_what_it_changed_and_the_same_again_changes_nothing() {
    let mut fixture = Fixture::new();
    let report = import(&mut fixture, &document(), Missing::Keep);
    let expected = ImportReport {
        organization_updated: true,
        settings_updated: true,
        users_created: 1,
        users_updated: 2,
        queues_created: 1,
        queues_updated: 2,
        assignments_created: 3,
        changes: [
            "rename organization acme",
            "update settings",
            "update queue q1",
            "update queue q2",
            "create queue q9",
            "update user ann",
            "update user eve",
            "create user new",
            "give user eve role AGENT",
            "give user eve role AGENT on queue q1",
            "give user eve role SUPERVISOR on queue q9",
        ]
        .map(str::to_owned)
        .into(),
        ..ImportReport::default()
    };
    assert_eq!(
        ImportReport { changes: sorted(&report), ..report },
        ImportReport { changes: sorted(&expected), ..expected }
    );
    let before = fixture.0.clone();
    assert_eq!(import(&mut fixture, &document(), Missing::Keep), ImportReport::default());
    assert_eq!(fixture.0, before);
}

fn sorted(report: &ImportReport) -> Vec<String> {
    let mut lines = report.changes.clone();
    lines.sort();
    lines
}

#[test]
fn a_user_who_loses_an_extension_to_another_counts_as_updated() {
    let mut fixture = Fixture::new();
    let users = vec![user_entry(1, "ann", None, &[]), user_entry(2, "bob", Some("101"), &[])];
    let report = import(&mut fixture, &Directory { users, ..Directory::default() }, Missing::Keep);
    assert_eq!((report.users_updated, report.changes), (2, vec!["update user ann".into(), "update user bob".into()]));
    assert_eq!(fixture.organization().user_by_id("ann").unwrap().extension, None);
}

#[test]
fn two_swap_their_extensions_in_one_import() {
    let mut fixture = Fixture::new();
    let patch = QueuePatch { extension: Some(Some("802".parse().unwrap())), ..QueuePatch::default() };
    fixture.ask(Action::UpdateQueue { queue_id: "q2".parse().unwrap(), patch, expected_etag: None }).unwrap();
    let directory = Directory {
        queues: vec![queue_entry(1, "q1", Some("802")), queue_entry(2, "q2", Some("801"))],
        users: vec![user_entry(3, "ann", Some("102"), &[]), user_entry(4, "bob", Some("101"), &[])],
        ..Directory::default()
    };
    let report = import(&mut fixture, &directory, Missing::Keep);
    assert_eq!((report.queues_updated, report.users_updated), (2, 2));
    let organization = fixture.organization();
    let user = |extension: &str| organization.user_with_extension(&extension.parse().unwrap()).unwrap().as_str();
    let queue = |extension: &str| organization.queue_with_extension(&extension.parse().unwrap()).unwrap().as_str();
    assert_eq!((user("101"), user("102"), queue("801"), queue("802")), ("bob", "ann", "q2", "q1"));
}

#[test]
fn an_organization_as_it_is_described_imports_as_itself() {
    let mut fixture = Fixture::new();
    let directory = describe(fixture.organization());
    assert_eq!((directory.users.len(), directory.queues.len()), (8, 4));
    let before = fixture.0.clone();
    assert_eq!(import(&mut fixture, &directory, Missing::Delete), ImportReport::default());
    assert_eq!(fixture.0, before);
}

#[test]
fn an_import_deletes_unnamed_users_and_queues_if_asked_to() {
    let mut fixture = Fixture::new();
    for (user_id, queue_id) in [("bob", "q1"), ("ann", "q2"), ("eve", "q1")] {
        fixture.sign_in(user_id, queue_id, SignInChannel::FeatureCode);
    }
    let eve = UserEntry { disabled: true, ..user_entry(3, "eve", None, &[]) };
    let directory = Directory {
        queues: vec![queue_entry(1, "q1", Some("801"))],
        users: vec![user_entry(2, "ann", Some("101"), &[]), eve, user_entry(4, "dan", None, &["q1"])],
        ..Directory::default()
    };
    let report = import(&mut fixture, &directory, Missing::Delete);
    // None of the six roles of ann and five others is left. Bob, ann and eve were signed in.
    assert_eq!((report.users_deleted, report.queues_deleted, report.users_updated), (5, 3, 2));
    assert_eq!((report.assignments_deleted, report.assignments_created, report.sessions_ended), (6, 0, 3));
    let lines = sorted(&report);
    assert!(lines.contains(&"take user ann role AGENT on queue q1".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"delete user bob".to_owned()) && lines.contains(&"delete queue q4".to_owned()),
        "{lines:?}"
    );
    assert_eq!(
        (
            fixture.organization().user_count(),
            fixture.organization().queue_count(),
            fixture.organization().session_count()
        ),
        (3, 1, 0)
    );
}

#[test]
fn a_long_report_lists_its_first_hundred_changes() {
    let mut fixture = Fixture::new();
    let users: Vec<UserEntry> = (0..150).map(|n| user_entry(n, &format!("u{n}"), None, &[])).collect();
    let report = import(&mut fixture, &Directory { users, ..Directory::default() }, Missing::Keep);
    assert_eq!((report.users_created, report.changes.len()), (150, 100));
}

#[test]
fn a_document_that_contradicts_itself_or_the_store_is_faulty() {
    let fixture = Fixture::new();
    let unlicensed = |entry: UserEntry| UserEntry { contact_center_license: false, ..entry };
    let found = |directory: &Directory, missing| {
        let problems = import_problems(directory, fixture.0.organization("acme"), "acme", missing);
        problems.iter().map(|problem| format!("{} {}", problem.line, problem.path)).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(found(&document(), Missing::Keep), none);
    let directory = Directory {
        organization_id: Some("other".parse().unwrap()),
        left_out: vec!["queues"],
        queues: vec![
            queue_entry(1, "q8", Some("801")),
            queue_entry(2, "q9", Some("809")),
            queue_entry(3, "q9", Some("809")),
        ],
        users: vec![
            user_entry(4, "new", Some("101"), &["q8", "q1", "q7"]),
            user_entry(5, "new", Some("101"), &[]),
            unlicensed(user_entry(6, "bob", None, &[])),
            unlicensed(user_entry(7, "eve", None, &[])),
            unlicensed(user_entry(8, "ann", None, &["q8"])),
        ],
        ..Directory::default()
    };
    let itself = ["0 organization.organization_id", "3 queues[2].queue_id", "3 queues[2].extension"];
    assert_eq!(
        found(&directory, Missing::Keep),
        itself
            .into_iter()
            .chain([
                "5 users[1].user_id",
                "5 users[1].extension",
                "1 queues[0].extension",
                "4 users[0].agent_of[2]",
                "6 users[2].contact_center_license",
                "8 users[4].contact_center_license",
            ])
            .collect::<Vec<_>>()
    );
    // A user or queue that the import would delete causes no conflict, and can't be referred to.
    assert_eq!(
        found(&directory, Missing::Delete),
        [
            "0 organization.organization_id",
            "0 queues",
            "3 queues[2].queue_id",
            "3 queues[2].extension",
            "5 users[1].user_id",
            "5 users[1].extension",
            "4 users[0].agent_of[1]",
            "4 users[0].agent_of[2]",
            "8 users[4].contact_center_license",
        ]
    );
    let alone = Directory { users: vec![user_entry(1, "new", Some("102"), &[])], ..Directory::default() };
    assert_eq!(found(&alone, Missing::Keep), ["1 users[0].extension"]);
    assert_eq!(found(&alone, Missing::Delete), none);
}

#[test]
fn an_import_that_is_refused_is_recorded_without_its_directory() {
    let fixture = Fixture::new();
    let refused = |action| {
        let command = Command { organization_id: "acme".parse().unwrap(), action, actor: Some("bob".parse().unwrap()) };
        let context = Context { now: now(), new_session: 9 };
        let Err(Rejection::ActorNotPermitted { refusal, .. }) = plan(&fixture.0, &command, &context) else { panic!() };
        let refused = plan_refusal(&fixture.0, &command, &refusal, &context);
        let changes = refused.apply_to(&mut fixture.0.clone()).unwrap();
        match changes.as_slice() {
            [Change { event: Event::WriteRefused { attempt }, .. }] => attempt.wanted.is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!refused(Action::Import { directory: document(), missing: Missing::Keep }));
    assert!(refused(Action::CreateUser { user: user("new", None) }));
}

#[test]
fn deleting_a_queue_takes_the_roles_on_it() {
    let mut fixture = Fixture::new();
    let mut directory = describe(fixture.organization());
    directory.queues.retain(|queue| queue.queue_id.as_str() != "q1");
    for user in &mut directory.users {
        user.agent_of.retain(|queue_id| queue_id.as_str() != "q1");
        user.supervisor_of.clear();
    }
    let report = import(&mut fixture, &directory, Missing::Delete);
    assert_eq!((report.queues_deleted, report.assignments_deleted, report.users_deleted), (1, 3, 0));
}
