//! Converts errors to gRPC statuses. No other module does (`docs/semantics.md` section 6).
//!
//! Every status has an ErrorInfo with domain `queuegate` and a stable upper-case reason, and the other details in its
//! row of the table. Callers get safe text. Errors that they can't act on are logged here, once.

use std::{collections::HashMap, fmt::Display, sync::LazyLock, time::Duration};

use http::HeaderMap;
use prost::Message;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error;

use super::error::{Error, FieldViolation};
use crate::{
    auth::Refused,
    domain::{
        change::ActorRefusal,
        command::{Rejection, Resource},
        directory::Problem,
        ids::{Revision, Sequence},
        language::Language,
    },
    state, store,
};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "queuegate";

/// The reason of a change with an unknown outcome. No other error has it, and a read never does.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// The time that a caller should wait before it tries again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest text of all violations in a status, in bytes. Headers carry a status twice, and clients limit headers to
/// a few KiB.
const LONGEST_VIOLATIONS: usize = 1_200;

/// The longest description in a status, in characters, for the same reason.
const LONGEST_DESCRIPTION: usize = 300;

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        Error::from(rejection).into()
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(violations) => invalid(violations),
            Error::PageTokenExpired => status(
                Code::OutOfRange,
                "PAGE_TOKEN_EXPIRED",
                "page_token: the state that it pinned is not kept any more; list again from the start",
                ErrorDetails::new(),
            ),
            Error::Compacted => compacted(),
            Error::Loading => status(
                Code::Unavailable,
                "LOADING",
                "the server is loading its database; try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::Stopping => status(
                Code::Unavailable,
                "STOPPING",
                "the server is stopping; try again when it is back",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::TooManyImports => status(
                Code::Unavailable,
                "OVERLOADED",
                "too many imports are in flight; nothing was done, try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::RevisionNotReached => status(
                Code::DeadlineExceeded,
                "REVISION_NOT_REACHED",
                "at_least_revision: this server has not reached that revision in time",
                ErrorDetails::new(),
            ),
            Error::SlowReader { last } => {
                let text = "this watch was cut off because it was read too slowly";
                last_sent(Code::ResourceExhausted, "SLOW_READER", text, last)
            }
            Error::TooSlow => status(
                Code::ResourceExhausted,
                "SLOW_READER",
                "the answer was cut off because it was read too slowly; ask again",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::TooMuchUnread => status(
                Code::ResourceExhausted,
                "SLOW_READER",
                "too many bytes of answers to you are unread; read them, and ask again",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::ImportInFlight(of) => status(
                Code::Unavailable,
                "OVERLOADED",
                &format!("{of}; try again when one has ended"),
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::TooManyScans => status(
                Code::Unavailable,
                "OVERLOADED",
                "too many lists and batches of this organization wait; nothing was done, try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::TooManyReaders => status(
                Code::Unavailable,
                "OVERLOADED",
                "too many exports and verifications of audit logs are in flight; try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::Draining { last } => {
                let text = "the server is stopping and ends this watch";
                last_sent(Code::Unavailable, "DRAINING", text, last)
            }
            Error::Stale => status(
                Code::Unavailable,
                "STALE",
                "this node hasn't reached the database for too long, and refuses to decide; try another node",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::HistoryRewritten => status(
                Code::Aborted,
                "HISTORY_REWRITTEN",
                "a failover or a restore lost changes that this watch may have sent; begin it anew, without start_revision",
                ErrorDetails::new(),
            ),
            Error::Unauthenticated(refused) => unauthenticated(refused),
            Error::CredentialsEnded => status(
                Code::Unauthenticated,
                "CREDENTIALS_ENDED",
                "the credentials of this call were changed, were revoked, or have expired",
                ErrorDetails::new(),
            ),
            Error::ScopeRequired(scope) => status(
                Code::PermissionDenied,
                "SCOPE_REQUIRED",
                &format!("these credentials lack the scope `{scope}`, which this method needs"),
                ErrorDetails::new(),
            ),
            Error::NotTheirs(organization_id) => status(
                Code::PermissionDenied,
                "ORGANIZATION_NOT_PERMITTED",
                &format!("these credentials are not for organization `{organization_id}`, whether or not it exists"),
                ErrorDetails::new(),
            ),
            Error::ActorRequired => status(
                Code::PermissionDenied,
                "ACTOR_REQUIRED",
                "name the user on whose behalf you ask in actor_user_id; without one, credentials need the scope `admin`",
                ErrorDetails::new(),
            ),
            Error::NotTheUser => status(
                Code::PermissionDenied,
                "USER_NOT_PERMITTED",
                "this caller acts for one user at most, by id, and the request names another",
                ErrorDetails::new(),
            ),
            Error::ConsoleOff => status(
                Code::FailedPrecondition,
                "CONSOLE_OFF",
                "this server has no console; start it with --console-listen",
                ErrorDetails::new(),
            ),
            Error::UnknownMethod => {
                status(Code::Unimplemented, "UNKNOWN_METHOD", "this server has no such method", ErrorDetails::new())
            }
            Error::CallerLimit { most } => status(
                Code::ResourceExhausted,
                "CALLER_LIMIT",
                &format!(
                    "you have {most} calls of this kind in flight, the most that a caller may have; wait until some end"
                ),
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::Overloaded => status(
                Code::Unavailable,
                "OVERLOADED",
                "the server is overloaded and shed this call; nothing was done, try again in a moment",
                ErrorDetails::with_retry_info(Some(RETRY_DELAY)),
            ),
            Error::ActorNotPermitted { refusal, explanation, language } => {
                actor_not_permitted(refusal, explanation, language)
            }
            Error::State(state::Error::Rejected(rejection)) => rejected(rejection),
            Error::State(error) => not_executed(&error),
            Error::Store(store::Error::DamagedEvent { sequence, problem }) => damaged_event(sequence, &problem),
            Error::Store(error) if error.is_temporary() => unreadable(&error),
            Error::Store(error) => internal(&error),
            Error::Internal(problem) => internal(&problem),
        }
    }
}

fn unauthenticated(refused: Refused) -> Status {
    let reason = match refused {
        Refused::Missing => "CREDENTIALS_MISSING",
        Refused::Malformed => "CREDENTIALS_MALFORMED",
        Refused::Unknown => "CREDENTIALS_UNKNOWN",
        Refused::Expired => "CREDENTIALS_EXPIRED",
    };
    status(Code::Unauthenticated, reason, &refused.to_string(), ErrorDetails::new())
}

fn rejected(rejection: Rejection) -> Status {
    match rejection {
        Rejection::Invalid { field, description } => {
            invalid(vec![FieldViolation { field: field.to_owned(), description }])
        }
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
        Rejection::ActorNotPermitted { refusal, translatable: _ } => {
            let explanation = refusal.explanation.clone();
            actor_not_permitted(refusal, explanation, Language::English)
        }
        Rejection::AlreadyCut => compacted(),
        Rejection::StaleEtag { .. } => status(Code::Aborted, "STALE_ETAG", &rejection.to_string(), ErrorDetails::new()),
        Rejection::FaultyDocument(problems) => {
            let violations = problems.into_iter().map(|Problem { line, path, description }| {
                let line = if line > 0 { format!("line {line}: ") } else { String::new() };
                let field = if path.is_empty() { "document".to_owned() } else { path };
                FieldViolation { field, description: format!("{line}{description}") }
            });
            invalid(violations.collect())
        }
        Rejection::Inconsistent(problem) => internal(&problem),
    }
}

/// Refuse an acting user. The message stays English for logs; a LocalizedMessage has the explanation for the user.
fn actor_not_permitted(refusal: ActorRefusal, explanation: String, language: Language) -> Status {
    let ActorRefusal { actor, permission, reason, explanation: in_english } = refusal;
    let text = format!("actor_user_id `{actor}`: {in_english}");
    let named = [
        ("actor_user_id", Some(actor.to_string())),
        ("permission", permission.map(|permission| permission.to_string())),
        ("permission_reason", reason.map(|reason| reason.to_string())),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut details = ErrorDetails::with_error_info("ACTOR_NOT_PERMITTED", DOMAIN, named.collect::<HashMap<_, _>>());
    details.set_localized_message(language.code(), explanation);
    Status::with_error_details(Code::PermissionDenied, text, details)
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
        state::Error::NotWritable(_) => status(Code::Unavailable, "NOT_WRITABLE", &error.to_string(), retry()),
        state::Error::Stopped => status(Code::Unavailable, "STOPPING", &error.to_string(), retry()),
        state::Error::OutcomeUnknown => status(Code::Unavailable, OUTCOME_UNKNOWN, &error.to_string(), retry()),
        state::Error::Internal(problem) => internal(problem),
    }
}

/// Return the status of a read that the database can't answer now.
fn unreadable(error: &store::Error) -> Status {
    let text = format!("the audit log can't be read now: {error}; decisions go on, try again in a moment");
    status(Code::Unavailable, "STORE_UNREACHABLE", &text, ErrorDetails::with_retry_info(Some(RETRY_DELAY)))
}

fn damaged_event(sequence: Sequence, problem: &str) -> Status {
    error!(event = sequence.0, problem, "an event of the audit log can't be read");
    let text = format!(
        "event {:016x} of the audit log is damaged and can't be read; VerifyAuditLog says where the log was altered",
        sequence.0
    );
    status(Code::DataLoss, "DAMAGED_EVENT", &text, ErrorDetails::new())
}

fn compacted() -> Status {
    let text = "this part of the history was archived and cut, and the server doesn't have it any more";
    status(Code::OutOfRange, "COMPACTED", text, ErrorDetails::new())
}

fn invalid(violations: Vec<FieldViolation>) -> Status {
    let mut details = ErrorDetails::new();
    let (mut text, found) = (String::new(), violations.len());
    for (named, FieldViolation { field, description }) in violations.into_iter().enumerate() {
        let description: String = description.chars().take(LONGEST_DESCRIPTION).collect();
        if named > 0 && text.len() + field.len() + description.len() > LONGEST_VIOLATIONS {
            text.push_str(&format!("; and {} more", found - named));
            break;
        }
        let separator = if named > 0 { "; " } else { "" };
        text.push_str(&format!("{separator}{field}: {description}"));
        details.add_bad_request_violation(field, description);
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
        None => format!("{text}; start a new watch, because not all INITIAL sessions were sent"),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    details.set_retry_info(Some(RETRY_DELAY));
    Status::with_error_details(code, text, details)
}

fn internal(problem: &dyn Display) -> Status {
    error!(%problem, "internal error in a call");
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
        Resource::Pin => "queuegate.v1.Pin",
    }
}

/// Convert the error to a `google.rpc.Status`, for one item of a batch.
pub(super) fn item_status(error: Error) -> tonic_types::pb::Status {
    let status = Status::from(error);
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Correct the transport's status of a message that can't be decoded. The transport reports a malformed or truncated
/// message as INTERNAL, and one over the size limit as OUT_OF_RANGE, which have other meanings here. A message with a
/// compression flag in a call without an encoding stays INTERNAL, because gRPC requires it.
pub(super) fn with_reason(found: Status) -> Status {
    match found.code() {
        Code::OutOfRange if found.message().contains("message length too large") => too_large(),
        Code::Internal if found.message().contains("failed to decode Protobuf message") => {
            let text = found.message().replace("failed to decode Protobuf message", "is not a message of this type");
            bad_request(text)
        }
        Code::ResourceExhausted if found.message().contains("size limit") => too_large(),
        Code::Internal if found.message().contains("Error decompressing") => bad_request("is not compressed by gzip"),
        Code::Unimplemented if found.message().contains("Content is compressed") => {
            let text = "the server accepts requests that are compressed by gzip, or not compressed";
            status(Code::Unimplemented, "UNKNOWN_ENCODING", text, ErrorDetails::new())
        }
        Code::Internal if found.message().contains("Missing request message") => bad_request("is missing"),
        Code::Internal if found.message().contains("Unexpected EOF decoding stream") => {
            bad_request("ends before the length that it gives")
        }
        Code::Internal if found.message().contains("invalid compression flag") => {
            bad_request("begins with a byte that is neither 0 nor 1".to_owned())
        }
        _ => found,
    }
}

fn too_large() -> Status {
    let text = "the message is larger than the server accepts (4 MiB, after decompression); send less at once";
    status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", text, ErrorDetails::new())
}

fn bad_request(description: impl Into<String>) -> Status {
    invalid(vec![FieldViolation { field: "request".to_owned(), description: description.into() }])
}

/// Correct the status of an answer that has only a status.
pub fn add_missing_reason<B>(mut response: http::Response<B>) -> http::Response<B> {
    let Some(found) = Status::from_header_map(response.headers()) else { return response };
    let of_the_transport = [Code::OutOfRange, Code::ResourceExhausted, Code::Internal, Code::Unimplemented];
    if !of_the_transport.contains(&found.code()) || !found.details().is_empty() {
        return response;
    }
    // Our statuses always fit a header.
    let _ = with_reason(found).add_header(response.headers_mut());
    response
}

/// Convert an error to the answer of a call that is refused.
pub fn answer(error: Error) -> http::Response<Body> {
    /// Encoded once: an overloaded server must refuse calls at almost no cost.
    static OVERLOADED: LazyLock<HeaderMap> =
        LazyLock::new(|| Status::from(Error::Overloaded).into_http::<Body>().into_parts().0.headers);
    match error {
        Error::Overloaded => {
            let mut response = http::Response::new(Body::empty());
            response.headers_mut().clone_from(&OVERLOADED);
            response
        }
        error => Status::from(error).into_http(),
    }
}

/// The certainty about a call that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The call changed nothing.
    Certain,
    /// The call may have changed the state.
    Unknown,
}

/// Return the answer to a call whose deadline has passed.
pub fn deadline_exceeded(outcome: Outcome) -> http::Response<Body> {
    let (reason, text) = match outcome {
        Outcome::Certain => ("DEADLINE_EXCEEDED", "the deadline passed before the answer"),
        Outcome::Unknown => (
            OUTCOME_UNKNOWN,
            "the deadline passed before the answer, and the change may have been made; repeat the request with the \
             same request_id",
        ),
    };
    status(Code::DeadlineExceeded, reason, text, ErrorDetails::new()).into_http()
}

/// Return the status that replaces the end of a truncated request.
pub fn broken_off() -> Status {
    let text = "the request was interrupted before its end; nothing of it was applied";
    status(Code::Aborted, "BROKEN_OFF", text, ErrorDetails::new())
}
