//! Lists of decisions: the queues that a user may sign in to, and the users who may sign in to a queue.
//!
//! INVARIANT: a list has exactly the entries that [`decide`](super::decide::decide) allows. Only possible entries are
//! examined, so the cost of a list depends on its length. Where the setting restricts sign-in, these are the
//! assignments and sessions. On the agent dashboard, they are the holders of the AGENT role.

use std::{ops::Bound, sync::Arc};

use super::{
    decide::{needs_agent_role, reaches, reason},
    ids::{QueueRef, UserRef},
    model::{Queue, Role, Session, SignInChannel, User},
    settings::UnassignedQueueSignIn,
    snapshot::{OrganizationState, QueueState, UserState},
    time::Timestamp,
    vocabulary::Reason,
};

/// Return the reason why a user can't sign in to any queue, or `None` if it depends on the queue.
pub fn denied_everywhere(organization: &OrganizationState, user: &UserRef, channel: SignInChannel) -> Option<Reason> {
    match organization.user_state(user) {
        None => Some(Reason::UnknownUser),
        Some(user_state) if user_state.user().disabled => Some(Reason::UserDisabled),
        Some(user_state) if needs_agent_role(channel) && !user_state.roles_held().contains(Role::Agent) => {
            Some(Reason::AgentRoleRequired)
        }
        Some(_) => None,
    }
}

/// Return the reason why no user can sign in to a queue, or `None` if it depends on the user.
pub fn denied_to_everybody(
    organization: &OrganizationState,
    queue: &QueueRef,
    channel: SignInChannel,
) -> Option<Reason> {
    match organization.queue(queue) {
        None => Some(Reason::UnknownQueue),
        Some(queue) if !reaches(channel, queue.kind) => Some(Reason::QueueKindNotSupported),
        Some(_) => None,
    }
}

/// List the queues to which a user may sign in, by id, from the one after `after`.
pub fn accessible_queues<'s>(
    organization: &'s OrganizationState,
    user: &UserRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s Queue, Reason)> {
    let allowed_among = move |user_state: &'s UserState| {
        let candidates: Box<dyn Iterator<Item = &'s QueueState>> =
            match organization.settings().unassigned_queue_sign_in {
                UnassignedQueueSignIn::Allowed => Box::new(organization.queue_states_after(after)),
                UnassignedQueueSignIn::Restricted => Box::new(organization.queue_states_of(user_state, after)),
            };
        candidates
            .map(move |queue_state| (queue_state.queue(), reason(organization, user_state, queue_state, channel, now)))
    };
    organization.user_state(user).into_iter().flat_map(allowed_among).filter(|(_, reason)| reason.is_allowed())
}

/// List the users who may sign in to a queue, by id, from the one after `after`.
pub fn eligible_agents<'s>(
    organization: &'s OrganizationState,
    queue: &QueueRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s User, Reason)> {
    let allowed_among = move |queue_state: &'s QueueState| {
        let candidates: Box<dyn Iterator<Item = &'s UserState>> = match organization.settings().unassigned_queue_sign_in
        {
            UnassignedQueueSignIn::Restricted => Box::new(organization.user_states_on(queue_state, after)),
            UnassignedQueueSignIn::Allowed if needs_agent_role(channel) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let holders = organization.users_with_role(Role::Agent, from);
                Box::new(holders.filter_map(|id| organization.user_state_by_id(id.as_str())))
            }
            UnassignedQueueSignIn::Allowed => Box::new(organization.user_states_after(after)),
        };
        candidates
            .map(move |user_state| (user_state.user(), reason(organization, user_state, queue_state, channel, now)))
    };
    let reached = organization.queue_state(queue).filter(|queue_state| reaches(channel, queue_state.queue().kind));
    reached.into_iter().flat_map(allowed_among).filter(|(_, reason)| reason.is_allowed())
}

/// List sessions of a user, on a queue, or both, in order of users' and queues' ids, from the first after the session
/// `after`. An unknown user or queue has no sessions.
pub fn sessions<'s>(
    organization: &'s OrganizationState,
    user: Option<&UserRef>,
    queue: Option<&QueueRef>,
    after: Option<(&'s str, &'s str)>,
) -> Box<dyn Iterator<Item = &'s Arc<Session>> + Send + 's> {
    let user_id = user.map(|user| organization.user(user).map(|user| &user.user_id));
    let queue_id = queue.map(|queue| organization.queue(queue).map(|queue| &queue.queue_id));
    match (user_id, queue_id) {
        (Some(None), _) | (_, Some(None)) => Box::new(std::iter::empty()),
        (None, None) => Box::new(organization.sessions_after(after)),
        (None, Some(Some(queue_id))) => {
            Box::new(organization.sessions_on_queue(queue_id.as_str(), after.map(|(user_id, _)| user_id)))
        }
        (Some(Some(user_id)), queue_id) => {
            let of_user = organization.sessions_of_user(user_id.as_str());
            let of_user = of_user.filter(move |session| after.is_none_or(|(_, last)| session.queue_id.as_str() > last));
            Box::new(of_user.filter(move |session| queue_id.flatten().is_none_or(|id| session.queue_id == *id)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decide::{AccessRequest, decide},
        fixture::{Fixture, by_queue_id, by_user_id, now},
    };

    const USERS: [&str; 9] = ["ada", "ann", "bob", "cle", "dan", "eve", "nobody", "sue", "zoe"];
    const QUEUES: [&str; 5] = ["nowhere", "q1", "q2", "q3", "q4"];

    /// Return an organization for each value of the setting. Bob has a session where he isn't assigned, which outlasts
    /// the restriction, and Ann one where she is.
    fn organizations() -> [Fixture; 2] {
        [UnassignedQueueSignIn::Allowed, UnassignedQueueSignIn::Restricted].map(|value| {
            let mut fixture = Fixture::new();
            fixture.sign_in("bob", "q2", SignInChannel::FeatureCode);
            fixture.sign_in("ann", "q1", SignInChannel::FeatureCode);
            fixture.set(value, &[]);
            fixture
        })
    }

    fn reason(organization: &OrganizationState, user: &str, queue: &str, channel: SignInChannel) -> Reason {
        let (user, queue) = (by_user_id(user), by_queue_id(queue));
        decide(organization, AccessRequest { user: &user, queue: &queue, channel }, now()).reason
    }

    #[test]
    fn a_list_from_any_place_agrees_with_single_decisions() {
        for (fixture, &channel) in
            organizations().iter().flat_map(|fixture| SignInChannel::ALL.iter().map(move |c| (fixture, c)))
        {
            let organization = fixture.organization();
            for after in [None, Some("a"), Some("ann"), Some("bob"), Some("q1"), Some("q2"), Some("zoe")] {
                let is_after = |id: &&str| after.is_none_or(|after| *id > after);
                let allowed = |user: &str, queue: &str| {
                    Some(reason(organization, user, queue, channel)).filter(|r| r.is_allowed())
                };
                for user in USERS {
                    let asked = by_user_id(user);
                    let listed = accessible_queues(organization, &asked, channel, now(), after);
                    let listed: Vec<(&str, Reason)> = listed.map(|(queue, r)| (queue.queue_id.as_str(), r)).collect();
                    let queues = QUEUES.into_iter().filter(is_after);
                    let expected: Vec<_> = queues.filter_map(|queue| Some((queue, allowed(user, queue)?))).collect();
                    assert_eq!(listed, expected, "{user} {channel} {after:?}");
                }
                for queue in QUEUES {
                    let asked = by_queue_id(queue);
                    let listed = eligible_agents(organization, &asked, channel, now(), after);
                    let listed: Vec<(&str, Reason)> = listed.map(|(user, r)| (user.user_id.as_str(), r)).collect();
                    let users = USERS.into_iter().filter(is_after);
                    let expected: Vec<_> = users.filter_map(|user| Some((user, allowed(user, queue)?))).collect();
                    assert_eq!(listed, expected, "{queue} {channel} {after:?}");
                }
            }
        }
    }

    #[test]
    fn a_list_that_must_be_empty_says_why() {
        for (fixture, &channel) in
            organizations().iter().flat_map(|fixture| SignInChannel::ALL.iter().map(move |c| (fixture, c)))
        {
            let organization = fixture.organization();
            for user in USERS {
                // Every channel reaches q1, so only the user's own rules are left.
                let expected = match reason(organization, user, "q1", channel) {
                    why @ (Reason::UnknownUser | Reason::UserDisabled | Reason::AgentRoleRequired) => Some(why),
                    _ => None,
                };
                assert_eq!(denied_everywhere(organization, &by_user_id(user), channel), expected, "{user} {channel}");
            }
            for queue in QUEUES {
                let expected = match reason(organization, "ann", queue, channel) {
                    why @ (Reason::UnknownQueue | Reason::QueueKindNotSupported) => Some(why),
                    _ => None,
                };
                assert_eq!(
                    denied_to_everybody(organization, &by_queue_id(queue), channel),
                    expected,
                    "{queue} {channel}"
                );
            }
        }
    }
}
