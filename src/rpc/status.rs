//! Errors to gRPC statuses: the one place (`SEMANTICS.md` section 6).
//!
//! Every status carries an ErrorInfo with domain `queuegate` and a stable upper-case reason, and what else its row of the
//! table asks for. Callers get safe text; what they can't act on is logged here, once.

use std::{collections::HashMap, fmt::Display, time::Duration};

use prost::Message;
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error;

use crate::{
    domain::{
        command::{Rejection, Resource},
        ids::{OrganizationId, Revision},
    },
    state, store,
};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "queuegate";

/// How long a caller should wait before trying again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How many violations go into one status: a status travels in a header, and clients limit headers to a few KiB.
const MOST_VIOLATIONS: usize = 10;

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// A field is malformed or missing.
    Invalid {
        /// The field's path in the request.
        field: String,
        /// What is wrong, and what would be right.
        description: String,
    },
    /// The page token's revision isn't held any more.
    PageTokenExpired,
    /// The database is still being loaded.
    Loading,
    /// `at_least_revision` didn't come in time.
    RevisionNotReached,
    /// There is no such thing.
    NotFound {
        /// What it would be.
        resource: Resource,
        /// The name that was given.
        name: String,
        /// In words.
        description: String,
    },
    /// A watcher didn't keep up.
    SlowReader {
        /// The last revision up to which everything was sent; none if the INITIAL sessions were not all sent.
        last: Option<Revision>,
    },
    /// The server is stopping and ended a watch.
    Draining {
        /// The last revision up to which everything was sent; none if the INITIAL sessions were not all sent.
        last: Option<Revision>,
    },
    /// A command wasn't carried out.
    State(state::Error),
    /// The store couldn't be read.
    Store(store::Error),
    /// A mistake in this program.
    Internal(String),
}

impl Error {
    /// A field is malformed or missing.
    pub fn invalid(field: impl Into<String>, description: &dyn Display) -> Self {
        Self::Invalid { field: field.into(), description: description.to_string() }
    }

    /// There is no such organization.
    pub fn no_organization(organization_id: &OrganizationId) -> Self {
        Self::NotFound {
            resource: Resource::Organization,
            name: organization_id.to_string(),
            description: format!("there is no organization `{organization_id}`"),
        }
    }
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        Self::State(error)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::State(rejection.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { field, description } => invalid(&[(field, description)], 1),
            Error::PageTokenExpired => status(
                Code::OutOfRange,
                "PAGE_TOKEN_EXPIRED",
                "page_token: the state that it pinned is not kept any more; list again from the start",
                ErrorDetails::new(),
            ),
            Error::Loading => status(
                Code::Unavailable,
                "LOADING",
                "the server is loading its database; try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::RevisionNotReached => status(
                Code::DeadlineExceeded,
                "REVISION_NOT_REACHED",
                "at_least_revision: this server has not reached that revision in time",
                ErrorDetails::new(),
            ),
            Error::NotFound { resource, name, description } => not_found(resource, name, &description),
            Error::SlowReader { last } => {
                let text = "this watch was cut off because it was read too slowly";
                last_sent(Code::ResourceExhausted, "SLOW_READER", text, last)
            }
            Error::Draining { last } => {
                let text = "the server is stopping, and this watch with it";
                last_sent(Code::Unavailable, "DRAINING", text, last)
            }
            Error::State(state::Error::Rejected(rejection)) => rejected(rejection),
            Error::State(error) => not_executed(&error),
            Error::Store(error) => internal(&error),
            Error::Internal(problem) => internal(&problem),
        }
    }
}

fn rejected(rejection: Rejection) -> Status {
    match rejection {
        Rejection::Invalid { field, description } => invalid(&[(field.to_owned(), description)], 1),
        Rejection::NotFound { resource, name, description } => not_found(resource, name, &description),
        Rejection::AlreadyExists { resource, name, description } => {
            let mut details = ErrorDetails::new();
            details.set_resource_info(resource_type(resource), name, "", description.as_str());
            status(Code::AlreadyExists, "ALREADY_EXISTS", &description, details)
        }
        Rejection::LicenseRequired { user_id, description } => {
            let mut details = ErrorDetails::new();
            details.add_precondition_failure_violation("LICENSE_REQUIRED", user_id.as_str(), description.as_str());
            status(Code::FailedPrecondition, "LICENSE_REQUIRED", &description, details)
        }
        Rejection::StaleEtag => {
            status(Code::Aborted, "STALE_ETAG", &Rejection::StaleEtag.to_string(), ErrorDetails::new())
        }
        Rejection::FaultyDocument(problems) => {
            let violations = problems.iter().take(MOST_VIOLATIONS).map(|problem| {
                let line = if problem.line > 0 { format!("line {}: ", problem.line) } else { String::new() };
                (format!("document.{}", problem.path), format!("{line}{}", problem.description))
            });
            invalid(&violations.collect::<Vec<_>>(), problems.len())
        }
        Rejection::Inconsistent(problem) => internal(&problem),
    }
}

fn not_executed(error: &state::Error) -> Status {
    let retry = || ErrorDetails::with_retry_info(Some(RETRY_DELAY));
    match error {
        state::Error::Rejected(rejection) => internal(rejection),
        state::Error::RequestIdReused(id) => {
            let mut details = ErrorDetails::new();
            details.set_resource_info("queuegate.v1.Request", id.as_str(), "", error.to_string());
            status(Code::AlreadyExists, "REQUEST_ID_REUSED", &error.to_string(), details)
        }
        state::Error::Overloaded => status(Code::Unavailable, "OVERLOADED", &error.to_string(), retry()),
        state::Error::StoreFull => status(Code::Unavailable, "STORE_FULL", &error.to_string(), retry()),
        state::Error::Stopped => status(Code::Unavailable, "STOPPING", &error.to_string(), retry()),
        state::Error::Internal(problem) => internal(problem),
    }
}

fn invalid(violations: &[(String, String)], found: usize) -> Status {
    let mut details = ErrorDetails::new();
    for (field, description) in violations {
        details.add_bad_request_violation(field, description);
    }
    let said: Vec<String> = violations.iter().map(|(field, description)| format!("{field}: {description}")).collect();
    let mut text = said.join("; ");
    if found > violations.len() {
        text.push_str(&format!("; and {} more", found - violations.len()));
    }
    status(Code::InvalidArgument, "INVALID_FIELD", &text, details)
}

fn not_found(resource: Resource, name: String, description: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_resource_info(resource_type(resource), name, "", description);
    status(Code::NotFound, "NOT_FOUND", description, details)
}

fn last_sent(code: Code, reason: &str, text: &str, last: Option<Revision>) -> Status {
    let mut metadata = HashMap::new();
    let text = match last {
        Some(last) => {
            metadata.insert("last_revision".to_owned(), last.to_string());
            format!("{text}; resume with start_revision `{last}`")
        }
        None => format!("{text}; begin anew, because not every INITIAL session had been sent"),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    details.set_retry_info(Some(RETRY_DELAY));
    Status::with_error_details(code, text, details)
}

fn internal(problem: &dyn Display) -> Status {
    error!(%problem, "call failed for a reason that its caller can't act on");
    let text = "internal error; the server's log has the details";
    status(Code::Internal, "INTERNAL", text, ErrorDetails::new())
}

fn status(code: Code, reason: &str, text: &str, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, text, details)
}

fn resource_type(resource: Resource) -> &'static str {
    match resource {
        Resource::Organization => "queuegate.v1.Organization",
        Resource::User => "queuegate.v1.User",
        Resource::Queue => "queuegate.v1.Queue",
        Resource::RoleAssignment => "queuegate.v1.RoleAssignment",
        Resource::Session => "queuegate.v1.Session",
    }
}

/// The error as a `google.rpc.Status`, for one item of a batch.
pub(super) fn item_status(error: Error) -> tonic_types::pb::Status {
    let status = Status::from(error);
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Gives a message that could not be decoded the status of a malformed request: the transport reports bytes that are no
/// message as INTERNAL, and a message over the size limit as OUT_OF_RANGE, which here mean other things.
pub fn mend_decode_error<B>(mut response: http::Response<B>) -> http::Response<B> {
    let Some(found) = Status::from_header_map(response.headers()) else { return response };
    let mended = match found.code() {
        Code::OutOfRange if found.message().contains("message length too large") => {
            let text = "the message is larger than the server accepts (4 MiB); send less at once";
            status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", text, ErrorDetails::new())
        }
        Code::Internal if found.message().contains("failed to decode Protobuf message") => {
            let text = found.message().replace("failed to decode Protobuf message", "is no message of this type");
            invalid(&[("request".to_owned(), text)], 1)
        }
        _ => return response,
    };
    let mut metadata = MetadataMap::from_headers(std::mem::take(response.headers_mut()));
    // Drops the old status; adding the new one overwrites it.
    metadata.remove("grpc-status-details-bin");
    *response.headers_mut() = metadata.into_headers();
    // A status of ours always fits a header.
    let _ = mended.add_header(response.headers_mut());
    response
}
