//! Nodes that write the same keys, and see each other's changes.

use std::{sync::Arc, time::Duration};

use queuegate::{
    rpc::proto::*,
    server::Config,
    state::clock::{Clock, SystemClock},
};
use tonic::Code;

use super::Postgres;
use crate::support::{ACME, ManualClock, TestServer, described, shared_database, sign_in};

/// Start a node of a database.
pub async fn node(address: &str) -> TestServer {
    node_as(address, |_| {}).await
}

/// Start a node with a changed configuration.
pub async fn node_as(address: &str, change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    TestServer::start_as(folder, Arc::new(ManualClock::default()), |config| {
        config.database = shared_database(address);
        config.clock = Arc::new(SystemClock::start()) as Arc<dyn Clock>;
        change(config);
    })
    .await
}

/// Import the example contact center.
pub async fn import(node: &mut TestServer) {
    node.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
}

/// Import the example contact center on one node, and wait until another has it.
pub async fn import_on(node: &mut TestServer, other: &mut TestServer) {
    let imported = node.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
    other.client.queue_access.check_queue_access(check(&imported.revision)).await.unwrap();
}

fn check(at_least_revision: &str) -> CheckQueueAccessRequest {
    CheckQueueAccessRequest {
        organization_id: ACME.into(),
        user: Some(check_queue_access_request::User::UserId("anna".into())),
        queue: Some(check_queue_access_request::Queue::QueueId("sales".into())),
        channel: Channel::FeatureCode.into(),
        at_least_revision: at_least_revision.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_change_on_one_node_is_in_the_decisions_and_watches_of_the_others() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut one, mut other) = (node(&database).await, node(&database).await);
    import_on(&mut one, &mut other).await;
    let mut watch = other.watch("").await;
    let signed_in = one.sign_in("anna", "sales").await;
    // The read waits for the log, not for luck.
    let read = other.client.queue_access.check_queue_access(check(&signed_in.revision)).await.unwrap().into_inner();
    assert_eq!(read.decision.unwrap().reason(), Reason::AlreadySignedIn);
    let told = loop {
        let message = watch.message().await.unwrap().unwrap();
        if message.r#type() == WatchSessionsType::SignedIn {
            break message;
        }
    };
    assert_eq!((told.revision.as_str(), told.session.unwrap().user_id.as_str()), (signed_in.revision.as_str(), "anna"));
    // The other node ends the session that this one began, and the watch resumes on this one.
    let signed_out = other.sign_out("anna", "sales").await;
    let mut resumed = one.watch(&told.revision).await;
    let told = resumed.message().await.unwrap().unwrap();
    assert_eq!((told.r#type(), told.revision), (WatchSessionsType::SignedOut, signed_out.revision));
}

#[tokio::test]
async fn a_request_id_has_one_outcome_on_all_nodes() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut one, mut other) = (node(&database).await, node(&database).await);
    import(&mut one).await;
    let user = User { user_id: "new".into(), ..Default::default() };
    let create = || CreateUserRequest {
        organization_id: ACME.into(),
        user: Some(user.clone()),
        request_id: "once".into(),
        ..Default::default()
    };
    let first = one.client.directory.create_user(create()).await.unwrap().into_inner();
    // The other node may not even know the user yet; and the rules would reject the request where it is known.
    let again = other.client.directory.create_user(create()).await.unwrap().into_inner();
    assert_eq!(first, again);
    let again = one.client.directory.create_user(create()).await.unwrap().into_inner();
    assert_eq!(first, again);
    let mut another = create();
    another.user.as_mut().unwrap().display_name = Some("Another".into());
    let status = other.client.directory.create_user(another).await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_race_for_the_same_session_create_one() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut nodes = [node(&database).await, node(&database).await, node(&database).await];
    import(&mut nodes[0]).await;
    for _ in 0..20 {
        let races = nodes.iter().flat_map(|node| std::iter::repeat_n(&node.client.queue_access, 4)).map(|client| {
            let mut client = client.clone();
            tokio::spawn(async move { client.sign_in(sign_in("anna", "sales")).await.unwrap().into_inner() })
        });
        let mut created = Vec::new();
        let mut sessions = Vec::new();
        for race in races.collect::<Vec<_>>() {
            let answer = race.await.unwrap();
            sessions.push(answer.session.unwrap().session_id);
            created.extend(answer.created.then_some(answer.revision));
        }
        sessions.dedup();
        assert_eq!((created.len(), sessions.len()), (1, 1));
        assert_eq!(nodes[1].sign_out("anna", "sales").await.ended_sessions.len(), 1);
    }
    let verified = postgres.sql_in(
        database.split(['/', '?']).nth(3).unwrap(),
        "SELECT count(*) = max(revision) AND max(revision) = (SELECT sequence FROM queuegate.head) \
         FROM queuegate.audit_log",
    );
    assert_eq!(verified.trim(), "t", "revisions are dense");
}

#[tokio::test]
async fn an_answer_without_a_change_rests_on_every_change_that_was_answered_before() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut one, mut other) = (node(&database).await, node(&database).await);
    import_on(&mut one, &mut other).await;
    for _ in 0..200 {
        let signed_in = one.sign_in("anna", "sales").await;
        other.client.queue_access.check_queue_access(check(&signed_in.revision)).await.unwrap();
        one.sign_out("anna", "sales").await;
        // The other node may not know of the sign-out yet.
        assert!(other.sign_in("anna", "sales").await.created);
        one.sign_out("anna", "sales").await;
        assert_eq!(other.sign_out("anna", "sales").await.ended_sessions.len(), 0);
    }
}

#[tokio::test]
async fn an_expired_session_is_ended_once_whichever_node_is_first() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut one, mut other) = (node(&database).await, node(&database).await);
    import_on(&mut one, &mut other).await;
    let mut watch = other.watch("").await;
    one.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(1))).await;
    let mut ends = 0;
    // The next change comes after the end.
    while ends == 0 {
        let message = watch.message().await.unwrap().unwrap();
        if message.r#type() == WatchSessionsType::SignedOut {
            ends += 1;
            assert_eq!(message.session.unwrap().end_reason(), EndReason::Expired);
        }
    }
    one.sign_in("anna", "sales").await;
    let message = watch.message().await.unwrap().unwrap();
    assert_eq!(message.r#type(), WatchSessionsType::SignedIn);
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let Some(postgres) = Postgres::start() else { return };
    let address = postgres.database();
    let name = address.split(['/', '?']).nth(3).unwrap();
    let first = include_str!("../../../src/store/postgres/migrations/1_schema.sql");
    postgres.sql_in(
        name,
        &format!(
            "CREATE SCHEMA queuegate; SET search_path = queuegate; {first} \
             INSERT INTO store VALUES (true, 'queuegate', 1, 1, '00000000000000aa'); \
             INSERT INTO head VALUES (true, 1, 0, 0, 1); INSERT INTO epoch VALUES (1, 0, 1, 0); \
             INSERT INTO organization VALUES ('old', '', 'ALLOWED', 1); \
             INSERT INTO \"user\" VALUES ('old', 'ann', '', NULL, true, false, NULL); \
             INSERT INTO queue VALUES ('old', 'q1', '', NULL, 'CALL_QUEUE'); \
             INSERT INTO queue_role VALUES ('old', 'ann', 'q1', 'AGENT')"
        ),
    );
    let mut node = node(&address).await;
    let request = ListRoleAssignmentsRequest { organization_id: "old".to_owned(), ..Default::default() };
    let assignments = node.client.directory.list_role_assignments(request).await.unwrap().into_inner().assignments;
    assert_eq!((assignments.len(), assignments[0].penalty), (1, 0));
    node.stop().await;
    assert_eq!(postgres.sql_in(name, "SELECT schema_version, min_reader FROM queuegate.store").trim(), "3|1");
}

#[tokio::test]
async fn a_wrong_database_is_refused_and_not_written_to() {
    let Some(postgres) = Postgres::start() else { return };
    let start = async |address: &str| {
        let config =
            Config::new("127.0.0.1:0".parse().unwrap(), shared_database(address), Arc::new(SystemClock::start()));
        let server = queuegate::server::start(config).await.unwrap();
        server.run(std::future::pending()).await.unwrap_err().to_string()
    };
    let refused = start(&postgres.address("absent")).await;
    assert!(refused.contains("does not exist") && refused.contains("create the database"), "{refused}");
    let foreign = postgres.database();
    let name = foreign.split(['/', '?']).nth(3).unwrap();
    postgres.sql_in(name, "CREATE SCHEMA queuegate CREATE TABLE other (a int)");
    let refused = start(&foreign).await;
    assert!(refused.contains("another program"), "{refused}");
    let newer = postgres.database();
    let name = newer.split(['/', '?']).nth(3).unwrap();
    node(&newer).await.stop().await;
    postgres.sql_in(name, "UPDATE queuegate.store SET schema_version = 9, min_reader = 9");
    let refused = start(&newer).await;
    assert!(refused.contains("Use a newer queuegate"), "{refused}");
    let other_encoding = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    postgres.sql(other_encoding);
    let refused = start(&postgres.address("latin")).await;
    assert!(refused.contains("UTF8"), "{refused}");
    postgres.sql("CREATE ROLE poor LOGIN");
    let poor = postgres.database().replace("user=queuegate", "user=poor");
    let refused = start(&poor).await;
    assert!(refused.contains("permission denied"), "{refused}");
}
