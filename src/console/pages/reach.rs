//! The queues on which a person has a permission.

use std::collections::BTreeSet;

use tonic::Status;

use crate::{
    console::api::Api,
    rpc::proto::{self, Permission, check_permission_item, check_permission_result},
};

/// The most checks of one call.
const MOST_CHECKS: usize = 1_000;

/// Return those of these queues on which the user has the permission.
pub async fn reach(
    api: &Api,
    organization_id: &str,
    user_id: &str,
    permission: Permission,
    queues: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, Status> {
    let mut queues = queues.into_iter();
    let mut reached = BTreeSet::new();
    loop {
        let some: Vec<String> = queues.by_ref().take(MOST_CHECKS).collect();
        if some.is_empty() {
            return Ok(reached);
        }
        let items = some.into_iter().map(|queue_id| proto::CheckPermissionItem {
            correlation_id: queue_id.clone(),
            user: Some(check_permission_item::User::UserId(user_id.to_owned())),
            permission: permission.into(),
            queue: Some(check_permission_item::Queue::QueueId(queue_id)),
        });
        let request = proto::BatchCheckPermissionsRequest {
            organization_id: organization_id.to_owned(),
            items: items.collect(),
            at_least_revision: String::new(),
        };
        let answer = api.permission().batch_check_permissions(request).await?.into_inner();
        reached.extend(answer.results.into_iter().filter_map(|result| match result.result {
            Some(check_permission_result::Result::Decision(decision)) if decision.allowed() => {
                Some(result.correlation_id)
            }
            _ => None,
        }));
    }
}
