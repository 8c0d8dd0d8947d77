//! Faults between a node and PostgreSQL, and of PostgreSQL itself. No acknowledged change is lost, none happens twice,
//! and decisions go on.

use std::time::{Duration, Instant};

use queuegate::rpc::proto::*;
use rustix::process::Signal;
use tonic::{Code, Status};

use super::{
    Postgres,
    nodes::{import, import_on, node},
    proxy::{Next, Proxy},
};
use crate::support::{ACME, TestServer, described};

fn name(database: &str) -> &str {
    database.split(['/', '?']).nth(3).unwrap()
}

/// Create a user with a request id, and return the answer.
async fn create(node: &mut TestServer, user_id: &str) -> Result<CreateUserResponse, Status> {
    let request = CreateUserRequest {
        organization_id: ACME.into(),
        user: Some(User { user_id: user_id.into(), ..Default::default() }),
        request_id: format!("create-{user_id}"),
        ..Default::default()
    };
    node.client.directory.create_user(request).await.map(tonic::Response::into_inner)
}

/// Create a user, and repeat the request while its outcome is unknown or nothing can be written.
async fn create_for_sure(node: &mut TestServer, user_id: &str) {
    let began = Instant::now();
    loop {
        match create(node, user_id).await {
            Ok(_) => return,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert!(began.elapsed() < Duration::from_secs(60), "{status}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn sign_out_everywhere(user: &str) -> SignOutRequest {
    SignOutRequest {
        organization_id: ACME.into(),
        user: Some(sign_out_request::User::UserId(user.into())),
        all_queues: true,
        ..Default::default()
    }
}

async fn users(node: &mut TestServer, at_least_revision: &str) -> Vec<String> {
    let request = ListUsersRequest {
        organization_id: ACME.into(),
        page_size: 1_000,
        at_least_revision: at_least_revision.into(),
        ..Default::default()
    };
    let users = node.client.directory.list_users(request).await.unwrap().into_inner().users;
    users.into_iter().map(|user| user.user_id).collect()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_and_one_that_never_arrived_is_repeated() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let proxy = Proxy::start(postgres.socket()).await;
    let (mut cut, mut other) = (node(&proxy.url(name(&database))).await, node(&database).await);
    import(&mut cut).await;
    for (index, next) in [Next::IsLost, Next::LosesItsAnswer, Next::Hangs].into_iter().cycle().take(6).enumerate() {
        let user_id = format!("u{index}");
        proxy.next(next);
        let created = create(&mut cut, &user_id).await;
        let created = created.unwrap_or_else(|status| panic!("{next:?}: {status}"));
        let seen = users(&mut other, &created.revision).await;
        assert_eq!(seen.iter().filter(|seen| **seen == user_id).count(), 1, "{next:?}");
    }
    let events = postgres.sql_in(
        name(&database),
        "SELECT count(*), count(DISTINCT entry::json #>> '{change,user,user_id}') FROM queuegate.audit_log \
         WHERE action = 'CREATE_USER' AND entry LIKE '%\"u_\"%'",
    );
    assert_eq!(events.trim(), "6|6", "each happened once");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_without_a_request_id() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let proxy = Proxy::start(postgres.socket()).await;
    let mut cut = node(&proxy.url(name(&database))).await;
    import(&mut cut).await;
    for next in [Next::LosesItsAnswer, Next::IsLost, Next::LosesItsAnswer] {
        proxy.next(next);
        let signed_in = cut.sign_in("anna", "sales").await;
        assert!(signed_in.created, "{next:?}: a repetition would find the user signed in already");
        assert_eq!(cut.sign_out("anna", "sales").await.ended_sessions.len(), 1);
    }
}

#[tokio::test]
async fn a_history_with_another_change_in_place_of_one_that_was_seen_is_loaded_anew() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut one = node(&database).await;
    import(&mut one).await;
    one.sign_in("anna", "sales").await;
    let mut watch = one.watch("").await;
    while watch.message().await.unwrap().unwrap().r#type() != WatchSessionsType::Checkpoint {}
    // As after a restore without `queuegate epoch new`, and as many other changes since.
    let other = "UPDATE queuegate.audit_log SET hash = sha256('other') \
                 WHERE revision = (SELECT sequence FROM queuegate.head)";
    postgres.sql_in(name(&database), other);
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'queuegate writer'");
    let status = watch.message().await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Aborted, "HISTORY_REWRITTEN"));
    while one.client.queue_access.sign_out(sign_out_everywhere("anna")).await.is_err() {}
}

#[tokio::test]
async fn without_postgresql_decisions_go_on_and_writes_are_refused_until_it_is_back() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let proxy = Proxy::start(postgres.socket()).await;
    let mut cut = node(&proxy.url(name(&database))).await;
    import(&mut cut).await;
    let mut watch = cut.watch("").await;
    proxy.close();
    let status = create(&mut cut, "new").await.unwrap_err();
    let told = described(&status);
    assert!(status.code() == Code::Unavailable && ["NOT_WRITABLE", "OUTCOME_UNKNOWN"].contains(&&*told.1), "{status}");
    assert!(cut.check("anna", "sales").await.allowed());
    proxy.open();
    create_for_sure(&mut cut, "new").await;
    let signed_in = cut.sign_in("anna", "sales").await;
    loop {
        let message = watch.message().await.unwrap().unwrap();
        if message.r#type() == WatchSessionsType::SignedIn {
            assert_eq!(message.revision, signed_in.revision);
            break;
        }
    }
}

#[tokio::test]
async fn a_restart_and_terminated_backends_lose_nothing() {
    let Some(mut postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut one, mut other) = (node(&database).await, node(&database).await);
    import(&mut one).await;
    for round in 0..3 {
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND application_name LIKE 'queuegate%'",
        );
        create_for_sure(&mut one, &format!("terminated{round}")).await;
        create_for_sure(&mut other, &format!("other{round}")).await;
        postgres.stop(if round == 1 { Signal::QUIT } else { Signal::INT });
        assert!(one.check("anna", "sales").await.allowed());
        postgres.restart();
        create_for_sure(&mut one, &format!("restarted{round}")).await;
    }
    let last = one.sign_in("anna", "sales").await;
    assert_eq!(users(&mut one, &last.revision).await, users(&mut other, &last.revision).await);
}

#[tokio::test]
async fn a_commit_that_only_the_primary_has_is_not_acknowledged() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut one = node(&database).await;
    import(&mut one).await;
    let mut standby = postgres.standby();
    standby.stop(Signal::INT);
    let mut client = one.client.clone();
    let waiting = tokio::spawn(async move {
        let request = CreateUserRequest {
            organization_id: ACME.into(),
            user: Some(User { user_id: "new".into(), ..Default::default() }),
            request_id: "create-new".into(),
            ..Default::default()
        };
        client.directory.create_user(request).await
    });
    // PostgreSQL reports success to the cancelled commit, with a warning.
    let cancelled = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while postgres.sql(cancelled).trim() == "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "the standby doesn't have it yet");
    standby.restart();
    waiting.await.unwrap().unwrap();
    assert!(users(&mut one, "").await.contains(&"new".to_owned()));
}

#[tokio::test]
async fn a_failover_keeps_every_acknowledged_change_and_begins_an_epoch() {
    let Some(mut primary) = Postgres::start() else { return };
    let database = primary.database();
    let standby = primary.standby();
    let both = primary.address_with(&standby, name(&database));
    let (mut one, mut other) = (node(&both).await, node(&both).await);
    import_on(&mut one, &mut other).await;
    let mut watch = other.watch("").await;
    let before = one.sign_in("anna", "sales").await;
    primary.stop(Signal::KILL);
    assert!(other.check("anna", "sales").await.allowed(), "decisions go on");
    standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    standby.promote();
    let promoted = Instant::now();
    create_for_sure(&mut one, "after").await;
    println!("writes went on {:?} after the promotion", promoted.elapsed());
    create_for_sure(&mut other, "after2").await;
    let after = one.sign_out("anna", "sales").await;
    let epoch = |revision: &str| revision.split('-').nth(1).unwrap().to_owned();
    assert!(epoch(&after.revision) > epoch(&before.revision), "{} {}", before.revision, after.revision);
    assert_eq!(users(&mut one, &after.revision).await, users(&mut other, &after.revision).await);
    // The watch misses nothing, and a watch that has a revision of the earlier epoch resumes.
    let mut types = Vec::new();
    while types.last() != Some(&WatchSessionsType::SignedOut) {
        let message = watch.message().await.unwrap().unwrap();
        if message.r#type() != WatchSessionsType::Checkpoint {
            types.push(message.r#type());
        }
    }
    assert_eq!(types, [WatchSessionsType::SignedIn, WatchSessionsType::SignedOut]);
    let mut resumed = one.watch(&before.revision).await;
    assert_eq!(resumed.message().await.unwrap().unwrap().r#type(), WatchSessionsType::SignedOut);
}

#[tokio::test]
async fn a_history_that_lost_acknowledged_changes_is_noticed_and_loaded_anew() {
    let Some(mut primary) = Postgres::start() else { return };
    let database = primary.database();
    let mut standby = primary.standby();
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    primary.sql("SELECT pg_reload_conf()");
    let both = primary.address_with(&standby, name(&database));
    let (mut one, mut other) = (node(&both).await, node(&both).await);
    import_on(&mut one, &mut other).await;
    let kept = one.sign_in("anna", "sales").await;
    let replayed = "SELECT pg_last_wal_replay_lsn() >= '{}'::pg_lsn";
    let written = primary.sql("SELECT pg_current_wal_lsn()");
    while standby.sql(&replayed.replace("{}", written.trim())).trim() != "t" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    standby.stop(Signal::INT);
    // The standby never gets this one.
    create_for_sure(&mut one, "lost").await;
    let lost = one.sign_out("anna", "sales").await;
    assert!(users(&mut other, &lost.revision).await.contains(&"lost".to_owned()));
    let mut watch = other.watch("").await;
    while watch.message().await.unwrap().unwrap().r#type() != WatchSessionsType::Checkpoint {}
    primary.stop(Signal::KILL);
    standby.restart();
    standby.promote();
    let ended = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    let status = ended.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Aborted, "HISTORY_REWRITTEN"));
    create_for_sure(&mut one, "after").await;
    create_for_sure(&mut other, "after2").await;
    let last = other.sign_out("anna", "sales").await;
    assert_eq!(last.ended_sessions.len(), 1, "the sign-out was lost");
    for node in [&mut one, &mut other] {
        let users = users(node, &last.revision).await;
        assert!(!users.contains(&"lost".to_owned()) && users.contains(&"after".to_owned()), "{users:?}");
    }
    // A revision of the lost part is refused, and one of the part that was kept is not.
    let get = |revision: &str| GetSessionRequest {
        organization_id: ACME.into(),
        user: Some(get_session_request::User::UserId("cleo".into())),
        queue: Some(get_session_request::Queue::QueueId("sales".into())),
        at_least_revision: revision.into(),
    };
    let status = one.client.queue_access.get_session(get(&lost.revision)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = one.client.queue_access.get_session(get(&kept.revision)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
}
