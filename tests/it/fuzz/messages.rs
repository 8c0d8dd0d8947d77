//! Fuzz tests of every rpc over the wire: messages of its own type with random values, and mutated bytes of such
//! messages. New rpcs and fields are covered automatically.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};
use queuegate::{client::Client, rpc::proto::*};
use rand::{RngExt, seq::IndexedRandom};
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use super::{
    HANG, memory_is_bounded,
    mutate::{Mutator, Shown, share},
    no_panics, note_panics, within,
};
use crate::{
    bad_input::{Caller, Raw},
    support::{ACME, TestServer, described},
};

/// The number of concurrent calls.
const CALLERS: usize = 16;

/// After this many inputs, a caller checks that the server still works, and fills it again.
const LOOK_AFTER: usize = 250;

/// Texts that pass the first validation, so that the later code is tested too.
const TEXTS: &[&str] = &[
    "acme",
    "anna",
    "bo",
    "cleo",
    "sam",
    "ada",
    "sales",
    "support",
    "nobody",
    "101",
    "102",
    "103",
    "201",
    "801",
    "802",
    "00",
    "*",
    "display_name",
    "supervisor",
    "organization.unassigned_queue_sign_in",
    "agent.create_custom_tags",
    "request-1",
];

/// Generates messages for rpcs.
struct Messages {
    changes: Mutator,
    /// Values of these fields in earlier responses, such as revisions and page tokens.
    heard: BTreeMap<String, Vec<String>>,
}

impl Messages {
    fn new(seed: u64) -> Self {
        let document = include_str!("../../../examples/acme.yaml");
        let corpus = TEXTS.iter().copied().chain([document]);
        Self { changes: Mutator::new(seed, corpus), heard: BTreeMap::new() }
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let is_name = field.name() == "organization_id" || field.containing_oneof().is_some();
            if depth > 4 || self.changes.rng.random_ratio(if is_name { 1 } else { 9 }, 16) {
                continue;
            }
            let value = if field.is_list() {
                Value::List((0..self.changes.rng.random_range(0..4)).map(|_| self.value(&field, depth)).collect())
            } else {
                self.value(&field, depth)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let rng = &mut self.changes.rng;
        let odd = *[7, 1_000, 1_001, -1, i64::MAX, i64::MIN, 253_402_300_799].choose(rng).unwrap();
        let number = if rng.random_ratio(1, 12) { odd } else { rng.random_range(0..5) };
        match field.kind() {
            Kind::Double => Value::F64(f64::from_bits(rng.random())),
            Kind::Float => Value::F32(f32::from_bits(rng.random())),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
            Kind::Bool => Value::Bool(rng.random()),
            Kind::Enum(_) => {
                Value::EnumNumber(if rng.random_ratio(1, 20) { number as i32 } else { rng.random_range(0..6) })
            }
            Kind::String => Value::String(self.text(field.name())),
            Kind::Bytes => Value::Bytes(self.changes.input().into()),
            Kind::Message(descriptor) => Value::Message(self.message(&descriptor, depth + 1)),
        }
    }

    fn text(&mut self, field: &str) -> String {
        if field == "organization_id" && self.changes.rng.random_ratio(19, 20) {
            return ACME.to_owned();
        }
        // A field for a user or a queue mostly names an existing one.
        let known = if field.contains("extension") {
            TEXTS.iter().filter(|text| text.starts_with(|first: char| first.is_ascii_digit())).collect()
        } else if field.contains("queue_id") {
            vec![&"sales", &"support", &"chat"]
        } else if field == "update_mask" || field == "paths" {
            vec![&"display_name", &"extension", &"supervisor", &"*"]
        } else if field.ends_with("_id") && field != "request_id" {
            vec![&"anna", &"bo", &"cleo", &"sam", &"petra", &"dan"]
        } else {
            Vec::new()
        };
        if self.changes.rng.random_ratio(9, 10)
            && let Some(known) = known.choose(&mut self.changes.rng)
        {
            return (**known).to_owned();
        }
        let heard = self.heard.get(&heard_as(field)).and_then(|heard| heard.choose(&mut self.changes.rng)).cloned();
        match (self.changes.rng.random_range(0..16), heard) {
            (0..=4, Some(heard)) => heard,
            (5, Some(heard)) => self.changed_token(&heard),
            (6, _) => self.changes.text(),
            _ if field.contains("revision") || field.contains("token") || field == "request_id" => String::new(),
            _ => (*TEXTS.choose(&mut self.changes.rng).unwrap()).to_owned(),
        }
    }

    /// A page token is mutated inside, a revision as text.
    fn changed_token(&mut self, token: &str) -> String {
        match BASE64URL_NOPAD.decode(token.as_bytes()) {
            Ok(mut inside) if inside.starts_with(b"{") => {
                self.changes.change(&mut inside);
                BASE64URL_NOPAD.encode(&inside)
            }
            Ok(_) | Err(_) => {
                let mut text = token.as_bytes().to_vec();
                self.changes.change(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }

    /// Records the values of a response that can be sent back.
    fn hear(&mut self, answer: &DynamicMessage) {
        for (field, value) in answer.fields() {
            if let Value::String(text) = value
                && !text.is_empty()
            {
                let heard = self.heard.entry(heard_as(field.name())).or_default();
                heard.push(text.clone());
                // The newest few values are enough.
                if heard.len() > 20 {
                    heard.remove(0);
                }
            }
        }
    }
}

/// Fields with interchangeable values share a name here.
fn heard_as(field: &str) -> String {
    if field.ends_with("revision") {
        return "revision".to_owned();
    }
    field.trim_start_matches("next_").to_owned()
}

/// Sends one input and judges the answer.
async fn attempt(
    caller: &mut Caller,
    method: &MethodDescriptor,
    bytes: &[u8],
    messages: &mut Messages,
) -> Result<(), Code> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    within("connection", caller.grpc.ready()).await.unwrap();
    let mut request = Request::new(bytes.to_vec());
    // The server waits for a future revision.
    request.set_timeout(Duration::from_millis(200));
    let answers = within("answer", caller.grpc.server_streaming(request, path, Raw)).await;
    let mut answers = match answers {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Err(judged(&status)),
    };
    // Watches have no end; read at most one message.
    let is_watch = method.name().starts_with("Watch");
    loop {
        let patience = if is_watch { Duration::from_millis(5) } else { HANG };
        match timeout(patience, answers.message()).await {
            Ok(Ok(Some(answer))) => {
                messages.hear(&DynamicMessage::decode(method.output(), answer.as_slice()).unwrap());
                if is_watch {
                    return Ok(());
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return Err(judged(&status)),
            Err(_) => {
                assert!(is_watch, "no answer in {HANG:?}");
                return Ok(());
            }
        }
    }
}

/// Any error except those for the server's own faults.
fn judged(status: &Status) -> Code {
    match status.code() {
        // The client's own deadline error has no details.
        Code::Cancelled => Code::DeadlineExceeded,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented => panic!("{status:?}"),
        code => {
            assert_eq!(described(status).0, code);
            assert!(status.message().len() + status.details().len() < 6_000, "{status:?}");
            code
        }
    }
}

/// The server still responds. Fill its organization again, because many inputs delete from it.
pub(super) async fn look(client: &mut Client) {
    let request = CheckQueueAccessRequest {
        organization_id: ACME.into(),
        user: Some(check_queue_access_request::User::UserId("anna".into())),
        queue: Some(check_queue_access_request::Queue::QueueId("sales".into())),
        channel: Channel::FeatureCode.into(),
        ..Default::default()
    };
    let answer = within("answer", client.queue_access.check_queue_access(request)).await;
    match answer {
        Ok(answer) => assert!(answer.into_inner().decision.is_some()),
        Err(status) => assert_eq!(status.code(), Code::NotFound, "{status:?}"),
    }
    let document = include_str!("../../../examples/acme.yaml");
    let request =
        ImportDirectoryRequest { organization_id: ACME.into(), document: document.into(), ..Default::default() };
    let answers = within("answer", client.directory.import_directory(tokio_stream::once(request))).await;
    let mut answers = answers.unwrap().into_inner();
    // The server may refuse it, because of changes by other callers.
    while let Ok(Some(_)) = within("answer", answers.message()).await {}
}

/// The number of responses with each code; `None` is OK.
type Answers = BTreeMap<Option<i32>, usize>;

/// Calls a new server this many times, over several connections concurrently.
async fn round(number: usize, calls: usize) -> Answers {
    let server = TestServer::acme().await;
    let caller = Caller::new(&server).await;
    let mut callers = tokio::task::JoinSet::new();
    for seed in 0..CALLERS {
        let (mut caller, mut client) = (caller.clone(), server.client.clone());
        let services = caller.pool.services().filter(|service| service.package_name() == "queuegate.v1");
        let methods: Vec<MethodDescriptor> =
            services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
        callers.spawn(async move {
            let mut messages = Messages::new((number * CALLERS + seed) as u64);
            let mut answers = Answers::new();
            for number in 0..calls.div_ceil(CALLERS) {
                let method = methods.choose(&mut messages.changes.rng).unwrap().clone();
                let mut bytes = messages.message(&method.input(), 0).encode_to_vec();
                for _ in 0..messages.changes.rng.random_range(0..4u32).saturating_sub(1) {
                    messages.changes.change(&mut bytes);
                }
                let _shown = Shown(&bytes);
                let answer = attempt(&mut caller, &method, &bytes, &mut messages).await;
                *answers.entry(answer.err().map(|code| code as i32)).or_default() += 1;
                if number % LOOK_AFTER == 0 {
                    look(&mut client).await;
                }
            }
            answers
        });
    }
    add(callers.join_all().await)
}

fn add(answers: impl IntoIterator<Item = Answers>) -> Answers {
    let mut all = Answers::new();
    for (code, count) in answers.into_iter().flatten() {
        *all.entry(code).or_default() += count;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_makes_the_server_fail() {
    /// Start a new server after this many calls, because some rpcs read a whole log that the others extend.
    const CALLS_OF_A_SERVER: usize = 10_000;
    note_panics();
    let mut left = share(25);
    let mut rounds = Vec::new();
    while left > 0 {
        let calls = left.min(CALLS_OF_A_SERVER);
        rounds.push(round(rounds.len(), calls).await);
        left -= calls;
    }
    no_panics();
    let peak = memory_is_bounded();
    let answers = add(rounds);
    let good = answers.get(&None).copied().unwrap_or_default();
    let all: usize = answers.values().sum();
    assert!(good > all / 20 && good < all, "{answers:?}");
    let name = |code: Option<i32>| code.map_or("OK".to_owned(), |code| format!("{:?}", Code::from_i32(code)));
    let answers: Vec<String> = answers.into_iter().map(|(code, count)| format!("{} {count}", name(code))).collect();
    println!("messages: {all} calls answered {}; at most {peak} MiB", answers.join(", "));
}
