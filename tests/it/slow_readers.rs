//! Slow readers and idle watches: the server's buffers for them are bounded, and it sends revisions to resume from.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use prost::Message;
use queuegate::{
    rpc::proto::{audit_service_client::AuditServiceClient, queue_access_service_client::QueueAccessServiceClient, *},
    server::{Config, Limits, Listen},
};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{ACME, ManualClock, TestServer, described, get, sign_in};

/// Time limit for expected messages.
const LIMIT: Duration = Duration::from_secs(60);

/// A server with Acme's directory and these limits, and the address of its metrics.
async fn server(change: impl FnOnce(&mut Limits)) -> (TestServer, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = listener.local_addr().unwrap();
    let change = |config: &mut Config| {
        config.metrics = Some(Listen::Inherited(listener));
        change(&mut config.limits);
    };
    let clock = Arc::new(ManualClock::default());
    let mut server = TestServer::start_as(tempfile::tempdir().unwrap(), clock, change).await;
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    (server, metrics)
}

async fn metric(metrics: SocketAddr, name: &str) -> u64 {
    let (_, text) = get(metrics, "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}\n{text}"));
    value.trim().parse().unwrap()
}

/// A connection that answers pings, but allows the server to send no data.
async fn closed_window(address: SocketAddr) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::Builder::new().initial_window_size(0).handshake(tcp).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn ask(client: &SendRequest<Bytes>, method: &str, request: &impl Message) -> ResponseFuture {
    let call = http::Request::post(format!("http://localhost/queuegate.v1.{method}"));
    let call = call.header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut sending) = client.clone().ready().await.unwrap().send_request(call, false).unwrap();
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    sending.send_data([&[0], &length[..], &message].concat().into(), true).unwrap();
    answer
}

#[tokio::test]
async fn a_connection_that_takes_no_byte_of_an_answer_is_closed_although_it_answers_pings() {
    let (mut server, _) = server(|limits| limits.read_patience = Duration::from_millis(90)).await;
    server.sign_in("anna", "sales").await;
    let organization_id = ACME.to_owned();
    let watch = WatchSessionsRequest { organization_id: organization_id.clone(), ..Default::default() };
    let audit = WatchAuditEventsRequest { organization_id: organization_id.clone(), ..Default::default() };
    let export = ExportDirectoryRequest { organization_id: organization_id.clone(), ..Default::default() };
    let list = ListSessionsRequest { organization_id, ..Default::default() };
    for call in 0..4 {
        let (client, connection) = closed_window(server.address).await;
        let answer = match call {
            0 => ask(&client, "QueueAccessService/WatchSessions", &watch).await,
            1 => ask(&client, "AuditService/WatchAuditEvents", &audit).await,
            2 => ask(&client, "DirectoryService/ExportDirectory", &export).await,
            _ => ask(&client, "QueueAccessService/ListSessions", &list).await,
        };
        let _body = answer.await.unwrap().into_body();
        let ended = timeout(LIMIT, connection).await;
        assert!(ended.is_ok(), "call {call} is held for ever");
    }
}

#[tokio::test]
async fn a_connection_whose_watch_has_nothing_to_tell_is_left_alone() {
    let (mut server, _) = server(|limits| limits.read_patience = Duration::from_millis(30)).await;
    let mut watch = server.watch("").await;
    watch.message().await.unwrap().unwrap();
    // Another connection is closed meanwhile, which takes longer than the time limit.
    let (client, connection) = closed_window(server.address).await;
    let list = ListSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let _body = ask(&client, "QueueAccessService/ListSessions", &list).await.await.unwrap();
    assert!(timeout(LIMIT, connection).await.is_ok());
    server.sign_in("anna", "sales").await;
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::SignedIn);
}

#[tokio::test]
async fn an_audit_watch_that_is_not_read_is_cut_off_and_names_the_last_event_that_was_sent() {
    // Far longer than any of the connection's other calls takes, so that the connection stays open.
    let (server, metrics) = server(|limits| limits.read_patience = Duration::from_secs(1)).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = channel.initial_stream_window_size(65_535).connect().await.unwrap();
    let request = WatchAuditEventsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = AuditServiceClient::new(channel.clone()).watch_audit_events(request).await.unwrap().into_inner();
    // In the end more than the window and all buffers hold.
    let mut client = QueueAccessServiceClient::new(channel);
    while metric(metrics, "queuegate_watchers ").await > 0 {
        for _ in 0..50 {
            client.sign_in(sign_in("anna", "nowhere")).await.unwrap();
        }
    }
    let mut last = String::new();
    let status = loop {
        match watch.message().await {
            Ok(message) => last = message.expect("the stream ends with a reason").revision,
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::ResourceExhausted, "SLOW_READER"));
    let details = status.get_details_error_info().unwrap();
    assert_eq!(details.metadata["last_revision"], last);
}

#[tokio::test]
async fn a_quiet_watch_tells_how_far_it_is_so_it_can_be_resumed_after_the_log_was_cut() {
    let (mut server, _) = server(|limits| limits.quiet = Duration::from_millis(60)).await;
    let of_support = WatchSessionsRequest {
        organization_id: ACME.into(),
        queue: Some(watch_sessions_request::Queue::QueueId("support".into())),
        ..Default::default()
    };
    let request = WatchAuditEventsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = server.client.queue_access.watch_sessions(of_support.clone()).await.unwrap().into_inner();
    let mut audit = server.client.audit.watch_audit_events(request).await.unwrap().into_inner();
    server.sign_in("anna", "sales").await;
    let last = server.sign_out("anna", "sales").await.revision;
    loop {
        let message = watch.message().await.unwrap().unwrap();
        assert_eq!(message.r#type(), WatchSessionsType::Checkpoint);
        if message.revision == last {
            break;
        }
    }
    // After the events, the audit watch also sends its revision regularly.
    let mut checkpoints = 0;
    while checkpoints < 2 {
        let message = audit.message().await.unwrap().unwrap();
        checkpoints += usize::from(message.event.is_none() && message.revision == last);
    }
    let head = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
    let head = server.client.audit.get_audit_log_head(head).await.unwrap().into_inner().head.unwrap();
    let cut = CutAuditLogRequest {
        organization_id: ACME.into(),
        through_revision: head.revision,
        through_hash: head.hash,
        ..Default::default()
    };
    server.client.audit.cut_audit_log(cut).await.unwrap();
    drop(watch);
    let resumed = WatchSessionsRequest { start_revision: last, ..of_support };
    let mut watch = server.client.queue_access.watch_sessions(resumed).await.unwrap().into_inner();
    server.sign_in("anna", "support").await;
    while watch.message().await.unwrap().unwrap().r#type() != WatchSessionsType::SignedIn {}
}

#[tokio::test]
async fn a_caller_has_so_many_bytes_of_unread_answers_and_no_more() {
    const MAX: usize = 300_000;
    let (mut server, metrics) = server(|limits| limits.unread_bytes_per_caller = MAX).await;
    let users: Vec<String> =
        (0..1_000).map(|number| format!("{{ user_id: u{number}, display_name: {} }}", "x".repeat(90))).collect();
    server.import(&format!("queues: []\nusers: [{}]\n", users.join(", "))).await.unwrap();
    let (client, connection) = closed_window(server.address).await;
    let list = ListUsersRequest { organization_id: ACME.into(), page_size: 1_000, ..Default::default() };
    let mut held = Vec::new();
    let refused = loop {
        let answer = ask(&client, "DirectoryService/ListUsers", &list).await.await.unwrap();
        match tonic::Status::from_header_map(answer.headers()) {
            Some(status) => break status,
            None => held.push(answer),
        }
        assert!(held.len() < 10, "nothing is refused");
    };
    assert_eq!((refused.code(), described(&refused).1.as_str()), (Code::ResourceExhausted, "SLOW_READER"));
    assert_eq!(held.len(), 2, "of more than 100 kB each");
    while metric(metrics, "queuegate_unread_answers_bytes ").await < 200_000 {}
    assert_eq!(
        server.client.directory.list_users(list.clone()).await.map_err(|status| status.code()).err(),
        Some(Code::ResourceExhausted)
    );
    drop((held, client));
    connection.abort();
    // The memory is free again as soon as the server has noticed.
    while server.client.directory.list_users(list.clone()).await.is_err() {}
    while metric(metrics, "queuegate_unread_answers_bytes ").await > 0 {}
}

/// Whether the first message of an import gets a response before the caller sends more.
async fn begun(
    server: &TestServer,
    organization_id: &str,
    actor_user_id: &str,
) -> (tokio::sync::mpsc::Sender<ImportDirectoryRequest>, tonic::Streaming<ImportDirectoryResponse>) {
    let mut client = queuegate::client::Client::connect(&server.address.to_string()).await.unwrap().directory;
    let (pieces, document) = tokio::sync::mpsc::channel(4);
    let first = ImportDirectoryRequest {
        organization_id: organization_id.into(),
        actor_user_id: actor_user_id.into(),
        ..Default::default()
    };
    pieces.send(first).await.unwrap();
    let document = tokio_stream::wrappers::ReceiverStream::new(document);
    (pieces, client.import_directory(document).await.unwrap().into_inner())
}

async fn refusal(answers: &mut tonic::Streaming<ImportDirectoryResponse>) -> tonic::Status {
    loop {
        match answers.message().await {
            Ok(message) => assert_ne!(message.expect("the stream ends with a reason").stage(), ImportStage::Done),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn an_import_that_its_first_message_forbids_is_refused_before_the_rest_of_the_document_comes() {
    let (server, _) = server(|_| {}).await;
    let (_pieces, mut answers) = begun(&server, ACME, "petra").await;
    assert_eq!(described(&refusal(&mut answers).await).1, "ACTOR_NOT_PERMITTED");
}

#[tokio::test]
async fn an_organization_has_one_import_in_flight_a_caller_four_and_others_have_theirs() {
    let (server, _) = server(|_| {}).await;
    let (pieces, mut first) = begun(&server, "acme", "").await;
    // The response reports a megabyte, so the import is in flight.
    let some = |bytes: usize| ImportDirectoryRequest { document: vec![b'#'; bytes], ..Default::default() };
    pieces.send(some(1 << 20)).await.unwrap();
    assert_eq!(first.message().await.unwrap().unwrap().stage(), ImportStage::Receiving);
    let (_second, mut second) = begun(&server, "acme", "").await;
    let status = refusal(&mut second).await;
    assert_eq!(described(&status).1, "OVERLOADED");
    assert!(status.message().contains("this organization"), "{status:?}");
    let mut others = Vec::new();
    for organization in ["b", "c", "d"] {
        let (pieces, mut answers) = begun(&server, organization, "").await;
        pieces.send(some(1 << 20)).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().stage(), ImportStage::Receiving);
        others.push((pieces, answers));
    }
    let (_fifth, mut fifth) = begun(&server, "e", "").await;
    assert!(refusal(&mut fifth).await.message().contains("a caller may have"));
    drop((pieces, first));
    // The imports' slots are free again as soon as the server has noticed.
    loop {
        let (pieces, mut answers) = begun(&server, "acme", "").await;
        let document = ImportDirectoryRequest { document: "queues: []\nusers: []\n".into(), ..Default::default() };
        // An import that was refused already takes no more.
        let _ = pieces.send(document).await;
        drop(pieces);
        let done = loop {
            match answers.message().await {
                Ok(Some(message)) if message.stage() == ImportStage::Done => break true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break false,
            }
        };
        if done {
            break;
        }
    }
}
