//! The things of `docs/semantics.md` section 1, as plain data.

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

use super::{
    ids::{Extension, OrganizationId, QueueId, SessionId, UserId},
    named_enum::named_enum,
    time::Timestamp,
};

named_enum!(
    /// What a queue distributes.
    QueueKind, "CALL_QUEUE, INBOX, CAMPAIGN or RING_GROUP" {
        /// Inbound calls.
        CallQueue = "CALL_QUEUE",
        /// Messages and chats.
        Inbox = "INBOX",
        /// Outbound calls.
        Campaign = "CAMPAIGN",
        /// Phones that ring together; nothing signs in to it.
        RingGroup = "RING_GROUP",
    }
);

named_enum!(
    /// What a user may be.
    Role, "CONTACT_ADMIN, SUPERVISOR or AGENT" {
        /// Administers the contact center; never given for a queue.
        ContactAdmin = "CONTACT_ADMIN",
        /// Supervises agents.
        Supervisor = "SUPERVISOR",
        /// Answers contacts.
        Agent = "AGENT",
    }
);

named_enum!(
    /// How somebody asks to sign in.
    SignInChannel, "FEATURE_CODE or AGENT_DASHBOARD" {
        /// Dialing *13 and the queue's number.
        FeatureCode = "FEATURE_CODE",
        /// The agent dashboard.
        AgentDashboard = "AGENT_DASHBOARD",
    }
);

named_enum!(
    /// How a session began.
    Channel, "FEATURE_CODE, AGENT_DASHBOARD or SUPERVISOR" {
        /// Dialing *13 and the queue's number.
        FeatureCode = "FEATURE_CODE",
        /// The agent dashboard.
        AgentDashboard = "AGENT_DASHBOARD",
        /// A supervisor did it.
        Supervisor = "SUPERVISOR",
    }
);

impl From<SignInChannel> for Channel {
    fn from(channel: SignInChannel) -> Self {
        match channel {
            SignInChannel::FeatureCode => Self::FeatureCode,
            SignInChannel::AgentDashboard => Self::AgentDashboard,
        }
    }
}

named_enum!(
    /// Why a session was allowed.
    Basis, "ASSIGNED, UNASSIGNED_ALLOWED or SUPERVISOR" {
        /// The user was assigned to the queue.
        Assigned = "ASSIGNED",
        /// The organization allowed sign-in to unassigned queues.
        UnassignedAllowed = "UNASSIGNED_ALLOWED",
        /// A supervisor signed the user in.
        Supervisor = "SUPERVISOR",
    }
);

named_enum!(
    /// Why a session ended (`docs/semantics.md` section 3).
    EndReason, "an end reason" {
        /// The user signed out.
        SignedOut = "SIGNED_OUT",
        /// A supervisor signed the user out.
        SignedOutBySupervisor = "SIGNED_OUT_BY_SUPERVISOR",
        /// Its expire time came.
        Expired = "EXPIRED",
        /// The user was deleted.
        UserRemoved = "USER_REMOVED",
        /// The user was disabled.
        UserDisabled = "USER_DISABLED",
        /// The queue was deleted.
        QueueRemoved = "QUEUE_REMOVED",
        /// The organization was deleted.
        OrganizationRemoved = "ORGANIZATION_REMOVED",
        /// The assignment was removed by a call that asked for sessions to end with it.
        AssignmentRemoved = "ASSIGNMENT_REMOVED",
    }
);

/// A organization's own attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// The id.
    pub organization_id: OrganizationId,
    /// The name that people see.
    pub display_name: String,
}

/// A PBX user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    pub user_id: UserId,
    /// The name that people see.
    pub display_name: ArcStr,
    /// The phone number, unique among the organization's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// Whether the user has a contact-center licence. INVARIANT: whoever holds a role has one.
    pub contact_center_license: bool,
    /// Whether the user may sign in nowhere.
    pub disabled: bool,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The id.
    pub queue_id: QueueId,
    /// The name that people see.
    pub display_name: String,
    /// The phone number, unique among the organization's queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// What it distributes.
    pub kind: QueueKind,
}

/// A role that a user holds. INVARIANT: `ContactAdmin` never has a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Who holds it.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The queue it is held for; none: the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<QueueId>,
}

/// One user signed in to one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id.
    pub session_id: SessionId,
    /// Who is signed in.
    pub user_id: UserId,
    /// Where.
    pub queue_id: QueueId,
    /// How it began.
    pub channel: Channel,
    /// Why it was allowed.
    pub basis: Basis,
    /// The user, or the supervisor.
    pub signed_in_by: UserId,
    /// When it began.
    pub sign_in_time: Timestamp,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Timestamp>,
    /// The device that the caller named; empty if it named none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: EndReason,
}

impl Session {
    /// Whether the session is live: it has not ended, and its expire time, if any, is later than `now`. An expired
    /// session counts as absent at once, swept or not (`docs/semantics.md` section 2).
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.end.is_none() && self.expire_time.is_none_or(|expire_time| expire_time > now)
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleSet(u8);

impl RoleSet {
    /// Whether the role is in it.
    pub fn contains(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    /// Whether there is no role in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set and the role.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | Self::bit(role))
    }

    /// This set but the role.
    #[must_use]
    pub fn without(self, role: Role) -> Self {
        Self(self.0 & !Self::bit(role))
    }

    /// What is in this set or in the other.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The roles in it, CONTACT_ADMIN first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(move |&role| self.contains(role))
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::ContactAdmin => 1,
            Role::Supervisor => 2,
            Role::Agent => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_roles_holds_what_was_put_in_and_not_taken_out() {
        let all = Role::ALL.iter().fold(RoleSet::default(), |set, role| set.with(*role));
        assert_eq!(all.iter().collect::<Vec<_>>(), Role::ALL);
        assert!(RoleSet::default().is_empty() && !all.is_empty());
        for &role in Role::ALL {
            let but_one = all.without(role);
            assert!(!but_one.contains(role) && but_one.with(role) == all && but_one.without(role) == but_one);
            assert_eq!(but_one.iter().count(), 2, "{role}");
            assert!(RoleSet::default().with(role).without(role).is_empty());
            assert_eq!(but_one.union(RoleSet::default().with(role)), all);
            assert_eq!(but_one.union(but_one), but_one);
        }
    }
}
