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
