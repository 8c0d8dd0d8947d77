//! The deadline of a call.

use std::time::Duration;

use tokio::time::Instant;

/// The part of the time limit that is reserved for the result: one in four.
const RESERVED_PART: u32 = 4;

/// The deadline of a call. The time that a person takes doesn't count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallDeadline {
    /// The end of the call's time.
    pub end: Instant,
    time_limit: Duration,
}

impl CallDeadline {
    /// Start the time limit of a call.
    pub(crate) fn start(time_limit: Duration) -> Self {
        Self { end: Instant::now() + time_limit, time_limit }
    }

    /// Return the deadline for requests to queuegate. It leaves time to report the result to the PBX.
    pub(crate) fn of_requests(&self) -> Instant {
        self.end - self.time_limit / RESERVED_PART
    }

    /// Don't count a time that a person took.
    pub(crate) fn extend(&mut self, by: Duration) {
        self.end += by;
    }
}
