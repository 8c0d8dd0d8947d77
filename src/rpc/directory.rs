//! DirectoryService. Its lists are in [`directory_lists`](super::directory_lists), import and export in
//! [`import`](super::import) and [`export`](super::export).

use tonic::{Request, Response, Status, Streaming};

use super::{
    directory_lists,
    error::Error,
    export,
    from_proto::{self, all},
    import,
    language::received,
    pins,
    proto::{self, directory_service_server::DirectoryService},
    services::{CallerServices, unexpected},
    to_proto,
};
use crate::domain::{
    command::{Action, Outcome, SessionsThen},
    ids::OrganizationId,
    plan::{found_organization, found_queue, found_user},
    settings::UnassignedQueueSignIn,
};

#[tonic::async_trait]
impl DirectoryService for CallerServices {
    async fn create_organization(
        &self,
        request: Request<proto::CreateOrganizationRequest>,
    ) -> Result<Response<proto::CreateOrganizationResponse>, Status> {
        let (language, request) = received(request);
        let proto::CreateOrganizationRequest { organization, unassigned_queue_sign_in, request_id, actor_user_id } =
            request;
        let (organization, display_name) = self.organization(organization);
        let fields = all((
            from_proto::name("organization.display_name", &display_name.unwrap_or_default()),
            from_proto::unassigned_queue_sign_in("unassigned_queue_sign_in", unassigned_queue_sign_in),
        ));
        let action = fields.map(|(display_name, setting)| Action::CreateOrganization {
            display_name,
            unassigned_queue_sign_in: setting.unwrap_or(UnassignedQueueSignIn::Allowed),
        });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        Ok(Response::new(directory_lists::organizations(self, request.into_inner()).await?))
    }

    async fn update_organization(
        &self,
        request: Request<proto::UpdateOrganizationRequest>,
    ) -> Result<Response<proto::UpdateOrganizationResponse>, Status> {
        let (language, request) = received(request);
        let proto::UpdateOrganizationRequest { organization, update_mask, request_id, actor_user_id } = request;
        let (organization, display_name) = self.organization(organization);
        let action = from_proto::Mask::new(update_mask, &["display_name"]).and_then(|mask| {
            let display_name = mask.choose("display_name", display_name);
            let display_name = display_name.map(|text| from_proto::name("organization.display_name", &text));
            Ok(Action::UpdateOrganization { display_name: display_name.transpose()? })
        });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        let (language, request) = received(request);
        let proto::DeleteOrganizationRequest { organization_id, allow_missing, request_id, actor_user_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = Action::DeleteOrganization { if_missing: from_proto::if_missing(allow_missing) };
        let (_, done) = self.execute(language, organization, Ok(action), &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteOrganizationResponse { revision: done.revision.to_string() }))
    }

    async fn create_user(
        &self,
        request: Request<proto::CreateUserRequest>,
    ) -> Result<Response<proto::CreateUserResponse>, Status> {
        let (language, request) = received(request);
        let proto::CreateUserRequest { organization_id, user, request_id, actor_user_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = from_proto::new_user(user).map(|user| Action::CreateUser { user });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        Ok(Response::new(directory_lists::users(self, request.into_inner()).await?))
    }

    async fn update_user(
        &self,
        request: Request<proto::UpdateUserRequest>,
    ) -> Result<Response<proto::UpdateUserResponse>, Status> {
        let (language, request) = received(request);
        let proto::UpdateUserRequest { organization_id, user, update_mask, request_id, actor_user_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = user.ok_or_else(|| Error::invalid("user", &"is required")).and_then(|user| {
            let user_id = from_proto::required("user.user_id", &user.user_id);
            let expected_etag = from_proto::expected_etag(&user.etag);
            let (user_id, patch) = all((user_id, from_proto::user_patch(user, update_mask)))?;
            Ok(Action::UpdateUser { user_id, patch, expected_etag })
        });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        let (language, request) = received(request);
        let proto::DeleteUserRequest { organization_id, user_id, allow_missing, request_id, actor_user_id, etag } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let user_id = from_proto::required("user_id", &user_id);
        let if_missing = from_proto::if_missing(allow_missing);
        let expected_etag = from_proto::expected_etag(&etag);
        let action = user_id.map(|user_id| Action::DeleteUser { user_id, if_missing, expected_etag });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteUserResponse { revision: done.revision.to_string() }))
    }

    async fn create_queue(
        &self,
        request: Request<proto::CreateQueueRequest>,
    ) -> Result<Response<proto::CreateQueueResponse>, Status> {
        let (language, request) = received(request);
        let proto::CreateQueueRequest { organization_id, queue, request_id, actor_user_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = from_proto::new_queue(queue).map(|queue| Action::CreateQueue { queue });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        Ok(Response::new(directory_lists::queues(self, request.into_inner()).await?))
    }

    async fn update_queue(
        &self,
        request: Request<proto::UpdateQueueRequest>,
    ) -> Result<Response<proto::UpdateQueueResponse>, Status> {
        let (language, request) = received(request);
        let proto::UpdateQueueRequest { organization_id, queue, update_mask, request_id, actor_user_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let action = queue.ok_or_else(|| Error::invalid("queue", &"is required")).and_then(|queue| {
            let queue_id = from_proto::required("queue.queue_id", &queue.queue_id);
            let expected_etag = from_proto::expected_etag(&queue.etag);
            let (queue_id, patch) = all((queue_id, from_proto::queue_patch(queue, update_mask)))?;
            Ok(Action::UpdateQueue { queue_id, patch, expected_etag })
        });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        let (language, request) = received(request);
        let proto::DeleteQueueRequest { organization_id, queue_id, allow_missing, request_id, actor_user_id, etag } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let queue_id = from_proto::required("queue_id", &queue_id);
        let if_missing = from_proto::if_missing(allow_missing);
        let expected_etag = from_proto::expected_etag(&etag);
        let action = queue_id.map(|queue_id| Action::DeleteQueue { queue_id, if_missing, expected_etag });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
        Ok(Response::new(proto::DeleteQueueResponse { revision: done.revision.to_string() }))
    }

    async fn assign_role(
        &self,
        request: Request<proto::AssignRoleRequest>,
    ) -> Result<Response<proto::AssignRoleResponse>, Status> {
        let (language, request) = received(request);
        let proto::AssignRoleRequest { organization_id, user, role, queue, request_id, actor_user_id, penalty } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let penalty = from_proto::optional_penalty(penalty);
        let fields = all((from_proto::user(user), from_proto::role(role), from_proto::optional_queue(queue), penalty));
        let action = fields.map(|(user, role, queue, penalty)| Action::AssignRole { user, role, queue, penalty });
        let (_, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
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
        let (language, request) = received(request);
        let proto::UnassignRoleRequest { organization_id, user, role, queue, end_sessions, request_id, actor_user_id } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((from_proto::user(user), from_proto::role(role), from_proto::optional_queue(queue)));
        let sessions = if end_sessions { SessionsThen::End } else { SessionsThen::Keep };
        let action = fields.map(|(user, role, queue)| Action::UnassignRole { user, role, queue, sessions });
        let (organization_id, done) = self.execute(language, organization, action, &actor_user_id, &request_id).await?;
        let Outcome::SessionsEnded { ended } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UnassignRoleResponse {
            ended_sessions: self.sessions(&organization_id, ended)?,
            revision: done.revision.to_string(),
        }))
    }

    async fn set_pin(&self, request: Request<proto::SetPinRequest>) -> Result<Response<proto::SetPinResponse>, Status> {
        pins::set(self, request).await
    }

    async fn clear_pin(
        &self,
        request: Request<proto::ClearPinRequest>,
    ) -> Result<Response<proto::ClearPinResponse>, Status> {
        pins::clear(self, request).await
    }

    async fn list_role_assignments(
        &self,
        request: Request<proto::ListRoleAssignmentsRequest>,
    ) -> Result<Response<proto::ListRoleAssignmentsResponse>, Status> {
        Ok(Response::new(directory_lists::role_assignments(self, request.into_inner()).await?))
    }

    type ImportDirectoryStream = import::ImportMessages;

    async fn import_directory(
        &self,
        request: Request<Streaming<proto::ImportDirectoryRequest>>,
    ) -> Result<Response<Self::ImportDirectoryStream>, Status> {
        let (language, pieces) = received(request);
        Ok(Response::new(import::import(self, language, pieces)))
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
