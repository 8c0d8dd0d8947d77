//! Signing agents in and out on a supervisor's authority.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    floor::{self, Part, Refused},
    reach::reach,
};
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page, refusal, request_id},
        shared::Shared,
        visit::Visit,
    },
    rpc::proto::{self, Permission, get_queue_request, supervisor_sign_in_request, supervisor_sign_out_request},
};

/// The most users that a search shows.
const MOST_FOUND: i32 = 20;

/// The hours that a supervisor may choose for a session. 0: until sign-out.
const HOURS: [u64; 5] = [1, 4, 8, 12, 0];

/// The search for an agent to sign in.
#[derive(Debug, Deserialize)]
pub struct Search {
    queue: String,
    #[serde(default)]
    text: String,
}

/// The form that signs an agent in.
#[derive(Debug, Deserialize)]
pub struct SignIn {
    queue: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    hours: u64,
    #[serde(default)]
    justification: String,
    #[serde(default)]
    request_id: String,
}

/// The form that signs an agent out.
#[derive(Debug, Deserialize)]
pub struct SignOut {
    /// The queue and the user, with a slash between them.
    session: String,
}

pub async fn ask(visit: Visit, Query(search): Query<Search>) -> Result<Response, Failure> {
    let form = SignIn {
        queue: search.queue,
        text: search.text,
        user: String::new(),
        hours: 8,
        justification: String::new(),
        request_id: request_id(),
    };
    asked(&visit, &form, None).await
}

async fn asked(visit: &Visit, form: &SignIn, refused: Option<&str>) -> Result<Response, Failure> {
    let (organization_id, text): (String, _) = (visit.organization_id(), visit.text());
    let wanted = [form.queue.clone()];
    if reach(&visit.api, &organization_id, &visit.user_id(), Permission::SignInAgents, wanted).await?.is_empty() {
        return Err(Failure::NotPermitted);
    }
    let request = proto::GetQueueRequest {
        organization_id: organization_id.clone(),
        queue: Some(get_queue_request::Queue::QueueId(form.queue.clone())),
        at_least_revision: String::new(),
    };
    let queue = visit.api.directory().get_queue(request).await?.into_inner().queue.unwrap_or_default();
    let request = proto::ListUsersRequest {
        organization_id,
        page_size: MOST_FOUND,
        text: form.text.clone(),
        disabled: Some(false),
        ..Default::default()
    };
    let found = visit.api.directory().list_users(request).await?.into_inner();
    let title = (text.sign_in_to)(queue.display_name());
    let body = html! {
        form.search role="search" method="get" action="sign-in-agent" {
            input type="hidden" name="queue" value=(form.queue);
            label { (text.search_people) " " input type="search" name="text" value=(form.text) autofocus; }
            button { (text.search) }
        }
        @if found.users.is_empty() {
            (empty(text.nothing_found))
        } @else {
            form.sign-in method="post" action="sign-in-agent" {
                input type="hidden" name="queue" value=(form.queue);
                input type="hidden" name="text" value=(form.text);
                input type="hidden" name="request_id" value=(form.request_id);
                fieldset {
                    legend { (text.agent) }
                    @for user in &found.users { (choice(user, &form.user)) }
                    @if !found.next_page_token.is_empty() { p.more { (text.more_found) } }
                }
                label { (text.duration) " "
                    select name="hours" {
                        @for hours in HOURS {
                            option value=(hours) selected[hours == form.hours] {
                                @if hours == 0 { (text.until_sign_out) } @else { ((text.hours)(hours)) }
                            }
                        }
                    }
                }
                label { (text.justification) " " input type="text" name="justification" maxlength="1000" value=(form.justification); }
                @if let Some(explanation) = refused { (refusal(text, explanation)) }
                p.buttons {
                    button.primary { (text.sign_in) } " "
                    a href="floor" { (text.cancel) }
                }
            }
        }
    };
    Ok(page(visit, Place::Floor, &title, body))
}

fn choice(user: &proto::User, chosen: &str) -> Markup {
    html! {
        label.choice {
            input type="radio" name="user" value=(user.user_id) required checked[user.user_id == chosen];
            " " (page::name(user.display_name(), user.extension(), &user.user_id))
        }
    }
}

pub async fn sign_in(visit: Visit, Form(form): Form<SignIn>) -> Result<Response, Failure> {
    if form.user.is_empty() {
        return Err(Failure::Malformed);
    }
    let seconds = i64::try_from(form.hours.saturating_mul(3_600)).map_err(|_| Failure::Malformed)?;
    let request = proto::SupervisorSignInRequest {
        organization_id: visit.organization_id(),
        supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId(visit.user_id())),
        user: Some(supervisor_sign_in_request::User::UserId(form.user.clone())),
        queue: Some(supervisor_sign_in_request::Queue::QueueId(form.queue.clone())),
        ttl: (seconds > 0).then_some(prost_types::Duration { seconds, nanos: 0 }),
        justification: form.justification.clone(),
        request_id: form.request_id.clone(),
    };
    let answer = visit.api.queue_access().supervisor_sign_in(request).await?.into_inner();
    let decision = answer.decision.unwrap_or_default();
    if decision.allowed() {
        return Ok(to_floor(&answer.revision, &form.queue));
    }
    // The same form may be sent again after the cause is gone.
    let form = SignIn { request_id: request_id(), ..form };
    asked(&visit, &form, Some(&decision.explanation)).await
}

pub async fn sign_out(
    visit: Visit,
    State(shared): State<Arc<Shared>>,
    Form(form): Form<SignOut>,
) -> Result<Response, Failure> {
    let (queue_id, user_id) = form.session.split_once('/').ok_or(Failure::Malformed)?;
    let request = proto::SupervisorSignOutRequest {
        organization_id: visit.organization_id(),
        supervisor: Some(supervisor_sign_out_request::Supervisor::SupervisorId(visit.user_id())),
        user: Some(supervisor_sign_out_request::User::UserId(user_id.to_owned())),
        queue: Some(supervisor_sign_out_request::Queue::QueueId(queue_id.to_owned())),
        justification: String::new(),
        request_id: request_id(),
    };
    let answer = visit.api.queue_access().supervisor_sign_out(request).await?.into_inner();
    let decision = answer.decision.unwrap_or_default();
    if decision.allowed() {
        return Ok(to_floor(&answer.revision, queue_id));
    }
    let part = Part { text: queue_id.to_owned(), ..Part::default() };
    let (queue_id, user_id) = (queue_id.to_owned(), user_id.to_owned());
    let refused = Refused { queue_id, user_id, explanation: decision.explanation };
    floor::shown(&visit, &shared, &part, Some(refused)).await
}

fn to_floor(revision: &str, queue_id: &str) -> Response {
    Redirect::to(&format!("floor?after={}#queue-{}", encoded(revision), encoded(queue_id))).into_response()
}
