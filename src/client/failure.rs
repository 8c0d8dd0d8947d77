//! The meaning of a failed call for its outcome: whether it may have happened, and whether a repetition can help.

use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt;

/// The reasons of errors which guarantee that the request wasn't carried out. After any other, the outcome is unknown.
const NOT_CARRIED_OUT: [&str; 23] = [
    "INVALID_FIELD",
    "MESSAGE_TOO_LARGE",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "REQUEST_ID_REUSED",
    "LICENSE_REQUIRED",
    "ACTOR_NOT_PERMITTED",
    "ACTOR_REQUIRED",
    "SCOPE_REQUIRED",
    "ORGANIZATION_NOT_PERMITTED",
    "CREDENTIALS_MISSING",
    "CREDENTIALS_MALFORMED",
    "CREDENTIALS_UNKNOWN",
    "CREDENTIALS_EXPIRED",
    "CALLER_LIMIT",
    "SLOW_READER",
    "LOADING",
    "OVERLOADED",
    "NOT_WRITABLE",
    "STOPPING",
    "DRAINING",
    "STALE",
    "UNKNOWN_METHOD",
];

/// Return whether the server guarantees that it didn't carry out the request, or the request never reached it.
pub fn is_refusal(status: &Status) -> bool {
    match status.get_details_error_info() {
        Some(info) => NOT_CARRIED_OUT.contains(&info.reason.as_str()),
        None => has_source::<ConnectError>(status),
    }
}

/// Return whether another server, or the same one later, may answer the same request: this one is unavailable, or the
/// connection was lost.
pub fn may_help_to_repeat(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Servers don't send these; a lost connection ends with them.
        Code::Unknown | Code::Cancelled | Code::Internal => status.get_details_error_info().is_none(),
        _ => false,
    }
}

/// Return whether an error of this type caused the status.
pub fn has_source<E: std::error::Error + 'static>(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn error(code: Code, reason: &str) -> Status {
        Status::with_error_details(code, "", ErrorDetails::with_error_info(reason, "queuegate", []))
    }

    #[test]
    fn only_errors_that_exclude_an_effect_are_refusals() {
        for (status, expected) in [
            // The server stopped waiting for the writer, which may still carry out the request.
            (error(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), false),
            (error(Code::Unavailable, "DRAINING"), true),
            (error(Code::Unavailable, "STALE"), true),
            (error(Code::ResourceExhausted, "OVERLOADED"), true),
            (error(Code::NotFound, "NOT_FOUND"), true),
            (error(Code::Unavailable, "STOPPING"), true),
            (error(Code::Unavailable, "OUTCOME_UNKNOWN"), false),
            (error(Code::DeadlineExceeded, "OUTCOME_UNKNOWN"), false),
            (error(Code::Internal, "INTERNAL"), false),
            // A later server may have reasons that this client doesn't know.
            (error(Code::Aborted, "SOMETHING_NEW"), false),
            // A proxy or the connection failed. The server may have received the request.
            (Status::unavailable(""), false),
            (Status::deadline_exceeded(""), false),
            (Status::cancelled(""), false),
        ] {
            assert_eq!(is_refusal(&status), expected, "{status:?}");
        }
    }

    #[test]
    fn a_repetition_helps_if_the_server_is_unavailable_or_the_connection_was_lost() {
        for (status, expected) in [
            (error(Code::Unavailable, "LOADING"), true),
            (error(Code::Unavailable, "OUTCOME_UNKNOWN"), true),
            (Status::unknown("broken pipe"), true),
            (Status::internal("unexpected end"), true),
            (error(Code::Internal, "INTERNAL"), false),
            (error(Code::NotFound, "NOT_FOUND"), false),
            (error(Code::ResourceExhausted, "SLOW_READER"), false),
            (error(Code::Aborted, "HISTORY_REWRITTEN"), false),
        ] {
            assert_eq!(may_help_to_repeat(&status), expected, "{status:?}");
        }
    }
}
