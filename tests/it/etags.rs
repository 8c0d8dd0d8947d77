//! The etags of users and queues, over the wire.

use queuegate::rpc::proto::*;
use tonic::{Code, Status};

use crate::support::{ACME, TestServer, described};

async fn anna(server: &mut TestServer) -> User {
    let request = GetUserRequest {
        organization_id: ACME.into(),
        user: Some(get_user_request::User::UserId("anna".into())),
        ..Default::default()
    };
    server.client.directory.get_user(request).await.unwrap().into_inner().user.unwrap()
}

async fn sales(server: &mut TestServer) -> Queue {
    let request = GetQueueRequest {
        organization_id: ACME.into(),
        queue: Some(get_queue_request::Queue::QueueId("sales".into())),
        ..Default::default()
    };
    server.client.directory.get_queue(request).await.unwrap().into_inner().queue.unwrap()
}

fn update(user: User) -> UpdateUserRequest {
    UpdateUserRequest { organization_id: ACME.into(), user: Some(user), ..Default::default() }
}

fn named(display_name: &str, etag: &str) -> User {
    User {
        user_id: "anna".into(),
        display_name: Some(display_name.into()),
        etag: etag.to_owned(),
        ..Default::default()
    }
}

fn is_stale<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_eq!(described(&answer.unwrap_err()), (Code::Aborted, "STALE_ETAG".into(), vec![]));
}

#[tokio::test]
async fn an_update_or_deletion_with_a_stale_etag_is_aborted_and_without_one_is_unconditional() {
    let mut server = TestServer::acme().await;
    let before = anna(&mut server).await;
    let client = &mut server.client.directory;
    let updated = client.update_user(update(named("A", &before.etag))).await.unwrap().into_inner().user.unwrap();
    assert_ne!(updated.etag, before.etag);
    is_stale(client.update_user(update(named("B", &before.etag))).await);
    let same = client.update_user(update(named("A", &updated.etag))).await.unwrap().into_inner().user.unwrap();
    assert_eq!(same.etag, updated.etag, "an update that changes nothing keeps the etag");
    client.update_user(update(named("C", ""))).await.unwrap();

    let delete = |etag: &str| DeleteUserRequest {
        organization_id: ACME.into(),
        user_id: "anna".into(),
        etag: etag.to_owned(),
        allow_missing: true,
        ..Default::default()
    };
    is_stale(client.delete_user(delete(&updated.etag)).await);
    let now = anna(&mut server).await;
    assert_eq!(now.display_name(), "C");
    let client = &mut server.client.directory;
    client.delete_user(delete(&now.etag)).await.unwrap();
    client.delete_user(delete(&now.etag)).await.expect("the user is missing, which is allowed");
}

#[tokio::test]
async fn queues_have_etags_too() {
    let mut server = TestServer::acme().await;
    let before = sales(&mut server).await;
    let update = |etag: &str, display_name: &str| UpdateQueueRequest {
        organization_id: ACME.into(),
        queue: Some(Queue { display_name: Some(display_name.into()), etag: etag.to_owned(), ..before.clone() }),
        ..Default::default()
    };
    let client = &mut server.client.directory;
    client.update_queue(update(&before.etag, "A")).await.unwrap();
    is_stale(client.update_queue(update(&before.etag, "B")).await);
    client.update_queue(update("", "C")).await.unwrap();
    let delete = |etag: &str| DeleteQueueRequest {
        organization_id: ACME.into(),
        queue_id: "sales".into(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    is_stale(client.delete_queue(delete(&before.etag)).await);
    let now = sales(&mut server).await;
    server.client.directory.delete_queue(delete(&now.etag)).await.unwrap();
}

#[tokio::test]
async fn every_answer_has_the_same_etag_and_history_has_none() {
    let mut server = TestServer::acme().await;
    let new = User { user_id: "eva".into(), etag: "ignored".into(), ..Default::default() };
    let request = CreateUserRequest { organization_id: ACME.into(), user: Some(new), ..Default::default() };
    let created = server.client.directory.create_user(request).await.unwrap().into_inner().user.unwrap();
    let list = ListUsersRequest { organization_id: ACME.into(), text: "eva".into(), ..Default::default() };
    let listed = server.client.directory.list_users(list).await.unwrap().into_inner().users;
    assert_eq!(listed, [created]);
    let events = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 1, ..Default::default() };
    let events = server.client.audit.list_audit_events(events).await.unwrap().into_inner().events;
    assert_eq!(events[0].after.as_ref().unwrap().user.as_ref().unwrap().etag, "");
}

/// The etag doesn't tell a user who may not act whether it is stale.
#[tokio::test]
async fn the_acting_user_is_refused_before_the_etag_is_compared() {
    let mut server = TestServer::acme().await;
    let request = UpdateUserRequest { actor_user_id: "sam".into(), ..update(named("A", "stale")) };
    let status = server.client.directory.update_user(request).await.unwrap_err();
    assert_eq!(described(&status).1, "ACTOR_NOT_PERMITTED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_updates_of_a_user_with_one_etag_one_wins() {
    let mut server = TestServer::acme().await;
    for round in 0..50 {
        let now = anna(&mut server).await;
        let racers = ["x", "y"].map(|racer| {
            let mut client = server.client.directory.clone();
            let request = update(named(&format!("{racer}{round}"), &now.etag));
            tokio::spawn(
                async move { client.update_user(request).await.map_or_else(|status| status.code(), |_| Code::Ok) },
            )
        });
        let mut codes = Vec::new();
        for racer in racers {
            codes.push(racer.await.unwrap());
        }
        codes.sort_by_key(|code| *code as i32);
        assert_eq!(codes, [Code::Ok, Code::Aborted]);
    }
}
