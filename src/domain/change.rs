//! What can happen to the state. One [`Change`] does three jobs: it is applied to the snapshot, written to the tables,
//! and kept in the change log, where it has a dense revision of its own.

use serde::{Deserialize, Serialize};

use super::{
    ids::{OrganizationId, QueueId, Sequence, UserId},
    model::{Organization, Queue, RoleAssignment, Session, User},
    settings::PermissionSettings,
    time::Timestamp,
};

/// Something that happened in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub organization_id: OrganizationId,
    /// What.
    pub event: Event,
}

/// A change at its place in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number. INVARIANT: dense; the change after it has the next.
    pub sequence: Sequence,
    /// When it was decided.
    pub time: Timestamp,
    /// The change.
    pub change: Change,
}

/// What happened. The tag is the `kind` column of the change log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Event {
    /// The organization came to be, with these settings.
    OrganizationCreated {
        /// Its attributes.
        organization: Organization,
        /// Its settings.
        settings: PermissionSettings,
        /// Names this state of the settings.
        etag: Etag,
    },
    /// The organization's attributes changed.
    OrganizationUpdated {
        /// Its attributes now.
        organization: Organization,
    },
    /// The organization went away with everything in it. INVARIANT: its sessions ended before.
    OrganizationDeleted,
    /// The settings changed.
    SettingsUpdated {
        /// The settings now.
        settings: PermissionSettings,
        /// Names this state of the settings.
        etag: Etag,
    },
    /// A user came to be.
    UserCreated {
        /// The user.
        user: User,
    },
    /// A user's attributes changed.
    UserUpdated {
        /// The user now.
        user: User,
    },
    /// A user went away with their role assignments. INVARIANT: their sessions ended before.
    UserDeleted {
        /// The user.
        user_id: UserId,
    },
    /// A queue came to be.
    QueueCreated {
        /// The queue.
        queue: Queue,
    },
    /// A queue's attributes changed.
    QueueUpdated {
        /// The queue now.
        queue: Queue,
    },
    /// A queue went away with the role assignments on it. INVARIANT: its sessions ended before.
    QueueDeleted {
        /// The queue.
        queue_id: QueueId,
    },
    /// A user was given a role.
    RoleAssigned {
        /// The assignment.
        assignment: RoleAssignment,
    },
    /// A role was taken from a user.
    RoleUnassigned {
        /// The assignment.
        assignment: RoleAssignment,
    },
    /// A session began.
    SessionStarted {
        /// The session.
        session: Session,
        /// Why, in the supervisor's words; empty if nothing was said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        justification: String,
    },
    /// A session ended.
    SessionEnded {
        /// The session, with its end.
        session: Session,
        /// The supervisor, if one did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        supervisor_id: Option<UserId>,
        /// Why, in the supervisor's words; empty if nothing was said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        justification: String,
    },
}

/// Names one state of an organization's settings: the sequence number that its change was planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etag(pub u64);

impl std::fmt::Display for Etag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}
