//! Failures of requests, and whether the request may have been carried out.

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The request wasn't carried out, and will not be.
    Refused(Cause),
    /// The request may have been carried out, or may still be.
    OutcomeUnknown(Cause),
}

/// The cause of a failure: a reason for the dialplan, and a text for the log.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub reason: String,
    pub text: String,
    pub code: Code,
}

impl Failure {
    /// Return the cause.
    pub(crate) fn cause(&self) -> &Cause {
        match self {
            Self::Refused(cause) | Self::OutcomeUnknown(cause) => cause,
        }
    }

    /// Return whether the same request would fail again.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused(Cause { code: Code::InvalidArgument | Code::NotFound | Code::AlreadyExists, .. }))
    }

    /// Return whether any other request would fail now too.
    pub(crate) fn affects_all_requests(&self) -> bool {
        matches!(
            self,
            Self::OutcomeUnknown(_) | Self::Refused(Cause { code: Code::Unavailable | Code::ResourceExhausted, .. })
        )
    }
}

/// The reasons of errors which guarantee that the request wasn't carried out. After any other, the outcome is unknown.
const NOT_CARRIED_OUT: [&str; 22] = [
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
    "UNKNOWN_METHOD",
];

/// Return whether the server guarantees that it didn't carry out the request, or the request never reached it.
pub(super) fn is_refusal(status: &Status) -> bool {
    match status.get_details_error_info() {
        Some(info) => NOT_CARRIED_OUT.contains(&info.reason.as_str()),
        None => has_source::<ConnectError>(status),
    }
}

fn has_source<E: std::error::Error + 'static>(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}

impl From<&Status> for Cause {
    fn from(status: &Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).filter(|reason| !reason.is_empty());
        let is_late = status.code() == Code::DeadlineExceeded || has_source::<TimeoutExpired>(status);
        let by_code = || if is_late { "DEADLINE_EXCEEDED" } else { "UNAVAILABLE" };
        Self {
            reason: reason.unwrap_or_else(|| by_code().to_owned()),
            text: status.message().to_owned(),
            code: status.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn only_errors_that_exclude_an_effect_are_refusals() {
        let error = |code, reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "queuegate", []);
            Status::with_error_details(code, "", details)
        };
        for (status, expected) in [
            // The server stopped waiting for the writer, which may still carry out the request.
            (error(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), false),
            (error(Code::Unavailable, "DRAINING"), true),
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
}
