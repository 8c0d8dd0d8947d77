//! Lookups of the things that a command names. They return the thing, or a rejection that names the missing one.

use crate::domain::{
    command::{Rejection, Resource},
    ids::{OrganizationId, QueueRef, UserRef},
    model::{Queue, User},
    snapshot::{OrganizationState, Snapshot},
};

/// Return the organization, or reject the command.
pub fn found_organization<'s>(
    snapshot: &'s Snapshot,
    organization_id: &OrganizationId,
) -> Result<&'s OrganizationState, Rejection> {
    snapshot.organization(organization_id.as_str()).ok_or_else(|| no_organization(organization_id))
}

/// Return the rejection for a missing organization.
pub fn no_organization(organization_id: &OrganizationId) -> Rejection {
    Rejection::NotFound {
        resource: Resource::Organization,
        name: organization_id.to_string(),
        description: format!("there is no organization `{organization_id}`"),
    }
}

/// Return the user, or reject the command.
pub fn found_user<'s>(organization: &'s OrganizationState, user: &UserRef) -> Result<&'s User, Rejection> {
    organization.user(user).ok_or_else(|| Rejection::NotFound {
        resource: Resource::User,
        name: user.name(),
        description: format!("there is no user {user}"),
    })
}

/// Return the queue, or reject the command.
pub fn found_queue<'s>(organization: &'s OrganizationState, queue: &QueueRef) -> Result<&'s Queue, Rejection> {
    organization.queue(queue).ok_or_else(|| Rejection::NotFound {
        resource: Resource::Queue,
        name: queue.name(),
        description: format!("there is no queue {queue}"),
    })
}

/// Return the user by id if they exist, otherwise as named. The log must identify the same user later, even if another
/// has the extension by then.
pub(super) fn resolved_user(organization: &OrganizationState, user: &UserRef) -> UserRef {
    organization.user(user).map_or_else(|| user.clone(), |user| UserRef::Id(user.user_id.clone()))
}

/// Return the queue by id if it exists, otherwise as named.
pub(super) fn resolved_queue(organization: &OrganizationState, queue: &QueueRef) -> QueueRef {
    organization.queue(queue).map_or_else(|| queue.clone(), |queue| QueueRef::Id(queue.queue_id.clone()))
}
