//! The preview of a change of settings: the same evaluator on a copy of the state.
//!
//! INVARIANT: an update at the same revision has exactly the previewed effect, because `by_role` and `is_retained`
//! decide both states.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{
    decide::is_retained,
    model::{Queue, Role, Session, User},
    permission::{by_role, could_change},
    snapshot::OrganizationState,
    time::Timestamp,
    vocabulary::{Permission, PermissionReason, Subject},
};

/// The effect of a change of settings.
#[derive(Debug, Default)]
pub struct Impact<'s> {
    /// The number of users who gain and lose each permission. Permissions without either are left out.
    pub permissions: BTreeMap<Permission, Count>,
    /// The number of supervisors who gain and lose queues.
    pub supervisors: Count,
    /// The number of live sessions that become retained, and that stop being retained.
    pub retained: Count,
    /// The users who gain or lose a permission or a queue, by id.
    pub users: Vec<UserImpact<'s>>,
    /// The live sessions that become retained or stop being retained, by user and queue.
    pub sessions: Vec<SessionImpact<'s>>,
}

/// Numbers of gains and losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Gains.
    pub gaining: usize,
    /// Losses.
    pub losing: usize,
}

/// The effect of the change on one user.
#[derive(Debug)]
pub struct UserImpact<'s> {
    /// The user.
    pub user: &'s User,
    /// The permissions gained. One about queues is gained on at least one queue.
    pub gained: Vec<Permission>,
    /// The permissions lost. One about queues is lost on at least one queue.
    pub lost: Vec<Permission>,
    /// The number of queues that come into a supervisor's reach.
    pub gained_queues: usize,
    /// The number of queues that leave a supervisor's reach.
    pub lost_queues: usize,
}

/// A live session that would become retained or stop being retained.
#[derive(Debug)]
pub struct SessionImpact<'s> {
    /// The session.
    pub session: &'s Arc<Session>,
    /// Whether it would be retained.
    pub retained: bool,
}

/// Compare an organization with itself under other settings.
pub fn preview<'s>(before: &'s OrganizationState, after: &OrganizationState, now: Timestamp) -> Impact<'s> {
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
    before: &'s OrganizationState,
    after: &OrganizationState,
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
    // A permission can change only for users with a role that grants it.
    let held = before.roles_held(user.user_id.as_str());
    let concerned = |permission: &&Permission| permission.entry().grants.iter().any(|(role, _)| held.contains(*role));
    let concerned = || could_change.iter().filter(concerned);
    let about_queues = concerned().any(|permission| permission.entry().subject == Subject::Queue);
    let queues = if about_queues { kinds_of_queue(before, user) } else { Vec::new() };
    for &permission in concerned() {
        let asked: &[Option<&Queue>] = match permission.entry().subject {
            Subject::Organization => &[None],
            Subject::Queue => &queues,
        };
        let has = |organization: &OrganizationState, queue: Option<&Queue>| {
            by_role(organization, user, permission, queue, now).0 == PermissionReason::Granted
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

/// Count the queues in the reach of a user as a supervisor.
fn reach(organization: &OrganizationState, user: &User) -> usize {
    let user_id = user.user_id.as_str();
    if !organization.roles_held(user_id).contains(Role::Supervisor) {
        0
    } else if organization.limits_supervisors() {
        organization.supervised_queues(user_id)
    } else {
        organization.queue_count()
    }
}

/// Return one queue of each kind that settings treat differently for this user: one that they supervise, and one that
/// they don't. The answer is the same for all other queues of a kind.
fn kinds_of_queue<'s>(organization: &'s OrganizationState, user: &User) -> Vec<Option<&'s Queue>> {
    let user_id = user.user_id.as_str();
    let supervised =
        |queue: &&Queue| organization.roles_on_queue(user_id, queue.queue_id.as_str()).contains(Role::Supervisor);
    let own = organization.queue_roles_of_user(user_id).find(|(_, roles)| roles.contains(Role::Supervisor));
    let own = own.and_then(|(queue_id, _)| organization.queue_by_id(queue_id.as_str()));
    let other = organization.queues_after(None).find(|queue| !supervised(queue));
    own.into_iter().chain(other).map(Some).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{
        fixture::{Fixture, by_queue_id, by_user_id, now},
        model::SignInChannel,
        permission::{PermissionCheck, check},
        settings::{Switch, UnassignedQueueSignIn},
    };

    const USERS: [&str; 8] = ["ada", "ann", "bob", "cle", "dan", "eve", "sue", "zoe"];
    const QUEUES: [&str; 4] = ["q1", "q2", "q3", "q4"];

    /// Return every permission that a user has, and on which queues.
    fn granted(organization: &OrganizationState, user: &str) -> BTreeSet<(Permission, Option<&'static str>)> {
        let user = by_user_id(user);
        let asked = QUEUES.into_iter().map(Some).chain([None]);
        let pairs = asked.flat_map(|queue| Permission::ALL.iter().map(move |&permission| (permission, queue)));
        pairs
            .filter(|&(permission, queue)| {
                let queue = queue.map(by_queue_id);
                let request = PermissionCheck::new(&user, permission, queue.as_ref());
                request.is_ok_and(|request| check(organization, request, now()).is_allowed())
            })
            .collect()
    }

    /// Compare the preview with the answers to all checks, before and after.
    fn assert_previewed(before: &Fixture, after: &Fixture) {
        let impact = preview(before.organization(), after.organization(), now());
        let mut counts: BTreeMap<Permission, Count> = BTreeMap::new();
        let mut supervisors = Count::default();
        let mut users = Vec::new();
        for user in USERS {
            let (was, becomes) = (granted(before.organization(), user), granted(after.organization(), user));
            let only_in = |a: &BTreeSet<(Permission, Option<&'static str>)>, b| {
                a.difference(b).map(|(permission, _)| *permission).collect::<BTreeSet<Permission>>()
            };
            let (gained, lost) = (only_in(&becomes, &was), only_in(&was, &becomes));
            gained.iter().for_each(|permission| counts.entry(*permission).or_default().gaining += 1);
            lost.iter().for_each(|permission| counts.entry(*permission).or_default().losing += 1);
            // All supervisors, and no other users, have this permission on the queues in reach.
            let reach = |set: &BTreeSet<(Permission, Option<&str>)>| {
                set.iter().filter(|(permission, _)| *permission == Permission::ViewReports).count()
            };
            let (gained_queues, lost_queues) =
                (reach(&becomes).saturating_sub(reach(&was)), reach(&was).saturating_sub(reach(&becomes)));
            supervisors.gaining += usize::from(gained_queues > 0);
            supervisors.losing += usize::from(lost_queues > 0);
            if !gained.is_empty() || !lost.is_empty() {
                users.push((user, gained, lost, gained_queues, lost_queues));
            }
        }
        let previewed: Vec<_> = impact
            .users
            .iter()
            .map(|UserImpact { user, gained, lost, gained_queues, lost_queues }| {
                let [gained, lost] = [gained, lost].map(|list| list.iter().copied().collect::<BTreeSet<_>>());
                (user.user_id.as_str(), gained, lost, *gained_queues, *lost_queues)
            })
            .collect();
        assert_eq!(previewed, users);
        assert_eq!((impact.permissions, impact.supervisors), (counts, supervisors));
    }

    #[test]
    fn a_preview_agrees_with_a_check_of_every_permission() {
        for limited in [true, false] {
            let mut before = Fixture::new();
            before.sign_in("eve", "q2", SignInChannel::FeatureCode);
            before.set(UnassignedQueueSignIn::Allowed, &[(Switch::LimitToAssignedQueues, limited)]);
            for &switch in Switch::ALL.iter().filter(|switch| switch.is_removable()) {
                for on in [false, true] {
                    let mut after = Fixture(before.0.clone());
                    after.set(UnassignedQueueSignIn::Allowed, &[(switch, on)]);
                    assert_previewed(&before, &after);
                    assert_previewed(&after, &before);
                    after.set(UnassignedQueueSignIn::Allowed, &[(Switch::LimitToAssignedQueues, !limited)]);
                    assert_previewed(&before, &after);
                }
            }
        }
    }

    #[test]
    fn live_sessions_become_retained_by_restriction_and_cease_to_be_without_it() {
        let mut allowed = Fixture::new();
        // Bob is assigned nowhere, ann is assigned to q1 and nowhere else.
        allowed.sign_in("bob", "q1", SignInChannel::AgentDashboard);
        allowed.sign_in("ann", "q1", SignInChannel::FeatureCode);
        allowed.sign_in("ann", "q2", SignInChannel::FeatureCode);
        let mut restricted = Fixture(allowed.0.clone());
        restricted.set(UnassignedQueueSignIn::Restricted, &[]);
        for (before, after, retained, expected) in [
            (&allowed, &restricted, true, Count { gaining: 2, losing: 0 }),
            (&restricted, &allowed, false, Count { gaining: 0, losing: 2 }),
            (&restricted, &restricted, true, Count::default()),
        ] {
            let impact = preview(before.organization(), after.organization(), now());
            assert_eq!(impact.retained, expected);
            let sessions = impact
                .sessions
                .iter()
                .map(|impact| (impact.session.user_id.as_str(), impact.session.queue_id.as_str()));
            let names = if expected == Count::default() { vec![] } else { vec![("ann", "q2"), ("bob", "q1")] };
            assert_eq!(sessions.collect::<Vec<_>>(), names);
            assert!(impact.sessions.iter().all(|impact| impact.retained == retained));
        }
    }
}
