//! The queue-access decision: `SEMANTICS.md` section 2, and the supervisor's of section 3.
//!
//! The rules stand here in their order, each a few lines, and the first that matches decides. No allocation, no I/O: a
//! decision borrows what it found.

use std::sync::Arc;

use super::{
    ids::{QueueRef, UserRef},
    model::{Channel, Queue, QueueKind, Role, Session, SignInChannel, User, named_enum},
    permission::{Permission, PermissionReason, by_role},
    settings::UnassignedQueueSignIn,
    snapshot::{Member, Place, Tenant},
    time::Timestamp,
};

named_enum!(
    /// Why a question was answered as it was.
    Reason, "a reason" {
        /// Rule 1: no such user.
        UnknownUser = "UNKNOWN_USER",
        /// Rule 2: the user is disabled.
        UserDisabled = "USER_DISABLED",
        /// Rule 3: no such queue.
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
        /// Rule 9: otherwise.
        UnassignedRestricted = "UNASSIGNED_RESTRICTED",
        /// No such supervisor.
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
    /// Whether it is a reason to allow.
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

/// May this user sign in to this queue?
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// Who.
    pub user: &'q UserRef,
    /// Where.
    pub queue: &'q QueueRef,
    /// How.
    pub channel: SignInChannel,
}

/// May this supervisor sign this user in to this queue, or out of it?
#[derive(Debug, Clone, Copy)]
pub struct SupervisorQuestion<'q> {
    /// The supervisor.
    pub supervisor: &'q UserRef,
    /// Who.
    pub user: &'q UserRef,
    /// Where.
    pub queue: &'q QueueRef,
    /// In or out.
    pub action: SupervisorAction,
}

/// What a supervisor wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorAction {
    /// Sign the user in.
    SignIn,
    /// Sign the user out.
    SignOut,
}

/// An answer, with what it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// The rule that decided.
    pub reason: Reason,
    /// The supervisor, if the question named one and there is one.
    pub supervisor: Option<&'s User>,
    /// The user, if there is one.
    pub user: Option<&'s User>,
    /// The queue, if there is one.
    pub queue: Option<&'s Queue>,
    /// The live session of the user on the queue, if there is one.
    pub session: Option<&'s Arc<Session>>,
}

/// Decides whether a user may sign in to a queue. The first rule that matches decides.
pub fn decide<'s>(tenant: &'s Tenant, question: Question<'_>, now: Timestamp) -> Decision<'s> {
    let member = tenant.member(question.user);
    let place = tenant.place(question.queue);
    let session = live_session(member, place, now);
    let reason = match (member, place) {
        (None, _) => Reason::UnknownUser,
        (Some(member), _) if member.user().disabled => Reason::UserDisabled,
        (Some(_), None) => Reason::UnknownQueue,
        (Some(member), Some(place)) => known(tenant, member, place, question.channel, session),
    };
    Decision { reason, supervisor: None, user: member.map(Member::user), queue: place.map(Place::queue), session }
}

/// Why a user may sign in to a queue or not, for lists of either: what [`decide`] answers of a user and a queue that were
/// found already.
pub fn reason(tenant: &Tenant, member: &Member, place: &Place, channel: SignInChannel, now: Timestamp) -> Reason {
    if member.user().disabled {
        return Reason::UserDisabled;
    }
    known(tenant, member, place, channel, member.live_session(place, now))
}

/// Rules 4 to 9, for a user and a queue that exist.
fn known(
    tenant: &Tenant,
    member: &Member,
    place: &Place,
    channel: SignInChannel,
    session: Option<&Arc<Session>>,
) -> Reason {
    if !reaches(channel, place.queue().kind) {
        Reason::QueueKindNotSupported
    } else if needs_agent_role(channel) && !member.roles_held().contains(Role::Agent) {
        Reason::AgentRoleRequired
    } else if session.is_some() {
        Reason::AlreadySignedIn
    } else if member.is_assigned(place) {
        Reason::Assigned
    } else {
        match tenant.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Allowed => Reason::UnassignedAllowed,
            UnassignedQueueSignIn::Restricted => Reason::UnassignedRestricted,
        }
    }
}

/// Decides whether a supervisor may sign a user in or out.
pub fn decide_supervisor<'s>(tenant: &'s Tenant, question: SupervisorQuestion<'_>, now: Timestamp) -> Decision<'s> {
    let supervisor = tenant.user(question.supervisor);
    let member = tenant.member(question.user);
    let user = member.map(Member::user);
    let place = tenant.place(question.queue);
    let queue = place.map(Place::queue);
    let session = live_session(member, place, now);
    let reason = match (supervisor, user, queue) {
        (None, ..) => Reason::UnknownSupervisor,
        (Some(supervisor), ..) if supervisor.disabled => Reason::SupervisorDisabled,
        (Some(_), None, _) => Reason::UnknownUser,
        (Some(_), Some(user), _) if user.disabled && question.action == SupervisorAction::SignIn => {
            Reason::UserDisabled
        }
        (Some(_), Some(_), None) => Reason::UnknownQueue,
        (Some(_), Some(_), Some(queue)) if queue.kind == QueueKind::RingGroup => Reason::QueueKindNotSupported,
        (Some(supervisor), Some(_), Some(queue)) => {
            match by_role(tenant, supervisor, Permission::SignInAgents, Some(queue), now).0 {
                PermissionReason::Granted => match question.action {
                    SupervisorAction::SignIn if session.is_some() => Reason::AlreadySignedIn,
                    SupervisorAction::SignIn => Reason::SupervisorSignIn,
                    SupervisorAction::SignOut => Reason::SupervisorSignOut,
                },
                PermissionReason::QueueNotAssigned => Reason::SupervisorQueueNotAssigned,
                PermissionReason::RoleRequired
                | PermissionReason::SettingDisabled
                | PermissionReason::UnknownUser
                | PermissionReason::UserDisabled
                | PermissionReason::UnknownQueue => Reason::SupervisorRoleRequired,
            }
        }
    };
    Decision { reason, supervisor, user, queue, session }
}

/// Whether the user keeps the session although, without it, they would be refused by rule 9 now (`SEMANTICS.md`
/// section 3). What a supervisor gave is never "retained".
pub fn is_retained(tenant: &Tenant, session: &Session, now: Timestamp) -> bool {
    let channel = match session.channel {
        Channel::FeatureCode => SignInChannel::FeatureCode,
        Channel::AgentDashboard => SignInChannel::AgentDashboard,
        Channel::Supervisor => return false,
    };
    let member = tenant.member_by_id(session.user_id.as_str()).filter(|member| !member.user().disabled);
    let place = tenant.place_by_id(session.queue_id.as_str());
    match (member, place) {
        (Some(member), Some(place)) => {
            // A session that is told of after its end, or after another took its place, is kept by nobody.
            let live = member.live_session(place, now);
            live.is_some_and(|live| live.session_id == session.session_id)
                && known(tenant, member, place, channel, None) == Reason::UnassignedRestricted
        }
        (None, _) | (_, None) => false,
    }
}

/// Whether the channel reaches this kind of queue.
pub fn reaches(channel: SignInChannel, kind: QueueKind) -> bool {
    match (channel, kind) {
        (_, QueueKind::CallQueue) | (SignInChannel::AgentDashboard, QueueKind::Inbox | QueueKind::Campaign) => true,
        (_, QueueKind::RingGroup) | (SignInChannel::FeatureCode, QueueKind::Inbox | QueueKind::Campaign) => false,
    }
}

/// Whether the channel is open to agents only.
pub fn needs_agent_role(channel: SignInChannel) -> bool {
    match channel {
        SignInChannel::AgentDashboard => true,
        SignInChannel::FeatureCode => false,
    }
}

fn live_session<'s>(member: Option<&'s Member>, place: Option<&Place>, now: Timestamp) -> Option<&'s Arc<Session>> {
    member?.live_session(place?, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        fixture::{Office, by_queue_id, by_user_id, now},
        ids::SessionId,
    };

    #[test]
    fn whoever_would_be_refused_but_for_the_session_is_retained() {
        let mut office = Office::new();
        for (user, queue, channel) in [
            ("ann", "q1", SignInChannel::FeatureCode),
            ("ann", "q2", SignInChannel::FeatureCode),
            ("bob", "q3", SignInChannel::AgentDashboard),
            ("eve", "q1", SignInChannel::FeatureCode),
        ] {
            office.sign_in(user, queue, channel);
        }
        let retained = |office: &Office| {
            let sessions =
                office.tenant().sessions_after(None).filter(|session| is_retained(office.tenant(), session, now()));
            sessions.map(|session| format!("{} {}", session.user_id, session.queue_id)).collect::<Vec<_>>()
        };
        assert_eq!(retained(&office), Vec::<String>::new());
        office.set(UnassignedQueueSignIn::Restricted, &[]);
        assert_eq!(retained(&office), ["ann q2", "bob q3", "eve q1"]);
        let tenant = office.tenant();
        let session = tenant.recorded_session("eve", "q1").unwrap();
        let with = |change: fn(&mut Session)| {
            let mut session = Session::clone(session);
            change(&mut session);
            is_retained(tenant, &session, now())
        };
        assert!(with(|_| {}));
        assert!(!with(|session| session.channel = Channel::Supervisor), "what a supervisor gave");
        assert!(!with(|session| session.session_id = SessionId::from_bits(u128::MAX)), "one of before");
        assert!(!with(|session| session.user_id = "nobody".parse().unwrap()), "a user who is gone");
        assert!(!with(|session| session.queue_id = "nowhere".parse().unwrap()), "a queue that is gone");
    }

    #[test]
    fn a_reason_allows_or_denies() {
        let allowing: Vec<Reason> = Reason::ALL.iter().copied().filter(|reason| reason.is_allowed()).collect();
        assert_eq!(
            allowing,
            [
                Reason::AlreadySignedIn,
                Reason::Assigned,
                Reason::UnassignedAllowed,
                Reason::SupervisorSignIn,
                Reason::SupervisorSignOut
            ]
        );
        let (ann, q1) = (by_user_id("ann"), by_queue_id("q1"));
        let office = Office::new();
        let question = Question { user: &ann, queue: &q1, channel: SignInChannel::FeatureCode };
        assert!(decide(office.tenant(), question, now()).reason.is_allowed());
    }
}
