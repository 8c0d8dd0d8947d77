//! Failures of requests, and whether the request may have been carried out.

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::client::has_source;

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
