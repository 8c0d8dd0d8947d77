//! Health, reflection, and the stop of the server.

use queuegate::rpc::{SERVICE_NAMES, proto::*};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{ACME, TestServer, described};

async fn channel(server: &TestServer) -> tonic::transport::Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn health_knows_every_service() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(channel(&server).await);
    for service in SERVICE_NAMES.into_iter().chain([""]) {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_shows_the_comments_in_both_versions() {
    const COMMENT: &str = "Decides whether a user may sign in to a queue";
    let contains = |files: Vec<Vec<u8>>| files.iter().any(|file| String::from_utf8_lossy(file).contains(COMMENT));
    let symbol = "queuegate.v1.QueueAccessService".to_owned();
    let server = TestServer::start().await;

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(&server).await);
    let request = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.clone())),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else { panic!() };
    assert!(contains(files.file_descriptor_proto));

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&server).await);
    let request = v1alpha::ServerReflectionRequest {
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol)),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else { panic!() };
    assert!(contains(files.file_descriptor_proto));
}

#[tokio::test]
async fn a_drain_ends_watches_with_their_last_revision() {
    let mut server = TestServer::acme().await;
    let mut watch = server.watch("").await;
    let revision = server.sign_in("anna", "sales").await.revision;
    watch.message().await.unwrap();
    watch.message().await.unwrap();
    let (running, _client, _folder) = server.ask_to_stop();
    let last = watch.message().await.unwrap().unwrap();
    assert_eq!((last.r#type(), &last.revision), (WatchSessionsType::Checkpoint, &revision));
    let status = watch.message().await.unwrap_err();
    let (code, reason, _) = described(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "DRAINING"));
    assert!(status.message().contains(&revision));
    drop(watch);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn pages_of_a_list_come_from_one_revision() {
    let mut server = TestServer::acme().await;
    let request = ListUsersRequest { organization_id: ACME.into(), page_size: 2, ..Default::default() };
    let first = server.client.directory.list_users(request.clone()).await.unwrap().into_inner();
    let deleted = DeleteUserRequest { organization_id: ACME.into(), user_id: "cleo".into(), ..Default::default() };
    server.client.directory.delete_user(deleted).await.unwrap();
    let request = ListUsersRequest { page_token: first.next_page_token, ..request };
    let second = server.client.directory.list_users(request.clone()).await.unwrap().into_inner();
    assert_eq!(second.revision, first.revision);
    assert_eq!(second.users[0].user_id, "cleo");
    // After a restart the pinned state is lost, and the call fails instead of guessing.
    let mut server = server.restart().await;
    let status = server.client.directory.list_users(request).await.unwrap_err();
    let (code, reason, _) = described(&status);
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "PAGE_TOKEN_EXPIRED"));
}

/// Over plain HTTP/2, because a gRPC client has its own timer, which fires first.
#[tokio::test]
async fn a_call_past_its_deadline_is_told_so() {
    let mut server = TestServer::acme().await;
    let revision = server.sign_in("anna", "sales").await.revision;
    let (base, last) = revision.rsplit_once('-').unwrap();
    let later = format!("{base}-{:016x}", u64::from_str_radix(last, 16).unwrap() + 1_000);
    let request = GetOrganizationRequest { organization_id: ACME.into(), at_least_revision: later };
    let message = prost::Message::encode_to_vec(&request);
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);

    let connection = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    let call = http::Request::post(format!("http://{}/queuegate.v1.DirectoryService/GetOrganization", server.address))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m")
        .body(())
        .unwrap();
    let (answer, mut sending) = client.send_request(call, false).unwrap();
    sending.send_data(body.into(), true).unwrap();
    let answer = answer.await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(described(&status).0, Code::DeadlineExceeded);
}
