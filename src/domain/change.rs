//! What can happen. One [`Change`] does three jobs: it is applied to the snapshot, written to the tables, and kept in the
//! audit log, where it has a dense revision of its own. What was refused is a change too, of the log alone: so it is
//! numbered, made durable and told of like everything else.

use serde::{Deserialize, Serialize};

use super::{
    chain::Digest,
    ids::{Caller, OrganizationId, QueueRef, Sequence, UserId, UserRef},
    model::{Organization, Queue, Role, RoleAssignment, Session, SignInChannel, User},
    settings::{Etag, PermissionSettings},
    time::Timestamp,
    vocabulary::{AuditAction, Permission, PermissionReason, Reason},
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
    /// Who asked for it.
    pub origin: Origin,
    /// The change.
    pub change: Change,
}

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The system.
    pub caller: Caller,
    /// The user on whose behalf it asked, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
}

/// What happened. Where something changed or went away, what it was before is part of it.
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
        /// Its attributes before.
        before: Organization,
        /// Its attributes now.
        organization: Organization,
    },
    /// The organization went away with everything in it. INVARIANT: its sessions ended before.
    OrganizationDeleted {
        /// What it was.
        organization: Organization,
        /// Its settings.
        settings: PermissionSettings,
    },
    /// The settings changed.
    SettingsUpdated {
        /// The settings before.
        before: PermissionSettings,
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
        /// The user before.
        before: User,
        /// The user now.
        user: User,
    },
    /// A user went away. INVARIANT: their sessions ended and their roles were taken before.
    UserDeleted {
        /// The user.
        user: User,
    },
    /// A queue came to be.
    QueueCreated {
        /// The queue.
        queue: Queue,
    },
    /// A queue's attributes changed.
    QueueUpdated {
        /// The queue before.
        before: Queue,
        /// The queue now.
        queue: Queue,
    },
    /// A queue went away. INVARIANT: its sessions ended and the roles on it were taken before.
    QueueDeleted {
        /// The queue.
        queue: Queue,
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
    /// A sign-in, or what a supervisor wanted, was denied.
    AttemptRefused {
        /// The attempt.
        attempt: RefusedAttempt,
    },
    /// An acting user was not permitted what was asked on their behalf.
    WriteRefused {
        /// The attempt.
        attempt: RefusedWrite,
    },
    /// The beginning of the organization's audit log was cut off, after it was archived.
    AuditLogCut {
        /// The last event that was cut.
        through: Sequence,
        /// Its hash, which the chain goes on from.
        hash: Digest,
    },
}

/// A sign-in, or what a supervisor wanted for somebody, that the rules denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAttempt {
    /// What was attempted.
    pub action: AuditAction,
    /// Who was to be signed in or out: by id if there is such a user, and otherwise as they were named.
    pub user: UserRef,
    /// Where: by id if there is such a queue, and otherwise as it was named.
    pub queue: QueueRef,
    /// The supervisor, if one attempted it: by id if there is such a user, and otherwise as they were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<UserRef>,
    /// How the user asked, if no supervisor did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<SignInChannel>,
    /// The device that the caller named; empty if it named none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// The rule that denied it.
    pub reason: Reason,
    /// The plain sentence.
    pub explanation: String,
    /// Why, in the supervisor's words; empty if nothing was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
}

/// A write that the acting user was not permitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedWrite {
    /// What was attempted.
    pub action: AuditAction,
    /// Why not.
    pub refusal: ActorRefusal,
    /// The user that it was about, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// The queue that it was about, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRef>,
    /// The role that was to be given or taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What would have happened; none if nothing would have, or too much to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Box<Event>>,
}

/// Why an acting user may not do what was asked on their behalf (`docs/semantics.md` section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRefusal {
    /// The acting user, as named.
    pub actor: UserId,
    /// What it takes; none: no user may, only a system that names no acting user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
    /// Why the acting user doesn't have that permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PermissionReason>,
    /// The plain sentence.
    pub explanation: String,
}

/// A change that doesn't fit the state: the store is damaged, or a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change {sequence} does not fit the state: {problem} (organization `{organization_id}`)")]
pub struct Inapplicable {
    /// The change's number.
    pub sequence: u64,
    /// The organization it is about.
    pub organization_id: OrganizationId,
    /// What doesn't fit.
    pub problem: &'static str,
}

/// What a watch of sessions tells of.
#[derive(Debug, Clone, Copy)]
pub enum Watched<'e> {
    /// A session began.
    Started(&'e Session),
    /// A session ended.
    Ended(&'e Session),
    /// The organization is gone, and the watch ends.
    OrganizationDeleted,
}

impl Event {
    /// What a watch of sessions tells of this event, or `None`.
    pub fn watched(&self) -> Option<Watched<'_>> {
        match self {
            Self::SessionStarted { session, justification: _ } => Some(Watched::Started(session)),
            Self::SessionEnded { session, supervisor_id: _, justification: _ } => Some(Watched::Ended(session)),
            Self::OrganizationDeleted { .. } => Some(Watched::OrganizationDeleted),
            Self::OrganizationCreated { .. }
            | Self::OrganizationUpdated { .. }
            | Self::SettingsUpdated { .. }
            | Self::UserCreated { .. }
            | Self::UserUpdated { .. }
            | Self::UserDeleted { .. }
            | Self::QueueCreated { .. }
            | Self::QueueUpdated { .. }
            | Self::QueueDeleted { .. }
            | Self::RoleAssigned { .. }
            | Self::RoleUnassigned { .. }
            | Self::AttemptRefused { .. }
            | Self::WriteRefused { .. }
            | Self::AuditLogCut { .. } => None,
        }
    }
}
