//! The frame of every page, and the parts that pages share.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::{
    look::{Look, Theme},
    text::Text,
    visit::Visit,
};
use crate::rpc::proto::Permission;

/// The pages in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Floor,
    Why,
    Permissions,
    Matrix,
    People,
    Queues,
    Audit,
    Me,
}

/// Return a page of a person.
pub fn page(visit: &Visit, place: Place, title: &str, body: Markup) -> Response {
    let text = visit.text();
    let places = [
        (visit.supervises(), Place::Floor, "floor", text.floor),
        (true, Place::Why, "why", text.why),
        (visit.may(Permission::ManagePermissions), Place::Permissions, "permissions", text.permissions),
        (!visit.roles.is_empty(), Place::Matrix, "matrix", text.matrix),
        (visit.may(Permission::AssignRoles), Place::People, "people", text.people),
        (visit.supervises(), Place::Queues, "queues", text.queues),
        (visit.may(Permission::ManagePermissions), Place::Audit, "audit", text.audit),
        (true, Place::Me, "me", text.me),
    ];
    let header = html! {
        nav aria-label=(text.navigation) {
            @for (_, other, path, name) in places.iter().filter(|(is_shown, ..)| *is_shown) {
                a href=(path) aria-current=[(*other == place).then_some("page")] { (name) }
            }
        }
        div.person {
            span { bdi { (visit.user.display_name()) } " · " bdi { (visit.organization_name) } }
            form method="post" action="leave" { button.plain { (text.leave) } }
        }
    };
    document(
        visit.look,
        title,
        header,
        html! {
            @if visit.shared.settings.entrance == super::settings::Entrance::Picker {
                p.banner.warning role="note" { span aria-hidden="true" { "▲ " } (text.nobody_is_authenticated) }
            }
            @if !visit.may_change() {
                p.banner role="note" { span aria-hidden="true" { "■ " } (text.read_only) }
            }
            h1 { (title) }
            (body)
        },
    )
}

/// Return a page of nobody in particular.
pub fn document(look: Look, title: &str, header: Markup, body: Markup) -> Response {
    let theme = (look.theme != Theme::System).then(|| look.theme.as_str());
    let text = look.text();
    let page = html! {
        (DOCTYPE)
        html lang=(look.language.code()) data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – queuegate" }
                link rel="icon" href="icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="console.css";
                script src="console.js" defer {}
            }
            body data-left=((text.time_left)("{}")) data-lost=((text.no_connection_since)("{}"))
                data-ended=(text.session_ended) {
                a.skip href="#main" { (text.skip) }
                header { a.brand href="./" { "queuegate" } (header) }
                main id="main" { (body) }
            }
        }
    };
    Html(page.into_string()).into_response()
}

/// Return a moment, which the script shows in the browser's time zone.
pub fn time(time: Option<&prost_types::Timestamp>) -> Markup {
    html! {
        @if let Some(time) = time {
            @let written = time.to_string();
            time datetime=(written) { (plain_time(&written)) }
        }
    }
}

/// Shorten RFC 3339 for a browser without a script: `2026-11-28 14:30 UTC`.
fn plain_time(written: &str) -> String {
    let minutes = written.get(..16).unwrap_or(written);
    format!("{} UTC", minutes.replace('T', " "))
}

/// Return a name with an extension, or the id if there is no name.
pub fn name(display_name: &str, extension: &str, id: &str) -> Markup {
    html! {
        bdi.name { @if display_name.is_empty() { (id) } @else { (display_name) } }
        @if !extension.is_empty() { " " span.extension { (extension) } }
    }
}

/// Return a text that says that a list is empty, and what to do next.
pub fn empty(text: &str) -> Markup {
    html! { p.empty { (text) } }
}

/// Return the explanation of a refusal, for the place where the button was.
pub fn refusal(text: &Text, explanation: &str) -> Markup {
    html! { p.refusal role="alert" { strong { span aria-hidden="true" { "✕ " } (text.refused) } " " (explanation) } }
}

/// Return a random request id, which makes sending a form twice harmless.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Links to the pages before and after, for lists with page numbers.
pub fn pages(text: &Text, number: usize, count: usize, address: impl Fn(usize) -> String) -> Markup {
    html! {
        @if count > 1 {
            nav.pages aria-label=(text.pages) {
                @if number > 1 { a href=(address(number - 1)) rel="prev" { (text.previous) } }
                span { ((text.page_of)(number, count)) }
                @if number < count { a href=(address(number + 1)) rel="next" { (text.next) } }
            }
        }
    }
}

/// Percent-encode a value for the query of a link.
pub fn encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
