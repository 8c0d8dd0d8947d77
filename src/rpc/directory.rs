//! DirectoryService. Import and export are in [`import`](super::import) and [`export`](super::export).

use std::{ops::Bound, sync::Arc};

use tonic::{Request, Response, Status, Streaming};

use super::{
    error::Error,
    export,
    from_proto::{self, all},
    import,
    page::{Page, Paging},
    proto::{self, directory_service_server::DirectoryService},
    services::{CallerServices, unexpected},
    to_proto,
};
use crate::domain::{
    command::{Action, Outcome, SessionsThen},
    ids::{OrganizationId, QueueRef, UserId, UserRef},
    model::{Role, RoleAssignment},
    plan::{found_organization, found_queue, found_user},
    settings::UnassignedQueueSignIn,
    snapshot::OrganizationState,
};

#[tonic::async_trait]
impl DirectoryService for CallerServices {
    async fn create_organization(
        &self,
        request: Request<proto::CreateOrganizationRequest>,
    ) -> Result<Response<proto::CreateOrganizationResponse>, Status> {
        let proto::CreateOrganizationRequest { organization, unassigned_queue_sign_in, request_id, actor_user_id } =
            request.into_inner();
        let (organization, display_name) = self.organization(organization);
        let fields = all((
            from_proto::name("organization.display_name", &display_name.unwrap_or_default()),
            from_proto::unassigned_queue_sign_in("unassigned_queue_sign_in", unassigned_queue_sign_in),
        ));
        let action = fields.map(|(display_name, setting)| Action::CreateOrganization {
            display_name,
            unassigned_queue_sign_in: setting.unwrap_or(UnassignedQueueSignIn::Allowed),
        });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::Organization { organization } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::CreateOrganizationResponse {
            organization: Some(to_proto::organization(organization)),
            revision: done.revision.to_string(),
        }))
    }

    async fn get_organization(
        &self,
        request: Request<proto::GetOrganizationRequest>,
    ) -> Result<Response<proto::GetOrganizationResponse>, Status> {
        let proto::GetOrganizationRequest { organization_id, at_least_revision } = request.into_inner();
        let (organization_id, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        Ok(Response::new(proto::GetOrganizationResponse {
            organization: Some(to_proto::organization(organization.attributes())),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn list_organizations(
        &self,
        request: Request<proto::ListOrganizationsRequest>,
    ) -> Result<Response<proto::ListOrganizationsResponse>, Status> {
        let proto::ListOrganizationsRequest { page_size, page_token, at_least_revision } = request.into_inner();
        let paging = Paging::read(page_size, &page_token, &at_least_revision)?;
        let page = Page::begin_of_organizations(self, self.caller.caller(), paging).await?;
        let (caller, owner) = (Arc::clone(&self.caller), page.owner.clone());
        let list = move || {
            let found = page.snapshot.organizations_after(page.after()).map(OrganizationState::attributes);
            let found = found.filter(|organization| caller.may_use(&organization.organization_id));
            let (found, next_page_token) =
                page.take(found, |organization| vec![organization.organization_id.to_string()]);
            proto::ListOrganizationsResponse {
                organizations: found.into_iter().map(to_proto::organization).collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
            }
        };
        Ok(Response::new(self.scan(&owner, list).await?))
    }

    async fn update_organization(
        &self,
        request: Request<proto::UpdateOrganizationRequest>,
    ) -> Result<Response<proto::UpdateOrganizationResponse>, Status> {
        let proto::UpdateOrganizationRequest { organization, update_mask, request_id, actor_user_id } =
            request.into_inner();
        let (organization, display_name) = self.organization(organization);
        let action = from_proto::Mask::new(update_mask, &["display_name"]).and_then(|mask| {
            let display_name = mask.choose("display_name", display_name);
            let display_name = display_name.map(|text| from_proto::name("organization.display_name", &text));
            Ok(Action::UpdateOrganization { display_name: display_name.transpose()? })
        });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::Organization { organization } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UpdateOrganizationResponse {
            organization: Some(to_proto::organization(organization)),
            revision: done.revision.to_string(),
        }))
    }

    async fn delete_organization(
        &self,
        request: Request<proto::DeleteOrganizationRequest>,
    ) -> Result<Response<proto::DeleteOrganizationResponse>, Status> {
        let proto::DeleteOrganizationRequest { organization_id, allow_missing, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = Action::DeleteOrganization { if_missing: from_proto::if_missing(allow_missing) };
        let (_, done) = self.execute(organization, Ok(action), &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteOrganizationResponse { revision: done.revision.to_string() }))
    }

    async fn create_user(
        &self,
        request: Request<proto::CreateUserRequest>,
    ) -> Result<Response<proto::CreateUserResponse>, Status> {
        let proto::CreateUserRequest { organization_id, user, request_id, actor_user_id } = request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = from_proto::new_user(user).map(|user| Action::CreateUser { user });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::User { user } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::CreateUserResponse {
            user: Some(to_proto::user(user)),
            revision: done.revision.to_string(),
        }))
    }

    async fn get_user(
        &self,
        request: Request<proto::GetUserRequest>,
    ) -> Result<Response<proto::GetUserResponse>, Status> {
        let proto::GetUserRequest { organization_id, user, at_least_revision } = request.into_inner();
        let (organization_id, user, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::user(user),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        Ok(Response::new(proto::GetUserResponse {
            user: Some(to_proto::user(found_user(organization, &user)?)),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn list_users(
        &self,
        request: Request<proto::ListUsersRequest>,
    ) -> Result<Response<proto::ListUsersResponse>, Status> {
        let proto::ListUsersRequest { organization_id, page_size, page_token, at_least_revision } =
            request.into_inner();
        let (organization_id, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let page = Page::begin(self, &organization_id, "ListUsers", paging).await?;
        let owner = page.owner.clone();
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let found = organization.users_after(page.after());
            let (found, next_page_token) = page.take(found, |user| vec![user.user_id.to_string()]);
            Ok::<_, Error>(proto::ListUsersResponse {
                users: found.into_iter().map(to_proto::user).collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    async fn update_user(
        &self,
        request: Request<proto::UpdateUserRequest>,
    ) -> Result<Response<proto::UpdateUserResponse>, Status> {
        let proto::UpdateUserRequest { organization_id, user, update_mask, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = user.ok_or_else(|| Error::invalid("user", &"is required")).and_then(|user| {
            let user_id = from_proto::required("user.user_id", &user.user_id);
            let (user_id, patch) = all((user_id, from_proto::user_patch(user, update_mask)))?;
            Ok(Action::UpdateUser { user_id, patch })
        });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::User { user } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UpdateUserResponse {
            user: Some(to_proto::user(user)),
            revision: done.revision.to_string(),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<proto::DeleteUserRequest>,
    ) -> Result<Response<proto::DeleteUserResponse>, Status> {
        let proto::DeleteUserRequest { organization_id, user_id, allow_missing, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let user_id = from_proto::required("user_id", &user_id);
        let if_missing = from_proto::if_missing(allow_missing);
        let action = user_id.map(|user_id| Action::DeleteUser { user_id, if_missing });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteUserResponse { revision: done.revision.to_string() }))
    }

    async fn create_queue(
        &self,
        request: Request<proto::CreateQueueRequest>,
    ) -> Result<Response<proto::CreateQueueResponse>, Status> {
        let proto::CreateQueueRequest { organization_id, queue, request_id, actor_user_id } = request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = from_proto::new_queue(queue).map(|queue| Action::CreateQueue { queue });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::Queue { queue } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::CreateQueueResponse {
            queue: Some(to_proto::queue(queue)),
            revision: done.revision.to_string(),
        }))
    }

    async fn get_queue(
        &self,
        request: Request<proto::GetQueueRequest>,
    ) -> Result<Response<proto::GetQueueResponse>, Status> {
        let proto::GetQueueRequest { organization_id, queue, at_least_revision } = request.into_inner();
        let (organization_id, queue, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::queue(queue),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        Ok(Response::new(proto::GetQueueResponse {
            queue: Some(to_proto::queue(found_queue(organization, &queue)?)),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn list_queues(
        &self,
        request: Request<proto::ListQueuesRequest>,
    ) -> Result<Response<proto::ListQueuesResponse>, Status> {
        let proto::ListQueuesRequest { organization_id, page_size, page_token, at_least_revision } =
            request.into_inner();
        let (organization_id, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let page = Page::begin(self, &organization_id, "ListQueues", paging).await?;
        let owner = page.owner.clone();
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let found = organization.queues_after(page.after());
            let (found, next_page_token) = page.take(found, |queue| vec![queue.queue_id.to_string()]);
            Ok::<_, Error>(proto::ListQueuesResponse {
                queues: found.into_iter().map(to_proto::queue).collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    async fn update_queue(
        &self,
        request: Request<proto::UpdateQueueRequest>,
    ) -> Result<Response<proto::UpdateQueueResponse>, Status> {
        let proto::UpdateQueueRequest { organization_id, queue, update_mask, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = queue.ok_or_else(|| Error::invalid("queue", &"is required")).and_then(|queue| {
            let queue_id = from_proto::required("queue.queue_id", &queue.queue_id);
            let (queue_id, patch) = all((queue_id, from_proto::queue_patch(queue, update_mask)))?;
            Ok(Action::UpdateQueue { queue_id, patch })
        });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::Queue { queue } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UpdateQueueResponse {
            queue: Some(to_proto::queue(queue)),
            revision: done.revision.to_string(),
        }))
    }

    async fn delete_queue(
        &self,
        request: Request<proto::DeleteQueueRequest>,
    ) -> Result<Response<proto::DeleteQueueResponse>, Status> {
        let proto::DeleteQueueRequest { organization_id, queue_id, allow_missing, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let queue_id = from_proto::required("queue_id", &queue_id);
        let if_missing = from_proto::if_missing(allow_missing);
        let action = queue_id.map(|queue_id| Action::DeleteQueue { queue_id, if_missing });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteQueueResponse { revision: done.revision.to_string() }))
    }

    async fn assign_role(
        &self,
        request: Request<proto::AssignRoleRequest>,
    ) -> Result<Response<proto::AssignRoleResponse>, Status> {
        let proto::AssignRoleRequest { organization_id, user, role, queue, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((from_proto::user(user), from_proto::role(role), from_proto::optional_queue(queue)));
        let action = fields.map(|(user, role, queue)| Action::AssignRole { user, role, queue });
        let (_, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::RoleAssigned { assignment, created } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::AssignRoleResponse {
            assignment: Some(to_proto::role_assignment(assignment)),
            created: *created,
            revision: done.revision.to_string(),
        }))
    }

    async fn unassign_role(
        &self,
        request: Request<proto::UnassignRoleRequest>,
    ) -> Result<Response<proto::UnassignRoleResponse>, Status> {
        let proto::UnassignRoleRequest { organization_id, user, role, queue, end_sessions, request_id, actor_user_id } =
            request.into_inner();
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((from_proto::user(user), from_proto::role(role), from_proto::optional_queue(queue)));
        let sessions = if end_sessions { SessionsThen::End } else { SessionsThen::Keep };
        let action = fields.map(|(user, role, queue)| Action::UnassignRole { user, role, queue, sessions });
        let (organization_id, done) = self.execute(organization, action, &actor_user_id, &request_id).await?;
        let Outcome::SessionsEnded { ended } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UnassignRoleResponse {
            ended_sessions: self.sessions(&organization_id, ended)?,
            revision: done.revision.to_string(),
        }))
    }

    async fn list_role_assignments(
        &self,
        request: Request<proto::ListRoleAssignmentsRequest>,
    ) -> Result<Response<proto::ListRoleAssignmentsResponse>, Status> {
        let proto::ListRoleAssignmentsRequest {
            organization_id,
            user,
            queue,
            role,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let (organization_id, user, queue, role, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::optional_user(user),
            from_proto::optional_queue(queue),
            from_proto::optional_role(role),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let query = ("ListRoleAssignments", &user, &queue, role);
        let page = Page::begin(self, &organization_id, &query, paging).await?;
        let owner = page.owner.clone();
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let found = assignments(organization, user.as_ref(), queue.as_ref(), role, page.after());
            let found = found.filter(|assignment| role.is_none_or(|role| assignment.role == role));
            let found = found.skip_while(|assignment| page.after.as_slice() >= key(assignment).as_slice());
            let (found, next_page_token) = page.take(found, |assignment| key(assignment).to_vec());
            Ok::<_, Error>(proto::ListRoleAssignmentsResponse {
                assignments: found.iter().map(to_proto::role_assignment).collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    type ImportDirectoryStream = import::ImportMessages;

    async fn import_directory(
        &self,
        request: Request<Streaming<proto::ImportDirectoryRequest>>,
    ) -> Result<Response<Self::ImportDirectoryStream>, Status> {
        Ok(Response::new(import::import(self, request.into_inner())))
    }

    type ExportDirectoryStream = export::ExportMessages;

    async fn export_directory(
        &self,
        request: Request<proto::ExportDirectoryRequest>,
    ) -> Result<Response<Self::ExportDirectoryStream>, Status> {
        Ok(Response::new(export::export(self, request.into_inner()).await?))
    }
}

impl CallerServices {
    /// Return the id and the display name of the organization in a request.
    fn organization(
        &self,
        organization: Option<proto::Organization>,
    ) -> (Result<OrganizationId, Error>, Option<String>) {
        match organization {
            Some(proto::Organization { organization_id, display_name }) => {
                let field = "organization.organization_id";
                (from_proto::organization(&self.caller, field, &organization_id), display_name)
            }
            None => (Err(Error::invalid("organization", &"is required")), None),
        }
    }
}

/// Return the sort key of an assignment in a list: user, queue (absent first), role.
fn key(assignment: &RoleAssignment) -> [String; 3] {
    let RoleAssignment { user_id, role, queue_id } = assignment;
    let queue_id = queue_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let position = Role::ALL.iter().position(|other| other == role).unwrap_or_default();
    [user_id.to_string(), queue_id, position.to_string()]
}

/// Return the role assignments of a user, on a queue, or both, in order of their keys, from those of the user `from`.
/// An unknown user or queue has no assignments. Without user and queue, it reads only the holders of `role`.
fn assignments<'s>(
    organization: &'s OrganizationState,
    user: Option<&UserRef>,
    queue: Option<&QueueRef>,
    role: Option<Role>,
    from: Option<&'s str>,
) -> Box<dyn Iterator<Item = RoleAssignment> + Send + 's> {
    let user_id = user.map(|user| organization.user(user).map(|user| &user.user_id));
    let queue_id = queue.map(|queue| organization.queue(queue).map(|queue| &queue.queue_id));
    let on_queue = |user_id: &UserId, queue_id| {
        let of_user = organization.assignments_of_user(user_id);
        of_user.filter(|assignment| assignment.queue_id.as_ref() == Some(queue_id)).collect::<Vec<_>>()
    };
    match (user_id, queue_id) {
        (Some(None), _) | (_, Some(None)) => Box::new(std::iter::empty()),
        (Some(Some(user_id)), None) => Box::new(organization.assignments_of_user(user_id)),
        (Some(Some(user_id)), Some(Some(queue_id))) => Box::new(on_queue(user_id, queue_id).into_iter()),
        (None, Some(Some(queue_id))) => {
            let users = organization.users_with_roles_on(queue_id.as_str(), None).map(|(user_id, _)| user_id);
            let users = users.skip_while(move |user_id| from.is_some_and(|from| user_id.as_str() < from));
            Box::new(users.flat_map(move |user_id| on_queue(user_id, queue_id)))
        }
        (None, None) => {
            let from = from.map_or(Bound::Unbounded, Bound::Included);
            let holders: Box<dyn Iterator<Item = &'s UserId> + Send> = match role {
                Some(role) => Box::new(organization.users_with_role(role, from)),
                None => Box::new(organization.users_with_roles(from)),
            };
            Box::new(holders.flat_map(|user_id| organization.assignments_of_user(user_id)))
        }
    }
}
