//! The lists of DirectoryService.

use std::sync::Arc;

use super::{
    error::Error,
    from_proto::{self, all},
    page::{Page, Paging},
    proto,
    services::CallerServices,
    to_proto,
};
use crate::domain::{
    directory_lists::{AssignmentFilter, QueueFilter, UserFilter},
    model::{Role, RoleAssignment},
    plan::found_organization,
    snapshot::OrganizationState,
};

pub(super) async fn organizations(
    services: &CallerServices,
    request: proto::ListOrganizationsRequest,
) -> Result<proto::ListOrganizationsResponse, Error> {
    let proto::ListOrganizationsRequest { page_size, page_token, at_least_revision } = request;
    let paging = Paging::read(page_size, &page_token, &at_least_revision)?;
    let page = Page::begin_of_organizations(services, services.caller.caller(), paging).await?;
    let (caller, owner) = (Arc::clone(&services.caller), page.owner.clone());
    let list = move || {
        let found = page.snapshot.organizations_after(page.after()).map(OrganizationState::attributes);
        let found = found.filter(|organization| caller.may_use(&organization.organization_id));
        let (found, next_page_token) = page.take(found, |organization| vec![organization.organization_id.to_string()]);
        proto::ListOrganizationsResponse {
            organizations: found.into_iter().map(to_proto::organization).collect(),
            next_page_token,
            revision: page.snapshot.revision().to_string(),
        }
    };
    services.scan(&owner, list).await
}

pub(super) async fn users(
    services: &CallerServices,
    request: proto::ListUsersRequest,
) -> Result<proto::ListUsersResponse, Error> {
    let proto::ListUsersRequest {
        organization_id,
        page_size,
        page_token,
        at_least_revision,
        text,
        role,
        queue,
        licensed,
        disabled,
    } = request;
    let (organization_id, text, role, queue, paging) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        from_proto::text_prefix(&text),
        from_proto::optional_role(role),
        from_proto::optional_queue(queue),
        Paging::read(page_size, &page_token, &at_least_revision),
    ))?;
    let filter = UserFilter { text, role, queue, licensed, disabled };
    let page = Page::begin(services, &organization_id, &("ListUsers", &filter), paging).await?;
    let owner = page.owner.clone();
    let list = move || {
        let organization = found_organization(&page.snapshot, &organization_id)?;
        let (found, next_page_token) =
            page.take(filter.users(organization, page.after()), |user| vec![user.user_id.to_string()]);
        Ok(proto::ListUsersResponse {
            users: found.into_iter().map(to_proto::user).collect(),
            next_page_token,
            revision: page.snapshot.revision().to_string(),
            total_size: total_size(filter == UserFilter::default(), organization.user_count()),
        })
    };
    services.scan(&owner, list).await?
}

pub(super) async fn queues(
    services: &CallerServices,
    request: proto::ListQueuesRequest,
) -> Result<proto::ListQueuesResponse, Error> {
    let proto::ListQueuesRequest { organization_id, page_size, page_token, at_least_revision, text, kind } = request;
    let (organization_id, text, kind, paging) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        from_proto::text_prefix(&text),
        from_proto::optional_queue_kind("kind", kind),
        Paging::read(page_size, &page_token, &at_least_revision),
    ))?;
    let filter = QueueFilter { text, kind };
    let page = Page::begin(services, &organization_id, &("ListQueues", &filter), paging).await?;
    let owner = page.owner.clone();
    let list = move || {
        let organization = found_organization(&page.snapshot, &organization_id)?;
        let (found, next_page_token) =
            page.take(filter.queues(organization, page.after()), |queue| vec![queue.queue_id.to_string()]);
        Ok(proto::ListQueuesResponse {
            queues: found.into_iter().map(to_proto::queue).collect(),
            next_page_token,
            revision: page.snapshot.revision().to_string(),
            total_size: total_size(filter == QueueFilter::default(), organization.queue_count()),
        })
    };
    services.scan(&owner, list).await?
}

pub(super) async fn role_assignments(
    services: &CallerServices,
    request: proto::ListRoleAssignmentsRequest,
) -> Result<proto::ListRoleAssignmentsResponse, Error> {
    let proto::ListRoleAssignmentsRequest {
        organization_id,
        user,
        queue,
        role,
        page_size,
        page_token,
        at_least_revision,
        text,
        disabled,
    } = request;
    let (organization_id, user, queue, role, text, paging) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        from_proto::optional_user(user),
        from_proto::optional_queue(queue),
        from_proto::optional_role(role),
        from_proto::text_prefix(&text),
        Paging::read(page_size, &page_token, &at_least_revision),
    ))?;
    let filter = AssignmentFilter { user, queue, role, text, disabled };
    let page = Page::begin(services, &organization_id, &("ListRoleAssignments", &filter), paging).await?;
    let owner = page.owner.clone();
    let list = move || {
        let organization = found_organization(&page.snapshot, &organization_id)?;
        let found = filter.assignments(organization, page.after());
        let found = found.skip_while(|assignment| page.after.as_slice() >= key(assignment).as_slice());
        let (found, next_page_token) = page.take(found, |assignment| key(assignment).to_vec());
        Ok(proto::ListRoleAssignmentsResponse {
            assignments: found.iter().map(to_proto::role_assignment).collect(),
            next_page_token,
            revision: page.snapshot.revision().to_string(),
        })
    };
    services.scan(&owner, list).await?
}

/// Return the length of a list, or `None` for a filtered one, which would have to be counted.
fn total_size(is_everything: bool, count: usize) -> Option<i32> {
    is_everything.then(|| i32::try_from(count).ok()).flatten()
}

/// Return the sort key of an assignment in a list: user, queue (absent first), role.
fn key(assignment: &RoleAssignment) -> [String; 3] {
    let RoleAssignment { user_id, role, queue_id, penalty: _ } = assignment;
    let queue_id = queue_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let position = Role::ALL.iter().position(|other| other == role).unwrap_or_default();
    [user_id.to_string(), queue_id, position.to_string()]
}
