//! The messages of Cerbos' API.

use std::collections::BTreeMap;

use prost_types::{ListValue, Value, value::Kind};

use crate::{
    harness::request::{CERBOS_CHECK, EncodedRequest},
    organization::{Plan, queue_id, user_id},
    scenarios::requests::{self, CHECKS},
};

/// The action of Cerbos' policy.
const ACTION: &str = "sign_in";

/// The role of Cerbos' policy.
const ROLE: &str = "user";

/// `EFFECT_ALLOW`.
pub const ALLOW: i32 = 1;

/// Encode the same checks as [`requests::checks`]. Cerbos keeps no state, so each request has all the data of the
/// decision.
pub fn checks(plan: &Plan) -> anyhow::Result<Vec<EncodedRequest>> {
    let requests = requests::random_users(plan.users, CHECKS).enumerate().map(|(number, user)| {
        let agent_of = (0..plan.assignments).map(|number| Ok(text(queue_id(plan.queue_of(user, number))?.to_string())));
        let principal = Principal {
            id: user_id(user)?.to_string(),
            roles: vec![ROLE.to_owned()],
            attr: attributes([
                ("agent_of", list(agent_of.collect::<anyhow::Result<_>>()?)),
                ("channel", text("FEATURE_CODE")),
                ("disabled", boolean(false)),
                ("is_agent", boolean(true)),
                ("signed_in_to", list(Vec::new())),
            ]),
        };
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        let resource = Resource {
            kind: "queue".to_owned(),
            id: queue_id(queue)?.to_string(),
            attr: attributes([("kind", text("CALL_QUEUE")), ("unassigned_queue_sign_in", text("RESTRICTED"))]),
        };
        let entry = Entry { actions: vec![ACTION.to_owned()], resource: Some(resource) };
        let request = CheckResourcesRequest { principal: Some(principal), resources: vec![entry] };
        anyhow::Ok(EncodedRequest::new(CERBOS_CHECK, &request))
    });
    requests.collect()
}

/// `cerbos.request.v1.CheckResourcesRequest`, with the fields that a check needs.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResourcesRequest {
    #[prost(message, optional, tag = "3")]
    principal: Option<Principal>,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<Entry>,
}

/// A resource of a request, and the actions to check on it.
#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, repeated, tag = "1")]
    actions: Vec<String>,
    #[prost(message, optional, tag = "2")]
    resource: Option<Resource>,
}

/// `cerbos.engine.v1.Principal`.
#[derive(Clone, PartialEq, prost::Message)]
struct Principal {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
    #[prost(btree_map = "string, message", tag = "4")]
    attr: BTreeMap<String, Value>,
}

/// `cerbos.engine.v1.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    attr: BTreeMap<String, Value>,
}

/// `cerbos.response.v1.CheckResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckResourcesResponse {
    #[prost(message, repeated, tag = "2")]
    results: Vec<Outcome>,
}

impl CheckResourcesResponse {
    /// Return the effect of the action, or `None` if the response has none.
    pub fn effect(&self) -> Option<i32> {
        self.results.first().and_then(|result| result.actions.get(ACTION)).copied()
    }
}

/// The effect of each action on a resource.
#[derive(Clone, PartialEq, prost::Message)]
struct Outcome {
    #[prost(btree_map = "string, int32", tag = "2")]
    actions: BTreeMap<String, i32>,
}

fn text(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn attributes<const N: usize>(attributes: [(&str, Value); N]) -> BTreeMap<String, Value> {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
