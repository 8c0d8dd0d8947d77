//! A person's own page: their sessions, their language, their colours.

use axum::{
    Form,
    extract::Query,
    response::{IntoResponse, Redirect, Response},
};
use maud::html;
use serde::Deserialize;
use tonic::Code;

use super::find;
use crate::{
    console::{
        failure::Failure,
        look::Theme,
        page::{self, Place, empty, page, request_id},
        visit::Visit,
        words,
    },
    domain::language::Language,
    rpc::proto::{self, clear_pin_request, list_sessions_request, set_pin_request, sign_out_request},
};

/// The form that signs a person out of a queue.
#[derive(Debug, Deserialize)]
pub struct SignOut {
    queue: String,
}

/// The form that sets a person's PIN.
#[derive(Deserialize)]
pub struct NewPin {
    pin: String,
}

/// The change that a person has just made.
#[derive(Debug, Deserialize)]
pub struct Shown {
    #[serde(default)]
    pin: String,
}

pub async fn show(visit: Visit, Query(shown): Query<Shown>) -> Result<Response, Failure> {
    let text = visit.text();
    let request = proto::ListSessionsRequest {
        organization_id: visit.organization_id(),
        user: Some(list_sessions_request::User::UserId(visit.user_id())),
        page_size: 1_000,
        ..Default::default()
    };
    let listed = visit.api.queue_access().list_sessions(request).await?.into_inner();
    let (sessions, has_more) = (listed.sessions, !listed.next_page_token.is_empty());
    let ids = sessions.iter().map(|session| session.queue_id.clone()).collect();
    let queues = find::queue_names(&visit.api, &visit.organization_id(), ids).await?;
    let themes = [(Theme::System, text.theme_system), (Theme::Light, text.theme_light), (Theme::Dark, text.theme_dark)];
    let body = html! {
        p { (page::name(visit.user.display_name(), visit.user.extension(), &visit.user.user_id)) }
        p.roles {
            @if visit.roles.is_empty() { (text.no_role) }
            @for role in &visit.roles { span.state { (words::role(text, *role)) } " " }
        }
        h2 { (text.my_sessions) }
        @if sessions.is_empty() { (empty(text.not_signed_in)) }
        @else {
            div.table.stack { table {
                thead { tr {
                    th scope="col" { (text.queue) } th scope="col" { (text.since) } th scope="col" { (text.channel) }
                    th scope="col" { (text.basis) }
                    @if visit.may_change() { th scope="col" { span.unseen { (text.action) } } }
                } }
                tbody {
                    @for session in &sessions {
                        tr {
                            th scope="row" { @if let Some(name) = queues.get(&session.queue_id) { (name) } }
                            td data-name=(text.since) { (page::time(session.sign_in_time.as_ref())) }
                            td data-name=(text.channel) { (words::channel(text, session.channel())) }
                            td data-name=(text.basis) { (words::basis(text, session.basis())) }
                            @if visit.may_change() {
                                td.act { form method="post" action="sign-out" {
                                    input type="hidden" name="queue" value=(session.queue_id);
                                    button aria-label=((text.sign_out_name)(&session.queue_id)) { (text.sign_out) }
                                } }
                            }
                        }
                    }
                }
            } }
        }
        @if has_more { p.more { (text.more_than_listed) } }
        @if visit.may_change() {
            h2 { (text.pin) }
            @match shown.pin.as_str() {
                "set" => { p.done role="status" { (text.pin_is_set) } }
                "cleared" => { p.done role="status" { (text.pin_is_cleared) } }
                _ => {}
            }
            form.choices method="post" action="set-pin" {
                label { (text.pin_hint) " "
                    input type="password" name="pin" inputmode="numeric" pattern="[0-9]{4,10}" maxlength="10"
                        autocomplete="new-password" required;
                }
                button { (text.set_pin) }
            }
            form.choices method="post" action="clear-pin" { button.plain { (text.clear_pin) } }
        }
        h2 { (text.appearance) }
        form.choices method="post" action="choose" {
            label { (text.language) " "
                select name="language" {
                    option value="" selected[!visit.look.is_chosen] { (text.language_of_browser) }
                    @for language in Language::ALL {
                        option value=(language.code()) lang=(language.code())
                            selected[visit.look.is_chosen && *language == visit.look.language] { (language.own_name()) }
                    }
                }
            }
            label { (text.theme) " "
                select name="theme" {
                    @for (theme, name) in themes {
                        option value=(theme.as_str()) selected[theme == visit.look.theme] { (name) }
                    }
                }
            }
            button { (text.save) }
        }
    };
    Ok(page(&visit, Place::Me, text.me, body))
}

pub async fn sign_out(visit: Visit, Form(form): Form<SignOut>) -> Result<Response, Failure> {
    let request = proto::SignOutRequest {
        organization_id: visit.organization_id(),
        user: Some(sign_out_request::User::UserId(visit.user_id())),
        queue: Some(sign_out_request::Queue::QueueId(form.queue)),
        all_queues: false,
        request_id: request_id(),
    };
    visit.api.queue_access().sign_out(request).await?;
    Ok(Redirect::to("me").into_response())
}

pub async fn set_pin(visit: Visit, Form(NewPin { pin }): Form<NewPin>) -> Result<Response, Failure> {
    let request = proto::SetPinRequest {
        organization_id: visit.organization_id(),
        user: Some(set_pin_request::User::UserId(visit.user_id())),
        pin,
        request_id: request_id(),
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().set_pin(request).await?;
    Ok(Redirect::to("me?pin=set").into_response())
}

pub async fn clear_pin(visit: Visit) -> Result<Response, Failure> {
    let request = proto::ClearPinRequest {
        organization_id: visit.organization_id(),
        user: Some(clear_pin_request::User::UserId(visit.user_id())),
        request_id: request_id(),
        actor_user_id: visit.user_id(),
    };
    match visit.api.directory().clear_pin(request).await {
        // There was none.
        Err(status) if status.code() == Code::NotFound => {}
        cleared => drop(cleared?),
    }
    Ok(Redirect::to("me?pin=cleared").into_response())
}
