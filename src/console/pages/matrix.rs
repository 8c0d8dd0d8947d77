//! The matrix: the permissions of each role and the setting behind each, or the permissions of one person.

use axum::{extract::Query, response::Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::{find, setting::SWITCHES};
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page},
        text::Text,
        visit::Visit,
        words,
    },
    rpc::proto::{self, Permission, PermissionDescription, PermissionSettings, Role, list_user_permissions_request},
};

/// The roles, in the order of the columns.
const ROLES: [Role; 3] = [Role::ContactAdmin, Role::Supervisor, Role::Agent];

/// The person and the queue; empty: the roles.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    queue: String,
}

pub async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    if visit.roles.is_empty() {
        return Err(Failure::NotPermitted);
    }
    let text = visit.text();
    let catalogue = visit.api.permission().list_permissions(proto::ListPermissionsRequest {}).await?.into_inner();
    let is_admin = visit.may(Permission::AssignRoles);
    let body = html! {
        form.search method="get" action="matrix" {
            @if is_admin {
                label { (text.user) " " input type="text" name="user" value=(asked.user) placeholder=(text.search_people); }
            } @else {
                input type="hidden" name="user" value=(visit.user.user_id);
            }
            label { (text.queue) " " input type="text" name="queue" value=(asked.queue) placeholder=(text.search_people); }
            button { @if is_admin { (text.show) } @else { (text.show_mine) } }
            @if !asked.user.is_empty() { " " a href="matrix" { (text.show_roles) } }
        }
        @if asked.user.is_empty() { (of_roles(&visit, &catalogue.permissions).await?) }
        @else { (of_user(&visit, &asked, &catalogue.permissions, is_admin).await?) }
    };
    Ok(page(&visit, Place::Matrix, text.matrix, body))
}

async fn of_roles(visit: &Visit, catalogue: &[PermissionDescription]) -> Result<Markup, Failure> {
    let text = visit.text();
    let request = proto::GetPermissionSettingsRequest {
        organization_id: visit.organization_id(),
        at_least_revision: String::new(),
    };
    let settings =
        visit.api.permission().get_permission_settings(request).await?.into_inner().settings.unwrap_or_default();
    Ok(html! {
        div.table tabindex="0" { table.matrix {
            thead { tr {
                th scope="col" { (text.permission) }
                @for role in ROLES { th scope="col" { (words::role(text, role)) } }
                th scope="col" { (text.setting) }
            } }
            tbody {
                @for permission in catalogue {
                    tr {
                        th scope="row" { (permission.description) @if permission.queue_scoped { " " span.kind { (text.on_queues) } } }
                        @for role in ROLES { td { (cell(permission, role, &settings, text)) } }
                        td { (governed_by(permission, text)) }
                    }
                }
            }
        } }
    })
}

/// Whether a role has a permission now.
fn cell(permission: &PermissionDescription, role: Role, settings: &PermissionSettings, text: &Text) -> Markup {
    if !permission.roles().any(|other| other == role) {
        return html! { span.absent { span aria-hidden="true" { "– " } (text.no) } };
    }
    let governs = permission.governed_role() == role && !permission.setting.is_empty();
    let is_on = |path: &str| SWITCHES.iter().any(|switch| switch.path == path && switch.is_on(settings));
    let has = !governs || is_on(&permission.setting) || is_on(&permission.included_in_setting);
    html! {
        @if has { span.state.yes { span aria-hidden="true" { "✓ " } (text.yes) } }
        @else { span.state.no { span aria-hidden="true" { "✕ " } (text.off) } }
    }
}

fn governed_by(permission: &PermissionDescription, text: &Text) -> Markup {
    let title = |path: &str| SWITCHES.iter().find(|switch| switch.path == path).map(|switch| (switch.words)(text));
    html! { @if let Some([title, _]) = title(&permission.setting) { (title) } }
}

async fn of_user(
    visit: &Visit,
    asked: &Asked,
    catalogue: &[PermissionDescription],
    is_admin: bool,
) -> Result<Markup, Failure> {
    let (organization_id, text) = (visit.organization_id(), visit.text());
    let users = if asked.user == visit.user.user_id {
        vec![visit.user.clone()]
    } else if is_admin {
        find::users(&visit.api, &organization_id, &asked.user).await?
    } else {
        return Err(Failure::NotPermitted);
    };
    let queues = match asked.queue.as_str() {
        "" => Vec::new(),
        queue => find::queues(&visit.api, &organization_id, queue).await?,
    };
    let again = |user: &str, queue: &str| format!("matrix?user={}&queue={}", encoded(user), encoded(queue));
    if users.is_empty() || queues.is_empty() && !asked.queue.is_empty() {
        return Ok(empty(text.nothing_found));
    }
    if users.len() > 1 {
        let choices = users.iter().map(|user| {
            (again(&user.user_id, &asked.queue), page::name(user.display_name(), user.extension(), &user.user_id))
        });
        return Ok(find::candidates(text, &choices.collect::<Vec<_>>()));
    }
    if queues.len() > 1 {
        let choices = queues.iter().map(|queue| {
            (again(&asked.user, &queue.queue_id), page::name(queue.display_name(), queue.extension(), &queue.queue_id))
        });
        return Ok(find::candidates(text, &choices.collect::<Vec<_>>()));
    }
    let queue_id = queues.first().map(|queue| queue.queue_id.clone());
    let user = users.into_iter().next().unwrap_or_default();
    let request = proto::ListUserPermissionsRequest {
        organization_id,
        user: Some(list_user_permissions_request::User::UserId(user.user_id.clone())),
        queue: queue_id.map(list_user_permissions_request::Queue::QueueId),
        at_least_revision: String::new(),
    };
    let permissions = visit.api.permission().list_user_permissions(request).await?.into_inner().permissions;
    let description = |permission: Permission| {
        let found = catalogue.iter().find(|described| described.permission() == permission);
        found.map_or("", |described| described.description.as_str())
    };
    Ok(html! {
        h2 {
            (page::name(user.display_name(), user.extension(), &user.user_id))
            @if let Some(queue) = queues.first() {
                " · " (page::name(queue.display_name(), queue.extension(), &queue.queue_id))
            }
        }
        @if queues.is_empty() { p.note { (text.name_a_queue) } }
        div.table tabindex="0" { table.matrix {
            thead { tr { th scope="col" { (text.permission) } th scope="col" { (text.allowed) } th scope="col" { (text.reason) } } }
            tbody {
                @for row in &permissions {
                    tr {
                        th scope="row" { (description(row.permission())) }
                        @match &row.decision {
                            None => { td { "–" } td { (text.on_queues) } },
                            Some(decision) => {
                                td {
                                    @if decision.allowed() { span.state.yes { span aria-hidden="true" { "✓ " } (text.yes) } }
                                    @else { span.state.no { span aria-hidden="true" { "✕ " } (text.no) } }
                                }
                                td { bdi { (decision.explanation) } }
                            },
                        }
                    }
                }
            }
        } }
    })
}
