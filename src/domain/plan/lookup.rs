//! The things that a command names: found, or the rejection that says which is missing.

use crate::domain::{
    command::{Rejection, Resource},
    ids::{OrganizationId, QueueRef, UserRef},
    model::{Queue, User},
    snapshot::{OrganizationState, Snapshot},
};

/// The organization, which must exist.
pub fn found_organization<'s>(
    snapshot: &'s Snapshot,
    organization_id: &OrganizationId,
) -> Result<&'s OrganizationState, Rejection> {
    snapshot.organization(organization_id.as_str()).ok_or_else(|| no_organization(organization_id))
}

/// There is no such organization.
pub fn no_organization(organization_id: &OrganizationId) -> Rejection {
    Rejection::NotFound {
        resource: Resource::Organization,
        name: organization_id.to_string(),
        description: format!("there is no organization `{organization_id}`"),
    }
}

/// The user, who must exist.
pub fn found_user<'s>(organization: &'s OrganizationState, user: &UserRef) -> Result<&'s User, Rejection> {
    organization.user(user).ok_or_else(|| Rejection::NotFound {
        resource: Resource::User,
        name: user.name(),
        description: format!("there is no user {user}"),
    })
}

/// The queue, which must exist.
pub fn found_queue<'s>(organization: &'s OrganizationState, queue: &QueueRef) -> Result<&'s Queue, Rejection> {
    organization.queue(queue).ok_or_else(|| Rejection::NotFound {
        resource: Resource::Queue,
        name: queue.name(),
        description: format!("there is no queue {queue}"),
    })
}

/// The user by id if there is one, and otherwise as named: who it was then must be told later, whoever has the extension
/// by that time.
pub(super) fn resolved_user(organization: &OrganizationState, user: &UserRef) -> UserRef {
    organization.user(user).map_or_else(|| user.clone(), |user| UserRef::Id(user.user_id.clone()))
}

/// The queue by id if there is one, and otherwise as named.
pub(super) fn resolved_queue(organization: &OrganizationState, queue: &QueueRef) -> QueueRef {
    organization.queue(queue).map_or_else(|| queue.clone(), |queue| QueueRef::Id(queue.queue_id.clone()))
}
