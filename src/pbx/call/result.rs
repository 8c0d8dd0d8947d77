//! The result of a call.

use tracing::warn;

use crate::{pbx::api::Failure, rpc::proto::Reason};

/// The reason for a call that another phone transferred or forwarded.
pub(super) const NOT_DIALED: &str = "NOT_DIALED";

/// The reason for a user who is signed in while another phone rings, of this PBX or of another one.
const RINGS_ELSEWHERE: &str = "RINGS_ELSEWHERE";

/// The status that the dialplan reads in `QUEUEGATE_STATUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Allowed,
    Denied,
    Failed,
}

impl Status {
    /// Return the value of the variable.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// The result of a call.
#[derive(Debug)]
pub(super) struct CallResult {
    pub status: Status,
    pub reason: String,
    /// The name of the prompt, or an empty text for no prompt.
    pub prompt: &'static str,
    pub session_id: String,
    /// The reason for each queue, if the action was on all of them: `sales=ASSIGNED,support=ASSIGNED`.
    pub queues: String,
}

impl CallResult {
    /// The call failed.
    pub(super) fn failed(reason: &str) -> Self {
        Self {
            status: Status::Failed,
            reason: reason.to_owned(),
            prompt: "failed",
            session_id: String::new(),
            queues: String::new(),
        }
    }

    /// A request to queuegate failed.
    pub(super) fn of_failure(failure: &Failure) -> Self {
        let cause = failure.cause();
        warn!(reason = cause.reason, error = cause.text, "a request to queuegate failed");
        Self::failed(&cause.reason)
    }

    /// The caller may not sign in.
    pub(super) fn denied(reason: String) -> Self {
        Self { status: Status::Denied, reason, prompt: "denied", session_id: String::new(), queues: String::new() }
    }

    /// The caller is signed in, but this phone doesn't ring. So the prompt must not say that it does.
    pub(super) fn rings_elsewhere(session_id: String) -> Self {
        Self { prompt: "denied", ..Self::signed_in(RINGS_ELSEWHERE.to_owned(), session_id) }
    }

    /// The caller is signed in.
    pub(super) fn signed_in(reason: String, session_id: String) -> Self {
        Self { status: Status::Allowed, reason, prompt: "signed-in", session_id, queues: String::new() }
    }

    /// The pause of the caller's phone was changed.
    pub(super) fn paused(reason: &str, prompt: &'static str) -> Self {
        Self {
            status: Status::Allowed,
            reason: reason.to_owned(),
            prompt,
            session_id: String::new(),
            queues: String::new(),
        }
    }

    /// The caller is signed out.
    pub(super) fn signed_out(reason: &str, session_id: String) -> Self {
        Self {
            status: Status::Allowed,
            reason: reason.to_owned(),
            prompt: "signed-out",
            session_id,
            queues: String::new(),
        }
    }
}

/// Return the name of a reason without its protobuf prefix.
pub(super) fn reason_name(reason: Reason) -> String {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name).to_owned()
}
