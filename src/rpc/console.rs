//! ConsoleService: links into the console.

use tonic::{Request, Response, Status, async_trait};

use super::{
    error::Error,
    from_proto::{self, all},
    proto::{self, console_service_server::ConsoleService},
    services::CallerServices,
    to_proto,
};
use crate::domain::plan::{found_organization, found_user};

#[async_trait]
impl ConsoleService for CallerServices {
    async fn create_console_link(
        &self,
        request: Request<proto::CreateConsoleLinkRequest>,
    ) -> Result<Response<proto::CreateConsoleLinkResponse>, Status> {
        let proto::CreateConsoleLinkRequest { organization_id, user } = request.into_inner();
        let (organization_id, user) =
            all((from_proto::organization_id(&self.caller, &organization_id), from_proto::user(user)))?;
        let links = self.links.as_ref().ok_or(Error::ConsoleOff)?;
        let snapshot = self.snapshot("").await?;
        let user_id = found_user(found_organization(&snapshot, &organization_id)?, &user)?.user_id.clone();
        let created = links.create(organization_id, user_id, self.state()?.now());
        let (link, expires) = created.map_err(|error| Error::Internal(format!("no random bits: {error}")))?;
        Ok(Response::new(proto::CreateConsoleLinkResponse { link, expire_time: Some(to_proto::timestamp(expires)) }))
    }
}
