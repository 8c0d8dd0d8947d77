//! The reasons that an answer names, in the order of the rules.

use crate::domain::named_enum::named_enum;

named_enum!(
    /// The reason for a decision.
    Reason, "a reason" {
        /// Rule 1: the user doesn't exist.
        UnknownUser = "UNKNOWN_USER",
        /// Rule 2: the user is disabled.
        UserDisabled = "USER_DISABLED",
        /// Rule 3: the queue doesn't exist.
        UnknownQueue = "UNKNOWN_QUEUE",
        /// Rule 4: the channel can't reach this kind of queue.
        QueueKindNotSupported = "QUEUE_KIND_NOT_SUPPORTED",
        /// Rule 5: the dashboard needs the AGENT role.
        AgentRoleRequired = "AGENT_ROLE_REQUIRED",
        /// Rule 6: a live session exists.
        AlreadySignedIn = "ALREADY_SIGNED_IN",
        /// Rule 7: the user is assigned to the queue.
        Assigned = "ASSIGNED",
        /// Rule 8: the organization allows sign-in to unassigned queues.
        UnassignedAllowed = "UNASSIGNED_ALLOWED",
        /// Rule 9: the organization restricts sign-in to assigned queues.
        UnassignedRestricted = "UNASSIGNED_RESTRICTED",
        /// The supervisor doesn't exist.
        UnknownSupervisor = "UNKNOWN_SUPERVISOR",
        /// The supervisor is disabled.
        SupervisorDisabled = "SUPERVISOR_DISABLED",
        /// The supervisor holds neither SUPERVISOR nor CONTACT_ADMIN.
        SupervisorRoleRequired = "SUPERVISOR_ROLE_REQUIRED",
        /// The queue is not in the supervisor's reach.
        SupervisorQueueNotAssigned = "SUPERVISOR_QUEUE_NOT_ASSIGNED",
        /// The supervisor may sign the user in.
        SupervisorSignIn = "SUPERVISOR_SIGN_IN",
        /// The supervisor may sign the user out.
        SupervisorSignOut = "SUPERVISOR_SIGN_OUT",
    }
);

impl Reason {
    /// Return whether it is a reason to allow.
    pub fn is_allowed(self) -> bool {
        match self {
            Self::AlreadySignedIn
            | Self::Assigned
            | Self::UnassignedAllowed
            | Self::SupervisorSignIn
            | Self::SupervisorSignOut => true,
            Self::UnknownUser
            | Self::UserDisabled
            | Self::UnknownQueue
            | Self::QueueKindNotSupported
            | Self::AgentRoleRequired
            | Self::UnassignedRestricted
            | Self::UnknownSupervisor
            | Self::SupervisorDisabled
            | Self::SupervisorRoleRequired
            | Self::SupervisorQueueNotAssigned => false,
        }
    }
}
