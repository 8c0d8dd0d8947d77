//! One request for each rpc, chosen so that the call is expensive.

use anyhow::Context;
use prost_reflect::{DescriptorPool, DynamicMessage};
use queuegate::rpc::FILE_DESCRIPTOR_SET;
use serde_json::json;

use crate::{
    harness::request::EncodedRequest,
    scenarios::requests::{BATCH, ORGANIZATION},
};

/// Requests that cost more than the default ones. Each has the end of its method's path.
const EXPENSIVE: [(&str, &str); 15] = [
    // The names are unknown, so that nothing is deleted.
    ("/DeleteOrganization", r#"{"organization_id":"nobody"}"#),
    ("/DeleteUser", r#"{"organization_id":"bench","user_id":"nobody"}"#),
    ("/DeleteQueue", r#"{"organization_id":"bench","queue_id":"nobody"}"#),
    (
        "/PreviewPermissionSettings",
        r#"{"organization_id":"bench","settings":{"supervisor":{"limit_to_assigned_queues":false,"manage_skills":true,"access_configuration_portal":true},"agent":{"create_custom_tags":true},"organization":{"unassigned_queue_sign_in":1}},"page_size":1000}"#,
    ),
    ("/ListRoleAssignments", r#"{"organization_id":"bench","role":"ROLE_CONTACT_ADMIN","page_size":1000}"#),
    ("/ListSessions", r#"{"organization_id":"bench","retained_only":true,"page_size":1000}"#),
    ("/ListAuditEvents", r#"{"organization_id":"bench","actor_user_id":"nobody","page_size":1000}"#),
    ("/ListEligibleAgents", r#"{"organization_id":"bench","queue_id":"q30000000","channel":1,"page_size":1000}"#),
    ("/ListUsers", r#"{"organization_id":"bench","page_size":1000}"#),
    ("/ListQueues", r#"{"organization_id":"bench","page_size":1000}"#),
    (
        "/ImportDirectory",
        r#"{"organization_id":"bench","document":"eyJ1c2VycyI6W10sInF1ZXVlcyI6W119","validate_only":true,"delete_missing":true}"#,
    ),
    ("/UpdateUser", r#"{"organization_id":"bench","user":{"user_id":"u20000000","display_name":"N"}}"#),
    ("/CreateUser", r#"{"organization_id":"bench","user":{"user_id":"u20000000"}}"#),
    ("/CreateQueue", r#"{"organization_id":"bench","queue":{"queue_id":"q30000000","kind":1}}"#),
    ("/UpdateQueue", r#"{"organization_id":"bench","queue":{"queue_id":"q30000000","display_name":"N"}}"#),
];

/// Encode the request of a method about the large organization.
pub fn request(path: &'static str) -> anyhow::Result<EncodedRequest> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
    let (service, method) = path.trim_start_matches('/').split_once('/').context("no method")?;
    let service = pool.get_service_by_name(service).context("no such service")?;
    let input = service.methods().find(|known| known.name() == method).context("no such method")?.input();
    let expensive = EXPENSIVE.iter().find(|(end, _)| path.ends_with(end)).map(|(_, json)| (*json).to_owned());
    let json = expensive.unwrap_or_else(|| {
        let item = json!({ "user_id": "u20000001", "queue_id": "q30000001", "channel": 1, "permission": "PERMISSION_SERVE_QUEUE" });
        let fields = input.fields().filter_map(|field| {
            let value = match field.name() {
                "organization_id" => json!(ORGANIZATION),
                "user_id" | "supervisor_id" => json!("u20000001"),
                "queue_id" => json!("q30000001"),
                "channel" => json!(1),
                "role" => json!("ROLE_AGENT"),
                "permission" => json!("PERMISSION_SERVE_QUEUE"),
                "items" => {
                    let has_field = |name: &str| match field.kind().as_message() {
                        Some(message) => message.get_field_by_name(name).is_some(),
                        None => false,
                    };
                    let known = item.as_object()?.iter().filter(|(name, _)| has_field(name));
                    let item: serde_json::Map<_, _> =
                        known.map(|(name, value)| (name.clone(), value.clone())).collect();
                    json!(vec![serde_json::Value::Object(item); BATCH])
                }
                _ => return None,
            };
            Some((field.name().to_owned(), value))
        });
        serde_json::Value::Object(fields.collect()).to_string()
    });
    let message = DynamicMessage::deserialize(input, &mut serde_json::Deserializer::from_str(&json))
        .with_context(|| format!("{path} {json}"))?;
    Ok(EncodedRequest::new(path, &message))
}
