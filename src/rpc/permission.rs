//! PermissionService.

use tonic::{Request, Response, Status};

use super::{
    Rpc, batch, from_proto,
    proto::{self, permission_service_server::PermissionService},
    status::Error,
    to_proto, unexpected,
};
use crate::domain::{
    command::{Action, Outcome},
    explain::explain_permission,
    ids::{QueueRef, UserRef},
    permission::{Permission, Question, check},
    plan::found_tenant,
    snapshot::Tenant,
    time::Timestamp,
};

#[tonic::async_trait]
impl PermissionService for Rpc {
    async fn list_permissions(
        &self,
        request: Request<proto::ListPermissionsRequest>,
    ) -> Result<Response<proto::ListPermissionsResponse>, Status> {
        let proto::ListPermissionsRequest {} = request.into_inner();
        Ok(Response::new(proto::ListPermissionsResponse {
            permissions: Permission::ALL.iter().copied().map(to_proto::permission_description).collect(),
            revision: self.state()?.snapshot().revision().to_string(),
        }))
    }

    async fn get_permission_settings(
        &self,
        request: Request<proto::GetPermissionSettingsRequest>,
    ) -> Result<Response<proto::GetPermissionSettingsResponse>, Status> {
        let proto::GetPermissionSettingsRequest { organization_id, at_least_revision } = request.into_inner();
        let organization_id = from_proto::organization_id(&organization_id)?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let tenant = found_tenant(&snapshot, &organization_id)?;
        Ok(Response::new(proto::GetPermissionSettingsResponse {
            settings: Some(to_proto::settings(&organization_id, tenant.settings(), tenant.settings_etag())),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn update_permission_settings(
        &self,
        request: Request<proto::UpdatePermissionSettingsRequest>,
    ) -> Result<Response<proto::UpdatePermissionSettingsResponse>, Status> {
        let proto::UpdatePermissionSettingsRequest { organization_id, settings, update_mask, request_id } =
            request.into_inner();
        let organization_id = from_proto::organization_id(&organization_id)?;
        let settings = settings.ok_or_else(|| Error::invalid("settings", &"is required"))?;
        if !settings.organization_id.is_empty() && settings.organization_id != organization_id.as_str() {
            let problem = format_args!("must be left out, or be `{organization_id}` as in the request");
            return Err(Error::invalid("settings.organization_id", &problem).into());
        }
        let expected_etag = Some(settings.etag.clone()).filter(|etag| !etag.is_empty());
        let patch = from_proto::settings_patch(settings, update_mask)?;
        let action = Action::UpdateSettings { patch, expected_etag };
        let done = self.execute(organization_id.clone(), action, &request_id).await?;
        let Outcome::Settings { settings, etag } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::UpdatePermissionSettingsResponse {
            settings: Some(to_proto::settings(&organization_id, settings, *etag)),
            revision: done.revision.to_string(),
        }))
    }

    async fn check_permission(
        &self,
        request: Request<proto::CheckPermissionRequest>,
    ) -> Result<Response<proto::CheckPermissionResponse>, Status> {
        let proto::CheckPermissionRequest { organization_id, user, permission, queue, at_least_revision } =
            request.into_inner();
        let organization_id = from_proto::organization_id(&organization_id)?;
        let asked = Asked::new(user, permission, queue)?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let tenant = found_tenant(&snapshot, &organization_id)?;
        Ok(Response::new(proto::CheckPermissionResponse {
            decision: Some(asked.answer(tenant, self.state()?.now())?),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn batch_check_permissions(
        &self,
        request: Request<proto::BatchCheckPermissionsRequest>,
    ) -> Result<Response<proto::BatchCheckPermissionsResponse>, Status> {
        let proto::BatchCheckPermissionsRequest { organization_id, items, at_least_revision } = request.into_inner();
        let organization_id = from_proto::organization_id(&organization_id)?;
        batch::check_size(items.len())?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let tenant = found_tenant(&snapshot, &organization_id)?;
        let now = self.state()?.now();
        let results = items.into_iter().map(|item| {
            use proto::check_permission_result::Result as Answer;
            let proto::CheckPermissionItem { correlation_id, user, permission, queue } = item;
            let (correlation_id, result) =
                batch::answer(correlation_id, || Asked::new(user, permission, queue)?.answer(tenant, now));
            let result = Some(result.map_or_else(Answer::Error, Answer::Decision));
            proto::CheckPermissionResult { correlation_id, result }
        });
        let results = results.collect();
        Ok(Response::new(proto::BatchCheckPermissionsResponse { results, revision: snapshot.revision().to_string() }))
    }

    async fn list_user_permissions(
        &self,
        request: Request<proto::ListUserPermissionsRequest>,
    ) -> Result<Response<proto::ListUserPermissionsResponse>, Status> {
        let proto::ListUserPermissionsRequest { organization_id, user, queue, at_least_revision } =
            request.into_inner();
        let organization_id = from_proto::organization_id(&organization_id)?;
        let user = from_proto::user(user)?;
        let queue = from_proto::optional_queue(queue)?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let tenant = found_tenant(&snapshot, &organization_id)?;
        let now = self.state()?.now();
        let permissions = Permission::ALL.iter().map(|&permission| {
            let asked = Question::one_of_all(&user, permission, queue.as_ref());
            let decision = asked.map(|question| answer(tenant, question, now));
            proto::UserPermission { permission: to_proto::permission(permission).into(), decision }
        });
        Ok(Response::new(proto::ListUserPermissionsResponse {
            permissions: permissions.collect(),
            revision: snapshot.revision().to_string(),
        }))
    }
}

/// A question about a permission, as a request asks it.
struct Asked {
    user: UserRef,
    permission: Permission,
    queue: Option<QueueRef>,
}

impl Asked {
    fn new(
        user: Option<impl from_proto::NamesUser>,
        permission: i32,
        queue: Option<impl from_proto::NamesQueue>,
    ) -> Result<Self, Error> {
        Ok(Self {
            user: from_proto::user(user)?,
            permission: from_proto::permission(permission)?,
            queue: from_proto::optional_queue(queue)?,
        })
    }

    fn answer(&self, tenant: &Tenant, now: Timestamp) -> Result<proto::PermissionDecision, Error> {
        let Self { user, permission, queue } = self;
        let question = Question::new(user, *permission, queue.as_ref());
        let question = question.map_err(|error| from_proto::wrong_scope(error, queue.as_ref()))?;
        Ok(answer(tenant, question, now))
    }
}

fn answer(tenant: &Tenant, question: Question<'_>, now: Timestamp) -> proto::PermissionDecision {
    let decision = check(tenant, question, now);
    to_proto::permission_decision(&decision, explain_permission(&decision, &question))
}
