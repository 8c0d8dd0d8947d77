//! The ways in and out: a person from the directory on a machine of one's own, or a one-time link.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    console::{
        failure::Failure,
        look::{LANGUAGE_COOKIE, Look, THEME_COOKIE, Theme, language},
        page::{self, document, empty, encoded},
        settings::Entrance,
        shared::Shared,
        visit::Visit,
        words,
    },
    domain::ids::{OrganizationId, UserId},
    rpc::proto::{self, Role, get_user_request},
};

/// The most people that a search shows.
const MOST_FOUND: i32 = 30;

/// A year, in seconds.
const A_YEAR: u32 = 365 * 24 * 60 * 60;

/// The content of the entrance.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    link: String,
    #[serde(default)]
    organization: String,
    #[serde(default)]
    text: String,
}

/// A person who enters, by a link or by choice.
#[derive(Debug, Deserialize)]
pub struct Enter {
    #[serde(default)]
    link: String,
    #[serde(default)]
    organization: String,
    #[serde(default)]
    user: String,
}

/// A person's choices for all pages.
#[derive(Debug, Deserialize)]
pub struct Choices {
    language: String,
    theme: String,
}

pub async fn ask(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let look = Look::of(&headers);
    let text = look.text();
    if !asked.link.is_empty() {
        let Some((organization_id, user_id)) = shared.links.look(&asked.link, shared.now()) else {
            return Ok(document(look, text.enter, html! {}, html! { h1 { (text.enter) } (empty(text.link_is_used)) }));
        };
        let user = user(&shared, &organization_id, &user_id).await?;
        let body = html! {
            h1 { (text.enter) }
            form method="post" action="enter" {
                input type="hidden" name="link" value=(asked.link);
                p { (page::name(user.display_name(), user.extension(), &user.user_id)) " · " bdi { (organization_id) } }
                button.primary { (text.enter) }
            }
        };
        return Ok(document(look, text.enter, html! {}, body));
    }
    let body = match shared.settings.entrance {
        Entrance::Links => {
            html! { h1 { (text.enter) } (empty(text.ask_for_link)) p { code { "queuegate console link USER" } } }
        }
        Entrance::Picker => picker(&shared, look, &asked).await?,
    };
    Ok(document(look, text.enter, html! {}, body))
}

/// The people of the directory. Administrators and supervisors come first.
async fn picker(shared: &Shared, look: Look, asked: &Asked) -> Result<Markup, Failure> {
    let text = look.text();
    let request = proto::ListOrganizationsRequest { page_size: 1_000, ..Default::default() };
    let listed = shared.directory.directory().list_organizations(request).await?.into_inner();
    let (organizations, has_more) = (listed.organizations, !listed.next_page_token.is_empty());
    let chosen = organizations.iter().find(|organization| organization.organization_id == asked.organization);
    let Some(organization) = chosen.or(organizations.first().filter(|_| organizations.len() == 1)) else {
        return Ok(html! {
            (banner(text.nobody_is_authenticated))
            h1 { (text.choose_organization) }
            @if organizations.is_empty() { (empty(text.no_organizations)) }
            ul.people {
                @for organization in &organizations {
                    li { a href={ "enter?organization=" (encoded(&organization.organization_id)) } {
                        (page::name(organization.display_name(), "", &organization.organization_id))
                    } }
                }
            }
            @if has_more { p.more { (text.more_than_listed) } }
        });
    };
    let id = &organization.organization_id;
    let mut people: Vec<(Option<Role>, proto::User)> = Vec::new();
    let mut has_more = false;
    let roles: &[Option<Role>] = if asked.text.is_empty() {
        &[Some(Role::ContactAdmin), Some(Role::Supervisor), Some(Role::Agent)]
    } else {
        &[None]
    };
    for role in roles {
        let request = proto::ListUsersRequest {
            organization_id: id.clone(),
            page_size: MOST_FOUND,
            text: asked.text.clone(),
            role: role.unwrap_or(Role::Unspecified).into(),
            disabled: Some(false),
            ..Default::default()
        };
        let found = shared.directory.directory().list_users(request).await?.into_inner();
        has_more |= !found.next_page_token.is_empty();
        let is_new = |user: &proto::User, people: &[(Option<Role>, proto::User)]| {
            people.iter().all(|(_, other)| other.user_id != user.user_id)
        };
        for user in found.users {
            if is_new(&user, &people) {
                people.push((*role, user));
            }
        }
    }
    Ok(html! {
        (banner(text.nobody_is_authenticated))
        h1 { (text.choose_person) }
        form.search role="search" method="get" action="enter" {
            input type="hidden" name="organization" value=(id);
            label { (text.search_people) " " input type="search" name="text" value=(asked.text); }
            button { (text.search) }
        }
        @if people.is_empty() { (empty(text.nothing_found)) }
        ul.people {
            @for (role, user) in &people {
                li {
                    form method="post" action="enter" {
                        input type="hidden" name="organization" value=(id);
                        input type="hidden" name="user" value=(user.user_id);
                        button { (page::name(user.display_name(), user.extension(), &user.user_id)) }
                    }
                    @if let Some(role) = role { span.kind { (words::role(text, *role)) } }
                }
            }
        }
        @if has_more { p.more { (text.more_found) } }
    })
}

fn banner(text: &str) -> Markup {
    html! { p.banner.warning role="note" { span aria-hidden="true" { "▲ " } (text) } }
}

pub async fn enter(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<Enter>,
) -> Result<Response, Failure> {
    let text = Look::of(&headers).text();
    let person = if form.link.is_empty() {
        if shared.settings.entrance != Entrance::Picker {
            return Err(Failure::NotPermitted);
        }
        let organization_id = form.organization.parse().map_err(|_| Failure::Malformed)?;
        Some((organization_id, form.user.parse().map_err(|_| Failure::Malformed)?))
    } else {
        shared.links.redeem(&form.link, shared.now())
    };
    let Some((organization_id, user_id)) = person else {
        let body = html! { h1 { (text.enter) } (empty(text.link_is_used)) };
        return Ok(document(Look::of(&headers), text.enter, html! {}, body));
    };
    if user(&shared, &organization_id, &user_id).await?.disabled() {
        return Err(Failure::NotPermitted);
    }
    let begun = shared.sessions.begin(&shared.connect, organization_id, user_id, shared.now());
    let secret = begun.map_err(|error| Failure::Api(tonic::Status::internal(error.to_string())))?;
    // As long as a session may last.
    let cookie = shared.set_cookie(shared.session_cookie(), secret.reveal(), 12 * 60 * 60);
    Ok(with_cookies(Redirect::to("floor").into_response(), [cookie]))
}

async fn user(shared: &Shared, organization_id: &OrganizationId, user_id: &UserId) -> Result<proto::User, Failure> {
    let request = proto::GetUserRequest {
        organization_id: organization_id.to_string(),
        user: Some(get_user_request::User::UserId(user_id.to_string())),
        at_least_revision: String::new(),
    };
    Ok(shared.directory.directory().get_user(request).await?.into_inner().user.unwrap_or_default())
}

pub async fn leave(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    shared.sessions.end(&visit.session);
    let cookie = shared.set_cookie(shared.session_cookie(), "", 0);
    with_cookies(Redirect::to("enter").into_response(), [cookie])
}

/// Keep a person's language and colours in cookies.
pub async fn choose(State(shared): State<Arc<Shared>>, Form(form): Form<Choices>) -> Result<Response, Failure> {
    let theme = Theme::of(&form.theme).ok_or(Failure::Malformed)?;
    // Without a choice the browser's language counts.
    let language_cookie = match form.language.as_str() {
        "" => shared.set_cookie(LANGUAGE_COOKIE, "", 0),
        code => {
            let language = language(code).ok_or(Failure::Malformed)?;
            shared.set_cookie(LANGUAGE_COOKIE, language.code(), A_YEAR)
        }
    };
    let theme_cookie = shared.set_cookie(THEME_COOKIE, theme.as_str(), A_YEAR);
    Ok(with_cookies(Redirect::to("me").into_response(), [language_cookie, theme_cookie]))
}

fn with_cookies<const N: usize>(mut response: Response, cookies: [String; N]) -> Response {
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    response
}
