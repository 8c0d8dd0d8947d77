//! Resumes a watch on another server when the present one ends it.

use tonic::Status;

use super::print;
use crate::client::{Client, may_help_to_repeat};

/// The place from which a watch can be resumed.
pub(super) struct Resume {
    has_several_servers: bool,
    last: String,
}

impl Resume {
    pub(super) fn new(client: &Client) -> Self {
        Self { has_several_servers: client.has_several_servers(), last: String::new() }
    }

    /// Note a revision up to which all changes were received.
    pub(super) fn reached(&mut self, revision: &str) {
        revision.clone_into(&mut self.last);
    }

    /// Return the revision to resume after on another server. If that can't help, say how to resume, and fail.
    pub(super) fn after(&self, status: Status) -> Result<String, Status> {
        if self.has_several_servers && may_help_to_repeat(&status) && !self.last.is_empty() {
            return Ok(self.last.clone());
        }
        self.print();
        Err(status)
    }

    /// Print how to resume, if the watch has begun.
    pub(super) fn print(&self) {
        if !self.last.is_empty() {
            print::error_line(&format!("the watch ended; resume it with --from {}", self.last));
        }
    }
}
