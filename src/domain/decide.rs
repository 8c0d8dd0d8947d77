//! The queue-access decision: `docs/semantics.md` section 2, and the supervisor's of section 3.
//!
//! The rules stand here in their order, each a few lines, and the first that matches decides. No allocation, no I/O: a
//! decision borrows the user, the queue and the session from the state.

use std::sync::Arc;

use super::{
    ids::{QueueRef, UserRef},
    model::{Channel, Queue, QueueKind, Role, Session, SignInChannel, User},
    permission::by_role,
    settings::UnassignedQueueSignIn,
    snapshot::{OrganizationState, QueueState, UserState},
    time::Timestamp,
    vocabulary::Reason,
    vocabulary::{Permission, PermissionReason},
};

/// The question whether a user may sign in to a queue.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'q> {
    /// The user.
    pub user: &'q UserRef,
    /// The queue.
    pub queue: &'q QueueRef,
    /// The channel.
    pub channel: SignInChannel,
}

/// The question whether a supervisor may sign a user in to a queue, or out of it.
#[derive(Debug, Clone, Copy)]
pub struct SupervisorRequest<'q> {
    /// The supervisor.
    pub supervisor: &'q UserRef,
    /// The user to sign in or out.
    pub user: &'q UserRef,
    /// The queue.
    pub queue: &'q QueueRef,
    /// Sign-in or sign-out.
    pub action: SupervisorAction,
}

/// An action of a supervisor on a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorAction {
    /// Sign the user in.
    SignIn,
    /// Sign the user out.
    SignOut,
}

/// An answer, with the data that it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// The rule that decided.
    pub reason: Reason,
    /// The supervisor, if the request named one and they exist.
    pub supervisor: Option<&'s User>,
    /// The user, if they exist.
    pub user: Option<&'s User>,
    /// The queue, if it exists.
    pub queue: Option<&'s Queue>,
    /// The live session of the user on the queue, or `None`.
    pub session: Option<&'s Arc<Session>>,
}

/// Decide whether a user may sign in to a queue. The first rule that matches decides.
pub fn decide<'s>(organization: &'s OrganizationState, request: AccessRequest<'_>, now: Timestamp) -> Decision<'s> {
    let user_state = organization.user_state(request.user);
    let queue_state = organization.queue_state(request.queue);
    let session = live_session(user_state, queue_state, now);
    let reason = match (user_state, queue_state) {
        (None, _) => Reason::UnknownUser,
        (Some(user_state), _) if user_state.user().disabled => Reason::UserDisabled,
        (Some(_), None) => Reason::UnknownQueue,
        (Some(user_state), Some(queue_state)) => {
            decide_for_existing(organization, user_state, queue_state, request.channel, session)
        }
    };
    Decision {
        reason,
        supervisor: None,
        user: user_state.map(UserState::user),
        queue: queue_state.map(QueueState::queue),
        session,
    }
}

/// Return the reason why a user may sign in to a queue or not, for lists of either. It is the reason of [`decide`], for
/// a user and a queue that were found already.
pub fn reason(
    organization: &OrganizationState,
    user_state: &UserState,
    queue_state: &QueueState,
    channel: SignInChannel,
    now: Timestamp,
) -> Reason {
    if user_state.user().disabled {
        return Reason::UserDisabled;
    }
    decide_for_existing(organization, user_state, queue_state, channel, user_state.live_session(queue_state, now))
}

/// Apply rules 4 to 9, for a user and a queue that exist.
fn decide_for_existing(
    organization: &OrganizationState,
    user_state: &UserState,
    queue_state: &QueueState,
    channel: SignInChannel,
    session: Option<&Arc<Session>>,
) -> Reason {
    if !reaches(channel, queue_state.queue().kind) {
        Reason::QueueKindNotSupported
    } else if needs_agent_role(channel) && !user_state.roles_held().contains(Role::Agent) {
        Reason::AgentRoleRequired
    } else if session.is_some() {
        Reason::AlreadySignedIn
    } else if user_state.is_assigned(queue_state) {
        Reason::Assigned
    } else {
        match organization.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Allowed => Reason::UnassignedAllowed,
            UnassignedQueueSignIn::Restricted => Reason::UnassignedRestricted,
        }
    }
}

/// Decide whether a supervisor may sign a user in or out.
pub fn decide_supervisor<'s>(
    organization: &'s OrganizationState,
    request: SupervisorRequest<'_>,
    now: Timestamp,
) -> Decision<'s> {
    let supervisor = organization.user(request.supervisor);
    let user_state = organization.user_state(request.user);
    let user = user_state.map(UserState::user);
    let queue_state = organization.queue_state(request.queue);
    let queue = queue_state.map(QueueState::queue);
    let session = live_session(user_state, queue_state, now);
    let reason = match (supervisor, user, queue) {
        (None, ..) => Reason::UnknownSupervisor,
        (Some(supervisor), ..) if supervisor.disabled => Reason::SupervisorDisabled,
        (Some(_), None, _) => Reason::UnknownUser,
        (Some(_), Some(user), _) if user.disabled && request.action == SupervisorAction::SignIn => Reason::UserDisabled,
        (Some(_), Some(_), None) => Reason::UnknownQueue,
        (Some(_), Some(_), Some(queue)) if queue.kind == QueueKind::RingGroup => Reason::QueueKindNotSupported,
        (Some(supervisor), Some(_), Some(queue)) => {
            match by_role(organization, supervisor, Permission::SignInAgents, Some(queue), now).0 {
                PermissionReason::Granted => match request.action {
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

/// Return whether the session is retained: without it, rule 9 would now deny its user a sign-in (`docs/semantics.md`
/// section 3). A session that a supervisor started is never retained.
pub fn is_retained(organization: &OrganizationState, session: &Session, now: Timestamp) -> bool {
    let channel = match session.channel {
        Channel::FeatureCode => SignInChannel::FeatureCode,
        Channel::AgentDashboard => SignInChannel::AgentDashboard,
        Channel::Supervisor => return false,
    };
    let user_state =
        organization.user_state_by_id(session.user_id.as_str()).filter(|user_state| !user_state.user().disabled);
    let queue_state = organization.queue_state_by_id(session.queue_id.as_str());
    match (user_state, queue_state) {
        (Some(user_state), Some(queue_state)) => {
            // Neither a session that ended, nor one that another has replaced, is retained.
            let live = user_state.live_session(queue_state, now);
            live.is_some_and(|live| live.session_id == session.session_id)
                && decide_for_existing(organization, user_state, queue_state, channel, None)
                    == Reason::UnassignedRestricted
        }
        (None, _) | (_, None) => false,
    }
}

/// Return whether the channel reaches this kind of queue.
pub fn reaches(channel: SignInChannel, kind: QueueKind) -> bool {
    match (channel, kind) {
        (_, QueueKind::CallQueue) | (SignInChannel::AgentDashboard, QueueKind::Inbox | QueueKind::Campaign) => true,
        (_, QueueKind::RingGroup) | (SignInChannel::FeatureCode, QueueKind::Inbox | QueueKind::Campaign) => false,
    }
}

/// Return whether the channel is open to agents only.
pub fn needs_agent_role(channel: SignInChannel) -> bool {
    match channel {
        SignInChannel::AgentDashboard => true,
        SignInChannel::FeatureCode => false,
    }
}

fn live_session<'s>(
    user_state: Option<&'s UserState>,
    queue_state: Option<&QueueState>,
    now: Timestamp,
) -> Option<&'s Arc<Session>> {
    user_state?.live_session(queue_state?, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        fixture::{Fixture, by_queue_id, by_user_id, now},
        ids::SessionId,
    };

    #[test]
    fn a_session_that_would_be_denied_now_is_retained() {
        let mut fixture = Fixture::new();
        for (user, queue, channel) in [
            ("ann", "q1", SignInChannel::FeatureCode),
            ("ann", "q2", SignInChannel::FeatureCode),
            ("bob", "q3", SignInChannel::AgentDashboard),
            ("eve", "q1", SignInChannel::FeatureCode),
        ] {
            fixture.sign_in(user, queue, channel);
        }
        let retained = |fixture: &Fixture| {
            let sessions = fixture
                .organization()
                .sessions_after(None)
                .filter(|session| is_retained(fixture.organization(), session, now()));
            sessions.map(|session| format!("{} {}", session.user_id, session.queue_id)).collect::<Vec<_>>()
        };
        assert_eq!(retained(&fixture), Vec::<String>::new());
        fixture.set(UnassignedQueueSignIn::Restricted, &[]);
        assert_eq!(retained(&fixture), ["ann q2", "bob q3", "eve q1"]);
        let organization = fixture.organization();
        let session = organization.recorded_session("eve", "q1").unwrap();
        let with = |change: fn(&mut Session)| {
            let mut session = Session::clone(session);
            change(&mut session);
            is_retained(organization, &session, now())
        };
        assert!(with(|_| {}));
        assert!(!with(|session| session.channel = Channel::Supervisor), "a supervisor's session");
        assert!(!with(|session| session.session_id = SessionId::from_bits(u128::MAX)), "an earlier session");
        assert!(!with(|session| session.user_id = "nobody".parse().unwrap()), "a deleted user");
        assert!(!with(|session| session.queue_id = "nowhere".parse().unwrap()), "a deleted queue");
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
        let fixture = Fixture::new();
        let request = AccessRequest { user: &ann, queue: &q1, channel: SignInChannel::FeatureCode };
        assert!(decide(fixture.organization(), request, now()).reason.is_allowed());
    }
}
