//! What callers ask to be changed, and what comes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    chain::Digest,
    change::{ActorRefusal, Inapplicable},
    directory::{Directory, Problem},
    ids::{Extension, OrganizationId, QueueId, QueueRef, Sequence, UserId, UserRef},
    model::{Organization, Queue, QueueKind, Role, RoleAssignment, Session, SignInChannel, User},
    settings::{Etag, PermissionSettings, SettingsPatch, UnassignedQueueSignIn},
    vocabulary::{AuditAction, Reason},
};

/// A change that a caller asks for in one organization. Equal commands serialize to equal text, which is how a repeated
/// request is told from a reused request id.
#[derive(Debug, Clone, Serialize)]
pub struct Command {
    /// Where.
    pub organization_id: OrganizationId,
    /// What.
    pub action: Action,
    /// The user on whose behalf the caller asks, who must hold the permission for it. None: the caller asks on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
}

/// What a caller asks for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the requests of the same name in proto/queuegate/v1")]
pub enum Action {
    /// Sign a user in if the rules allow it.
    SignIn { user: UserRef, queue: QueueRef, channel: SignInChannel, device: String },
    /// Sign a user out.
    SignOut { user: UserRef, queues: QueueSelection },
    /// Sign a user in on a supervisor's word.
    SupervisorSignIn {
        supervisor: UserRef,
        user: UserRef,
        queue: QueueRef,
        ttl: Option<Duration>,
        justification: String,
    },
    /// Sign a user out on a supervisor's word.
    SupervisorSignOut { supervisor: UserRef, user: UserRef, queue: QueueRef, justification: String },
    /// Create the organization.
    CreateOrganization { display_name: String, unassigned_queue_sign_in: UnassignedQueueSignIn },
    /// Change the organization's attributes.
    UpdateOrganization { display_name: Option<String> },
    /// Delete the organization and everything in it.
    DeleteOrganization { if_missing: IfMissing },
    /// Create a user.
    CreateUser { user: User },
    /// Change a user's attributes.
    UpdateUser { user_id: UserId, patch: UserPatch },
    /// Delete a user.
    DeleteUser { user_id: UserId, if_missing: IfMissing },
    /// Create a queue.
    CreateQueue { queue: Queue },
    /// Change a queue's attributes.
    UpdateQueue { queue_id: QueueId, patch: QueuePatch },
    /// Delete a queue.
    DeleteQueue { queue_id: QueueId, if_missing: IfMissing },
    /// Give a user a role.
    AssignRole { user: UserRef, role: Role, queue: Option<QueueRef> },
    /// Take a role from a user.
    UnassignRole { user: UserRef, role: Role, queue: Option<QueueRef>, sessions: SessionsThen },
    /// Change the settings.
    UpdateSettings { patch: SettingsPatch, expected_etag: Option<String> },
    /// Make the organization what a document says.
    Import { directory: Directory, missing: Missing },
    /// Cut the beginning off the organization's audit log.
    CutAuditLog { through: Sequence, hash: Digest },
}

impl Action {
    /// The action's name in the audit log.
    pub fn audit_action(&self) -> AuditAction {
        match self {
            Self::SignIn { .. } => AuditAction::SignIn,
            Self::SignOut { .. } => AuditAction::SignOut,
            Self::SupervisorSignIn { .. } => AuditAction::SupervisorSignIn,
            Self::SupervisorSignOut { .. } => AuditAction::SupervisorSignOut,
            Self::CreateOrganization { .. } => AuditAction::CreateOrganization,
            Self::UpdateOrganization { .. } => AuditAction::UpdateOrganization,
            Self::DeleteOrganization { .. } => AuditAction::DeleteOrganization,
            Self::CreateUser { .. } => AuditAction::CreateUser,
            Self::UpdateUser { .. } => AuditAction::UpdateUser,
            Self::DeleteUser { .. } => AuditAction::DeleteUser,
            Self::CreateQueue { .. } => AuditAction::CreateQueue,
            Self::UpdateQueue { .. } => AuditAction::UpdateQueue,
            Self::DeleteQueue { .. } => AuditAction::DeleteQueue,
            Self::AssignRole { .. } => AuditAction::AssignRole,
            Self::UnassignRole { .. } => AuditAction::UnassignRole,
            Self::UpdateSettings { .. } => AuditAction::UpdateSettings,
            Self::Import { .. } => AuditAction::ImportDirectory,
            Self::CutAuditLog { .. } => AuditAction::CutAuditLog,
        }
    }

    /// Whether it changes directory, settings or audit log, which a system does on behalf of an acting user or as an
    /// administrator of its own (`docs/semantics.md` section 5.2).
    pub fn is_administration(&self) -> bool {
        match self {
            Self::SignIn { .. }
            | Self::SignOut { .. }
            | Self::SupervisorSignIn { .. }
            | Self::SupervisorSignOut { .. } => false,
            Self::CreateOrganization { .. }
            | Self::UpdateOrganization { .. }
            | Self::DeleteOrganization { .. }
            | Self::CreateUser { .. }
            | Self::UpdateUser { .. }
            | Self::DeleteUser { .. }
            | Self::CreateQueue { .. }
            | Self::UpdateQueue { .. }
            | Self::DeleteQueue { .. }
            | Self::AssignRole { .. }
            | Self::UnassignRole { .. }
            | Self::UpdateSettings { .. }
            | Self::Import { .. }
            | Self::CutAuditLog { .. } => true,
        }
    }
}

/// The queues that somebody signs out of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum QueueSelection {
    /// One.
    One(QueueRef),
    /// All of them.
    All,
}

/// What a delete does if there is nothing to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum IfMissing {
    /// NOT_FOUND.
    Fail,
    /// It is fine.
    Accept,
}

/// What becomes of the sessions when an assignment is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SessionsThen {
    /// They live on.
    Keep,
    /// They end with ASSIGNMENT_REMOVED.
    End,
}

/// What an import does with what its document doesn't name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Missing {
    /// Leaves it.
    Keep,
    /// Deletes it.
    Delete,
}

/// New values for a user's attributes; none: unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UserPatch {
    /// The name.
    pub display_name: Option<String>,
    /// The extension; `Some(None)`: no extension any more.
    pub extension: Option<Option<Extension>>,
    /// The licence.
    pub contact_center_license: Option<bool>,
    /// Whether the user is disabled.
    pub disabled: Option<bool>,
}

/// New values for a queue's attributes; none: unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct QueuePatch {
    /// The name.
    pub display_name: Option<String>,
    /// The extension; `Some(None)`: no extension any more.
    pub extension: Option<Option<Extension>>,
    /// The kind.
    pub kind: Option<QueueKind>,
}

/// A decision written down, to be sent now or, for a repeated request, again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The rule that decided.
    pub reason: Reason,
    /// The plain sentence.
    pub explanation: String,
    /// The live session, with ALREADY_SIGNED_IN.
    pub session: Option<Session>,
}

/// What came of a command that wasn't rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the responses of the same name in proto/queuegate/v1")]
pub enum Outcome {
    /// Of SignIn and SupervisorSignIn.
    SignIn { decision: DecisionRecord, session: Option<Session>, created: bool },
    /// Of SignOut and UnassignRole.
    SessionsEnded { ended: Vec<Session> },
    /// Of SupervisorSignOut.
    SupervisorSignOut { decision: DecisionRecord, ended: Vec<Session> },
    /// Of CreateOrganization and UpdateOrganization.
    Organization { organization: Organization },
    /// Of CreateUser and UpdateUser.
    User { user: User },
    /// Of CreateQueue and UpdateQueue.
    Queue { queue: Queue },
    /// Of the deletes.
    Deleted,
    /// Of AssignRole.
    RoleAssigned { assignment: RoleAssignment, created: bool },
    /// Of UpdateSettings.
    Settings { settings: PermissionSettings, etag: Etag },
    /// Of Import.
    Imported { report: ImportReport },
    /// Of CutAuditLog.
    AuditLogCut,
}

/// What an import changed, or would change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Whether the organization was created.
    pub organization_created: bool,
    /// Whether its name changed.
    pub organization_updated: bool,
    /// Whether its settings changed.
    pub settings_updated: bool,
    /// Users created.
    pub users_created: u64,
    /// Users updated.
    pub users_updated: u64,
    /// Users deleted.
    pub users_deleted: u64,
    /// Queues created.
    pub queues_created: u64,
    /// Queues updated.
    pub queues_updated: u64,
    /// Queues deleted.
    pub queues_deleted: u64,
    /// Roles given.
    pub assignments_created: u64,
    /// Roles taken.
    pub assignments_deleted: u64,
    /// Sessions ended.
    pub sessions_ended: u64,
    /// The first changes, a plain line each.
    pub changes: Vec<String>,
}

/// What can be named and not found, or found and in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// An organization.
    Organization,
    /// A user.
    User,
    /// A queue.
    Queue,
    /// A role assignment.
    RoleAssignment,
    /// A live session.
    Session,
}

/// Why a command can't be carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A field's value doesn't fit (INVALID_ARGUMENT).
    #[error("{field}: {description}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// What is wrong, and what would be right.
        description: String,
    },
    /// There is no such thing (NOT_FOUND).
    #[error("{description}")]
    NotFound {
        /// What it would be.
        resource: Resource,
        /// The name that was given.
        name: String,
        /// In words.
        description: String,
    },
    /// The name is taken (ALREADY_EXISTS).
    #[error("{description}")]
    AlreadyExists {
        /// What has it.
        resource: Resource,
        /// Which one has it.
        name: String,
        /// In words.
        description: String,
    },
    /// A role needs a licence (FAILED_PRECONDITION).
    #[error("{description}")]
    LicenseRequired {
        /// Who has none, or would have none.
        user_id: UserId,
        /// In words.
        description: String,
    },
    /// The acting user may not do this (PERMISSION_DENIED).
    #[error("actor_user_id `{}`: {}", .0.actor, .0.explanation)]
    ActorNotPermitted(ActorRefusal),
    /// What is asked about was cut off the audit log (OUT_OF_RANGE).
    #[error("this part of the audit log was cut off before")]
    AlreadyCut,
    /// The settings changed since the caller read them (ABORTED).
    #[error("the settings have changed since this etag was read; read them again and repeat the change")]
    StaleEtag,
    /// The document is faulty (INVALID_ARGUMENT).
    #[error("the document has {} problem(s), and nothing of it was applied", .0.len())]
    FaultyDocument(Vec<Problem>),
    /// A rule of this crate is broken (INTERNAL). Nothing changed.
    #[error("internal error: {0}")]
    Inconsistent(#[from] Inapplicable),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{by_queue_id, by_user_id};

    #[test]
    fn signing_in_and_out_is_no_administration_and_the_rest_is() {
        let (user, queue) = (by_user_id("ann"), by_queue_id("q1"));
        let sign_out = Action::SignOut { user: user.clone(), queues: QueueSelection::All };
        let role = Action::AssignRole { user, role: Role::Agent, queue: Some(queue) };
        assert!(!sign_out.is_administration() && role.is_administration());
    }
}
