//! The permission settings: shown, previewed, saved. A change that somebody else made meanwhile is shown beside one's own.

use std::collections::{BTreeSet, HashMap};

use axum::{Form, response::Response};
use maud::{Markup, html};
use prost_types::Timestamp;
use tonic::Code;

use super::{
    setting::{Group, SWITCHES, Switch},
    why::unassigned,
};
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, page, request_id},
        text::Text,
        visit::Visit,
    },
    rpc::proto::{
        self, AuditAction, Basis, OrganizationSettings, Permission, PermissionSettings, PermissionSettingsImpact,
        UnassignedQueueSignIn,
    },
};

/// The days of sign-ins that the preview counts.
const DAYS: i64 = 30;

/// The most pages of sign-ins that the preview reads.
const MOST_PAGES: usize = 20;

/// The most users and sessions that the preview lists.
const LISTED: i32 = 50;

pub async fn show(visit: Visit) -> Result<Response, Failure> {
    let settings = settings(&visit).await?;
    Ok(shown(&visit, &settings, html! {}))
}

/// Return the page with the form.
fn shown(visit: &Visit, settings: &PermissionSettings, notice: Markup) -> Response {
    let text = visit.text();
    let body = html! {
        (notice)
        form method="post" action="permissions-preview" {
            input type="hidden" name="etag" value=(settings.etag);
            fieldset disabled[!visit.may_change()] {
                legend { (text.organization) }
                p { strong { (text.unassigned) } }
                @for (value, name, meaning) in [
                    ("allowed", text.unassigned_allowed, text.unassigned_allowed_meaning),
                    ("restricted", text.unassigned_restricted, text.unassigned_restricted_meaning),
                ] {
                    label.choice {
                        input type="radio" name="unassigned" value=(value)
                            checked[(value == "restricted") == is_restricted(settings)];
                        " " (name) small { (meaning) }
                    }
                }
                p.note { (text.default) ": " (text.unassigned_allowed) }
            }
            @for (group, name) in [(Group::Supervisor, text.supervisor), (Group::Agent, text.agent)] {
                fieldset disabled[!visit.may_change()] {
                    legend { (name) }
                    @for switch in SWITCHES.iter().filter(|switch| switch.group == group) { (choice(switch, settings, text)) }
                }
            }
            @if visit.may_change() { p.buttons { button.primary { (text.preview) } } }
        }
    };
    page(visit, Place::Permissions, text.permissions, body)
}

fn choice(switch: &Switch, settings: &PermissionSettings, text: &Text) -> Markup {
    let [title, meaning] = (switch.words)(text);
    html! {
        label.choice.setting {
            // A locked switch isn't sent, and stays on.
            input type="checkbox" name=(switch.path) checked[switch.is_on(settings)] disabled[switch.is_locked];
            " " (title)
            small {
                (meaning) " " (text.default) ": " @if switch.default { (text.on) } @else { (text.off) } "."
                @if switch.is_locked { " " (text.always_on) }
            }
        }
    }
}

pub async fn preview(visit: Visit, Form(form): Form<HashMap<String, String>>) -> Result<Response, Failure> {
    let text = visit.text();
    let (present, wanted) = (settings(&visit).await?, wanted(&form));
    if wanted.etag != present.etag {
        return Ok(stale(&visit, &present, &wanted));
    }
    let request = proto::PreviewPermissionSettingsRequest {
        organization_id: visit.organization_id(),
        settings: Some(wanted.clone()),
        page_size: LISTED,
        ..Default::default()
    };
    let answer = match visit.api.permission().preview_permission_settings(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::Aborted => return Ok(stale(&visit, &settings(&visit).await?, &wanted)),
        Err(status) => return Err(status.into()),
    };
    let impact = answer.impact.unwrap_or_default();
    let becomes_restricted = is_restricted(&wanted) && !is_restricted(&present);
    let counted = if becomes_restricted { Some(unassigned_sign_ins(&visit).await?) } else { None };
    let changes = changes(&present, &wanted, text);
    let names = permission_names(&visit).await?;
    let body = html! {
        @if changes.is_empty() { (page::empty(text.nothing_changes)) }
        @else {
            h2 { (text.changes) }
            div.table tabindex="0" { table {
                thead { tr { th scope="col" { (text.setting) } th scope="col" { (text.now) } th scope="col" { (text.then) } } }
                tbody { @for [name, now, then] in &changes { tr { th scope="row" { (name) } td { (now) } td { strong { (then) } } } } }
            } }
            h2 { (text.impact) }
            @if let Some((users, is_all)) = counted {
                p.note {
                    @if is_all { ((text.unassigned_users)(users)) } @else { ((text.unassigned_users_at_least)(users)) }
                }
            }
            (shown_impact(&impact, &names, text, !answer.next_page_token.is_empty()))
        }
        form method="post" action="permissions" {
            (hidden(&wanted))
            input type="hidden" name="request_id" value=(request_id());
            p.buttons {
                @if !changes.is_empty() { button.primary { (text.save) } " " }
                a href="permissions" { (text.cancel) }
            }
        }
    };
    Ok(page(&visit, Place::Permissions, text.preview, body))
}

pub async fn save(visit: Visit, Form(form): Form<HashMap<String, String>>) -> Result<Response, Failure> {
    let wanted = wanted(&form);
    let request = proto::UpdatePermissionSettingsRequest {
        organization_id: visit.organization_id(),
        settings: Some(wanted.clone()),
        update_mask: None,
        request_id: form.get("request_id").cloned().unwrap_or_default(),
        validate_only: false,
        actor_user_id: visit.user_id(),
    };
    match visit.api.permission().update_permission_settings(request).await {
        Ok(answer) => {
            let saved = answer.into_inner().settings.unwrap_or_default();
            let notice = html! { p.done role="status" { span aria-hidden="true" { "✓ " } (visit.text().saved) } };
            Ok(shown(&visit, &saved, notice))
        }
        Err(status) if status.code() == Code::Aborted => Ok(stale(&visit, &settings(&visit).await?, &wanted)),
        Err(status) => Err(status.into()),
    }
}

/// Show one's own version beside that of somebody else.
fn stale(visit: &Visit, present: &PermissionSettings, wanted: &PermissionSettings) -> Response {
    let text = visit.text();
    let mine = PermissionSettings { etag: present.etag.clone(), ..wanted.clone() };
    let mut response = page(
        visit,
        Place::Permissions,
        text.conflict,
        html! {
            p { (text.stale) }
            div.table tabindex="0" { table {
                thead { tr { th scope="col" { (text.setting) } th scope="col" { (text.theirs) } th scope="col" { (text.mine) } } }
                tbody {
                    @for [name, theirs, mine] in changes(present, wanted, text) {
                        tr { th scope="row" { (name) } td { (theirs) } td { (mine) } }
                    }
                }
            } }
            form method="post" action="permissions-preview" {
                (hidden(&mine))
                p.buttons {
                    button.primary { (text.preview_mine) } " "
                    a href="permissions" { (text.keep_theirs) }
                }
            }
        },
    );
    *response.status_mut() = http::StatusCode::CONFLICT;
    response
}

fn shown_impact(
    impact: &PermissionSettingsImpact,
    names: &HashMap<Permission, String>,
    text: &Text,
    has_more: bool,
) -> Markup {
    let list = |permissions: &mut dyn Iterator<Item = Permission>| {
        let names: Vec<&str> =
            permissions.filter_map(|permission| names.get(&permission)).map(String::as_str).collect();
        names.join(", ")
    };
    html! {
        @if impact.users.is_empty() && impact.sessions.is_empty() { p { (text.no_impact) } }
        @if impact.sessions_becoming_retained > 0 { p { strong { ((text.becoming_retained)(count(impact.sessions_becoming_retained))) } } }
        @if impact.sessions_ceasing_to_be_retained > 0 { p { ((text.ceasing_retained)(count(impact.sessions_ceasing_to_be_retained))) } }
        @if !impact.permissions.is_empty() {
            div.table tabindex="0" { table {
                thead { tr {
                    th scope="col" { (text.permission) } th.number scope="col" { (text.gain) } th.number scope="col" { (text.lose) }
                } }
                tbody { @for row in &impact.permissions { tr {
                    th scope="row" { (names.get(&row.permission()).map_or("", String::as_str)) }
                    td.number { (row.users_gaining) } td.number { (row.users_losing) }
                } } }
            } }
        }
        @if !impact.users.is_empty() {
            h3 { (text.people) }
            div.table tabindex="0" { table {
                thead { tr {
                    th scope="col" { (text.user) } th scope="col" { (text.gains) } th scope="col" { (text.loses) }
                    th.number scope="col" { (text.queues_in_reach) }
                } }
                tbody { @for user in &impact.users { tr {
                    th scope="row" { (page::name(&user.display_name, &user.user_extension, &user.user_id)) }
                    td { (list(&mut user.gained_permissions())) } td { (list(&mut user.lost_permissions())) }
                    td.number { @if user.gained_queues != user.lost_queues { (format!("{:+}", user.gained_queues - user.lost_queues)) } }
                } } }
            } }
        }
        @if !impact.sessions.is_empty() {
            h3 { (text.sessions) }
            div.table tabindex="0" { table {
                thead { tr { th scope="col" { (text.user) } th scope="col" { (text.queue) } th scope="col" { (text.since) } th scope="col" { (text.then) } } }
                tbody { @for row in &impact.sessions { @if let Some(session) = &row.session { tr {
                    th scope="row" { bdi { (session.user_id) } } td { bdi { (session.queue_id) } }
                    td { (page::time(session.sign_in_time.as_ref())) }
                    td { @if row.retained { span.state.retained { span aria-hidden="true" { "▲ " } (text.retained) } } @else { (text.not_retained) } }
                } } } }
            } }
        }
        @if has_more { p.more { (text.more_impact) } }
    }
}

fn count(count: i64) -> usize {
    usize::try_from(count).unwrap_or_default()
}

/// The phrase of each permission, in the person's language.
pub async fn permission_names(visit: &Visit) -> Result<HashMap<Permission, String>, Failure> {
    let answer = visit.api.permission().list_permissions(proto::ListPermissionsRequest {}).await?.into_inner();
    let names = answer.permissions.into_iter();
    Ok(names.map(|found| (found.permission(), found.description)).collect())
}

async fn settings(visit: &Visit) -> Result<PermissionSettings, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let request = proto::GetPermissionSettingsRequest {
        organization_id: visit.organization_id(),
        at_least_revision: String::new(),
    };
    let answer = visit.api.permission().get_permission_settings(request).await?.into_inner();
    Ok(answer.settings.unwrap_or_default())
}

/// Read the form: a switch that is off isn't sent.
fn wanted(form: &HashMap<String, String>) -> PermissionSettings {
    let is_restricted = form.get("unassigned").is_some_and(|value| value == "restricted");
    let value = if is_restricted { UnassignedQueueSignIn::Restricted } else { UnassignedQueueSignIn::Allowed };
    let mut settings = PermissionSettings {
        etag: form.get("etag").cloned().unwrap_or_default(),
        organization: Some(OrganizationSettings { unassigned_queue_sign_in: value.into() }),
        ..Default::default()
    };
    for switch in &SWITCHES {
        switch.set(&mut settings, switch.is_locked || form.contains_key(switch.path));
    }
    settings
}

fn hidden(settings: &PermissionSettings) -> Markup {
    html! {
        input type="hidden" name="etag" value=(settings.etag);
        input type="hidden" name="unassigned" value={ @if is_restricted(settings) { "restricted" } @else { "allowed" } };
        @for switch in SWITCHES.iter().filter(|switch| switch.is_on(settings)) {
            input type="hidden" name=(switch.path) value="on";
        }
    }
}

fn is_restricted(settings: &PermissionSettings) -> bool {
    let organization = settings.organization.as_ref();
    organization.is_some_and(|settings| settings.unassigned_queue_sign_in() == UnassignedQueueSignIn::Restricted)
}

/// The settings that differ: the name, and both values.
fn changes(one: &PermissionSettings, other: &PermissionSettings, text: &Text) -> Vec<[&'static str; 3]> {
    let word = |restricted: bool| {
        let value = if restricted { UnassignedQueueSignIn::Restricted } else { UnassignedQueueSignIn::Allowed };
        unassigned(text, value)
    };
    let on_off = |is_on: bool| if is_on { text.on } else { text.off };
    let mut changes = Vec::new();
    if is_restricted(one) != is_restricted(other) {
        changes.push([text.unassigned, word(is_restricted(one)), word(is_restricted(other))]);
    }
    for switch in SWITCHES.iter().filter(|switch| switch.is_on(one) != switch.is_on(other)) {
        let [title, _] = (switch.words)(text);
        changes.push([title, on_off(switch.is_on(one)), on_off(switch.is_on(other))]);
    }
    changes
}

/// Count the users who signed in to queues that weren't theirs, and return whether all events were read.
async fn unassigned_sign_ins(visit: &Visit) -> Result<(usize, bool), Failure> {
    let start = visit.shared.now().unix_ms() / 1_000 - DAYS * 24 * 60 * 60;
    let mut request = proto::ListAuditEventsRequest {
        organization_id: visit.organization_id(),
        action: AuditAction::SignIn.into(),
        allowed: Some(true),
        start_time: Some(Timestamp { seconds: start, nanos: 0 }),
        page_size: 1_000,
        ..Default::default()
    };
    let mut users = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        let page = visit.api.audit().list_audit_events(request.clone()).await?.into_inner();
        users.extend(page.events.into_iter().filter_map(|event| {
            let session = event.after?.session?;
            (session.basis() == Basis::UnassignedAllowed).then_some(session.user_id)
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok((users.len(), true));
        }
    }
    Ok((users.len(), false))
}
