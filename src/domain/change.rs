//! Events, in a form that does three jobs. A [`Change`] is applied to the snapshot, written to the tables, and kept in
//! the audit log. It has a dense revision of its own.
//!
//! A refusal is a change too, of the log alone. So it is numbered, made durable and published like every other change.

use serde::{Deserialize, Serialize};

use super::{
    chain::Digest,
    ids::{Caller, OrganizationId, QueueRef, Sequence, UserId, UserRef},
    model::{Organization, Queue, Role, RoleAssignment, Session, SignInChannel, User},
    pin::PinHash,
    settings::{Etag, PermissionSettings},
    time::Timestamp,
    vocabulary::{AuditAction, Permission, PermissionReason, Reason},
};

/// Something that happened in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The event.
    pub event: Event,
}

/// A change at its place in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number. INVARIANT: dense; the change after it has the next.
    pub sequence: Sequence,
    /// When it was decided.
    pub time: Timestamp,
    /// The caller, and the acting user if there is one.
    pub origin: Origin,
    /// The change.
    pub change: Change,
}

/// The author of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The caller.
    pub caller: Caller,
    /// The user on whose behalf the caller asked, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
}

/// Something that happened. An update or a deletion contains the values before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Event {
    /// The organization was created, with these settings.
    OrganizationCreated {
        /// Its attributes.
        organization: Organization,
        /// Its settings.
        settings: PermissionSettings,
        /// The etag of these settings.
        etag: Etag,
    },
    /// The organization's attributes changed.
    OrganizationUpdated {
        /// Its attributes before.
        before: Organization,
        /// Its attributes now.
        organization: Organization,
    },
    /// The organization was deleted with everything in it. INVARIANT: its sessions ended before.
    OrganizationDeleted {
        /// Its attributes before.
        organization: Organization,
        /// Its settings before.
        settings: PermissionSettings,
    },
    /// The settings changed.
    SettingsUpdated {
        /// The settings before.
        before: PermissionSettings,
        /// The settings now.
        settings: PermissionSettings,
        /// The etag of the settings now.
        etag: Etag,
    },
    /// A user was created.
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
    /// A user was deleted. INVARIANT: their sessions ended and their roles were taken before.
    UserDeleted {
        /// The user.
        user: User,
    },
    /// A queue was created.
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
    /// A queue was deleted. INVARIANT: its sessions ended and the roles on it were taken before.
    QueueDeleted {
        /// The queue.
        queue: Queue,
    },
    /// A user was given a role.
    RoleAssigned {
        /// The assignment.
        assignment: RoleAssignment,
    },
    /// The penalty of a role assignment changed.
    RoleAssignmentUpdated {
        /// The assignment before.
        before: RoleAssignment,
        /// The assignment now.
        assignment: RoleAssignment,
    },
    /// A role was taken from a user.
    RoleUnassigned {
        /// The assignment.
        assignment: RoleAssignment,
    },
    /// A user's PIN was set.
    PinSet {
        /// The user.
        user_id: UserId,
        /// The version of the PIN.
        etag: Etag,
        /// The hash, which is written to a table, and never to the log.
        #[serde(skip)]
        hash: PinHash,
    },
    /// A user's PIN was cleared.
    PinCleared {
        /// The user.
        user_id: UserId,
    },
    /// A PIN was right, after wrong ones.
    PinAccepted {
        /// The user.
        user_id: UserId,
    },
    /// A PIN was wrong.
    PinRefused {
        /// The user.
        user_id: UserId,
        /// The number of wrong PINs in a row.
        failures: u8,
        /// The end of the lock, if this one locked the PIN.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locked_until: Option<Timestamp>,
    },
    /// A session began.
    SessionStarted {
        /// The session.
        session: Session,
        /// The supervisor's justification; empty if they gave none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        justification: String,
    },
    /// A session ended.
    SessionEnded {
        /// The session, with its end.
        session: Session,
        /// The supervisor, if one ended the session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        supervisor_id: Option<UserId>,
        /// The supervisor's justification; empty if they gave none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        justification: String,
    },
    /// The rules denied a user's sign-in, or a supervisor's sign-in or sign-out of a user.
    AttemptRefused {
        /// The attempt.
        attempt: RefusedAttempt,
    },
    /// A write was refused, because its acting user is not permitted it.
    WriteRefused {
        /// The attempt.
        attempt: RefusedWrite,
    },
    /// The beginning of the organization's audit log was cut off, after it was archived.
    AuditLogCut {
        /// The last event that was cut.
        through: Sequence,
        /// The last event's hash, from which the chain continues.
        hash: Digest,
    },
}

/// A user's sign-in, or a supervisor's sign-in or sign-out of a user, that the rules denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAttempt {
    /// The attempted action.
    pub action: AuditAction,
    /// The user to sign in or out: by id if the user exists, otherwise as named.
    pub user: UserRef,
    /// The queue: by id if it exists, otherwise as named. `None`: the denial is the same for every queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRef>,
    /// The supervisor, if one made the attempt: by id if the user exists, otherwise as named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<UserRef>,
    /// The user's channel, unless a supervisor made the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<SignInChannel>,
    /// The device that the caller named; empty if it named none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// The rule that denied it.
    pub reason: Reason,
    /// The plain sentence that explains the denial.
    pub explanation: String,
    /// The supervisor's justification; empty if they gave none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
}

/// A write that the acting user was not permitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedWrite {
    /// The attempted action.
    pub action: AuditAction,
    /// The reason for the refusal.
    pub refusal: ActorRefusal,
    /// The user that the write concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// The queue that the write concerned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRef>,
    /// The role to give or take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The last event that the write would have caused. `None` if it causes none, or is an import, which is too
    /// large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Box<Event>>,
}

/// The reason why an acting user may not do this (`docs/semantics.md` section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRefusal {
    /// The acting user, as named.
    pub actor: UserId,
    /// The required permission. `None` if only a caller without an acting user may do this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
    /// The reason why the acting user doesn't have that permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PermissionReason>,
    /// The plain sentence that explains the refusal.
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
    /// The conflict with the state.
    pub problem: &'static str,
}

/// An event for a watch of sessions.
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
    /// Return the event for a watch of sessions, or `None`.
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
            | Self::RoleAssignmentUpdated { .. }
            | Self::RoleUnassigned { .. }
            | Self::PinSet { .. }
            | Self::PinCleared { .. }
            | Self::PinAccepted { .. }
            | Self::PinRefused { .. }
            | Self::AttemptRefused { .. }
            | Self::WriteRefused { .. }
            | Self::AuditLogCut { .. } => None,
        }
    }
}
