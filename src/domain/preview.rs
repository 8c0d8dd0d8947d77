//! What a change of settings would do, before it is made: the same evaluator on a copy of the state.
//!
//! INVARIANT: what it foretells is what an update at the same revision does, because both states are decided by
//! `by_role` and `is_retained`.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{
    decide::is_retained,
    model::{Queue, Role, Session, User},
    permission::{Permission, PermissionReason, Scope, by_role, could_change},
    snapshot::Tenant,
    time::Timestamp,
};

/// What a change of settings would do.
#[derive(Debug, Default)]
pub struct Impact<'s> {
    /// How many users gain and lose each permission; those that nobody does are left out.
    pub permissions: BTreeMap<Permission, Count>,
    /// How many supervisors gain and lose queues.
    pub supervisors: Count,
    /// How many live sessions become retained, and how many cease to be.
    pub retained: Count,
    /// The users who gain or lose anything, by id.
    pub users: Vec<UserImpact<'s>>,
    /// The live sessions that become retained or cease to be, by user and queue.
    pub sessions: Vec<SessionImpact<'s>>,
}

/// How many gain something, and how many lose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Gain.
    pub gaining: usize,
    /// Lose.
    pub losing: usize,
}

/// What the change would do to one user.
#[derive(Debug)]
pub struct UserImpact<'s> {
    /// Who.
    pub user: &'s User,
    /// Permissions gained; one that is about queues, on at least one queue.
    pub gained: Vec<Permission>,
    /// Permissions lost; one that is about queues, on at least one queue.
    pub lost: Vec<Permission>,
    /// How many queues come into the reach of a supervisor.
    pub gained_queues: usize,
    /// How many queues leave the reach of a supervisor.
    pub lost_queues: usize,
}

/// A live session that would become retained or cease to be.
#[derive(Debug)]
pub struct SessionImpact<'s> {
    /// Which.
    pub session: &'s Arc<Session>,
    /// Whether it would be retained.
    pub retained: bool,
}

/// Compares an organization with itself under other settings.
pub fn preview<'s>(before: &'s Tenant, after: &Tenant, now: Timestamp) -> Impact<'s> {
    let mut impact = Impact::default();
    let could_change = could_change(before.settings(), after.settings());
    let users = if could_change.is_empty() { None } else { Some(before.users_with_roles(Bound::Unbounded)) };
    for user in users.into_iter().flatten() {
        let user = before.user_by_id(user.as_str()).filter(|user| !user.disabled);
        let changed = user.and_then(|user| user_impact(before, after, user, &could_change, now));
        let Some(changed) = changed else { continue };
        for &permission in &changed.gained {
            impact.permissions.entry(permission).or_default().gaining += 1;
        }
        for &permission in &changed.lost {
            impact.permissions.entry(permission).or_default().losing += 1;
        }
        impact.supervisors.gaining += usize::from(changed.gained_queues > 0);
        impact.supervisors.losing += usize::from(changed.lost_queues > 0);
        impact.users.push(changed);
    }
    for session in before.sessions_after(None).filter(|session| session.is_live(now)) {
        let retained = is_retained(after, session, now);
        if retained != is_retained(before, session, now) {
            impact.retained.gaining += usize::from(retained);
            impact.retained.losing += usize::from(!retained);
            impact.sessions.push(SessionImpact { session, retained });
        }
    }
    impact
}

fn user_impact<'s>(
    before: &'s Tenant,
    after: &Tenant,
    user: &'s User,
    could_change: &[Permission],
    now: Timestamp,
) -> Option<UserImpact<'s>> {
    let (was, becomes) = (reach(before, user), reach(after, user));
    let mut impact = UserImpact {
        user,
        gained: Vec::new(),
        lost: Vec::new(),
        gained_queues: becomes.saturating_sub(was),
        lost_queues: was.saturating_sub(becomes),
    };
    // Only a role that grants a permission makes a difference to it.
    let held = before.roles_held(user.user_id.as_str());
    let concerned = |permission: &&Permission| permission.entry().grants.iter().any(|(role, _)| held.contains(*role));
    let concerned = || could_change.iter().filter(concerned);
    let about_queues = concerned().any(|permission| permission.entry().scope == Scope::Queue);
    let queues = if about_queues { kinds_of_queue(before, user) } else { Vec::new() };
    for &permission in concerned() {
        let asked: &[Option<&Queue>] = match permission.entry().scope {
            Scope::Organization => &[None],
            Scope::Queue => &queues,
        };
        let has = |tenant: &Tenant, queue: Option<&Queue>| {
            by_role(tenant, user, permission, queue, now).0 == PermissionReason::Granted
        };
        let changes = || asked.iter().map(|queue| (has(before, *queue), has(after, *queue)));
        if changes().any(|change| change == (false, true)) {
            impact.gained.push(permission);
        }
        if changes().any(|change| change == (true, false)) {
            impact.lost.push(permission);
        }
    }
    let UserImpact { user: _, gained, lost, gained_queues, lost_queues } = &impact;
    let any = !gained.is_empty() || !lost.is_empty() || *gained_queues > 0 || *lost_queues > 0;
    any.then_some(impact)
}

/// How many queues are in the reach of a user as a supervisor.
fn reach(tenant: &Tenant, user: &User) -> usize {
    let user_id = user.user_id.as_str();
    if !tenant.roles_held(user_id).contains(Role::Supervisor) {
        0
    } else if tenant.limits_supervisors() {
        tenant.supervised_queues(user_id)
    } else {
        tenant.queue_count()
    }
}

/// One queue of each kind that settings treat differently for this user: one that they supervise, and one that they
/// don't. Asking about every queue would say the same many times over.
fn kinds_of_queue<'s>(tenant: &'s Tenant, user: &User) -> Vec<Option<&'s Queue>> {
    let user_id = user.user_id.as_str();
    let supervised =
        |queue: &&Arc<Queue>| tenant.roles_on_queue(user_id, queue.queue_id.as_str()).contains(Role::Supervisor);
    let own = tenant.queue_roles_of_user(user_id).find(|(_, roles)| roles.contains(Role::Supervisor));
    let own = own.and_then(|(queue_id, _)| tenant.queue_by_id(queue_id.as_str()));
    let other = tenant.queues_after(None).find(|queue| !supervised(queue));
    own.into_iter().chain(other).map(|queue| Some(queue.as_ref())).collect()
}
