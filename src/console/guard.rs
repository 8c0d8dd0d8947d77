//! The guard in front of every page: the host, the origin of changes, the headers of every response.
//!
//! INVARIANT: no handler sees a request whose host isn't the console's, or a change that came from another site.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use maud::html;
use tonic::Code;
use tonic_types::StatusExt;

use super::{failure::Failure, look::Look, page::document, shared::Shared};

/// Sent with every response. `same-origin` and not `no-referrer`, with which browsers hide the origin of a form.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The paths that a read-only console still takes: they change nothing in the organization.
const NEVER_READ_ONLY: [&str; 5] = ["/enter", "/leave", "/choose", "/permissions-preview", "/verify"];

pub async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let look = Look::of(request.headers());
    let mut response = match refuse(&shared, &request) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    };
    let failure = response.extensions_mut().remove::<Failure>();
    if let Some(failure) = failure.or_else(|| is_bare_text(&response).then_some(Failure::Malformed)) {
        let status = response.status();
        response = shown(look, &failure);
        *response.status_mut() = status;
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refuse(shared: &Shared, request: &Request) -> Option<Failure> {
    let host = text(request.headers(), &header::HOST).unwrap_or_default();
    if !shared.settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Some(Failure::Foreign);
    }
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    if !comes_from_here(shared, request.headers(), host) {
        return Some(Failure::Foreign);
    }
    let is_harmless = NEVER_READ_ONLY.contains(&request.uri().path());
    (!shared.may_change() && !is_harmless).then_some(Failure::ReadOnly)
}

/// Return whether a response is the plain text with which the framework refuses a query or a form.
fn is_bare_text(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    response.status().is_client_error() && kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

/// Return whether a change comes from one of the console's own pages. A request that doesn't say is refused.
fn comes_from_here(shared: &Shared, headers: &HeaderMap, host: &str) -> bool {
    let origin = headers.get(header::ORIGIN).map(|_| text(headers, &header::ORIGIN).unwrap_or_default());
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or_default());
    let origin_is_ours = origin.map(|origin| shared.settings.origin.is(origin, host));
    let site_is_ours = site.map(|site| site == "same-origin");
    match (origin_is_ours, site_is_ours) {
        (None, None) => false,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn shown(look: Look, failure: &Failure) -> Response {
    let text = look.text();
    let (title, advice) = match failure {
        Failure::NotFound => (text.not_found, text.not_found_advice),
        Failure::NotPermitted => (text.not_permitted, text.not_permitted_advice),
        Failure::Foreign => (text.foreign, text.foreign_advice),
        Failure::ReadOnly => (text.not_permitted, text.read_only),
        Failure::Malformed => (text.malformed, text.malformed_advice),
        Failure::Api(status) => match status.code() {
            Code::NotFound => (text.not_found, text.not_found_advice),
            Code::PermissionDenied => (text.not_permitted, text.not_permitted_advice),
            Code::InvalidArgument => (text.malformed, text.malformed_advice),
            Code::Aborted => (text.conflict, text.conflict_advice),
            Code::AlreadyExists | Code::FailedPrecondition => (text.impossible, text.impossible_advice),
            _ => (text.unavailable, text.unavailable_advice),
        },
    };
    let (details, language) = match failure {
        Failure::Api(status) => details(status, look),
        Failure::NotFound | Failure::NotPermitted | Failure::Foreign | Failure::ReadOnly | Failure::Malformed => {
            (Vec::new(), "en")
        }
    };
    document(
        look,
        title,
        html! {},
        html! {
            h1 { (title) }
            p { (advice) }
            @for detail in details { p.detail lang=(language) { (detail) } }
            p { a href="./" { (text.to_start) } }
        },
    )
}

/// Return the API's own words on a failure, and their language: the person's if there are such, otherwise English.
fn details(status: &tonic::Status, look: Look) -> (Vec<String>, &'static str) {
    let details = status.get_error_details();
    if let Some(localized) = details.localized_message() {
        return (vec![localized.message.clone()], look.language.code());
    }
    let fields = details.bad_request().map(|bad| bad.field_violations.iter());
    let fields: Vec<String> =
        fields.into_iter().flatten().map(|fault| format!("{}: {}", fault.field, fault.description)).collect();
    (if fields.is_empty() { vec![status.message().to_owned()] } else { fields }, "en")
}

/// Answer a path without a page.
pub async fn nothing_here() -> Failure {
    Failure::NotFound
}

/// Answer a method that a page doesn't take.
pub async fn wrong_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}
