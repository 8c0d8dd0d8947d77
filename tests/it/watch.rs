//! Watches of sessions.

use queuegate::rpc::proto::{queue_access_service_client::QueueAccessServiceClient, *};
use tonic::{Code, transport::Endpoint};

use crate::support::{ACME, TestServer, described, sign_in};

async fn next(watch: &mut tonic::Streaming<WatchSessionsResponse>) -> WatchSessionsResponse {
    watch.message().await.unwrap().unwrap()
}

fn told(message: &WatchSessionsResponse) -> (WatchSessionsType, String) {
    (message.r#type(), message.session.as_ref().map(|session| session.user_id.clone()).unwrap_or_default())
}

#[tokio::test]
async fn a_watch_begins_with_what_is_live_and_goes_on_with_every_change() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    server.sign_in("bo", "support").await;
    let mut watch = server.watch("").await;
    assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::Initial, "anna".into()));
    assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::Initial, "bo".into()));
    assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::Checkpoint, String::new()));
    server.sign_in("cleo", "sales").await;
    server.sign_out("anna", "sales").await;
    assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::SignedIn, "cleo".into()));
    assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::SignedOut, "anna".into()));
}

#[tokio::test]
async fn a_watch_can_be_of_one_user_or_one_queue() {
    let mut server = TestServer::acme().await;
    let of_user = WatchSessionsRequest {
        organization_id: ACME.into(),
        user: Some(watch_sessions_request::User::UserExtension("102".into())),
        ..Default::default()
    };
    let of_queue = WatchSessionsRequest {
        organization_id: ACME.into(),
        queue: Some(watch_sessions_request::Queue::QueueId("support".into())),
        ..Default::default()
    };
    let mut of_user = server.client.queue_access.watch_sessions(of_user).await.unwrap().into_inner();
    let mut of_queue = server.client.queue_access.watch_sessions(of_queue).await.unwrap().into_inner();
    next(&mut of_user).await;
    next(&mut of_queue).await;
    for (user, queue) in [("anna", "sales"), ("bo", "sales"), ("anna", "support"), ("bo", "support")] {
        server.sign_in(user, queue).await;
    }
    let queue = |message: WatchSessionsResponse| message.session.unwrap().queue_id;
    assert_eq!(queue(next(&mut of_user).await), "sales");
    assert_eq!(queue(next(&mut of_user).await), "support");
    assert_eq!(told(&next(&mut of_queue).await).1, "anna");
    assert_eq!(told(&next(&mut of_queue).await).1, "bo");
}

/// With forty watches the server batches changes, and encodes one message for all watches.
#[tokio::test]
async fn many_watches_are_told_the_same_and_each_what_it_asked_for() {
    const CHANGES: usize = 60;
    let mut server = TestServer::acme().await;
    let start = server.sign_in("cleo", "support").await.revision;
    let mut watches = Vec::new();
    for number in 0..40 {
        let queue = (number % 4 == 0).then(|| watch_sessions_request::Queue::QueueId("sales".into()));
        let request = WatchSessionsRequest { organization_id: ACME.into(), queue, ..Default::default() };
        let watch = server.client.queue_access.watch_sessions(request).await.unwrap().into_inner();
        watches.push((number % 4 == 0, watch));
    }
    for (is_of_sales, watch) in &mut watches {
        let initial = if *is_of_sales { 1 } else { 2 };
        for _ in 0..initial {
            next(watch).await;
        }
    }
    for change in 0..CHANGES / 2 {
        let queue = ["sales", "support"][change % 2];
        server.sign_in("anna", queue).await;
        server.sign_out("anna", queue).await;
    }
    let mut resumed = server.watch(&start).await;
    let mut all = Vec::new();
    for _ in 0..CHANGES {
        all.push(next(&mut resumed).await);
    }
    let sales: Vec<_> = all.iter().filter(|told| told.session.as_ref().unwrap().queue_id == "sales").cloned().collect();
    assert_eq!(sales.len(), CHANGES / 2);
    for (is_of_sales, watch) in &mut watches {
        for expected in if *is_of_sales { &sales } else { &all } {
            assert_eq!(next(watch).await, *expected);
        }
    }
}

/// Every change of one command has its own revision, so a watch that ends between two of them resumes exactly.
#[tokio::test]
async fn a_watch_resumes_between_two_changes_of_one_command() {
    let mut server = TestServer::acme().await;
    let start = server.sign_in("bo", "sales").await.revision;
    server.sign_in("bo", "support").await;
    let request = SignOutRequest {
        organization_id: ACME.into(),
        user: Some(sign_out_request::User::UserId("bo".into())),
        all_queues: true,
        ..Default::default()
    };
    let ended = server.client.queue_access.sign_out(request).await.unwrap().into_inner();
    assert_eq!(ended.ended_sessions.len(), 2);
    let mut watch = server.watch(&start).await;
    next(&mut watch).await;
    let first = next(&mut watch).await;
    assert!(first.revision < ended.revision);
    let mut resumed = server.watch(&first.revision).await;
    let second = next(&mut resumed).await;
    assert_eq!(second.revision, ended.revision);
    assert_eq!(second, next(&mut watch).await);
}

#[tokio::test]
async fn a_watch_resumes_while_changes_go_on_and_misses_nothing() {
    let mut server = TestServer::acme().await;
    let start = server.sign_in("anna", "sales").await.revision;
    let mut client = server.client.queue_access.clone();
    let writing = tokio::spawn(async move {
        for _ in 0..300 {
            client.sign_in(sign_in("bo", "sales")).await.unwrap();
            let request = SignOutRequest {
                organization_id: ACME.into(),
                user: Some(sign_out_request::User::UserId("bo".into())),
                all_queues: true,
                ..Default::default()
            };
            client.sign_out(request).await.unwrap();
        }
    });
    let mut revision = start;
    let mut kinds = Vec::new();
    while kinds.len() < 600 {
        let mut watch = server.watch(&revision).await;
        for _ in 0..37.min(600 - kinds.len()) {
            let message = next(&mut watch).await;
            assert!(message.revision > revision);
            revision = message.revision.clone();
            kinds.push(message.r#type());
        }
    }
    writing.await.unwrap();
    for pair in kinds.chunks(2) {
        assert_eq!(pair, [WatchSessionsType::SignedIn, WatchSessionsType::SignedOut]);
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_organization_does() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    let mut watch = server.watch("").await;
    next(&mut watch).await;
    next(&mut watch).await;
    let request = DeleteOrganizationRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.directory.delete_organization(request).await.unwrap();
    let ended = next(&mut watch).await.session.unwrap();
    assert_eq!(ended.end_reason(), EndReason::OrganizationRemoved);
    // Also if the same id exists again by then.
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    let status = watch.message().await.unwrap_err();
    assert_eq!(described(&status).0, Code::NotFound);
}

/// A reader stops while more changes happen than the server buffers for it. The server ends its stream with an error
/// that says where to resume, and resuming sends the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_keep_up_is_cut_off_and_can_resume() {
    let mut server = TestServer::acme().await;
    // A small window, so that little is in flight to a reader that doesn't read.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(1_024).connect().await.unwrap();
    let mut reader = QueueAccessServiceClient::new(channel);
    let request = WatchSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = reader.watch_sessions(request).await.unwrap().into_inner();
    next(&mut watch).await;
    for _ in 0..2_000 {
        let request = SignInRequest { device: "x".repeat(200), ..sign_in("bo", "sales") };
        server.client.queue_access.sign_in(request).await.unwrap();
        server.sign_out("bo", "sales").await;
    }
    let last = server.sign_in("anna", "sales").await.revision;
    let mut revision = String::new();
    let status = loop {
        match watch.message().await {
            Ok(Some(message)) => {
                assert!(message.revision > revision && message.revision < last, "nothing was lost to it");
                revision = message.revision;
            }
            Ok(None) => panic!("a watch ends with an error"),
            Err(status) => break status,
        }
    };
    let (code, reason, _) = described(&status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "SLOW_READER"));
    assert!(status.message().contains(&revision), "{}: {revision}", status.message());
    let mut resumed = server.watch(&revision).await;
    let mut expected = u64::from_str_radix(revision.rsplit('-').next().unwrap(), 16).unwrap();
    while revision != last {
        revision = next(&mut resumed).await.revision;
        expected += 1;
        assert!(revision.ends_with(&format!("{expected:016x}")), "resumed without a gap");
    }
}

/// Watches begin during writes, so that some begin just as the writer publishes a change. The first change is the one
/// right after the checkpoint, neither the checkpoint's own again nor a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_begins_among_writes_misses_and_repeats_nothing() {
    let mut server = TestServer::acme().await;
    let mut client = server.client.queue_access.clone();
    let writing = tokio::spawn(async move {
        loop {
            client.sign_in(sign_in("bo", "sales")).await.unwrap();
            let request = SignOutRequest {
                organization_id: ACME.into(),
                user: Some(sign_out_request::User::UserId("bo".into())),
                all_queues: true,
                ..Default::default()
            };
            client.sign_out(request).await.unwrap();
        }
    });
    let number = |revision: &str| u64::from_str_radix(revision.rsplit('-').next().unwrap(), 16).unwrap();
    for _ in 0..2_000 {
        let mut watch = server.watch("").await;
        let checkpoint = loop {
            let message = next(&mut watch).await;
            if message.r#type() == WatchSessionsType::Checkpoint {
                break number(&message.revision);
            }
        };
        // Only sessions change here, so revisions have no gaps.
        assert_eq!(number(&next(&mut watch).await.revision), checkpoint + 1);
    }
    writing.abort();
}

/// The sweep may come before or after the start of the watch. A session that was not live at the start has no end in
/// the watch.
#[tokio::test]
async fn a_session_that_had_expired_is_neither_initial_nor_ended() {
    let mut server = TestServer::acme().await;
    for _ in 0..20 {
        server.supervisor_sign_in("cleo", "sales", Some(std::time::Duration::from_secs(1))).await;
        server.clock.advance(std::time::Duration::from_secs(1));
        let mut watch = server.watch("").await;
        assert_eq!(next(&mut watch).await.r#type(), WatchSessionsType::Checkpoint);
        server.sign_in("anna", "sales").await;
        assert_eq!(told(&next(&mut watch).await), (WatchSessionsType::SignedIn, "anna".into()));
        server.sign_out("anna", "sales").await;
    }
}

#[tokio::test]
async fn a_watch_of_a_user_resumes_after_the_user_is_gone() {
    let mut server = TestServer::acme().await;
    let start = server.sign_in("bo", "sales").await.revision;
    let delete = DeleteUserRequest { organization_id: ACME.into(), user_id: "bo".into(), ..Default::default() };
    server.client.directory.delete_user(delete).await.unwrap();
    let request = WatchSessionsRequest {
        organization_id: ACME.into(),
        user: Some(watch_sessions_request::User::UserId("bo".into())),
        start_revision: start,
        ..Default::default()
    };
    let mut watch = server.client.queue_access.watch_sessions(request.clone()).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await.session.unwrap().end_reason(), EndReason::UserRemoved);
    // An extension may have moved to another user.
    let by_extension = WatchSessionsRequest {
        user: Some(watch_sessions_request::User::UserExtension("101".into())),
        ..request.clone()
    };
    let status = server.client.queue_access.watch_sessions(by_extension).await.unwrap_err();
    assert_eq!(described(&status).2, ["user_extension"]);
    let anew = WatchSessionsRequest { start_revision: String::new(), ..request };
    let status = server.client.queue_access.watch_sessions(anew).await.unwrap_err();
    assert_eq!(described(&status).0, Code::NotFound);
}
