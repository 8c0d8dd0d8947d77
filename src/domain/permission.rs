//! The check whether a user has a permission (`docs/semantics.md` section 4).
//!
//! INVARIANT: the [catalogue](Permission::entry) is the only place that says which role has which permission.

use super::{
    ids::{QueueRef, UserRef},
    model::{Queue, Role, User},
    settings::{PermissionSettings, Switch},
    snapshot::OrganizationState,
    time::Timestamp,
    vocabulary::{Entry, Grant, Permission, PermissionReason, Subject},
};

/// The question whether a user has a permission.
#[derive(Debug, Clone, Copy)]
pub struct PermissionCheck<'q> {
    pub(super) user: &'q UserRef,
    pub(super) permission: Permission,
    pub(super) queue: Option<&'q QueueRef>,
}

/// The error of a request that names a queue without need, or names no queue where one is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueMismatch {
    /// The permission is about one queue.
    #[error("is required, because {0} is about one queue")]
    QueueRequired(Permission),
    /// The permission is about the organization.
    #[error("must be left out, because {0} is not about one queue")]
    NotAboutQueue(Permission),
}

impl<'q> PermissionCheck<'q> {
    /// Make the request. INVARIANT: it names a queue exactly if the permission is about one.
    pub fn new(user: &'q UserRef, permission: Permission, queue: Option<&'q QueueRef>) -> Result<Self, QueueMismatch> {
        match (permission.entry().subject, queue) {
            (Subject::Queue, None) => Err(QueueMismatch::QueueRequired(permission)),
            (Subject::Organization, Some(_)) => Err(QueueMismatch::NotAboutQueue(permission)),
            (Subject::Queue, Some(_)) | (Subject::Organization, None) => Ok(Self { user, permission, queue }),
        }
    }

    /// Make the request as one of a list over all permissions. Return `None` if it is about one queue and none is
    /// given.
    pub fn one_of_all(user: &'q UserRef, permission: Permission, queue: Option<&'q QueueRef>) -> Option<Self> {
        let queue = queue.filter(|_| permission.entry().subject == Subject::Queue);
        Self::new(user, permission, queue).ok()
    }
}

/// The answer whether a user has a permission, with the data that it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// The permission.
    pub permission: Permission,
    /// The reason for the answer.
    pub reason: PermissionReason,
    /// The role that grants it. With QUEUE_NOT_ASSIGNED and SETTING_DISABLED, the role that lacks only the queue or the
    /// setting.
    pub role: Option<Role>,
    /// The user, if they exist.
    pub user: Option<&'s User>,
    /// The queue, if the request named one and it exists.
    pub queue: Option<&'s Queue>,
}

impl Decision<'_> {
    /// Return whether the user has the permission.
    pub fn is_allowed(&self) -> bool {
        self.reason == PermissionReason::Granted
    }
}

/// Decide whether a user has a permission.
pub fn check<'s>(organization: &'s OrganizationState, request: PermissionCheck<'_>, now: Timestamp) -> Decision<'s> {
    let PermissionCheck { user, permission, queue: asked } = request;
    let user = organization.user(user);
    let queue = asked.and_then(|queue| organization.queue(queue));
    let (reason, role) = match user {
        None => (PermissionReason::UnknownUser, None),
        Some(user) if user.disabled => (PermissionReason::UserDisabled, None),
        Some(_) if asked.is_some() && queue.is_none() => (PermissionReason::UnknownQueue, None),
        Some(user) => by_role(organization, user, permission, queue, now),
    };
    Decision { permission, reason, role, user, queue }
}

/// Return the first of the user's roles that grants the permission. If none does, return the smallest lack: only the
/// queue, then a setting, then the role itself.
pub(super) fn by_role(
    organization: &OrganizationState,
    user: &User,
    permission: Permission,
    queue: Option<&Queue>,
    now: Timestamp,
) -> (PermissionReason, Option<Role>) {
    let held = organization.roles_held(user.user_id.as_str());
    let mut nearest = (PermissionReason::RoleRequired, None);
    for &(role, grant) in permission.entry().grants.iter().filter(|(role, _)| held.contains(*role)) {
        let in_reach = queue.is_none_or(|queue| is_in_reach(organization, user, role, queue, now));
        match (is_granted(organization.settings(), grant), in_reach) {
            (true, true) => return (PermissionReason::Granted, Some(role)),
            (true, false) => nearest = (PermissionReason::QueueNotAssigned, Some(role)),
            (false, _) if nearest.1.is_none() => nearest = (PermissionReason::SettingDisabled, Some(role)),
            (false, _) => {}
        }
    }
    nearest
}

/// Return the permissions that users could gain or lose by a change of settings.
pub(super) fn could_change(before: &PermissionSettings, after: &PermissionSettings) -> Vec<Permission> {
    let reach_changes = before.is_on(Switch::LimitToAssignedQueues) != after.is_on(Switch::LimitToAssignedQueues);
    let changes = |permission: &Permission| {
        let Entry { description: _, subject, grants } = permission.entry();
        let differs = |(_, grant): &(Role, Grant)| is_granted(before, *grant) != is_granted(after, *grant);
        reach_changes && *subject == Subject::Queue || grants.iter().any(differs)
    };
    Permission::ALL.iter().copied().filter(changes).collect()
}

fn is_granted(settings: &PermissionSettings, grant: Grant) -> bool {
    match grant {
        Grant::Always => true,
        Grant::While(switch) => settings.grants(switch),
    }
}

/// Return whether the role's permissions reach the queue. A CONTACT_ADMIN reaches all queues. A SUPERVISOR reaches
/// those on which they have an assignment, or all if supervisors aren't limited. An AGENT reaches those assigned or
/// signed in to.
fn is_in_reach(organization: &OrganizationState, user: &User, role: Role, queue: &Queue, now: Timestamp) -> bool {
    let (user_id, queue_id) = (user.user_id.as_str(), queue.queue_id.as_str());
    match role {
        Role::ContactAdmin => true,
        Role::Supervisor => {
            !organization.limits_supervisors()
                || organization.roles_on_queue(user_id, queue_id).contains(Role::Supervisor)
        }
        Role::Agent => {
            organization.is_assigned(user_id, queue_id) || organization.live_session(user_id, queue_id, now).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{by_queue_id, by_user_id};

    #[test]
    fn a_list_asks_about_the_queue_only_where_a_permission_is_about_one() {
        let (user, queue) = (by_user_id("ann"), by_queue_id("q1"));
        for &permission in Permission::ALL {
            let about_queue = permission.entry().subject == Subject::Queue;
            let with = PermissionCheck::one_of_all(&user, permission, Some(&queue)).unwrap();
            assert_eq!(with.queue.is_some(), about_queue, "{permission}");
            assert_eq!(PermissionCheck::one_of_all(&user, permission, None).is_none(), about_queue, "{permission}");
        }
    }
}
