//! Commands: the changes that callers ask for, and their outcomes and rejections.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    chain::Digest,
    change::{ActorRefusal, Inapplicable},
    directory::{Directory, Problem},
    explain::{AccessExplanation, PermissionExplanation},
    ids::{Extension, Login, OrganizationId, QueueId, QueueRef, Sequence, UserId, UserRef},
    language::Language,
    model::{Organization, Penalty, Queue, QueueKind, Role, RoleAssignment, Session, SignInChannel, User},
    pin::{PinAnswer, PinHash},
    settings::{Etag, PermissionSettings, SettingsPatch, UnassignedQueueSignIn},
    vocabulary::{AuditAction, Reason},
};

/// A change that a caller asks for in one organization. Equal commands serialize to equal text. The comparison of that
/// text distinguishes a repeated request from a reused request id.
#[derive(Debug, Clone, Serialize)]
pub struct Command {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The action.
    pub action: Action,
    /// The acting user, on whose behalf the caller asks. `None`: the caller asks on its own behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
}

/// An action that a caller asks for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the requests of the same name in proto/queuegate/v1")]
pub enum Action {
    /// Sign a user in if the rules allow it.
    SignIn { user: UserRef, queue: QueueRef, channel: SignInChannel, device: String },
    /// Sign a user in to every queue that is assigned to them, if the rules allow it.
    SignInToAssignedQueues { user: UserRef, channel: SignInChannel, device: String },
    /// Sign a user out.
    SignOut { user: UserRef, queues: QueueSelection },
    /// Sign a user in on a supervisor's authority.
    SupervisorSignIn {
        supervisor: UserRef,
        user: UserRef,
        queue: QueueRef,
        ttl: Option<Duration>,
        justification: String,
    },
    /// Sign a user out on a supervisor's authority.
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
    UpdateUser {
        user_id: UserId,
        patch: UserPatch,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_etag: Option<String>,
    },
    /// Delete a user.
    DeleteUser {
        user_id: UserId,
        if_missing: IfMissing,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_etag: Option<String>,
    },
    /// Create a queue.
    CreateQueue { queue: Queue },
    /// Change a queue's attributes.
    UpdateQueue {
        queue_id: QueueId,
        patch: QueuePatch,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_etag: Option<String>,
    },
    /// Delete a queue.
    DeleteQueue {
        queue_id: QueueId,
        if_missing: IfMissing,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_etag: Option<String>,
    },
    /// Give a user a role.
    AssignRole {
        user: UserRef,
        role: Role,
        queue: Option<QueueRef>,
        #[serde(skip_serializing_if = "Option::is_none")]
        penalty: Option<Penalty>,
    },
    /// Take a role from a user.
    UnassignRole { user: UserRef, role: Role, queue: Option<QueueRef>, sessions: SessionsThen },
    /// Set a user's PIN. The hash is no part of the content: it differs each time.
    SetPin {
        user: UserRef,
        #[serde(skip)]
        hash: PinHash,
    },
    /// Clear a user's PIN.
    ClearPin { user: UserRef },
    /// Count a comparison with the PIN of this etag.
    VerifyPin { user: UserRef, etag: Etag, is_equal: bool },
    /// Change the settings.
    UpdateSettings { patch: SettingsPatch, expected_etag: Option<String> },
    /// Make the organization match a document.
    Import { directory: Directory, missing: Missing },
    /// Cut the beginning off the organization's audit log.
    CutAuditLog { through: Sequence, hash: Digest },
}

impl Action {
    /// Return the action's name in the audit log.
    pub fn audit_action(&self) -> AuditAction {
        match self {
            Self::SignIn { .. } | Self::SignInToAssignedQueues { .. } => AuditAction::SignIn,
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
            Self::SetPin { .. } => AuditAction::SetPin,
            Self::ClearPin { .. } => AuditAction::ClearPin,
            Self::VerifyPin { .. } => AuditAction::VerifyPin,
            Self::UpdateSettings { .. } => AuditAction::UpdateSettings,
            Self::Import { .. } => AuditAction::ImportDirectory,
            Self::CutAuditLog { .. } => AuditAction::CutAuditLog,
        }
    }

    /// Return the acting user that the action itself names: the user who signs in or out, or the supervisor.
    pub fn acting_user(&self) -> Option<&UserRef> {
        match self {
            Self::SignIn { user, .. }
            | Self::SignInToAssignedQueues { user, .. }
            | Self::SignOut { user, .. }
            | Self::VerifyPin { user, .. } => Some(user),
            Self::SupervisorSignIn { supervisor, .. } | Self::SupervisorSignOut { supervisor, .. } => Some(supervisor),
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
            | Self::SetPin { .. }
            | Self::ClearPin { .. }
            | Self::UpdateSettings { .. }
            | Self::Import { .. }
            | Self::CutAuditLog { .. } => None,
        }
    }

    /// Return whether the action changes directory, settings or audit log. A caller does so on behalf of an acting user
    /// or as an administrator of its own (`docs/semantics.md` section 5.2).
    pub fn is_administration(&self) -> bool {
        match self {
            Self::SignIn { .. }
            | Self::SignInToAssignedQueues { .. }
            | Self::SignOut { .. }
            | Self::SupervisorSignIn { .. }
            | Self::SupervisorSignOut { .. }
            | Self::VerifyPin { .. } => false,
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
            | Self::SetPin { .. }
            | Self::ClearPin { .. }
            | Self::UpdateSettings { .. }
            | Self::Import { .. }
            | Self::CutAuditLog { .. } => true,
        }
    }
}

/// The queues from which a user signs out, or to which they sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum QueueSelection {
    /// One queue.
    One(QueueRef),
    /// All queues, or all that are assigned to the user.
    All,
}

/// The result of a delete if there is nothing to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum IfMissing {
    /// Fail with NOT_FOUND.
    Fail,
    /// Succeed without a change.
    Accept,
}

/// The effect on sessions of the removal of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SessionsThen {
    /// Keep them.
    Keep,
    /// End them with ASSIGNMENT_REMOVED.
    End,
}

/// The effect of an import on users, queues and roles that its document doesn't name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Missing {
    /// Keep them.
    Keep,
    /// Delete them.
    Delete,
}

/// New values for a user's attributes. `None` keeps a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UserPatch {
    /// The name.
    pub display_name: Option<String>,
    /// The extension; `Some(None)` removes it.
    pub extension: Option<Option<Extension>>,
    /// The licence.
    pub contact_center_license: Option<bool>,
    /// Whether the user is disabled.
    pub disabled: Option<bool>,
    /// The login; `Some(None)` removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Option<Login>>,
}

/// New values for a queue's attributes. `None` keeps a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct QueuePatch {
    /// The name.
    pub display_name: Option<String>,
    /// The extension; `Some(None)` removes it.
    pub extension: Option<Option<Extension>>,
    /// The kind.
    pub kind: Option<QueueKind>,
}

/// A decision in stored form, to send now and, for a repeated request, again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The rule that decided.
    pub reason: Reason,
    /// The plain sentence that explains the decision, in English. Programs of earlier versions read only
    /// this one.
    pub explanation: String,
    /// The live session, with ALREADY_SIGNED_IN.
    pub session: Option<Session>,
    /// The explanation for any language. `None` in a record of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translatable: Option<AccessExplanation<'static>>,
}

impl DecisionRecord {
    /// Record a decision.
    pub fn new(reason: Reason, explanation: AccessExplanation<'_>, session: Option<Session>) -> Self {
        let sentence = explanation.in_language(Language::English);
        Self { reason, explanation: sentence, session, translatable: Some(explanation.into_owned()) }
    }

    /// Return the explanation in a language, or in English if the record has no other.
    pub fn explanation_in(&self, language: Language) -> (String, Language) {
        match &self.translatable {
            Some(explanation) if language != Language::English => (explanation.in_language(language), language),
            Some(_) | None => (self.explanation.clone(), Language::English),
        }
    }
}

/// The outcome of a sign-in to one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSignIn {
    /// The queue.
    pub queue_id: QueueId,
    /// The decision.
    pub decision: DecisionRecord,
    /// The live session if it was allowed: the new one or the existing one.
    pub session: Option<Session>,
    /// Whether this command created the session.
    pub created: bool,
}

/// The outcome of a command that wasn't rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the responses of the same name in proto/queuegate/v1")]
pub enum Outcome {
    /// Of SignIn and SupervisorSignIn.
    SignIn { decision: DecisionRecord, session: Option<Session>, created: bool },
    /// Of SignInToAssignedQueues. `denied` is a decision that is the same for every queue.
    AssignedSignIns { denied: Option<DecisionRecord>, sign_ins: Vec<QueueSignIn> },
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
    /// Of SetPin and ClearPin.
    PinChanged,
    /// Of VerifyPin.
    PinVerified { answer: PinAnswer },
    /// Of UpdateSettings.
    Settings { settings: PermissionSettings, etag: Etag },
    /// Of Import.
    Imported { report: ImportReport },
    /// Of CutAuditLog.
    AuditLogCut,
}

/// The changes that an import made, or would make.
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
    /// Role assignments with another penalty.
    #[serde(default)]
    pub assignments_updated: u64,
    /// Roles taken.
    pub assignments_deleted: u64,
    /// Sessions ended.
    pub sessions_ended: u64,
    /// The first changes, a plain line each.
    pub changes: Vec<String>,
}

/// A kind of thing that a rejection names.
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
    /// A PIN.
    Pin,
}

/// The reason why a command can't be carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A field has an invalid value (INVALID_ARGUMENT).
    #[error("{field}: {description}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// The problem, and how to correct it.
        description: String,
    },
    /// The named thing doesn't exist (NOT_FOUND).
    #[error("{description}")]
    NotFound {
        /// Its kind.
        resource: Resource,
        /// The name that was given.
        name: String,
        /// The message.
        description: String,
    },
    /// The name or extension is in use (ALREADY_EXISTS).
    #[error("{description}")]
    AlreadyExists {
        /// The kind of its owner.
        resource: Resource,
        /// The owner's id.
        name: String,
        /// The message.
        description: String,
    },
    /// A role needs a licence (FAILED_PRECONDITION).
    #[error("{description}")]
    LicenseRequired {
        /// The user without a licence, or whose licence would be removed.
        user_id: UserId,
        /// The message.
        description: String,
    },
    /// The acting user may not do this (PERMISSION_DENIED).
    #[error("actor_user_id `{}`: {}", .refusal.actor, .refusal.explanation)]
    ActorNotPermitted {
        /// The refusal, with its explanation in English.
        refusal: ActorRefusal,
        /// The explanation for any language. `None` if no user may do this.
        translatable: Option<Box<PermissionExplanation<'static>>>,
    },
    /// The requested part of the audit log was cut off before (OUT_OF_RANGE).
    #[error("this part of the audit log was cut off before")]
    AlreadyCut,
    /// The settings, the user or the queue changed since the caller read them (ABORTED).
    #[error("{thing} changed after this etag was read; read again, and repeat the change")]
    StaleEtag {
        /// The changed thing.
        thing: String,
    },
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
        let role = Action::AssignRole { user, role: Role::Agent, queue: Some(queue), penalty: None };
        assert!(!sign_out.is_administration() && role.is_administration());
    }

    #[test]
    fn a_record_of_an_earlier_version_answers_in_english() {
        let earlier = r#"{"reason":"ASSIGNED","explanation":"ann is assigned to q1.","session":null}"#;
        let record: DecisionRecord = serde_json::from_str(earlier).unwrap();
        assert_eq!(record.explanation_in(Language::German), ("ann is assigned to q1.".to_owned(), Language::English));
        assert_eq!(serde_json::to_string(&record).unwrap(), earlier);
    }

    #[test]
    fn a_record_is_read_back_in_every_language() {
        let user = by_user_id("ann");
        let explanation = AccessExplanation::denied_everywhere(Reason::UnknownUser, None, &user);
        let record = DecisionRecord::new(Reason::UnknownUser, explanation, None);
        let read: DecisionRecord = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(read, record);
        let english = ("There is no user `ann`.".to_owned(), Language::English);
        let german = ("Es gibt keinen Benutzer mit der ID „ann“.".to_owned(), Language::German);
        assert_eq!(
            [Language::English, Language::German].map(|language| read.explanation_in(language)),
            [english, german]
        );
    }
}
