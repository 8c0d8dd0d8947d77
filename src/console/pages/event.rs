//! One event of the audit log, with the values that it changed, before and after.

use std::collections::BTreeSet;

use axum::{extract::Query, response::Response};
use maud::html;
use serde::Deserialize;

use super::{setting::SWITCHES, why::unassigned};
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, page},
        text::Text,
        visit::Visit,
        words,
    },
    domain::ids::{Revision, Sequence},
    rpc::proto::{self, AuditEvent, AuditState, Permission},
};

/// An event's revision.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    revision: String,
}

pub async fn show(visit: Visit, Query(chosen): Query<Chosen>) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let text = visit.text();
    let event = event(&visit, &chosen.revision).await?;
    let empty = AuditState::default();
    // A refused write made no state, but would have made one.
    let (after, name_of_after) = match (&event.after, &event.attempted) {
        (Some(after), _) => (after, text.after),
        (None, Some(attempted)) => (attempted, text.attempted),
        (None, None) => (&empty, text.after),
    };
    let before = event.before.as_ref().unwrap_or(&empty);
    let (before, after) = (values(before, text), values(after, text));
    let mut names: Vec<&'static str> = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, value) in before.iter().chain(&after) {
        if !value.is_empty() && seen.insert(*name) {
            names.push(name);
        }
    }
    let value = |values: &[(&'static str, String)], name: &str| {
        values.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let body = html! {
        dl.facts {
            dt { (text.time) } dd { (page::time(event.time.as_ref())) }
            dt { (text.outcome) } dd {
                @if event.allowed() { span.state.yes { span aria-hidden="true" { "✓ " } (text.done) } }
                @else { span.state.no { span aria-hidden="true" { "✕ " } (text.denied) } }
            }
            @for (name, value) in [
                (text.acting_user, &event.actor_user_id), (text.caller, &event.caller), (text.user, &event.user_id),
                (text.queue, &event.queue_id), (text.extension, &event.user_extension),
                (text.justification_short, &event.justification), (text.device, &event.device),
            ] {
                @if !value.is_empty() { dt { (name) } dd { bdi { (value) } } }
            }
            @if !event.explanation.is_empty() { dt { (text.reason) } dd { bdi lang="en" { (event.explanation) } } }
            dt { (text.revision) } dd { code { (event.revision) } }
            dt { (text.hash) } dd { code { (event.hash) } }
        }
        @if !names.is_empty() {
            h2 { (text.changes) }
            div.table tabindex="0" { table {
                thead { tr { th scope="col" { (text.name) } th scope="col" { (text.before) } th scope="col" { (name_of_after) } } }
                tbody {
                    @for name in names {
                        @let (was, is) = (value(&before, name), value(&after, name));
                        tr {
                            th scope="row" { (name) }
                            td { bdi { (was) } }
                            td { @if was == is { bdi { (is) } } @else { strong { bdi { (is) } } } }
                        }
                    }
                }
            } }
        }
        p { a href="audit" { (text.audit) } }
    };
    Ok(page(&visit, Place::Audit, words::action(text, event.action()), body))
}

/// Read the event at a revision: the first one after the revision before it.
async fn event(visit: &Visit, revision: &str) -> Result<AuditEvent, Failure> {
    let wanted: Revision = revision.parse().map_err(|_| Failure::Malformed)?;
    let before = Sequence(wanted.sequence.0.checked_sub(1).ok_or(Failure::NotFound)?);
    let request = proto::WatchAuditEventsRequest {
        organization_id: visit.organization_id(),
        start_revision: Revision { sequence: before, ..wanted }.to_string(),
    };
    let mut events = visit.api.audit().watch_audit_events(request).await?.into_inner();
    while let Some(message) = events.message().await? {
        let reached: Revision = message.revision.parse().map_err(|_| Failure::NotFound)?;
        match message.event {
            Some(event) if event.revision == revision => return Ok(event),
            Some(_) => return Err(Failure::NotFound),
            None if reached.sequence >= wanted.sequence => return Err(Failure::NotFound),
            None => {}
        }
    }
    Err(Failure::NotFound)
}

/// The values of a state, each with its name.
fn values(state: &AuditState, text: &Text) -> Vec<(&'static str, String)> {
    let yes_no = |yes: bool| if yes { text.yes } else { text.no }.to_owned();
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let AuditState { organization, settings, user, queue, assignment, session } = state;
    let mut values = Vec::new();
    if let Some(organization) = organization {
        values.push((text.organization, organization.display_name().to_owned()));
    }
    if let Some(settings) = settings {
        let value = settings.organization.unwrap_or_default().unassigned_queue_sign_in();
        values.push((text.unassigned, unassigned(text, value).to_owned()));
        for switch in &SWITCHES {
            let [title, _] = (switch.words)(text);
            values.push((title, if switch.is_on(settings) { text.on } else { text.off }.to_owned()));
        }
    }
    if let Some(user) = user {
        values.extend([
            (text.name, user.display_name().to_owned()),
            (text.extension, user.extension().to_owned()),
            (text.login, user.login().to_owned()),
            (text.license, yes_no(user.contact_center_license())),
            (text.disabled, yes_no(user.disabled())),
        ]);
    }
    if let Some(queue) = queue {
        values.extend([
            (text.name, queue.display_name().to_owned()),
            (text.extension, queue.extension().to_owned()),
            (text.kind, words::kind(text, queue.kind()).to_owned()),
        ]);
    }
    if let Some(assignment) = assignment {
        values.push((text.user, assignment.user_id.clone()));
        values.push((text.role, words::role(text, assignment.role()).to_owned()));
        let queue = &assignment.queue_id;
        values.push((text.queue, if queue.is_empty() { text.whole_organization.to_owned() } else { queue.clone() }));
    }
    if let Some(session) = session {
        values.extend([
            (text.channel, words::channel(text, session.channel()).to_owned()),
            (text.basis, words::basis(text, session.basis()).to_owned()),
            (text.since, time(session.sign_in_time)),
            (text.expires, time(session.expire_time)),
            (text.device, session.device.clone()),
            (text.ended, time(session.end_time)),
            (text.end_reason, words::end_reason(text, session.end_reason()).to_owned()),
        ]);
    }
    values
}
