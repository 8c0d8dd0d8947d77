//! Compression by gzip: accepted in every request, and used for exports and long lists.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use prost::Message;
use queuegate::rpc::proto::{
    directory_service_client::DirectoryServiceClient, queue_access_service_client::QueueAccessServiceClient, *,
};
use tonic::{Code, Status, codec::CompressionEncoding::Gzip};

use crate::{
    durability::Process,
    fuzz::frames::{connected, framed},
    support::{ACME, TestServer, described, sign_in},
};

const CHECK: &str = "/queuegate.v1.QueueAccessService/CheckQueueAccess";
const LIST: &str = "/queuegate.v1.DirectoryService/ListUsers";
const EXPORT: &str = "/queuegate.v1.DirectoryService/ExportDirectory";

fn gzipped(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

/// A message in its frame, which says that it is compressed.
fn framed_as_compressed(message: &[u8]) -> Vec<u8> {
    let mut frame = framed(message);
    frame[0] = 1;
    frame
}

/// A raw answer: its headers, and its messages with their compression flags.
struct Raw {
    headers: http::HeaderMap,
    messages: Vec<(bool, Vec<u8>)>,
    status: Status,
}

impl Raw {
    fn is_gzip(&self) -> bool {
        self.headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip")
    }

    /// The messages, decompressed.
    fn plain(&self) -> Vec<Vec<u8>> {
        let plain = self.messages.iter().map(|(is_compressed, message)| {
            let mut plain = Vec::new();
            match is_compressed {
                true => GzDecoder::new(&**message).read_to_end(&mut plain).map(drop).unwrap(),
                false => plain.clone_from(message),
            }
            plain
        });
        plain.collect()
    }
}

/// Calls a method without a gRPC library.
async fn call(
    client: &h2::client::SendRequest<Bytes>,
    path: &str,
    headers: &[(&'static str, &'static str)],
    body: Vec<u8>,
) -> Raw {
    let mut request = http::Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = client.clone().ready().await.unwrap();
    let (answer, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // A refused call may end before its request.
    let _ = sending.send_data(body.into(), true);
    let (parts, mut body) = answer.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend(piece);
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_else(|| parts.headers.clone());
    let (mut messages, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((header, more)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        messages.push((header[0] == 1, more[..length].to_vec()));
        rest = &more[length..];
    }
    Raw { headers: parts.headers, messages, status: Status::from_header_map(&trailers).unwrap() }
}

async fn server_with_users(users: usize) -> TestServer {
    let mut server = TestServer::acme().await;
    let users: String =
        (0..users).map(|number| format!("  - {{ user_id: u{number}, display_name: User {number} }}\n")).collect();
    server.import(&format!("users:\n{users}")).await.unwrap();
    server
}

#[tokio::test]
async fn exports_and_long_lists_are_compressed_for_callers_that_accept_it() {
    let server = server_with_users(1_000).await;
    let client = connected(server.address).await;
    let list = ListUsersRequest { organization_id: ACME.into(), page_size: 1_000, ..Default::default() };
    let export = ExportDirectoryRequest { organization_id: ACME.into(), ..Default::default() };
    let accepts = [("grpc-accept-encoding", "identity, deflate, gzip")];
    for (path, request) in [(LIST, list.encode_to_vec()), (EXPORT, export.encode_to_vec())] {
        let plain = call(&client, path, &[], framed(&request)).await;
        let compressed = call(&client, path, &accepts, framed(&request)).await;
        assert!(!plain.is_gzip() && compressed.is_gzip() && compressed.messages[0].0);
        let length = |raw: &Raw| raw.messages.iter().map(|(_, message)| message.len()).sum::<usize>();
        assert!(length(&compressed) * 2 < length(&plain), "{} of {}", length(&compressed), length(&plain));
        assert_eq!(compressed.plain(), plain.plain());
        assert_eq!((plain.status.code(), compressed.status.code()), (Code::Ok, Code::Ok));
    }
    // A short page is sent as it is, and an error is one.
    let short = ListUsersRequest { page_size: 3, ..list };
    let answer = call(&client, LIST, &accepts, framed(&short.encode_to_vec())).await;
    assert!(!answer.messages[0].0);
    assert_eq!(ListUsersResponse::decode(&*answer.messages[0].1).unwrap().users.len(), 3);
    let answer = call(&client, LIST, &accepts, framed(&[])).await;
    assert_eq!((answer.is_gzip(), described(&answer.status).0), (false, Code::InvalidArgument));
}

#[tokio::test]
async fn checks_and_changes_are_never_compressed() {
    let server = TestServer::acme().await;
    let client = connected(server.address).await;
    let check = framed(&sign_in("anna", "sales").encode_to_vec());
    for path in [CHECK, "/queuegate.v1.QueueAccessService/SignIn"] {
        let answer = call(&client, path, &[("grpc-accept-encoding", "gzip")], check.clone()).await;
        assert_eq!((answer.is_gzip(), answer.status.code(), answer.messages[0].0), (false, Code::Ok, false), "{path}");
    }
}

/// A gRPC library, in place of the raw calls.
#[tokio::test]
async fn compressed_requests_of_every_kind_are_accepted() {
    let server = server_with_users(1_000).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut queue_access = QueueAccessServiceClient::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
    let mut directory = DirectoryServiceClient::new(channel).send_compressed(Gzip).accept_compressed(Gzip);
    assert!(queue_access.sign_in(sign_in("anna", "sales")).await.unwrap().into_inner().created);
    let watch = WatchSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = queue_access.watch_sessions(watch).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().session.unwrap().user_id, "anna");
    let export = ExportDirectoryRequest { organization_id: ACME.into(), ..Default::default() };
    let mut pieces = directory.export_directory(export).await.unwrap().into_inner();
    let mut requests = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        let organization_id = if requests.is_empty() { ACME.into() } else { String::new() };
        requests.push(ImportDirectoryRequest { organization_id, document: piece.document, ..Default::default() });
    }
    let mut answers = directory.import_directory(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await.unwrap() {
        last = Some(answer);
    }
    assert_eq!(last.unwrap().report.unwrap(), ImportReport::default(), "the export is imported as it was");
}

#[tokio::test]
async fn other_encodings_and_broken_gzip_are_refused_with_a_reason() {
    let server = TestServer::acme().await;
    let client = connected(server.address).await;
    let message = sign_in("anna", "sales").encode_to_vec();
    let gzip = [("grpc-encoding", "gzip")];
    for (headers, body, code, reason) in [
        ([("grpc-encoding", "br")], framed(&message), Code::Unimplemented, "UNKNOWN_ENCODING"),
        (gzip, framed_as_compressed(&message), Code::InvalidArgument, "INVALID_FIELD"),
        (gzip, framed_as_compressed(&gzipped(&[0xff; 9])), Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let answer = call(&client, CHECK, &headers, body).await;
        let (found_code, found_reason, _) = described(&answer.status);
        assert_eq!((found_code, found_reason.as_str()), (code, reason), "{:?}", answer.status);
    }
    let answer = call(&client, CHECK, &[("grpc-encoding", "br")], framed(&message)).await;
    assert_eq!(answer.headers["grpc-accept-encoding"], "gzip,identity");
    let answer = call(&client, CHECK, &gzip, framed_as_compressed(&gzipped(&message))).await;
    assert_eq!(answer.status.code(), Code::Ok);
}

/// Every message would take 64 MiB, if the server decompressed all of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_gzip_bomb_is_refused_and_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder.path().join("test.db"));
    let address = process.address().parse().unwrap();
    crate::support::until_serving(address).await;
    let most_memory_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let client = connected(address).await;
    let bomb = framed_as_compressed(&gzipped(&vec![0; 64 << 20]));
    assert!(bomb.len() < 400_000);
    let before = most_memory_kib();
    let import = "/queuegate.v1.DirectoryService/ImportDirectory";
    for round in 0..20 {
        let path = if round % 2 == 0 { CHECK } else { import };
        let answer = call(&client, path, &[("grpc-encoding", "gzip")], bomb.clone()).await;
        assert_eq!(described(&answer.status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".into(), vec![]), "{path}");
    }
    let grown = most_memory_kib() - before;
    assert!(grown < 32 * 1024, "{grown} KiB more");
}
