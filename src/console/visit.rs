//! A request of a person: the session, the roles and the permissions as they are now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Redirect, Response},
};
use http::request::Parts;
use tonic::Code;

use super::{
    api::Api,
    failure::Failure,
    look::{Look, cookie},
    session::Session,
    shared::Shared,
    text::Text,
};
use crate::rpc::proto::{self, Permission, Role, get_user_request, list_user_permissions_request};

/// A request of a person who has entered.
pub struct Visit {
    pub shared: Arc<Shared>,
    pub session: Arc<Session>,
    pub look: Look,
    /// The API as this person, in their language.
    pub api: Api,
    pub user: proto::User,
    pub organization_name: String,
    pub roles: BTreeSet<Role>,
    /// The permissions that need no queue, and the decisions on them.
    pub permissions: BTreeMap<Permission, proto::PermissionDecision>,
}

impl Visit {
    /// Return the console's words in the person's language.
    pub fn text(&self) -> &'static Text {
        self.look.text()
    }

    /// Return the id of the person's organization.
    pub fn organization_id(&self) -> String {
        self.session.organization_id.to_string()
    }

    /// Return the person's user id.
    pub fn user_id(&self) -> String {
        self.session.user_id.to_string()
    }

    /// Return whether the person has a permission that needs no queue.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.get(&permission).is_some_and(|decision| decision.allowed())
    }

    /// Refuse a page without this permission.
    pub fn require(&self, permission: Permission) -> Result<(), Failure> {
        if self.may(permission) { Ok(()) } else { Err(Failure::NotPermitted) }
    }

    /// Return whether the person may hold permissions on queues.
    pub fn supervises(&self) -> bool {
        self.roles.contains(&Role::ContactAdmin) || self.roles.contains(&Role::Supervisor)
    }

    /// Return whether the person may change anything, as far as the console goes.
    pub fn may_change(&self) -> bool {
        self.shared.may_change()
    }
}

/// Return the user of a session, or `None` if the session has ended because the user is gone or disabled.
pub async fn present_user(shared: &Shared, session: &Session, api: &Api) -> Result<Option<proto::User>, Failure> {
    let request = proto::GetUserRequest {
        organization_id: session.organization_id.to_string(),
        user: Some(get_user_request::User::UserId(session.user_id.to_string())),
        at_least_revision: String::new(),
    };
    let user = match api.directory().get_user(request).await {
        Ok(answer) => answer.into_inner().user.filter(|user| !user.disabled()),
        Err(status) if [Code::NotFound, Code::Unauthenticated].contains(&status.code()) => None,
        Err(status) => return Err(status.into()),
    };
    if user.is_none() {
        shared.sessions.end(session);
    }
    Ok(user)
}

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let look = Look::of(&parts.headers);
        let session = cookie(&parts.headers, shared.session_cookie())
            .and_then(|cookie| shared.sessions.used(cookie, shared.now()))
            .ok_or_else(to_entrance)?;
        let api = session.api.in_language(look.language);
        let user =
            present_user(shared, &session, &api).await.map_err(Failure::into_response)?.ok_or_else(to_entrance)?;
        let organization_id = session.organization_id.to_string();
        let fail = |status: tonic::Status| Failure::Api(status).into_response();
        let (mut directory, mut permission) = (api.directory(), api.permission());
        let holds = |role| holds(&api, &organization_id, &user.user_id, role);
        let (organization, permissions, admin, supervisor, agent) = tokio::try_join!(
            directory.get_organization(proto::GetOrganizationRequest {
                organization_id: organization_id.clone(),
                at_least_revision: String::new(),
            }),
            permission.list_user_permissions(proto::ListUserPermissionsRequest {
                organization_id: organization_id.clone(),
                user: Some(list_user_permissions_request::User::UserId(user.user_id.clone())),
                ..Default::default()
            }),
            holds(Role::ContactAdmin),
            holds(Role::Supervisor),
            holds(Role::Agent),
        )
        .map_err(fail)?;
        let name = organization.into_inner().organization.and_then(|organization| organization.display_name);
        let permissions = permissions.into_inner().permissions.into_iter();
        let permissions =
            permissions.filter_map(|found| found.decision.clone().map(|decision| (found.permission(), decision)));
        Ok(Self {
            shared: Arc::clone(shared),
            look,
            api,
            organization_name: name.filter(|name| !name.is_empty()).unwrap_or(organization_id),
            roles: [admin, supervisor, agent].into_iter().flatten().collect(),
            permissions: permissions.collect(),
            user,
            session,
        })
    }
}

/// Return the role if the user has it, on any queue or for the organization.
async fn holds(api: &Api, organization_id: &str, user_id: &str, role: Role) -> Result<Option<Role>, tonic::Status> {
    let request = proto::ListRoleAssignmentsRequest {
        organization_id: organization_id.to_owned(),
        user: Some(proto::list_role_assignments_request::User::UserId(user_id.to_owned())),
        role: role.into(),
        page_size: 1,
        ..Default::default()
    };
    let found = api.directory().list_role_assignments(request).await?.into_inner();
    Ok((!found.assignments.is_empty()).then_some(role))
}

fn to_entrance() -> Response {
    Redirect::to("enter").into_response()
}
