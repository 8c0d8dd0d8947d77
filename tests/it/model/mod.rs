//! Long random sequences of writes against the real server and a naive model of the specification; then every possible
//! read goes to both. `QUEUEGATE_MODEL_SEQUENCES=500` runs a campaign.

/// A request's own `oneof` for a name.
macro_rules! one_of {
    ($name:expr, $module:ident::$one_of:ident, $id:ident, $extension:ident) => {
        match $name.clone() {
            Name::Id(id) => $module::$one_of::$id(id),
            Name::Extension(extension) => $module::$one_of::$extension(extension),
        }
    };
}

macro_rules! named {
    ($($one_of:tt)+) => {
        Some(one_of!($($one_of)+))
    };
}

mod audit;
mod document;
mod permissions;
mod step;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use queuegate::{
    domain::{ids::Sequence, snapshot::Snapshot},
    rpc::proto::*,
    store::{Logged, sqlite::Store},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tonic::{Code, Status};

use self::world::{KINDS, Model, Name, QUEUES, QueueM, SessionM, USERS, UserM};
use crate::support::{ACME, TestServer};

const STEPS: usize = 150;

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

fn keys(sessions: &[Session]) -> Vec<(String, String)> {
    sessions.iter().map(|session| (session.user_id.clone(), session.queue_id.clone())).collect()
}

/// Sends the server every read that the model can answer.
async fn compare(server: &mut TestServer, model: &Model) {
    let organization_id = ACME.to_owned();
    for channel in [Channel::FeatureCode, Channel::AgentDashboard] {
        let mut questions = Vec::new();
        for user in USERS.map(|user| Name::Id(user.into())) {
            for queue in QUEUES.map(|queue| Name::Id(queue.into())) {
                questions.push((user.clone(), queue));
            }
        }
        let items = questions.iter().map(|(user, queue)| CheckQueueAccessItem {
            user: named!(user, check_queue_access_item::User, UserId, UserExtension),
            queue: named!(queue, check_queue_access_item::Queue, QueueId, QueueExtension),
            channel: channel.into(),
            ..Default::default()
        });
        let request = BatchCheckQueueAccessRequest {
            organization_id: organization_id.clone(),
            items: items.collect(),
            ..Default::default()
        };
        let answer = server.client.queue_access.batch_check_queue_access(request).await.unwrap().into_inner();
        for ((user, queue), result) in questions.iter().zip(answer.results) {
            let Some(check_queue_access_result::Result::Decision(decision)) = result.result else { panic!() };
            let expected = model.decide(user, queue, channel, true);
            assert_eq!(decision.reason(), expected, "{user:?} {queue:?} {channel:?}");
            assert_eq!(decision.session.is_some(), expected == Reason::AlreadySignedIn);
        }

        let allowed = |user: &str, queue: &str| {
            let reason = model.decide(&Name::Id(user.into()), &Name::Id(queue.into()), channel, true);
            let allowed = matches!(reason, Reason::AlreadySignedIn | Reason::Assigned | Reason::UnassignedAllowed);
            allowed.then_some(reason)
        };
        for user in USERS {
            let mut found = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = ListAccessibleQueuesRequest {
                    organization_id: organization_id.clone(),
                    user: Some(list_accessible_queues_request::User::UserId(user.into())),
                    channel: channel.into(),
                    page_size: 2,
                    page_token,
                    ..Default::default()
                };
                let page = server.client.queue_access.list_accessible_queues(request).await.unwrap().into_inner();
                found.extend(page.queues.iter().map(|queue| (queue.queue_id.clone(), queue.reason())));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let expected = model.queues.keys().filter_map(|queue| Some((queue.clone(), allowed(user, queue)?)));
            assert_eq!(found, expected.collect::<Vec<_>>(), "queues of {user}");
        }
        for queue in QUEUES {
            let request = ListEligibleAgentsRequest {
                organization_id: organization_id.clone(),
                queue: Some(list_eligible_agents_request::Queue::QueueId(queue.into())),
                channel: channel.into(),
                ..Default::default()
            };
            let page = server.client.queue_access.list_eligible_agents(request).await.unwrap().into_inner();
            let found: Vec<_> = page.agents.iter().map(|agent| (agent.user_id.clone(), agent.reason())).collect();
            let expected = model.users.keys().filter_map(|user| Some((user.clone(), allowed(user, queue)?)));
            assert_eq!(found, expected.collect::<Vec<_>>(), "agents of {queue}");
        }
    }
    let found: Vec<_> = server
        .sessions()
        .await
        .iter()
        .map(|session| {
            let key = (session.user_id.clone(), session.queue_id.clone());
            (key, session.channel(), session.basis(), session.signed_in_by.clone(), session.retained)
        })
        .collect();
    let expected = model.sessions.iter().map(|(key, session)| {
        (key.clone(), session.channel, session.basis, session.by.clone(), model.retained(key, session))
    });
    assert_eq!(found, expected.collect::<Vec<_>>());

    let (mut found, mut penalties) = (BTreeSet::new(), BTreeMap::new());
    let mut page_token = String::new();
    loop {
        let request = ListRoleAssignmentsRequest {
            organization_id: organization_id.clone(),
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = server.client.directory.list_role_assignments(request).await.unwrap().into_inner();
        for assignment in page.assignments {
            let RoleAssignment { user_id, role, queue_id, penalty } = assignment;
            if penalty != 0 {
                penalties.insert((user_id.clone(), queue_id.clone()), penalty);
            }
            assert!(found.insert((user_id, queue_id, role)), "listed twice");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((found, penalties), (model.roles.clone(), model.penalties.clone()));
    permissions::compare(server, model).await;
}

/// The messages of a watch without checkpoints, up to the session of `marker`, which must be the last event.
async fn watched(watch: &mut tonic::Streaming<WatchSessionsResponse>, marker: &str) -> Vec<WatchSessionsResponse> {
    let mut messages = Vec::new();
    loop {
        let message = watch.message().await.unwrap().unwrap();
        let is_marker = message.session.as_ref().is_some_and(|session| session.user_id == marker);
        messages.extend(Some(message).filter(|message| message.session.is_some()));
        if is_marker {
            return messages;
        }
    }
}

fn events(messages: &[WatchSessionsResponse]) -> Vec<(WatchSessionsType, String, String, EndReason)> {
    messages
        .iter()
        .filter_map(|message| {
            let session = message.session.clone()?;
            let (kind, reason) = (message.r#type(), session.end_reason());
            Some((kind, session.user_id, session.queue_id, reason))
        })
        .collect()
}

/// The initial directory, so that not every request names something unknown; and the markers.
fn beginning(model: &mut Model, rng: &mut StdRng) -> String {
    let mut document = String::from("queues:\n");
    for (number, queue_id) in QUEUES[..3].iter().enumerate() {
        let kind = if number == 0 { QueueKind::CallQueue } else { *KINDS[..3].choose(rng).unwrap() };
        let name = kind.as_str_name().trim_start_matches("QUEUE_KIND_");
        document.push_str(&format!("  - {{ queue_id: {queue_id}, kind: {name} }}\n"));
        model.queues.insert((*queue_id).into(), QueueM { extension: String::new(), kind });
    }
    document.push_str("  - { queue_id: marker, kind: CALL_QUEUE }\nusers:\n");
    model.queues.insert("marker".into(), QueueM { extension: String::new(), kind: QueueKind::CallQueue });
    let licensed = UserM { license: true, ..UserM::default() };
    for (user_id, roles) in [
        ("u1", vec![("q1", Role::Agent), ("q2", Role::Agent)]),
        ("u2", vec![("q1", Role::Supervisor), ("q3", Role::Agent)]),
        ("u3", vec![("", Role::ContactAdmin)]),
        ("u4", vec![("", Role::Supervisor)]),
        ("marker", vec![]),
        ("marker2", vec![]),
    ] {
        let on = |wanted: Role| {
            let queues = roles.iter().filter(|(queue, role)| !queue.is_empty() && *role == wanted);
            queues.map(|(queue, _)| *queue).collect::<Vec<_>>().join(", ")
        };
        let held = roles.iter().filter(|(queue, _)| queue.is_empty());
        let held: Vec<&str> = held.map(|(_, role)| role.as_str_name().trim_start_matches("ROLE_")).collect();
        document.push_str(&format!(
            "  - {{ user_id: {user_id}, contact_center_license: true, roles: [{}], agent_of: [{}], supervisor_of: [{}] }}\n",
            held.join(", "),
            on(Role::Agent),
            on(Role::Supervisor)
        ));
        model.users.insert(user_id.into(), licensed.clone());
        model.roles.extend(roles.into_iter().map(|(queue, role)| (user_id.to_owned(), queue.to_owned(), role.into())));
    }
    document
}

async fn run_sequence(seed: u64) -> Model {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = TestServer::start().await;
    let mut model = Model::default();
    server.import(&beginning(&mut model, &mut rng)).await.unwrap();
    let mut watch = server.watch("").await;
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::Checkpoint);
    let mut log = Log { seed, steps: Vec::new() };
    let mut trail = audit::Trail::begin(&mut server).await;
    for number in 0..STEPS {
        let before = model.clone();
        step::step(&mut server, &mut model, &mut rng, &mut log.steps).await;
        model.settle_penalties();
        trail.expect(&before, &model);
        if number % 15 == 0 {
            compare(&mut server, &model).await;
            trail.compare(&mut server).await;
        }
    }
    compare(&mut server, &model).await;
    trail.compare(&mut server).await;

    // The marker may sign in under any settings.
    server.set(UnassignedQueueSignIn::Allowed).await;
    model.restricted = false;
    assert!(server.sign_in("marker", "marker").await.created);
    let session =
        SessionM { channel: Channel::FeatureCode, basis: Basis::UnassignedAllowed, by: "marker".into(), expires: None };
    model.start("marker".into(), "marker".into(), session.clone());
    let messages = watched(&mut watch, "marker").await;
    assert_eq!(events(&messages), model.events, "the watch");

    let mut server = server.restart().await;
    compare(&mut server, &model).await;
    assert!(server.sign_in("marker2", "marker").await.created);
    model.start("marker2".into(), "marker".into(), SessionM { by: "marker2".into(), ..session });

    // A watch that resumes from any revision, even before the restart, sends exactly the later changes.
    for _ in 0..5 {
        let from = rng.random_range(0..messages.len());
        let mut watch = server.watch(&messages[from].revision).await;
        assert_eq!(events(&watched(&mut watch, "marker2").await), model.events[from + 1..], "resumed from {from}");
    }
    let database = server.database.clone();
    if seed.is_multiple_of(3) {
        delete_everything(&mut server, &mut model).await;
    }
    let (_folder, _) = server.stop().await;
    replays_to_the_same_state(&database);
    model
}

/// Deletes the organization, and checks that every session ends.
async fn delete_everything(server: &mut TestServer, model: &mut Model) {
    let mut watch = server.watch("").await;
    while watch.message().await.unwrap().unwrap().r#type() != WatchSessionsType::Checkpoint {}
    let request = DeleteOrganizationRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.directory.delete_organization(request).await.unwrap();
    let ended = model.end(|_, _| true, EndReason::OrganizationRemoved);
    let mut found = Vec::new();
    let status = loop {
        match watch.message().await {
            Ok(message) => found.push(message.unwrap()),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), found.len()), (Code::NotFound, ended.len()));
    assert_eq!(events(&found), model.events[model.events.len() - ended.len()..]);
}

/// Replaying the log from the first change gives the state in the tables.
fn replays_to_the_same_state(database: &std::path::Path) {
    let store = Store::open(database, 0).unwrap();
    let live = store.load().unwrap();
    let mut replayed = Snapshot::empty(live.revision().lineage);
    let changes = store.log_reader().unwrap();
    let changes = changes.records_since(Sequence(0), live.revision().sequence, None, u32::MAX).unwrap();
    for (number, Logged { record, hash: _ }) in (1..).zip(&changes) {
        assert_eq!(record.sequence, Sequence(number), "revisions are dense");
        replayed.apply(&record.change).unwrap();
    }
    assert!(replayed == live, "the log replays to another state");
}

/// The steps of a sequence, which are printed if it fails.
struct Log {
    seed: u64,
    steps: Vec<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sequence {} failed after:\n  {}", self.seed, self.steps.join("\n  "));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_does_what_a_naive_model_does() {
    let sequences: u64 =
        std::env::var("QUEUEGATE_MODEL_SEQUENCES").ok().map_or(12, |text| text.parse().expect("a number"));
    let mut refused = BTreeSet::new();
    let mut foretold = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    let mut ends = BTreeSet::new();
    let mut imports = 0;
    for seed in 0..sequences {
        let model = run_sequence(seed).await;
        reasons.extend(model.reasons);
        foretold.extend(model.foretold);
        refused.extend(model.refusals.into_iter().map(|(action, ..)| action));
        imports += model.imports;
        ends.extend(model.events.into_iter().map(|(.., reason)| reason));
    }
    // The sequences must cover every reason and every end of a session, or they prove little.
    let met: Vec<&str> = reasons.iter().map(|reason| reason.as_str_name()).collect();
    let missed: Vec<_> = queuegate::domain::vocabulary::Reason::ALL
        .iter()
        .filter(|reason| !met.contains(&format!("REASON_{reason}").as_str()))
        .collect();
    assert!(missed.is_empty(), "never met: {missed:?}");
    assert_eq!(ends.len(), 9, "{ends:?}");
    assert_eq!(refused.len(), 13, "{refused:?}");
    assert_eq!(foretold.len(), 6, "{foretold:?}");
    assert!(imports > 0);
}
