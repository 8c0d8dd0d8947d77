//! The server's limits against peers that are slow, silent, many or malicious.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use queuegate::{
    rpc::proto::*,
    server::{Config, Limits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::support::{ACME, ManualClock, TestServer, described, get, until_under_way};

async fn server(change: impl FnOnce(&mut Limits)) -> TestServer {
    let change = |config: &mut Config| change(&mut config.limits);
    let clock = Arc::new(ManualClock::default());
    let mut server = TestServer::start_as(tempfile::tempdir().unwrap(), clock, change).await;
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    server
}

/// Waits until the server closes a connection, and returns whether it did.
async fn is_closed(mut connection: TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset also closes it.
    connection.read_to_end(&mut rest).await.is_ok_and(|_| rest.is_empty()) || rest.is_empty()
}

#[tokio::test]
async fn who_does_not_speak_http2_in_time_is_let_go() {
    let server = server(|limits| limits.handshake = Duration::from_millis(50)).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert!(is_closed(silent).await, "it sent nothing");
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
    assert!(is_closed(slow).await, "it did not say all");
    let mut other = TcpStream::connect(server.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(is_closed(other).await, "it sent something else");
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_closed() {
    // The test's own client has one connection.
    let mut server = server(|limits| limits.connections = 3).await;
    let connect = async || TcpStream::connect(server.address).await.unwrap();
    let (first, second) = (connect().await, connect().await);
    assert!(is_closed(connect().await).await);
    drop((first, second));
    // The connections are free again as soon as the server has noticed.
    loop {
        let mut again = TcpStream::connect(server.address).await.unwrap();
        again.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        if again.read_u8().await.is_ok() {
            break;
        }
    }
    assert!(server.check("anna", "sales").await.allowed.unwrap());
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_one_with_a_watch_is_not() {
    let mut server = server(|limits| limits.idle = Duration::from_millis(100)).await;
    let mut watch = server.watch("").await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let (_client, connection) = h2::client::handshake(idle).await.unwrap();
    connection.await.unwrap();
    // The watch is older than the closed idle connection, and continues.
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::Checkpoint);
    server.sign_in("anna", "sales").await;
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::SignedIn);
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_those_under_way_have_their_grace() {
    let mut server = server(|limits| {
        limits.age = Duration::from_millis(50);
        limits.age_grace = Duration::from_millis(50);
    })
    .await;
    let connection = TcpStream::connect(server.address).await.unwrap();
    let (_client, connection) = h2::client::handshake(connection).await.unwrap();
    connection.await.unwrap();
    // A gRPC client reconnects unnoticed by its callers; a watch ends and can be resumed.
    let mut watch = server.watch("").await;
    assert!(watch.message().await.is_ok());
    assert!(watch.message().await.is_err());
    assert!(server.check("anna", "sales").await.allowed.unwrap());
}

/// Calls that wait for a revision that never comes.
#[tokio::test]
async fn a_caller_has_so_many_calls_and_streams_at_once() {
    let mut server = server(|limits| (limits.calls_per_caller, limits.streams_per_caller) = (2, 2)).await;
    let revision = server.sign_in("anna", "sales").await.revision;
    let (base, last) = revision.rsplit_once('-').unwrap();
    let later = format!("{base}-{:016x}", u64::from_str_radix(last, 16).unwrap() + 1_000);
    let waiting = GetOrganizationRequest { organization_id: ACME.into(), at_least_revision: later };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (mut client, waiting) = (server.client.directory.clone(), waiting.clone());
        calls.spawn(async move { client.get_organization(waiting).await.unwrap_err() });
    }
    let refused = calls.join_next().await.unwrap().unwrap();
    assert_eq!((refused.code(), described(&refused).1.as_str()), (Code::ResourceExhausted, "CALLER_LIMIT"));
    assert!(refused.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()));
    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(server.watch("").await);
    }
    let request = WatchSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let refused = server.client.queue_access.watch_sessions(request.clone()).await.unwrap_err();
    assert_eq!(described(&refused).1, "CALLER_LIMIT");
    // The end of a call frees its slot as soon as the server has noticed.
    drop((calls, watches));
    while server.client.queue_access.watch_sessions(request.clone()).await.is_err() {}
}

/// Clients send the headers of many calls before the first message. Early responses must not count as the client's
/// protocol errors, or the connection would be closed.
#[tokio::test]
async fn whoever_is_refused_is_heard_out_for_a_moment() {
    let server = server(|limits| limits.calls_per_caller = 1).await;
    let connection = TcpStream::connect(server.address).await.unwrap();
    let (client, mut connection) = h2::client::handshake(connection).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let path = format!("http://{}/queuegate.v1.QueueAccessService/CheckQueueAccess", server.address);
    let ask = async || {
        let call = http::Request::post(&path).header("content-type", "application/grpc").body(()).unwrap();
        client.clone().ready().await.unwrap().send_request(call, false).unwrap()
    };
    let refused = async |answer: h2::client::ResponseFuture| {
        let answer = answer.await.unwrap();
        tonic::Status::from_header_map(answer.headers()).is_some_and(|status| described(&status).1 == "CALLER_LIMIT")
    };
    let _only_one = ask().await;
    // More than the number of errors that a connection survives.
    for _ in 0..4 {
        let mut calls = Vec::new();
        for _ in 0..200 {
            calls.push(ask().await);
        }
        // Then the server has seen all of them.
        pings.ping(h2::Ping::opaque()).await.unwrap();
        for (answer, mut sending) in calls {
            sending.send_data(framed(&[]).into(), true).unwrap();
            assert!(refused(answer).await);
        }
    }
    let (answer, _unfinished) = ask().await;
    assert!(refused(answer).await, "an incomplete call is refused too");
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline() {
    let server = server(|_| {}).await;
    let connection = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    let path = format!("http://{}/queuegate.v1.QueueAccessService/WatchSessions", server.address);
    let call = http::Request::post(path).header("content-type", "application/grpc").header("grpc-timeout", "100m");
    let (answer, mut sending) = client.send_request(call.body(()).unwrap(), false).unwrap();
    let request = WatchSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    sending.send_data(framed(&prost::Message::encode_to_vec(&request)).into(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let status = tonic::Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}

/// Sends a request over its own connection, and returns the response headers.
async fn raw(
    server: &TestServer,
    method: &str,
    headers: &[(&str, &str)],
    message: &impl prost::Message,
) -> http::Response<()> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let call = http::Request::post(format!("http://{}/queuegate.v1.{method}", server.address));
    let call = headers.iter().fold(call, |call, (name, value)| call.header(*name, *value));
    let (answer, mut sending) = client.send_request(call.body(()).unwrap(), false).unwrap();
    sending.send_data(framed(&message.encode_to_vec()).into(), true).unwrap();
    answer.await.unwrap().map(drop)
}

/// A web page can send these to any server that its user can reach, with the user's certificate.
#[tokio::test]
async fn what_is_not_sent_as_grpc_is_not_carried_out() {
    let mut server = server(|_| {}).await;
    let sign_in = crate::support::sign_in("anna", "sales");
    let types = ["text/plain", "application/json", "application/grpc-web", "application/x-www-form-urlencoded"];
    for content_type in types {
        let answer = raw(&server, "QueueAccessService/SignIn", &[("content-type", content_type)], &sign_in).await;
        assert_eq!(answer.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let answer = raw(&server, "QueueAccessService/SignIn", &[], &sign_in).await;
    assert_eq!(answer.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "no content type");
    assert_eq!(get_session(&mut server).await, None);
    let answer =
        raw(&server, "QueueAccessService/SignIn", &[("content-type", "application/grpc+proto")], &sign_in).await;
    assert_eq!(answer.status(), http::StatusCode::OK);
    assert_eq!(get_session(&mut server).await.as_deref(), Some("anna"));
}

async fn get_session(server: &mut TestServer) -> Option<String> {
    let request = ListSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let sessions = server.client.queue_access.list_sessions(request).await.unwrap().into_inner().sessions;
    sessions.into_iter().next().map(|session| session.user_id)
}

#[tokio::test]
async fn a_malformed_deadline_is_an_error_and_not_no_deadline() {
    let mut server = server(|_| {}).await;
    let sign_in = crate::support::sign_in("anna", "sales");
    for wrong in ["1", "5s", "123456789S", "-1S", "soon"] {
        let headers = [("content-type", "application/grpc"), ("grpc-timeout", wrong)];
        let answer = raw(&server, "QueueAccessService/SignIn", &headers, &sign_in).await;
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
        assert_eq!(described(&status).2, ["grpc-timeout"], "{wrong}");
    }
    assert_eq!(get_session(&mut server).await, None);
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The ways in which a peer abandons a call in flight.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// The peer cancels the call.
    Reset(h2::Reason),
    /// The connection ends during the call.
    Closed,
    /// The peer's window allows no byte of the response, and then the connection ends.
    NotTaking,
}

const LEAVINGS: [Leaving; 4] =
    [Leaving::Reset(h2::Reason::CANCEL), Leaving::Reset(h2::Reason::NO_ERROR), Leaving::Closed, Leaving::NotTaking];

/// Every admitted call releases its slot, for every kind of end and size of response.
#[tokio::test]
async fn whoever_leaves_a_call_in_the_middle_leaves_their_place_too() {
    let (mut server, metrics) = TestServer::measured().await;
    let revision = server.sign_in("anna", "sales").await.revision;
    let (base, last) = revision.rsplit_once('-').unwrap();
    let later = format!("{base}-{:016x}", u64::from_str_radix(last, 16).unwrap() + 1_000);
    let organization_id = ACME.to_owned();
    let waits = GetOrganizationRequest { organization_id: organization_id.clone(), at_least_revision: later };
    let waits = framed(&prost::Message::encode_to_vec(&waits));
    let watch = WatchSessionsRequest { organization_id: organization_id.clone(), ..Default::default() };
    let watch = framed(&prost::Message::encode_to_vec(&watch));
    let import = ImportDirectoryRequest {
        organization_id,
        document: "queues: []\nusers: []\n".into(),
        delete_missing: true,
        ..Default::default()
    };
    let import = framed(&prost::Message::encode_to_vec(&import));
    let half = |message: &[u8]| message[..message.len() / 2].to_vec();
    // A method, the bytes of its message, whether they are complete, whether the call is answered, and the calls then
    // in flight.
    let calls = [
        ("QueueAccessService/CheckQueueAccess", Vec::new(), false, false, [1, 0, 0]),
        ("QueueAccessService/SignIn", half(&waits), false, false, [0, 1, 0]),
        ("DirectoryService/GetOrganization", waits, true, false, [1, 0, 0]),
        ("DirectoryService/ImportDirectory", half(&import), false, true, [0, 0, 1]),
        ("DirectoryService/ImportDirectory", import, false, true, [0, 0, 1]),
        ("QueueAccessService/WatchSessions", half(&watch), false, false, [0, 0, 1]),
        ("QueueAccessService/WatchSessions", watch, true, true, [0, 0, 1]),
    ];
    for (path, said, is_all, is_answered, place) in &calls {
        for leaving in LEAVINGS {
            until_under_way(metrics, [0; 3]).await;
            let tcp = TcpStream::connect(server.address).await.unwrap();
            let window = if matches!(leaving, Leaving::NotTaking) { 0 } else { 65_535 };
            let handshake = h2::client::Builder::new().initial_window_size(window).handshake::<_, bytes::Bytes>(tcp);
            let (mut client, connection) = handshake.await.unwrap();
            let connection = tokio::spawn(connection);
            let call = http::Request::post(format!("http://{}/queuegate.v1.{path}", server.address));
            let call = call.header("content-type", "application/grpc").body(()).unwrap();
            let (answer, mut sending) = client.send_request(call, false).unwrap();
            sending.send_data(said.clone().into(), *is_all).unwrap();
            let answer = if *is_answered { Ok(answer.await.unwrap()) } else { Err(answer) };
            until_under_way(metrics, *place).await;
            match leaving {
                Leaving::Reset(reason) => sending.send_reset(reason),
                Leaving::Closed | Leaving::NotTaking => connection.abort(),
            }
            until_under_way(metrics, [0; 3]).await;
            drop((answer, client));
        }
    }
    // No call failed because of the server, and no document was imported.
    let (_, text) = get(metrics, "/metrics").await;
    let calls_of = |path: &str, code: &str| {
        let series = format!("queuegate_grpc_calls_total{{method=\"/queuegate.v1.{path}\",code=\"{code}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse::<usize>().unwrap())
    };
    for path in calls.iter().map(|(path, ..)| path).collect::<BTreeSet<_>>() {
        let left = calls.iter().filter(|(other, ..)| other == path).count() * LEAVINGS.len();
        assert_eq!(calls_of(path, "CANCELLED"), left, "{path}");
    }
    assert_eq!(calls_of("DirectoryService/ImportDirectory", "OK"), 1, "the test's own");
    let request = ListUsersRequest { organization_id: ACME.into(), ..Default::default() };
    let users = server.client.directory.list_users(request).await.unwrap().into_inner().users;
    assert_eq!(users.len(), 6);
}

/// "Rapid reset": streams that are opened and cancelled immediately.
#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let mut server = server(|_| {}).await;
    let connection = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(connection).await.unwrap();
    let ended = tokio::spawn(connection);
    let path = format!("http://{}/queuegate.v1.QueueAccessService/CheckQueueAccess", server.address);
    let mut client = client.ready().await.unwrap();
    for _ in 0..10_000 {
        let call = http::Request::post(&path).header("content-type", "application/grpc").body(()).unwrap();
        let Ok((_, mut sending)) = client.send_request(call, false) else { break };
        sending.send_reset(h2::Reason::CANCEL);
        let Ok(ready) = client.ready().await else { break };
        client = ready;
    }
    let error = ended.await.unwrap().unwrap_err();
    assert!(error.is_go_away() || error.is_io(), "{error:?}");
    assert!(server.check("anna", "sales").await.allowed.unwrap());
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_nothing_else_suffers() {
    let mut server = server(|_| {}).await;
    let mut request = tonic::Request::new(ListPermissionsRequest {});
    request.metadata_mut().insert("x-flood", "x".repeat(64 * 1024).parse().unwrap());
    assert!(server.client.permission.list_permissions(request).await.is_err());
    assert!(server.check("anna", "sales").await.allowed.unwrap());
}

/// While load balancers notice the coming stop, the server still accepts calls.
#[tokio::test]
async fn a_draining_server_says_so_before_it_refuses_anything() {
    let folder = tempfile::tempdir().unwrap();
    let change = |config: &mut Config| config.drain_delay = Duration::from_millis(500);
    let server = TestServer::start_as(folder, Arc::new(ManualClock::default()), change).await;
    let address = server.address;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut changes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let (running, _client, _folder) = server.ask_to_stop();
    while changes.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
    let mut late = queuegate::client::Client::connect(&address.to_string()).await.unwrap();
    assert!(late.permission.list_permissions(ListPermissionsRequest {}).await.is_ok(), "it still answers");
    drop((late, changes, health));
    running.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
