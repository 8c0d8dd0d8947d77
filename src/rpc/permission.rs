//! PermissionService.

use tonic::{Request, Response, Status};

use super::{
    Rpc, from_proto,
    proto::{self, permission_service_server::PermissionService},
    status::Error,
    to_proto, unexpected,
};
use crate::domain::{
    command::{Action, Outcome},
    plan::found_tenant,
};

#[tonic::async_trait]
impl PermissionService for Rpc {
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
}
