//! Invalid requests to every rpc, over the wire: the status and the details of `docs/semantics.md` section 6.

mod audit;
mod console;
mod directory;
mod permission;
mod queue_access;

use std::collections::BTreeSet;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use queuegate::rpc::FILE_DESCRIPTOR_SET;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::support::{TestServer, described};

/// The reason of every INVALID_ARGUMENT that names a field.
const FIELD: &str = "INVALID_FIELD";

/// A call, and the expected code, reason, and field or resource in its status.
type Case = (&'static str, &'static str, Code, &'static str, &'static str);

/// A codec of raw bytes, so that tests can send anything.
#[derive(Clone, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// A client that sends raw requests.
#[derive(Clone)]
pub struct Caller {
    pub grpc: Grpc<Channel>,
    pub pool: DescriptorPool,
    authorization: Option<String>,
}

impl Caller {
    pub async fn new(server: &TestServer) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        let grpc = Grpc::new(endpoint.connect().await.unwrap());
        Self { grpc, pool: DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap(), authorization: None }
    }

    /// The same, with an `authorization` header.
    pub fn with(&self, authorization: &str) -> Self {
        Self { grpc: self.grpc.clone(), pool: self.pool.clone(), authorization: Some(authorization.to_owned()) }
    }

    /// Every rpc, as `Service/Method`.
    pub fn rpcs(&self) -> BTreeSet<String> {
        let services = self.pool.services().filter(|service| service.package_name() == "queuegate.v1");
        services
            .flat_map(|service| {
                let methods = service.methods().map(|method| format!("{}/{}", service.name(), method.name()));
                methods.collect::<Vec<_>>()
            })
            .collect()
    }

    pub fn input(&self, rpc: &str) -> MessageDescriptor {
        let (service, method) = rpc.split_once('/').unwrap();
        let service = self.pool.get_service_by_name(&format!("queuegate.v1.{service}")).unwrap();
        service.methods().find(|candidate| candidate.name() == method).unwrap().input()
    }

    /// Whether the first field is text or a message; in a few rpcs it is a number or missing.
    fn begins_with_bytes(&self, rpc: &str) -> bool {
        self.input(rpc).get_field(1).is_some_and(|field| matches!(field.kind(), Kind::String | Kind::Message(_)))
    }

    pub fn encoded(&self, rpc: &str, json: &str) -> Vec<u8> {
        let mut json = serde_json::Deserializer::from_str(json);
        DynamicMessage::deserialize(self.input(rpc), &mut json).unwrap().encode_to_vec()
    }

    /// The first error of a call, after any number of responses.
    pub async fn call(&mut self, rpc: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
        self.grpc.ready().await.unwrap();
        let path = format!("/queuegate.v1.{rpc}").parse().unwrap();
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        let answers = self.grpc.server_streaming(request, path, Raw).await?;
        let mut answers = answers.into_inner();
        let mut last = Vec::new();
        while let Some(answer) = answers.message().await? {
            last = answer;
            if rpc.ends_with("/WatchSessions") || rpc.ends_with("/WatchAuditEvents") {
                break;
            }
        }
        Ok(last)
    }
}

#[tokio::test]
async fn bad_input_gets_the_status_and_detail_of_the_specification() {
    let server = TestServer::acme().await;
    let mut caller = Caller::new(&server).await;
    let mut covered = BTreeSet::new();
    let cases = [queue_access::CASES, permission::CASES, directory::CASES, audit::CASES, console::CASES].concat();
    for (rpc, json, code, reason, named) in &cases {
        let status = caller.call(rpc, caller.encoded(rpc, json)).await.expect_err(&format!("{rpc} {json}"));
        let (found_code, found_reason, found_named) = described(&status);
        assert_eq!((found_code, found_reason.as_str()), (*code, *reason), "{rpc} {json}: {status:?}");
        assert_eq!(found_named.first().map_or("", String::as_str), *named, "{rpc} {json}");
        assert!(!status.message().is_empty());
        covered.insert((*rpc).to_owned());
    }
    let with_fields = caller.rpcs().into_iter().filter(|rpc| caller.input(rpc).fields().len() > 0).collect();
    assert_eq!(covered, with_fields, "an rpc without a case");
}

/// An invalid value for a field of a request, or `None` if every value is valid by itself.
fn wrong(field: &str) -> Option<&'static str> {
    match field {
        "organization_id" | "user_id" | "queue_id" | "supervisor_id" | "actor_user_id" => Some(r#""Not an id""#),
        "request_id" | "at_least_revision" | "through_revision" | "through_hash" => Some(r#""not\nany""#),
        "device" | "justification" | "text" => Some(r#""a\nb""#),
        "channel" | "role" | "kind" | "permission" | "action" | "format" | "unassigned_queue_sign_in" => Some("77"),
        "pin" => Some(r#""47""#),
        "penalty" | "page_size" => Some("-1"),
        "ttl" => Some(r#""-5s""#),
        _ => None,
    }
}

#[tokio::test]
async fn every_bad_field_of_a_request_is_named_and_not_the_first_alone() {
    let server = TestServer::acme().await;
    let mut caller = Caller::new(&server).await;
    let mut most = 0;
    for rpc in caller.rpcs() {
        // The validity of these depends on revisions, which are read later.
        if rpc.ends_with("/VerifyAuditLog") || rpc.ends_with("/WatchAuditEvents") {
            continue;
        }
        let input = caller.input(&rpc);
        // Of two exclusive fields, the id.
        let fields: Vec<String> = input.fields().map(|field| field.name().to_owned()).collect();
        let bad: Vec<&str> = fields.iter().map(String::as_str).filter(|field| wrong(field).is_some()).collect();
        let json: Vec<String> = bad.iter().map(|field| format!("\"{field}\": {}", wrong(field).unwrap())).collect();
        if bad.is_empty() {
            continue;
        }
        // A batch without items is invalid.
        let items = if fields.iter().any(|field| field == "items") { r#", "items": [{}]"# } else { "" };
        let message = caller.encoded(&rpc, &format!("{{{}{items}}}", json.join(", ")));
        let status = caller.call(&rpc, message).await.unwrap_err();
        let (code, reason, named) = described(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, FIELD), "{rpc}: {status:?}");
        let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        let missing: Vec<_> = bad.iter().filter(|field| !named.contains(*field)).collect();
        assert!(missing.is_empty(), "{rpc} doesn't name {missing:?}: {status:?}");
        assert!(bad.iter().all(|field| status.message().contains(field)), "{rpc}: {status:?}");
        most = most.max(bad.len());
    }
    assert!(most >= 6, "{most}");
    for (rpc, json, expected) in [
        (
            "DirectoryService/CreateUser",
            r#"{"organization_id":"acme","user":{"user_id":"A","display_name":"\n","extension":"x"}}"#,
            vec!["user.user_id", "user.display_name", "user.extension"],
        ),
        (
            "DirectoryService/UpdateQueue",
            r#"{"organization_id":"acme","queue":{"queue_id":"A","display_name":"\n","extension":"x","kind":9}}"#,
            vec!["queue.queue_id", "queue.display_name", "queue.extension", "queue.kind"],
        ),
        (
            "PermissionService/UpdatePermissionSettings",
            r#"{"organization_id":"acme","actor_user_id":"!","settings":{"organization":{"unassigned_queue_sign_in":9},
                "supervisor":{"view_queue_settings":false}}}"#,
            vec![
                "settings.organization.unassigned_queue_sign_in",
                "settings.supervisor.view_queue_settings",
                "actor_user_id",
            ],
        ),
    ] {
        let status = caller.call(rpc, caller.encoded(rpc, json)).await.unwrap_err();
        assert_eq!(described(&status).2, expected, "{rpc}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_and_messages_too_large_are_the_callers_mistake() {
    let server = TestServer::acme().await;
    let mut caller = Caller::new(&server).await;
    for rpc in caller.rpcs() {
        // A length-delimited field with a length beyond the message.
        let status = caller.call(&rpc, vec![0x0a, 0xff, 0x01]).await.unwrap_err();
        assert_eq!(described(&status), (Code::InvalidArgument, FIELD.into(), vec!["request".into()]), "{rpc}");
        // Text that is not UTF-8.
        if caller.begins_with_bytes(&rpc) {
            let status = caller.call(&rpc, vec![0x0a, 0x01, 0xff]).await.unwrap_err();
            assert_eq!(described(&status).0, Code::InvalidArgument, "{rpc}");
        }
        // 5 MB.
        let mut large = vec![0x0a, 0x80, 0x80, 0xc0, 0x02];
        large.resize(5 + 5 * 1024 * 1024, b'x');
        let status = caller.call(&rpc, large).await.unwrap_err();
        assert_eq!(described(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".into(), vec![]), "{rpc}");
    }
}

/// Long text in any field gets a short error, and the server stores nothing of it.
#[tokio::test]
async fn oversized_text_is_refused_with_a_short_error() {
    let server = TestServer::acme().await;
    let mut caller = Caller::new(&server).await;
    let long = "x".repeat(100_000);
    for (rpc, json) in [
        ("QueueAccessService/CheckQueueAccess", r#"{"organization_id":"LONG"}"#),
        ("QueueAccessService/CheckQueueAccess", r#"{"organization_id":"acme","user_id":"LONG"}"#),
        (
            "QueueAccessService/SignIn",
            r#"{"organization_id":"acme","user_id":"a","queue_id":"b","channel":1,"device":"LONG"}"#,
        ),
        (
            "QueueAccessService/SignIn",
            r#"{"organization_id":"acme","user_id":"a","queue_id":"b","channel":1,"request_id":"LONG"}"#,
        ),
        (
            "QueueAccessService/SupervisorSignIn",
            r#"{"organization_id":"acme","supervisor_id":"a","user_id":"a","queue_id":"b","justification":"LONG"}"#,
        ),
        ("DirectoryService/CreateUser", r#"{"organization_id":"acme","user":{"user_id":"a","display_name":"LONG"}}"#),
        ("DirectoryService/UpdateUser", r#"{"organization_id":"acme","user":{"user_id":"anna"},"update_mask":"LONG"}"#),
        ("DirectoryService/ListUsers", r#"{"organization_id":"acme","page_token":"LONG"}"#),
        ("DirectoryService/GetUser", r#"{"organization_id":"acme","user_id":"a","at_least_revision":"LONG"}"#),
    ] {
        let message = caller.encoded(rpc, &json.replace("LONG", &long));
        let status = caller.call(rpc, message).await.unwrap_err();
        assert_eq!(described(&status).0, Code::InvalidArgument, "{rpc} {json}");
        assert!(status.message().len() + status.details().len() < 4_000, "{rpc} {json}: {}", status.message().len());
    }
    // Even a document with very long faulty texts gives a status that fits into a header.
    let document =
        format!("{{\"settings\": {{\"supervisor\": {{\"{long}\": 1}}}}, \"users\": [{{\"user_id\": \"{long}\"}}]}}");
    let mut server = server;
    let (result, problems) = server
        .import_with(queuegate::rpc::proto::ImportDirectoryRequest {
            organization_id: "acme".into(),
            document: document.into(),
            ..Default::default()
        })
        .await;
    let status = result.unwrap_err();
    assert_eq!((described(&status).0, problems.len()), (Code::InvalidArgument, 2));
    assert!(status.message().len() + status.details().len() < 6_000);
}

#[tokio::test]
async fn a_batch_answers_the_good_items_and_says_what_is_wrong_with_the_others() {
    use queuegate::rpc::proto::*;
    let mut server = TestServer::acme().await;
    let item = |correlation_id: &str, user: &str, channel: i32| CheckQueueAccessItem {
        correlation_id: correlation_id.into(),
        user: Some(check_queue_access_item::User::UserId(user.into())),
        queue: Some(check_queue_access_item::Queue::QueueId("sales".into())),
        channel,
    };
    let request = |items| BatchCheckQueueAccessRequest { organization_id: "acme".into(), items, ..Default::default() };
    let long = "é".repeat(200);
    let items =
        vec![item(&long, "anna", 1), item("b", "Anna!", 1), item("c", "anna", 0), item(&"x".repeat(300), "anna", 1)];
    let answer = server.client.queue_access.batch_check_queue_access(request(items)).await.unwrap().into_inner();
    let mut found = Vec::new();
    for result in &answer.results {
        found.push(match result.result.clone().unwrap() {
            check_queue_access_result::Result::Decision(decision) => decision.reason().as_str_name().to_owned(),
            check_queue_access_result::Result::Error(error) => {
                format!("{} {}", error.code, error.message.split(':').next().unwrap())
            }
        });
    }
    assert_eq!(found, ["REASON_ASSIGNED", "3 user_id", "3 channel", "3 correlation_id"]);
    assert_eq!(
        (answer.results[0].correlation_id.as_str(), answer.results[1].correlation_id.as_str()),
        (long.as_str(), "b")
    );

    let most = (0..1_000).map(|_| item("", "anna", 1)).collect::<Vec<_>>();
    let answer = server.client.queue_access.batch_check_queue_access(request(most.clone())).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1_000);
    let too_many = [most, vec![item("", "anna", 1)]].concat();
    let status = server.client.queue_access.batch_check_queue_access(request(too_many)).await.unwrap_err();
    assert_eq!(described(&status), (Code::InvalidArgument, FIELD.into(), vec!["items".into()]));
}

#[tokio::test]
async fn a_page_size_over_the_maximum_is_brought_down_to_it() {
    use queuegate::rpc::proto::*;
    let mut server = TestServer::acme().await;
    let users: String = (0..1_200).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    server.import(&format!("users:\n{users}")).await.unwrap();
    let request = ListUsersRequest { organization_id: "acme".into(), page_size: i32::MAX, ..Default::default() };
    let page = server.client.directory.list_users(request).await.unwrap().into_inner();
    assert_eq!((page.users.len(), page.next_page_token.is_empty()), (1_000, false));
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_only() {
    use queuegate::rpc::proto::*;
    let mut server = TestServer::acme().await;
    let request = ListUsersRequest { organization_id: "acme".into(), page_size: 1, ..Default::default() };
    let page = server.client.directory.list_users(request).await.unwrap().into_inner();
    let other = ListQueuesRequest {
        organization_id: "acme".into(),
        page_token: page.next_page_token.clone(),
        ..Default::default()
    };
    let status = server.client.directory.list_queues(other).await.unwrap_err();
    assert_eq!(described(&status).2, ["page_token"]);
    let mut elsewhere = TestServer::acme().await;
    let request = ListUsersRequest {
        organization_id: "acme".into(),
        page_token: page.next_page_token.clone(),
        ..Default::default()
    };
    let status = elsewhere.client.directory.list_users(request.clone()).await.unwrap_err();
    assert_eq!(described(&status), (Code::InvalidArgument, FIELD.into(), vec!["page_token".into()]));
    let later = server.sign_in("anna", "sales").await.revision;
    let request = ListUsersRequest { at_least_revision: later, ..request };
    let status = server.client.directory.list_users(request).await.unwrap_err();
    assert_eq!(described(&status).2, ["at_least_revision"]);
}
