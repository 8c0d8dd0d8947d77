//! People: a list with filters, and one person's licence and roles.

use axum::{
    Form,
    extract::Query,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use prost_types::FieldMask;
use serde::Deserialize;

use super::find;
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page, request_id},
        visit::Visit,
        words,
    },
    rpc::proto::{
        self, Permission, Role, assign_role_request, get_user_request, list_role_assignments_request,
        list_sessions_request, unassign_role_request,
    },
};

/// The people on one page.
const PAGE: i32 = 50;

/// The filters of the list.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    text: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    token: String,
}

/// A person.
#[derive(Debug, Deserialize)]
pub struct Person {
    id: String,
}

/// A change of a person.
#[derive(Debug, Deserialize)]
pub struct Change {
    user: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    license: String,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    end_sessions: Option<String>,
    #[serde(default)]
    request_id: String,
}

/// The names of roles in addresses and forms.
const ROLES: [(&str, Role); 3] =
    [("contact-admin", Role::ContactAdmin), ("supervisor", Role::Supervisor), ("agent", Role::Agent)];

fn role_of(name: &str) -> Option<Role> {
    ROLES.into_iter().find(|(other, _)| *other == name).map(|(_, role)| role)
}

fn name_of(role: Role) -> &'static str {
    ROLES.into_iter().find(|(_, other)| *other == role).map_or("", |(name, _)| name)
}

pub async fn list(visit: Visit, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    visit.require(Permission::AssignRoles)?;
    let text = visit.text();
    let request = proto::ListUsersRequest {
        organization_id: visit.organization_id(),
        page_size: PAGE,
        page_token: filter.token.clone(),
        text: filter.text.clone(),
        role: role_of(&filter.role).unwrap_or(Role::Unspecified).into(),
        ..Default::default()
    };
    let found = visit.api.directory().list_users(request).await?.into_inner();
    let next = format!(
        "people?text={}&role={}&token={}",
        encoded(&filter.text),
        encoded(&filter.role),
        encoded(&found.next_page_token)
    );
    let body = html! {
        form.search role="search" method="get" action="people" {
            label { (text.search_people) " " input type="search" name="text" value=(filter.text); }
            label { (text.role) " "
                select name="role" {
                    option value="" { (text.any) }
                    @for (name, role) in ROLES { option value=(name) selected[filter.role == name] { (words::role(text, role)) } }
                }
            }
            button { (text.search) }
        }
        @if found.users.is_empty() {
            @if filter.text.is_empty() && filter.role.is_empty() { (empty(text.no_people)) } @else { (empty(text.nothing_found)) }
        } @else {
            div.table.stack { table {
                thead { tr {
                    th scope="col" { (text.user) } th scope="col" { (text.id) } th scope="col" { (text.license) } th scope="col" { (text.state) }
                } }
                tbody {
                    @for user in &found.users {
                        tr {
                            th scope="row" { a href={ "person?id=" (encoded(&user.user_id)) } {
                                (page::name(user.display_name(), user.extension(), &user.user_id))
                            } }
                            td data-name=(text.id) { bdi { (user.user_id) } }
                            td data-name=(text.license) { @if user.contact_center_license() { (text.yes) } @else { (text.no) } }
                            td data-name=(text.state) { @if user.disabled() { span.state.no { span aria-hidden="true" { "✕ " } (text.disabled) } } @else { (text.enabled) } }
                        }
                    }
                }
            } }
            @if !found.next_page_token.is_empty() { nav.pages aria-label=(text.pages) { a href=(next) rel="next" { (text.next) } } }
        }
    };
    Ok(page(&visit, Place::People, text.people, body))
}

pub async fn show(visit: Visit, Query(person): Query<Person>) -> Result<Response, Failure> {
    visit.require(Permission::AssignRoles)?;
    shown(&visit, &person.id).await
}

async fn shown(visit: &Visit, user_id: &str) -> Result<Response, Failure> {
    let (organization_id, text) = (visit.organization_id(), visit.text());
    let request = proto::GetUserRequest {
        organization_id: organization_id.clone(),
        user: Some(get_user_request::User::UserId(user_id.to_owned())),
        at_least_revision: String::new(),
    };
    let user = visit.api.directory().get_user(request).await?.into_inner().user.unwrap_or_default();
    let request = proto::ListRoleAssignmentsRequest {
        organization_id: organization_id.clone(),
        user: Some(list_role_assignments_request::User::UserId(user_id.to_owned())),
        page_size: 1_000,
        ..Default::default()
    };
    let listed = visit.api.directory().list_role_assignments(request).await?.into_inner();
    let (assignments, has_more_roles) = (listed.assignments, !listed.next_page_token.is_empty());
    let request = proto::ListSessionsRequest {
        organization_id,
        user: Some(list_sessions_request::User::UserId(user_id.to_owned())),
        page_size: 1_000,
        ..Default::default()
    };
    let listed = visit.api.queue_access().list_sessions(request).await?.into_inner();
    let (sessions, has_more_sessions) = (listed.sessions, !listed.next_page_token.is_empty());
    let ids = assignments.iter().map(|assignment| assignment.queue_id.clone());
    let ids = ids.chain(sessions.iter().map(|session| session.queue_id.clone())).filter(|id| !id.is_empty()).collect();
    let queues = find::queue_names(&visit.api, &visit.organization_id(), ids).await?;
    let body = html! {
        dl.facts {
            dt { (text.id) } dd { bdi { (user.user_id) } }
            dt { (text.extension) } dd { (or_none(user.extension(), text.none)) }
            dt { (text.login) } dd { bdi { (or_none(user.login(), text.none)) } }
            dt { (text.state) } dd { @if user.disabled() { (text.disabled) } @else { (text.enabled) } }
            dt { (text.license) } dd {
                @if user.contact_center_license() { (text.yes) } @else { (text.no) }
                @if visit.may_change() && visit.may(Permission::AssignLicenses) {
                    form.inline method="post" action="license" {
                        input type="hidden" name="user" value=(user.user_id);
                        input type="hidden" name="etag" value=(user.etag);
                        input type="hidden" name="request_id" value=(request_id());
                        input type="hidden" name="license" value={ @if user.contact_center_license() { "no" } @else { "yes" } };
                        button { @if user.contact_center_license() { (text.take_license) } @else { (text.give_license) } }
                    }
                }
            }
        }
        p.note { (text.people_come_from_elsewhere) }
        h2 { (text.roles) }
        @if assignments.is_empty() { (empty(text.no_roles_yet)) }
        @else {
            div.table.stack { table {
                thead { tr {
                    th scope="col" { (text.role) } th scope="col" { (text.queue) }
                    @if visit.may_change() { th scope="col" { span.unseen { (text.action) } } }
                } }
                tbody { @for assignment in &assignments { (assigned(visit, assignment, queues.get(&assignment.queue_id))) } }
            } }
            @if has_more_roles { p.more { (text.more_than_listed) } }
        }
        @if visit.may_change() {
            h3 { (text.give_a_role) }
            @if user.contact_center_license() {
                form.search method="post" action="assign" {
                    input type="hidden" name="user" value=(user.user_id);
                    input type="hidden" name="request_id" value=(request_id());
                    label { (text.role) " "
                        select name="role" { @for (name, role) in ROLES.into_iter().rev() { option value=(name) { (words::role(text, role)) } } }
                    }
                    label { (text.queue) " " input type="text" name="queue" placeholder=(text.empty_for_organization); }
                    button { (text.give) }
                }
            } @else { p.note { (text.license_first) } }
        }
        h2 { (text.sessions) }
        @if sessions.is_empty() { p.note { (text.nobody_signed_in_here) } }
        ul { @for session in &sessions { li { @if let Some(name) = queues.get(&session.queue_id) { (name) } " – " (page::time(session.sign_in_time.as_ref())) } } }
        @if has_more_sessions { p.more { (text.more_than_listed) } }
        p {
            a href={ "matrix?user=" (encoded(&user.user_id)) } { (text.permissions_of_person) } " · "
            a href={ "audit?user=" (encoded(&user.user_id)) } { (text.audit) }
        }
    };
    let title = if user.display_name().is_empty() { &user.user_id } else { user.display_name() };
    Ok(page(visit, Place::People, title, body))
}

fn or_none<'t>(value: &'t str, none: &'t str) -> &'t str {
    if value.is_empty() { none } else { value }
}

fn assigned(visit: &Visit, assignment: &proto::RoleAssignment, queue: Option<&Markup>) -> Markup {
    let text = visit.text();
    html! {
        tr {
            th scope="row" { (words::role(text, assignment.role())) }
            td data-name=(text.queue) { @if let Some(queue) = queue { (queue) } @else { (text.whole_organization) } }
            @if visit.may_change() {
                td.act {
                    form.inline method="post" action="unassign" {
                        input type="hidden" name="user" value=(assignment.user_id);
                        input type="hidden" name="role" value=(name_of(assignment.role()));
                        input type="hidden" name="queue" value=(assignment.queue_id);
                        input type="hidden" name="request_id" value=(request_id());
                        @if assignment.role() == Role::Agent && !assignment.queue_id.is_empty() {
                            label { input type="checkbox" name="end_sessions"; " " (text.and_sign_out) }
                        }
                        button.danger { (text.take) }
                    }
                }
            }
        }
    }
}

pub async fn license(visit: Visit, Form(change): Form<Change>) -> Result<Response, Failure> {
    let user = proto::User {
        user_id: change.user.clone(),
        contact_center_license: Some(change.license == "yes"),
        etag: change.etag,
        ..Default::default()
    };
    let request = proto::UpdateUserRequest {
        organization_id: visit.organization_id(),
        user: Some(user),
        update_mask: Some(FieldMask { paths: vec!["contact_center_license".to_owned()] }),
        request_id: change.request_id,
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().update_user(request).await?;
    Ok(to_person(&change.user))
}

pub async fn assign(visit: Visit, Form(change): Form<Change>) -> Result<Response, Failure> {
    let typed = change.queue.trim();
    let queue_id = if typed.is_empty() {
        None
    } else {
        let mut found = find::queues(&visit.api, &visit.organization_id(), typed).await?;
        // Several queues whose names begin so: the person must say more.
        if found.len() != 1 {
            return Err(Failure::NotFound);
        }
        found.pop().map(|queue| queue.queue_id)
    };
    let request = proto::AssignRoleRequest {
        penalty: None,
        organization_id: visit.organization_id(),
        user: Some(assign_role_request::User::UserId(change.user.clone())),
        role: role_of(&change.role).ok_or(Failure::Malformed)?.into(),
        queue: queue_id.map(assign_role_request::Queue::QueueId),
        request_id: change.request_id,
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().assign_role(request).await?;
    Ok(to_person(&change.user))
}

pub async fn unassign(visit: Visit, Form(change): Form<Change>) -> Result<Response, Failure> {
    let request = proto::UnassignRoleRequest {
        organization_id: visit.organization_id(),
        user: Some(unassign_role_request::User::UserId(change.user.clone())),
        role: role_of(&change.role).ok_or(Failure::Malformed)?.into(),
        queue: (!change.queue.is_empty()).then_some(unassign_role_request::Queue::QueueId(change.queue)),
        end_sessions: change.end_sessions.is_some(),
        request_id: change.request_id,
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().unassign_role(request).await?;
    Ok(to_person(&change.user))
}

fn to_person(user_id: &str) -> Response {
    Redirect::to(&format!("person?id={}", encoded(user_id))).into_response()
}
