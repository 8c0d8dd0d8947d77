//! Entries of the journal.

use serde::{Deserialize, Serialize};

use crate::{
    domain::ids::{Extension, OrganizationId, QueueRef},
    pbx::key_locks::MemberKey,
};

/// The number of sign-ins with an unknown outcome that one entry can hold.
pub(crate) const MAX_REQUEST_IDS: usize = 16;

/// A pending operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    pub organization: OrganizationId,
    pub user: Extension,
    pub queue: QueueRef,
    /// The queue's name on the PBX.
    pub pbx_queue: String,
    pub interface: String,
    #[serde(rename = "what")]
    pub action: PendingAction,
}

/// The action of a pending operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PendingAction {
    /// Sign the user out.
    SignOut,
    /// End the session that one of these requests may have made. The caller was told that the sign-in failed, or
    /// nothing yet.
    #[serde(rename = "Undo")]
    UndoSignIn { request_ids: Vec<String> },
}

impl PendingAction {
    /// Return the name for the log.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::SignOut => "sign-out",
            Self::UndoSignIn { .. } => "undo-sign-in",
        }
    }
}

impl JournalEntry {
    /// Return the member that the operation concerns.
    pub(crate) fn key(&self) -> MemberKey {
        MemberKey::new(&self.pbx_queue, &self.interface)
    }
}
