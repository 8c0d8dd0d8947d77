//! The language for a caller's explanations, from the `accept-language` metadata of a call.
//!
//! It is never a field of a request, so a repeated request in another language is the same request.

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use tonic::Request;

use crate::domain::language::Language;

/// Return the language of a call, and its message.
pub(super) fn received<T>(request: Request<T>) -> (Language, T) {
    (accepted(request.metadata().as_ref()), request.into_inner())
}

fn accepted(headers: &HeaderMap) -> Language {
    let values = headers.get_all(ACCEPT_LANGUAGE);
    Language::negotiate(values.iter().filter_map(|value| value.to_str().ok()))
}
