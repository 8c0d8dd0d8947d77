//! The objects of `docs/semantics.md` section 1, as plain data.

use std::{fmt, str::FromStr};

use arcstr::ArcStr;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    ids::{Extension, Login, Malformed, OrganizationId, QueueId, SessionId, UserId},
    named_enum::named_enum,
    time::Timestamp,
};

named_enum!(
    /// The kind of contacts that a queue distributes.
    QueueKind, "CALL_QUEUE, INBOX, CAMPAIGN or RING_GROUP" {
        /// Inbound calls.
        CallQueue = "CALL_QUEUE",
        /// Messages and chats.
        Inbox = "INBOX",
        /// Outbound calls.
        Campaign = "CAMPAIGN",
        /// Phones that ring together; no user signs in to it.
        RingGroup = "RING_GROUP",
    }
);

named_enum!(
    /// A role of a user.
    Role, "CONTACT_ADMIN, SUPERVISOR or AGENT" {
        /// Administers the contact center; never assigned for a queue.
        ContactAdmin = "CONTACT_ADMIN",
        /// Supervises agents.
        Supervisor = "SUPERVISOR",
        /// Answers contacts.
        Agent = "AGENT",
    }
);

named_enum!(
    /// The channel of a user's own sign-in.
    SignInChannel, "FEATURE_CODE or AGENT_DASHBOARD" {
        /// Dialing *13 and the queue's number.
        FeatureCode = "FEATURE_CODE",
        /// The agent dashboard.
        AgentDashboard = "AGENT_DASHBOARD",
    }
);

named_enum!(
    /// The channel of a session's sign-in.
    Channel, "FEATURE_CODE, AGENT_DASHBOARD or SUPERVISOR" {
        /// Dialing *13 and the queue's number.
        FeatureCode = "FEATURE_CODE",
        /// The agent dashboard.
        AgentDashboard = "AGENT_DASHBOARD",
        /// Sign-in by a supervisor.
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
    /// The reason for which a session was allowed.
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
    /// The reason why a session ended (`docs/semantics.md` section 3).
    EndReason, "an end reason" {
        /// The user signed out.
        SignedOut = "SIGNED_OUT",
        /// A supervisor signed the user out.
        SignedOutBySupervisor = "SIGNED_OUT_BY_SUPERVISOR",
        /// Its expire time passed.
        Expired = "EXPIRED",
        /// The user was deleted.
        UserRemoved = "USER_REMOVED",
        /// The user was disabled.
        UserDisabled = "USER_DISABLED",
        /// The queue was deleted.
        QueueRemoved = "QUEUE_REMOVED",
        /// The organization was deleted.
        OrganizationRemoved = "ORGANIZATION_REMOVED",
        /// The assignment was removed by a call that asked to end its session.
        AssignmentRemoved = "ASSIGNMENT_REMOVED",
    }
);

/// An organization's own attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// The id.
    pub organization_id: OrganizationId,
    /// The name that people see.
    pub display_name: String,
}

/// A user of the PBX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    pub user_id: UserId,
    /// The name that people see.
    pub display_name: ArcStr,
    /// The extension, unique among the organization's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// Whether the user has a contact-center licence. INVARIANT: every user with a role has one.
    pub contact_center_license: bool,
    /// Whether the user is disabled, and may do nothing.
    pub disabled: bool,
    /// The name at an identity provider, unique among the organization's users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

impl User {
    /// Return whether the user may hold a role: a role needs a licence (`docs/semantics.md` section 1).
    pub fn may_hold_roles(&self) -> bool {
        self.contact_center_license
    }

    /// Return the etag, by which callers recognize that the user has changed. Equal users have equal etags.
    pub fn etag(&self) -> String {
        content_etag(self)
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The id.
    pub queue_id: QueueId,
    /// The name that people see.
    pub display_name: String,
    /// The extension, unique among the organization's queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// The kind of its contacts.
    pub kind: QueueKind,
}

impl Queue {
    /// Return the etag, by which callers recognize that the queue has changed. Equal queues have equal etags.
    pub fn etag(&self) -> String {
        content_etag(self)
    }
}

/// A role that a user holds. INVARIANT: `ContactAdmin` never has a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// The user who holds it.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The queue for which it is held, or `None` for the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<QueueId>,
    /// The penalty. INVARIANT: 0 unless this is AGENT on a queue.
    #[serde(default, skip_serializing_if = "Penalty::is_zero")]
    pub penalty: Penalty,
}

/// The order of preference in which the PBX rings an agent of a queue, from 0 to 999. A lower one is rung first. It
/// never changes a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Penalty(u16);

impl Penalty {
    /// The largest one.
    pub const MAX: u16 = 999;

    /// Return the penalty of this number, which must be from 0 to 999.
    pub fn new(number: i64) -> Result<Self, Malformed> {
        let penalty = u16::try_from(number).ok().filter(|penalty| *penalty <= Self::MAX);
        penalty.map(Self).ok_or_else(|| Malformed::new("a penalty from 0 to 999", &number.to_string()))
    }

    /// Return whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Return it as a number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Penalty {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let number = text.parse().map_err(|_| Malformed::new("a penalty from 0 to 999", text))?;
        Self::new(number)
    }
}

/// One user signed in to one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id.
    pub session_id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// The queue.
    pub queue_id: QueueId,
    /// The channel of the sign-in.
    pub channel: Channel,
    /// The reason for which it was allowed.
    pub basis: Basis,
    /// The user, or the supervisor who signed the user in.
    pub signed_in_by: UserId,
    /// The time of the sign-in.
    pub sign_in_time: Timestamp,
    /// The time when it expires, or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Timestamp>,
    /// The device that the caller named; empty if it named none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Its end, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
}

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// The time of the end.
    pub time: Timestamp,
    /// The reason.
    pub reason: EndReason,
}

impl Session {
    /// Return whether the session is live: it has not ended, and its expire time, if any, is later than `now`. An
    /// expired session counts as absent even before the server ends it (`docs/semantics.md` section 2).
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.end.is_none() && self.expire_time.is_none_or(|expire_time| expire_time > now)
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleSet(u8);

impl RoleSet {
    /// Return whether the set contains the role.
    pub fn contains(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }

    /// Return whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Return this set with the role.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | Self::bit(role))
    }

    /// Return this set without the role.
    #[must_use]
    pub fn without(self, role: Role) -> Self {
        Self(self.0 & !Self::bit(role))
    }

    /// Return the union of two sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Iterate over the roles in the set, CONTACT_ADMIN first.
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

fn content_etag(content: &impl Serialize) -> String {
    // Users and queues are plain data, which always serializes.
    let hash = Sha256::digest(serde_json::to_vec(content).unwrap_or_default());
    HEXLOWER.encode(hash.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_roles_has_the_roles_that_were_added_and_not_removed() {
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
