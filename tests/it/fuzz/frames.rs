//! Fuzz tests below the messages: gRPC's frames and headers, and HTTP/2 itself.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use prost::Message;
use queuegate::rpc::proto::*;
use rand::{RngExt, seq::IndexedRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status};

use super::{
    messages::look,
    mutate::{Mutator, Shown, share},
    no_panics, note_panics, within,
};
use crate::support::{ACME, TestServer, described, sign_in, until_under_way};

const PATHS: &[&str] = &[
    "/queuegate.v1.QueueAccessService/CheckQueueAccess",
    "/queuegate.v1.QueueAccessService/SignIn",
    "/queuegate.v1.QueueAccessService/ListSessions",
    "/queuegate.v1.PermissionService/CheckPermission",
    "/queuegate.v1.DirectoryService/ImportDirectory",
    "/queuegate.v1.AuditService/ListAuditEvents",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// A connection, ready for calls.
pub async fn connected(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let tcp = within("connection", TcpStream::connect(address)).await.unwrap();
    // A body may follow its headers. Without TCP_NODELAY it would wait 40 ms for their acknowledgement.
    tcp.set_nodelay(true).unwrap();
    let (requests, connection) = within("handshake", h2::client::handshake(tcp)).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

fn bodies() -> Vec<Vec<u8>> {
    let import =
        ImportDirectoryRequest { organization_id: ACME.into(), document: "users: []\n".into(), ..Default::default() };
    let list = ListSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let import = framed(&import.encode_to_vec());
    vec![
        framed(&sign_in("anna", "sales").encode_to_vec()),
        framed(&list.encode_to_vec()),
        framed(&[]),
        [import.clone(), import.clone()].concat(),
        import,
    ]
}

/// A header that clients send, with an invalid value.
fn header(inputs: &mut Mutator) -> (&'static str, Vec<u8>) {
    let headers: &[(&'static str, &[u8])] = &[
        ("content-type", b"application/grpc"),
        ("content-type", b"application/grpc+json"),
        ("grpc-encoding", b"gzip"),
        ("grpc-encoding", b"identity"),
        ("grpc-accept-encoding", b"gzip,deflate"),
        ("grpc-timeout", b"99999999H"),
        ("grpc-timeout", b"100m"),
        ("authorization", b"Bearer secret"),
        ("te", b"trailers"),
        ("user-agent", b"grpc-go/1.80"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-bin", b"AAEC"),
        ("content-length", b"1"),
    ];
    let (name, value) = headers.choose(&mut inputs.rng).unwrap();
    let mut value = value.to_vec();
    if inputs.rng.random() {
        inputs.change(&mut value);
        value.truncate(2_000);
    }
    (name, value)
}

/// The status of a response, from its headers or its trailers; `None` if it isn't gRPC.
pub(super) async fn status(answer: http::Response<h2::RecvStream>) -> Option<Status> {
    let (parts, mut body) = answer.into_parts();
    if parts.status != http::StatusCode::OK {
        // The request isn't gRPC, so the response isn't either.
        assert!(parts.status.is_client_error(), "{parts:?}");
        return None;
    }
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return Some(status);
    }
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    Status::from_header_map(&body.trailers().await.ok()??)
}

/// The code of a response, if it is permitted for this request.
fn judged(path: &str, status: &Status) -> i32 {
    let code = status.code();
    match code {
        // gRPC itself requires INTERNAL for a compressed message in a call without compression.
        Code::Internal if status.message().contains("compressed-flag") => {}
        Code::Internal | Code::Unknown | Code::DataLoss => panic!("{path}: {status:?}"),
        Code::Ok | Code::Unimplemented => {}
        // Errors of the standard services have no details.
        code => assert!(!path.starts_with("/queuegate") || described(status).0 == code, "{path}: {status:?}"),
    }
    code as i32
}

/// Frames, headers and paths that are almost right: every response is a permitted one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_or_header_makes_the_server_fail() {
    note_panics();
    let (server, metrics) = TestServer::measured().await;
    let mut inputs = Mutator::new(3, bodies());
    let mut answers: BTreeMap<i32, usize> = BTreeMap::new();
    let tried = share(8);
    let (mut not_grpc, mut cut_off) = (0, 0);
    let mut connection: Option<h2::client::SendRequest<Bytes>> = None;
    for number in 0..tried {
        let mut requests = match connection.take() {
            Some(requests) => requests,
            None => connected(server.address).await,
        };
        let body = inputs.input();
        let _shown = Shown(&body);
        let mut path = PATHS.choose(&mut inputs.rng).unwrap().as_bytes().to_vec();
        if inputs.rng.random_ratio(1, 10) {
            inputs.change(&mut path);
        }
        let path = String::from_utf8_lossy(&path).into_owned();
        let method = if inputs.rng.random_ratio(1, 30) { "GET" } else { "POST" };
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            // Ends calls that would wait.
            .header("grpc-timeout", "5S");
        for _ in 0..inputs.rng.random_range(0..3) {
            let (name, value) = header(&mut inputs);
            if let (Ok(value), Some(headers)) = (http::HeaderValue::from_bytes(&value), request.headers_mut()) {
                headers.insert(name, value);
            }
        }
        // No client can send the mutated path.
        let Ok(request) = request.body(()) else { continue };
        let Ok(ready) = within("place for a stream", requests.ready()).await else { continue };
        requests = ready;
        let Ok((answer, mut sending)) = requests.send_request(request, false) else { continue };
        // In pieces with boundaries independent of the frames.
        let split = inputs.rng.random_range(0..=body.len());
        let (first, second) = body.split_at(split);
        let breaks_off = inputs.rng.random_ratio(1, 20);
        let _ = sending.send_data(Bytes::copy_from_slice(first), false);
        if breaks_off {
            sending.send_reset(h2::Reason::CANCEL);
            cut_off += 1;
            connection = Some(requests);
            continue;
        }
        let _ = sending.send_data(Bytes::copy_from_slice(second), true);
        // An error means that the server refused the stream or the connection.
        match within("answer", answer).await {
            Ok(answer) => match within("end of the answer", status(answer)).await {
                Some(status) => {
                    *answers.entry(judged(&path, &status)).or_default() += 1;
                }
                None => not_grpc += 1,
            },
            Err(error) => {
                assert!(error.is_go_away() || error.is_reset() || error.is_io(), "{error:?}");
                cut_off += 1;
                continue;
            }
        }
        connection = Some(requests);
        if number % 250 == 0 {
            look(&mut server.client.clone()).await;
        }
    }
    look(&mut server.client.clone()).await;
    drop(connection);
    until_under_way(metrics, [0; 3]).await;
    no_panics();
    assert!(answers.contains_key(&0) && answers.contains_key(&3), "{answers:?}");
    println!("frames: {tried} streams, answered {answers:?} by code; {not_grpc} were no gRPC, {cut_off} were cut off");
}

/// Found by fuzzing: a client with half a frame got INTERNAL.
#[tokio::test]
async fn a_frame_that_is_not_whole_is_the_callers_mistake() {
    let server = TestServer::acme().await;
    let mut requests = connected(server.address).await;
    for path in ["QueueAccessService/CheckQueueAccess", "DirectoryService/ImportDirectory"] {
        for body in [&[0, 0, 0, 0, 21, 10][..], &[0, 0], &[2, 0, 0, 0, 0]] {
            let request = http::Request::post(format!("http://{}/queuegate.v1.{path}", server.address))
                .header("content-type", "application/grpc");
            let (answer, mut sending) = requests.send_request(request.body(()).unwrap(), false).unwrap();
            sending.send_data(Bytes::copy_from_slice(body), true).unwrap();
            let answer = within("answer", answer).await.unwrap();
            let status = within("end of the answer", status(answer)).await.unwrap();
            let (code, reason, named) = described(&status);
            assert_eq!(
                (code, reason.as_str(), named),
                (Code::InvalidArgument, "INVALID_FIELD", vec!["request".into()]),
                "{path} {body:?}"
            );
        }
    }
}

/// One of HTTP/2's frames.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}

/// A client's bytes on a connection, from the first on.
fn connections() -> Vec<Vec<u8>> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const END_OF_HEADERS: u8 = 4;
    const END_OF_STREAM: u8 = 1;
    let literal = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let headers = |path: &str| {
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        headers.iter().flat_map(|(name, value)| literal(name, value)).collect::<Vec<u8>>()
    };
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0]);
    let begin = [PREFACE, &settings, &frame(4, 1, 0, &[])].concat();
    let mut all = vec![begin.clone()];
    for path in PATHS {
        let headers = headers(path);
        for body in bodies() {
            let data = frame(0, END_OF_STREAM, 1, &body);
            all.push([begin.clone(), frame(1, END_OF_HEADERS, 1, &headers), data.clone()].concat());
            // The headers in two frames, and other frames in between.
            let (first, second) = headers.split_at(headers.len() / 2);
            let frames = [
                frame(1, 0, 1, first),
                frame(9, END_OF_HEADERS, 1, second),
                frame(6, 0, 0, &[7; 8]),
                frame(8, 0, 0, &[0, 1, 0, 0]),
                frame(2, 0, 1, &[0, 0, 0, 0, 16]),
                frame(8, 0, 1, &[0, 1, 0, 0]),
                data,
                frame(1, END_OF_HEADERS | END_OF_STREAM, 3, &headers),
                frame(3, 0, 3, &[0, 0, 0, 8]),
                frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]),
            ];
            all.push([begin.clone(), frames.concat()].concat());
        }
    }
    all.push(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    all
}

/// Mutated HTTP/2 bytes: the connection ends, and the server continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_make_the_server_fail() {
    const AT_ONCE: usize = 8;
    note_panics();
    let (server, metrics) = TestServer::measured().await;
    let tried = share(2).div_ceil(AT_ONCE);
    let mut callers = tokio::task::JoinSet::new();
    for seed in 0..AT_ONCE {
        let (address, mut client) = (server.address, server.client.clone());
        callers.spawn(async move {
            let mut inputs = Mutator::new(100 + seed as u64, connections());
            let mut heard = 0;
            for number in 0..tried {
                let bytes = inputs.input();
                let _shown = Shown(&bytes);
                let mut tcp = within("connection", TcpStream::connect(address)).await.unwrap();
                // The server may have closed it meanwhile.
                let _ = within("reader", tcp.write_all(&bytes)).await;
                let _ = tcp.shutdown().await;
                let mut answer = Vec::new();
                let _ = within("end of the connection", tcp.read_to_end(&mut answer)).await;
                heard += usize::from(!answer.is_empty());
                if number % 125 == 0 {
                    look(&mut client).await;
                }
            }
            heard
        });
    }
    let heard: usize = callers.join_all().await.into_iter().sum();
    look(&mut server.client.clone()).await;
    until_under_way(metrics, [0; 3]).await;
    no_panics();
    assert!(heard > 0);
    println!("bytes: {} connections, {heard} got a response", tried * AT_ONCE);
}
