//! Sessions that expire.

use std::time::Duration;

use queuegate::rpc::proto::*;

use crate::support::TestServer;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_expired_session_counts_as_absent_at_once() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    server.supervisor_sign_in("cleo", "sales", Some(MINUTE)).await;
    server.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(server.check("cleo", "sales").await.reason(), Reason::AlreadySignedIn);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.check("cleo", "sales").await.reason(), Reason::UnassignedRestricted);
    assert!(server.sessions().await.is_empty());
    assert!(server.sign_out("cleo", "sales").await.ended_sessions.is_empty(), "it had ended by itself");
}

/// Without any call, the writer ends the session, and the watch sends its end time.
#[tokio::test]
async fn the_writer_ends_an_expired_session_by_itself() {
    let mut server = TestServer::acme().await;
    let mut watch = server.watch("").await;
    watch.message().await.unwrap();
    let session = server.supervisor_sign_in("cleo", "sales", Some(MINUTE)).await.session.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::SignedIn);
    server.clock.advance(MINUTE * 5);
    let ended = watch.message().await.unwrap().unwrap();
    assert_eq!(ended.r#type(), WatchSessionsType::SignedOut);
    let ended = ended.session.unwrap();
    assert_eq!((ended.end_reason(), ended.end_time), (EndReason::Expired, session.expire_time));
}

#[tokio::test]
async fn a_session_that_expired_while_the_server_was_down_is_ended_when_it_is_back() {
    let mut server = TestServer::acme().await;
    let started = server.supervisor_sign_in("cleo", "sales", Some(MINUTE)).await;
    let (folder, clock) = server.stop().await;
    clock.advance(MINUTE * 10);
    let mut server = TestServer::start_in(folder, clock).await;
    assert!(server.check("cleo", "sales").await.session.is_none());
    let mut watch = server.watch(&started.revision).await;
    let ended = watch.message().await.unwrap().unwrap().session.unwrap();
    assert_eq!((ended.end_reason(), ended.end_time), (EndReason::Expired, started.session.unwrap().expire_time));
}

#[tokio::test]
async fn signing_in_again_after_expiry_is_a_new_session() {
    let mut server = TestServer::acme().await;
    let mut watch = server.watch("").await;
    watch.message().await.unwrap();
    let first = server.supervisor_sign_in("bo", "sales", Some(MINUTE)).await.session.unwrap();
    server.clock.advance(MINUTE);
    let second = server.sign_in("bo", "sales").await;
    assert!(second.created);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let message = watch.message().await.unwrap().unwrap();
        kinds.push((message.r#type(), message.session.unwrap().session_id));
    }
    let second = second.session.unwrap().session_id;
    let expected = [
        (WatchSessionsType::SignedIn, first.session_id.clone()),
        (WatchSessionsType::SignedOut, first.session_id),
        (WatchSessionsType::SignedIn, second),
    ];
    assert_eq!(kinds, expected);
}
