//! The audit log: a list with filters, a file of it, one event, and the verification of the chain.

use axum::{
    Form,
    body::Body,
    extract::Query,
    response::{IntoResponse, Response},
};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use maud::{Markup, html};
use prost_types::Timestamp;
use serde::Deserialize;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::csv;
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page},
        text::Text,
        visit::Visit,
        words,
    },
    rpc::proto::{self, AuditAction, AuditEvent, Permission, list_audit_events_request},
};

/// The events on one page.
const PAGE: i32 = 50;

/// The filters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    user: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    allowed: String,
    /// Days, as `2026-11-28`, in UTC. The last one is included.
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    token: String,
    /// Whether new events appear by themselves.
    #[serde(default)]
    follow: String,
}

/// A head of the chain that was noted elsewhere.
#[derive(Debug, Default, Deserialize)]
pub struct Head {
    #[serde(default)]
    revision: String,
    #[serde(default)]
    hash: String,
}

impl Filter {
    fn request(&self, visit: &Visit) -> Result<proto::ListAuditEventsRequest, Failure> {
        let action = AuditAction::from_str_name(&self.action).unwrap_or(AuditAction::Unspecified);
        let end = day(&self.to)?.map(|start| Timestamp { seconds: start.seconds + 24 * 60 * 60, nanos: 0 });
        Ok(proto::ListAuditEventsRequest {
            organization_id: visit.organization_id(),
            user: named(&self.user).map(list_audit_events_request::User::UserId),
            queue: named(&self.queue).map(list_audit_events_request::Queue::QueueId),
            actor_user_id: self.actor.trim().to_owned(),
            action: action.into(),
            allowed: match self.allowed.as_str() {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
            start_time: day(&self.from)?,
            end_time: end,
            page_size: PAGE,
            page_token: self.token.clone(),
            at_least_revision: String::new(),
        })
    }

    /// Return whether a new event fits the filters.
    pub fn fits(&self, event: &AuditEvent) -> bool {
        let is = |wanted: &str, found: &str| wanted.trim().is_empty() || wanted.trim() == found;
        let allowed = if event.allowed() { "yes" } else { "no" };
        is(&self.user, &event.user_id)
            && is(&self.queue, &event.queue_id)
            && is(&self.actor, &event.actor_user_id)
            && is(&self.action, event.action().as_str_name())
            && is(&self.allowed, allowed)
    }

    fn address(&self, page: &str, token: &str) -> String {
        let Self { user, queue, actor, action, allowed, from, to, token: _, follow: _ } = self;
        let pairs = [
            ("user", user.as_str()),
            ("queue", queue),
            ("actor", actor),
            ("action", action),
            ("allowed", allowed),
            ("from", from),
            ("to", to),
            ("token", token),
        ];
        let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("{page}?{}", pairs.join("&"))
    }
}

fn named(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Read a day; empty is `None`.
fn day(text: &str) -> Result<Option<Timestamp>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    format!("{text}T00:00:00Z").parse().map(Some).map_err(|_| Failure::Malformed)
}

/// Read the number of an audit action from 1.
fn actions() -> impl Iterator<Item = AuditAction> {
    (1..).map_while(|number| AuditAction::try_from(number).ok())
}

pub async fn list(visit: Visit, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let text = visit.text();
    // The newest events are on the first page.
    let is_followed = filter.follow == "yes" && filter.token.is_empty();
    let found = visit.api.audit().list_audit_events(filter.request(&visit)?).await?.into_inner();
    let body = html! {
        form.search role="search" method="get" action="audit" {
            label { (text.user) " " input type="text" name="user" value=(filter.user) placeholder=(text.id); }
            label { (text.queue) " " input type="text" name="queue" value=(filter.queue) placeholder=(text.id); }
            label { (text.acting_user) " " input type="text" name="actor" value=(filter.actor) placeholder=(text.id); }
            label { (text.action) " "
                select name="action" {
                    option value="" { (text.any) }
                    @for action in actions() {
                        option value=(action.as_str_name()) selected[filter.action == action.as_str_name()] { (words::action(text, action)) }
                    }
                }
            }
            label { (text.outcome) " "
                select name="allowed" {
                    option value="" { (text.any) }
                    option value="yes" selected[filter.allowed == "yes"] { (text.done) }
                    option value="no" selected[filter.allowed == "no"] { (text.denied) }
                }
            }
            label { (text.from) " " input type="date" name="from" value=(filter.from); }
            label { (text.to) " " input type="date" name="to" value=(filter.to); }
            button { (text.search) }
        }
        div.bar {
            p {
                @if !is_followed { a href=(format!("{}&follow=yes", filter.address("audit", ""))) { (text.follow) } " · " }
                a href=(filter.address("audit.csv", "")) { (text.download) } " · " a href="verify" { (text.verify) }
            }
            @if is_followed { p.live id="live" role="status" data-live=(text.live) { (text.not_live) } }
        }
        @if found.events.is_empty() && found.next_page_token.is_empty() && !is_followed { (empty(text.no_events)) }
        @else {
            div.table.stack data-stream=[is_followed.then(|| filter.address("audit-live", ""))] { table {
                thead { tr {
                    th scope="col" { (text.time) } th scope="col" { (text.action) } th scope="col" { (text.outcome) }
                    th scope="col" { (text.acting_user) } th scope="col" { (text.user) } th scope="col" { (text.queue) }
                } }
                tbody { @for event in &found.events { (row(event, text)) } }
            } }
            @if !found.next_page_token.is_empty() {
                nav.pages aria-label=(text.pages) { a href=(filter.address("audit", &found.next_page_token)) rel="next" { (text.next) } }
            }
        }
    };
    Ok(page(&visit, Place::Audit, text.audit, body))
}

/// Return an event as a row of the list.
pub fn row(event: &AuditEvent, text: &Text) -> Markup {
    html! {
        tr {
            td data-name=(text.time) { (page::time(event.time.as_ref())) }
            th scope="row" { a href={ "event?revision=" (encoded(&event.revision)) } { (words::action(text, event.action())) } }
            td data-name=(text.outcome) { (outcome(event, text)) }
            td data-name=(text.acting_user) { bdi { (actor(event)) } }
            td data-name=(text.user) { bdi { (either(&event.user_id, &event.user_extension)) } }
            td data-name=(text.queue) { bdi { (either(&event.queue_id, &event.queue_extension)) } }
        }
    }
}

fn outcome(event: &AuditEvent, text: &Text) -> Markup {
    html! {
        @if event.allowed() { span.state.yes { span aria-hidden="true" { "✓ " } (text.done) } }
        @else { span.state.no { span aria-hidden="true" { "✕ " } (text.denied) } }
    }
}

fn actor(event: &AuditEvent) -> &str {
    let actor = either(&event.actor_user_id, &event.actor_extension);
    if actor.is_empty() { &event.caller } else { actor }
}

fn either<'e>(id: &'e str, extension: &'e str) -> &'e str {
    if id.is_empty() { extension } else { id }
}

/// The list as a file, page after page, so that it is never whole in memory.
pub async fn file(visit: Visit, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let mut request = filter.request(&visit)?;
    request.page_size = 1_000;
    let (sender, lines) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let heading = [
            "time",
            "action",
            "allowed",
            "acting_user",
            "user",
            "queue",
            "explanation",
            "justification",
            "revision",
            "hash",
        ];
        let mut text = csv::line(&heading);
        loop {
            match visit.api.audit().list_audit_events(request.clone()).await {
                Ok(page) => {
                    let page = page.into_inner();
                    page.events.iter().for_each(|event| text += &csv_line(event));
                    request.page_token = page.next_page_token;
                }
                Err(status) => {
                    // The download fails, instead of ending as if it were whole.
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            }
            if sender.send(Ok(std::mem::take(&mut text))).await.is_err() || request.page_token.is_empty() {
                return;
            }
        }
    });
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\"")];
    let lines = ReceiverStream::new(lines).map(|line| line.map_err(std::io::Error::other));
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn csv_line(event: &AuditEvent) -> String {
    let time = event.time.map(|time| time.to_string()).unwrap_or_default();
    csv::line(&[
        &time,
        event.action().as_str_name().trim_start_matches("AUDIT_ACTION_"),
        if event.allowed() { "true" } else { "false" },
        actor(event),
        either(&event.user_id, &event.user_extension),
        either(&event.queue_id, &event.queue_extension),
        &event.explanation,
        &event.justification,
        &event.revision,
        &event.hash,
    ])
}

pub async fn head(visit: Visit) -> Result<Response, Failure> {
    verification(&visit, &Head::default(), None).await
}

pub async fn verify(visit: Visit, Form(expected): Form<Head>) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let request = proto::VerifyAuditLogRequest {
        organization_id: visit.organization_id(),
        expected_revision: expected.revision.trim().to_owned(),
        expected_hash: expected.hash.trim().to_owned(),
    };
    let mut progress = visit.api.audit().verify_audit_log(request).await?.into_inner();
    let mut last = proto::VerifyAuditLogResponse::default();
    while let Some(message) = progress.message().await? {
        last = message;
    }
    verification(&visit, &expected, Some(last)).await
}

async fn verification(
    visit: &Visit,
    expected: &Head,
    result: Option<proto::VerifyAuditLogResponse>,
) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let text = visit.text();
    let request =
        proto::GetAuditLogHeadRequest { organization_id: visit.organization_id(), at_least_revision: String::new() };
    let head = visit.api.audit().get_audit_log_head(request).await?.into_inner().head.unwrap_or_default();
    let has_head = !expected.hash.trim().is_empty();
    let body = html! {
        @if let Some(result) = &result {
            @let verification = result.verification.clone().unwrap_or_default();
            @if !verification.valid() {
                p.refusal role="status" {
                    strong { span aria-hidden="true" { "✕ " } (text.chain_broken) } " "
                    @if let Some(fault) = &verification.fault { bdi lang="en" { (fault.description) } }
                }
            } @else if has_head {
                p.done role="status" { strong { span aria-hidden="true" { "✓ " } (text.chain_verified) } }
            } @else {
                p.banner role="status" { span aria-hidden="true" { "■ " } (text.chain_consistent) }
            }
            p.note { ((text.events_verified)(usize::try_from(result.verified_events).unwrap_or_default())) }
        }
        h2 { (text.verify_now) }
        p { (text.verify_meaning) }
        form.attributes method="post" action="verify" {
            label { (text.revision) " " input type="text" name="revision" value=(expected.revision); }
            label { (text.hash) " " input type="text" name="hash" value=(expected.hash); }
            button.primary { (text.verify_now) }
        }
        h2 { (text.present_head) }
        p { (text.note_head) }
        dl.facts {
            dt { (text.revision) } dd { code { (head.revision) } }
            dt { (text.hash) } dd { code { (head.hash) } }
        }
        p { a href="audit" { (text.audit) } }
    };
    Ok(page(visit, Place::Audit, text.verify, body))
}
