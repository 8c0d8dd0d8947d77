//! The decision asked the other way round: which queues for this user, which users for this queue.
//!
//! INVARIANT: a list holds exactly what [`decide`] allows. Where the setting restricts sign-in, only what the user is
//! assigned or signed in to can be allowed, so only that is looked at.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    decide::{Question, Reason, decide, needs_agent_role, reaches},
    ids::{QueueId, QueueRef, UserId, UserRef},
    model::{Queue, Role, SignInChannel, User},
    settings::UnassignedQueueSignIn,
    snapshot::Tenant,
    time::Timestamp,
};

/// Why a user can sign in nowhere, whichever the queue; none if it depends on the queue.
pub fn denied_everywhere(tenant: &Tenant, user: &UserRef, channel: SignInChannel) -> Option<Reason> {
    match tenant.user(user) {
        None => Some(Reason::UnknownUser),
        Some(user) if user.disabled => Some(Reason::UserDisabled),
        Some(user) if needs_agent_role(channel) && !holds_agent_role(tenant, user) => Some(Reason::AgentRoleRequired),
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
    user: &'s UserRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s Arc<Queue>, Reason)> {
    let candidates: Box<dyn Iterator<Item = &'s Arc<Queue>>> = match tenant.user(user) {
        None => Box::new(std::iter::empty()),
        Some(user) => match tenant.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Allowed => Box::new(tenant.queues_after(after)),
            UnassignedQueueSignIn::Restricted => {
                let assigned = tenant.queue_roles_of_user(user.user_id.as_str()).map(|(queue_id, _)| queue_id);
                let signed_in = tenant.sessions_of_user(user.user_id.as_str()).map(|session| &session.queue_id);
                let ids: BTreeSet<&QueueId> = assigned.chain(signed_in).collect();
                let ids = ids.into_iter().filter(move |id| after.is_none_or(|after| id.as_str() > after));
                Box::new(ids.filter_map(|id| tenant.queue_by_id(id.as_str())))
            }
        },
    };
    candidates.filter_map(move |queue| {
        let asked = QueueRef::Id(queue.queue_id.clone());
        let reason = decide(tenant, Question { user, queue: &asked, channel }, now).reason;
        reason.is_allowed().then_some((queue, reason))
    })
}

/// The users who may sign in to a queue, by id, from the one after `after`.
pub fn eligible_agents<'s>(
    tenant: &'s Tenant,
    queue: &'s QueueRef,
    channel: SignInChannel,
    now: Timestamp,
    after: Option<&'s str>,
) -> impl Iterator<Item = (&'s Arc<User>, Reason)> {
    let candidates: Box<dyn Iterator<Item = &'s Arc<User>>> = match tenant.queue(queue) {
        Some(queue) if reaches(channel, queue.kind) => match tenant.settings().unassigned_queue_sign_in {
            UnassignedQueueSignIn::Allowed => Box::new(tenant.users_after(after)),
            UnassignedQueueSignIn::Restricted => {
                let queue_id = queue.queue_id.as_str();
                let assigned = tenant.users_with_roles_on(queue_id, after).map(|(user_id, _)| user_id);
                let signed_in = tenant.sessions_on_queue(queue_id, after).map(|session| &session.user_id);
                let ids: BTreeSet<&UserId> = assigned.chain(signed_in).collect();
                Box::new(ids.into_iter().filter_map(|id| tenant.user_by_id(id.as_str())))
            }
        },
        Some(_) | None => Box::new(std::iter::empty()),
    };
    candidates.filter_map(move |user| {
        let asked = UserRef::Id(user.user_id.clone());
        let reason = decide(tenant, Question { user: &asked, queue, channel }, now).reason;
        reason.is_allowed().then_some((user, reason))
    })
}

fn holds_agent_role(tenant: &Tenant, user: &User) -> bool {
    tenant.roles_held(user.user_id.as_str()).contains(Role::Agent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{Office, by_queue_id, by_user_id, now};

    const USERS: [&str; 9] = ["ada", "ann", "bob", "cle", "dan", "eve", "nobody", "sue", "zoe"];
    const QUEUES: [&str; 5] = ["nowhere", "q1", "q2", "q3", "q4"];

    /// Bob is signed in where he isn't assigned, so that he keeps it whatever the setting.
    fn offices() -> [Office; 2] {
        [UnassignedQueueSignIn::Allowed, UnassignedQueueSignIn::Restricted].map(|value| {
            let mut office = Office::new();
            office.sign_in("bob", "q2", SignInChannel::FeatureCode);
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
