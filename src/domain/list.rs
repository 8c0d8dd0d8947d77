//! The decision asked the other way round: which queues for this user, which users for this queue.
//!
//! INVARIANT: a list holds exactly what [`decide`](super::decide::decide) allows. Only what can be allowed is looked at, so that a
//! list costs what is in it: where the setting restricts sign-in, what the user is assigned or signed in to; on the agent
//! dashboard, whoever holds a role.

use std::ops::Bound;

use super::{
    decide::{Reason, needs_agent_role, reaches, reason},
    ids::{QueueRef, UserRef},
    model::{Queue, Role, SignInChannel, User},
    settings::UnassignedQueueSignIn,
    snapshot::{Member, Place, Tenant},
    time::Timestamp,
};

/// Why a user can sign in nowhere, whichever the queue; none if it depends on the queue.
pub fn denied_everywhere(tenant: &Tenant, user: &UserRef, channel: SignInChannel) -> Option<Reason> {
    match tenant.member(user) {
        None => Some(Reason::UnknownUser),
        Some(member) if member.user().disabled => Some(Reason::UserDisabled),
        Some(member) if needs_agent_role(channel) && !member.roles_held().contains(Role::Agent) => {
            Some(Reason::AgentRoleRequired)
        }
        Some(_) => None,
    }
}

/// Why nobody can sign in to a queue, whoever they are; none if it depends on the user.
pub fn denied_to_everybody(tenant: &Tenant, queue: &QueueRef, channel: SignInChannel) -> Option<Reason> {
    match tenant.queue(queue) {
        None => Some(Reason::UnknownQueue),
        Some(queue) if !reaches(channel, queue.kind) => Some(Reason::QueueKindNotSupported),
        Some(_) => None,
    }
}

/// The queues to which a user may sign in, by id, from the one after `after`.
pub fn accessible_queues<'s>(
    tenant: &'s Tenant,
    user: &UserRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s Queue, Reason)> {
    let allowed_among = move |member: &'s Member| {
        let candidates: Box<dyn Iterator<Item = &'s Place>> = match tenant.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Allowed => Box::new(tenant.places_after(after)),
            UnassignedQueueSignIn::Restricted => Box::new(tenant.places_of(member, after)),
        };
        candidates.map(move |place| (place.queue(), reason(tenant, member, place, channel, now)))
    };
    tenant.member(user).into_iter().flat_map(allowed_among).filter(|(_, reason)| reason.is_allowed())
}

/// The users who may sign in to a queue, by id, from the one after `after`.
pub fn eligible_agents<'s>(
    tenant: &'s Tenant,
    queue: &QueueRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s User, Reason)> {
    let allowed_among = move |place: &'s Place| {
        let candidates: Box<dyn Iterator<Item = &'s Member>> = match tenant.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Restricted => Box::new(tenant.members_on(place, after)),
            UnassignedQueueSignIn::Allowed if needs_agent_role(channel) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let holders = tenant.users_with_role(Role::Agent, from);
                Box::new(holders.filter_map(|id| tenant.member_by_id(id.as_str())))
            }
            UnassignedQueueSignIn::Allowed => Box::new(tenant.members_after(after)),
        };
        candidates.map(move |member| (member.user(), reason(tenant, member, place, channel, now)))
    };
    let reached = tenant.place(queue).filter(|place| reaches(channel, place.queue().kind));
    reached.into_iter().flat_map(allowed_among).filter(|(_, reason)| reason.is_allowed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decide::{Question, decide},
        fixture::{Office, by_queue_id, by_user_id, now},
    };

    const USERS: [&str; 9] = ["ada", "ann", "bob", "cle", "dan", "eve", "nobody", "sue", "zoe"];
    const QUEUES: [&str; 5] = ["nowhere", "q1", "q2", "q3", "q4"];

    /// Bob is signed in where he isn't assigned, so that he keeps it whatever the setting; Ann where she is.
    fn offices() -> [Office; 2] {
        [UnassignedQueueSignIn::Allowed, UnassignedQueueSignIn::Restricted].map(|value| {
            let mut office = Office::new();
            office.sign_in("bob", "q2", SignInChannel::FeatureCode);
            office.sign_in("ann", "q1", SignInChannel::FeatureCode);
            office.set(value, &[]);
            office
        })
    }

    fn reason(tenant: &Tenant, user: &str, queue: &str, channel: SignInChannel) -> Reason {
        let (user, queue) = (by_user_id(user), by_queue_id(queue));
        decide(tenant, Question { user: &user, queue: &queue, channel }, now()).reason
    }

    #[test]
    fn a_list_holds_what_each_single_decision_allows_from_any_place_on() {
        for (office, &channel) in
            offices().iter().flat_map(|office| SignInChannel::ALL.iter().map(move |c| (office, c)))
        {
            let tenant = office.tenant();
            for after in [None, Some("a"), Some("ann"), Some("bob"), Some("q1"), Some("q2"), Some("zoe")] {
                let is_after = |id: &&str| after.is_none_or(|after| *id > after);
                let allowed =
                    |user: &str, queue: &str| Some(reason(tenant, user, queue, channel)).filter(|r| r.is_allowed());
                for user in USERS {
                    let asked = by_user_id(user);
                    let listed = accessible_queues(tenant, &asked, channel, now(), after);
                    let listed: Vec<(&str, Reason)> = listed.map(|(queue, r)| (queue.queue_id.as_str(), r)).collect();
                    let queues = QUEUES.into_iter().filter(is_after);
                    let expected: Vec<_> = queues.filter_map(|queue| Some((queue, allowed(user, queue)?))).collect();
                    assert_eq!(listed, expected, "{user} {channel} {after:?}");
                }
                for queue in QUEUES {
                    let asked = by_queue_id(queue);
                    let listed = eligible_agents(tenant, &asked, channel, now(), after);
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
        for (office, &channel) in
            offices().iter().flat_map(|office| SignInChannel::ALL.iter().map(move |c| (office, c)))
        {
            let tenant = office.tenant();
            for user in USERS {
                // On a queue that every channel reaches only the user's own rules are left.
                let expected = match reason(tenant, user, "q1", channel) {
                    why @ (Reason::UnknownUser | Reason::UserDisabled | Reason::AgentRoleRequired) => Some(why),
                    _ => None,
                };
                assert_eq!(denied_everywhere(tenant, &by_user_id(user), channel), expected, "{user} {channel}");
            }
            for queue in QUEUES {
                let expected = match reason(tenant, "ann", queue, channel) {
                    why @ (Reason::UnknownQueue | Reason::QueueKindNotSupported) => Some(why),
                    _ => None,
                };
                assert_eq!(denied_to_everybody(tenant, &by_queue_id(queue), channel), expected, "{queue} {channel}");
            }
        }
    }
}
