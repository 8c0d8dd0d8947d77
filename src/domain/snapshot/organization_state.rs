//! One organization and everything in it, with the indexes that decisions need.

use std::{ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};

use super::{
    named::{HasNames, Named, after_in, in_either},
    penalties::Penalties,
    queue_state::QueueState,
    role_holders::RoleHolders,
    slots::{Slot, Slots},
    user_state::UserState,
};
use crate::domain::{
    ids::{Extension, Login, QueueId, QueueRef, UserId, UserRef},
    model::{Organization, Penalty, Queue, Role, RoleAssignment, RoleSet, Session, User},
    pin::PinState,
    settings::{Etag, PermissionSettings, Switch},
    time::Timestamp,
};

/// One organization and everything in it.
#[derive(Debug, Clone)]
pub struct OrganizationState {
    pub(super) attributes: Organization,
    pub(super) settings: PermissionSettings,
    pub(super) settings_etag: Etag,
    pub(super) users: Named<UserState>,
    pub(super) queues: Named<QueueState>,
    /// The users by login. Most have none.
    pub(super) logins: OrdMap<Login, UserId>,
    pub(super) slots: Slots,
    pub(super) role_holders: RoleHolders,
    /// The penalties of AGENT assignments on queues.
    pub(super) penalties: Penalties,
    /// The users with a PIN.
    pub(super) pins: OrdMap<UserId, PinState>,
    /// The users with a session that has not been ended yet.
    pub(super) session_holders: OrdSet<UserId>,
    /// The same by queue. INVARIANT: it has no entry for a queue without sessions. It is not part of the queue, because
    /// then each sign-in would find and copy the queue.
    pub(super) session_holders_on: OrdMap<Slot, OrdSet<UserId>>,
    /// The number of sessions that have not been ended yet.
    pub(super) sessions: usize,
}

/// Organizations are equal if they have equal content. Queues may have other slots.
impl PartialEq for OrganizationState {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            attributes,
            settings,
            settings_etag,
            users,
            queues,
            logins,
            slots,
            role_holders,
            penalties,
            pins,
            session_holders,
            session_holders_on,
            sessions,
        } = self;
        let is_same_queue = |own: &QueueState, others: &QueueState| {
            let QueueState { queue, slot, role_holders } = own;
            (queue, role_holders, session_holders_on.get(slot))
                == (&others.queue, &others.role_holders, other.session_holders_on.get(&others.slot))
        };
        *attributes == other.attributes
            && *settings == other.settings
            && *settings_etag == other.settings_etag
            && users.is_same(&other.users, |one, another| one.is_same(slots, another, &other.slots))
            && queues.is_same(&other.queues, is_same_queue)
            && *logins == other.logins
            && *role_holders == other.role_holders
            && *penalties == other.penalties
            && *pins == other.pins
            && *session_holders == other.session_holders
            && session_holders_on.len() == other.session_holders_on.len()
            && *sessions == other.sessions
    }
}

/// Queries.
impl OrganizationState {
    /// Return the organization's own attributes.
    pub fn attributes(&self) -> &Organization {
        &self.attributes
    }

    /// Return the permission settings.
    pub fn settings(&self) -> &PermissionSettings {
        &self.settings
    }

    /// Return whether supervisors reach only the queues on which they have an assignment.
    pub fn limits_supervisors(&self) -> bool {
        self.settings.is_on(Switch::LimitToAssignedQueues)
    }

    /// Return the etag of the settings.
    pub fn settings_etag(&self) -> Etag {
        self.settings_etag
    }

    /// Return the named user with their roles and sessions.
    pub fn user_state(&self, user: &UserRef) -> Option<&UserState> {
        match user {
            UserRef::Id(id) => self.users.get(id.as_str()),
            UserRef::Extension(extension) => self.users.with_extension(extension),
        }
    }

    /// Return the user with this id, with their roles and sessions.
    pub fn user_state_by_id(&self, user_id: &str) -> Option<&UserState> {
        self.users.get(user_id)
    }

    /// Return the named user.
    pub fn user(&self, user: &UserRef) -> Option<&User> {
        self.user_state(user).map(UserState::user)
    }

    /// Return the user with this id.
    pub fn user_by_id(&self, user_id: &str) -> Option<&User> {
        self.users.get(user_id).map(UserState::user)
    }

    /// Return the user with this extension.
    pub fn user_with_extension(&self, extension: &Extension) -> Option<&UserId> {
        self.users.with_extension(extension).map(HasNames::id)
    }

    /// Return the user with this login.
    pub fn user_with_login(&self, login: &Login) -> Option<&UserId> {
        self.logins.get(login)
    }

    /// Return the state of a user's PIN, or `None` without one.
    pub fn pin_of(&self, user_id: &UserId) -> Option<PinState> {
        self.pins.get(user_id).copied()
    }

    /// Iterate over users in order of their ids, from the one after `after`, with their roles and sessions.
    pub fn user_states_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s UserState> {
        self.users.after(after)
    }

    /// Iterate over users in order of their ids, from the one after `after`.
    pub fn users_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s User> {
        self.users.after(after).map(UserState::user)
    }

    /// Return the named queue with its role holders.
    pub fn queue_state(&self, queue: &QueueRef) -> Option<&QueueState> {
        match queue {
            QueueRef::Id(id) => self.queues.get(id.as_str()),
            QueueRef::Extension(extension) => self.queues.with_extension(extension),
        }
    }

    /// Return the queue with this id, with its role holders.
    pub fn queue_state_by_id(&self, queue_id: &str) -> Option<&QueueState> {
        self.queues.get(queue_id)
    }

    /// Return the named queue.
    pub fn queue(&self, queue: &QueueRef) -> Option<&Queue> {
        self.queue_state(queue).map(QueueState::queue)
    }

    /// Return the queue with this id.
    pub fn queue_by_id(&self, queue_id: &str) -> Option<&Queue> {
        self.queues.get(queue_id).map(QueueState::queue)
    }

    /// Return the queue with this extension.
    pub fn queue_with_extension(&self, extension: &Extension) -> Option<&QueueId> {
        self.queues.with_extension(extension).map(HasNames::id)
    }

    /// Iterate over queues in order of their ids, from the one after `after`, with their role holders.
    pub fn queue_states_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s QueueState> {
        self.queues.after(after)
    }

    /// Iterate over queues in order of their ids, from the one after `after`.
    pub fn queues_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Queue> {
        self.queues.after(after).map(QueueState::queue)
    }

    /// Iterate over the queues on which a user has a role or a session, in order of their ids, from the one after
    /// `after`.
    pub fn queue_states_of<'s>(
        &'s self,
        user_state: &'s UserState,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s QueueState> {
        let ids = user_state.queues(&self.slots).filter(move |id| after.is_none_or(|after| id.as_str() > after));
        ids.filter_map(|id| self.queues.get(id.as_str()))
    }

    /// Count the queues.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Count the queues on which a user has a SUPERVISOR assignment.
    pub fn supervised_queues(&self, user_id: &str) -> usize {
        self.users.get(user_id).map_or(0, UserState::supervised_queues)
    }

    /// Return the roles that a user holds: those for the organization, and those that any queue assignment confers
    /// (`docs/semantics.md` section 1).
    pub fn roles_held(&self, user_id: &str) -> RoleSet {
        self.users.get(user_id).map(UserState::roles_held).unwrap_or_default()
    }

    /// Return the roles that a user holds for the organization.
    pub fn organization_roles(&self, user_id: &str) -> RoleSet {
        self.users.get(user_id).map(|user_state| user_state.organization_roles).unwrap_or_default()
    }

    /// Return the roles that a user holds on one queue.
    pub fn roles_on_queue(&self, user_id: &str, queue_id: &str) -> RoleSet {
        let found = self.users.get(user_id).zip(self.queues.get(queue_id));
        found.map(|(user_state, queue_state)| user_state.roles_on(queue_state)).unwrap_or_default()
    }

    /// Return whether the user is assigned to the queue: has an AGENT assignment on it.
    pub fn is_assigned(&self, user_id: &str, queue_id: &str) -> bool {
        self.roles_on_queue(user_id, queue_id).contains(Role::Agent)
    }

    /// Iterate over a user's roles on queues, in order of the queues' ids.
    pub fn queue_roles_of_user(&self, user_id: &str) -> impl Iterator<Item = (&QueueId, RoleSet)> {
        self.users.get(user_id).into_iter().flat_map(|user_state| user_state.queue_roles(&self.slots))
    }

    /// Iterate over a user's role assignments: those for the organization, then those for queues in order of their ids.
    pub fn assignments_of_user<'s>(&'s self, user_id: &'s UserId) -> impl Iterator<Item = RoleAssignment> + 's {
        let assignment = |role, queue_id| self.assignment(user_id, role, queue_id);
        let organization = self.organization_roles(user_id.as_str()).iter();
        let on_queues = self.queue_roles_of_user(user_id.as_str());
        organization.map(move |role| assignment(role, None)).chain(
            on_queues.flat_map(move |(queue_id, roles)| roles.iter().map(move |role| assignment(role, Some(queue_id)))),
        )
    }

    /// Iterate over the role assignments on a queue, in order of the users' ids.
    pub fn assignments_on_queue<'s>(&'s self, queue_id: &'s QueueId) -> impl Iterator<Item = RoleAssignment> + 's {
        self.users_with_roles_on(queue_id.as_str(), None).flat_map(move |(user_id, roles)| {
            roles.iter().map(move |role| self.assignment(user_id, role, Some(queue_id)))
        })
    }

    fn assignment(&self, user_id: &UserId, role: Role, queue_id: Option<&QueueId>) -> RoleAssignment {
        let penalty = self.penalty_of(user_id, role, queue_id);
        RoleAssignment { user_id: user_id.clone(), role, queue_id: queue_id.cloned(), penalty }
    }

    /// Iterate over a user's penalties that aren't 0, in order of the queues' ids.
    pub fn penalties_of(&self, user_id: &UserId) -> impl Iterator<Item = (QueueId, Penalty)> {
        self.penalties.of(user_id)
    }

    /// Return the penalty of a role assignment. It is 0 unless this is AGENT on a queue.
    pub fn penalty_of(&self, user_id: &UserId, role: Role, queue_id: Option<&QueueId>) -> Penalty {
        match (role, queue_id) {
            (Role::Agent, Some(queue_id)) => self.penalties.get(user_id, queue_id),
            (Role::Agent | Role::Supervisor | Role::ContactAdmin, _) => Penalty::default(),
        }
    }

    /// Iterate over the users with roles on a queue, in order of their ids, from the one after `after`.
    pub fn users_with_roles_on<'s>(
        &'s self,
        queue_id: &'s str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s UserId, RoleSet)> {
        let roles_on = |queue_state, user_id: &UserId| {
            self.users.get(user_id.as_str()).map(|user_state| user_state.roles_on(queue_state))
        };
        self.queues.get(queue_id).into_iter().flat_map(move |queue_state| {
            let holders = after_in(&queue_state.role_holders, after);
            holders.map(move |user_id| (user_id, roles_on(queue_state, user_id).unwrap_or_default()))
        })
    }

    /// Iterate over the users with roles or a session on a queue, in order of their ids, from the one after `after`.
    pub fn user_states_on<'s>(
        &'s self,
        queue_state: &'s QueueState,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s UserState> {
        let ids = in_either(after_in(&queue_state.role_holders, after), self.session_holders_on(queue_state, after));
        ids.filter_map(|user_id| self.users.get(user_id.as_str()))
    }

    fn session_holders_on<'s>(
        &'s self,
        queue_state: &QueueState,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s UserId> + use<'s> {
        self.session_holders_on.get(&queue_state.slot).into_iter().flat_map(move |holders| after_in(holders, after))
    }

    /// Iterate over the users who hold any role, in order of their ids.
    pub fn users_with_roles<'s>(&'s self, from: Bound<&'s str>) -> impl Iterator<Item = &'s UserId> {
        self.role_holders.of_any(from)
    }

    /// Iterate over the users who hold this role, in order of their ids.
    pub fn users_with_role<'s>(&'s self, role: Role, from: Bound<&'s str>) -> impl Iterator<Item = &'s UserId> {
        self.role_holders.of(role, from)
    }

    /// Return the session of a user on a queue that has not been ended yet, live or expired. Decisions need
    /// [`OrganizationState::live_session`] instead.
    pub fn recorded_session(&self, user_id: &str, queue_id: &str) -> Option<&Arc<Session>> {
        self.users.get(user_id)?.recorded_session(queue_id)
    }

    /// Return the live session of a user on a queue, or `None`.
    pub fn live_session(&self, user_id: &str, queue_id: &str, now: Timestamp) -> Option<&Arc<Session>> {
        self.recorded_session(user_id, queue_id).filter(|session| session.is_live(now))
    }

    /// Iterate over a user's sessions that have not been ended yet, in order of the queues' ids.
    pub fn sessions_of_user(&self, user_id: &str) -> impl Iterator<Item = &Arc<Session>> {
        self.users.get(user_id).into_iter().flat_map(UserState::sessions)
    }

    /// Iterate over a queue's sessions that have not been ended yet, in order of the users' ids, from the one after
    /// `after`.
    pub fn sessions_on_queue<'s>(
        &'s self,
        queue_id: &'s str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Arc<Session>> {
        let holders = self
            .queues
            .get(queue_id)
            .into_iter()
            .flat_map(move |queue_state| self.session_holders_on(queue_state, after));
        holders.filter_map(move |user_id| self.recorded_session(user_id.as_str(), queue_id))
    }

    /// Count the users.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Count the sessions that have not been ended yet. Expired sessions count until the server ends them.
    pub fn session_count(&self) -> usize {
        self.sessions
    }

    /// Iterate over the sessions that have not been ended yet, in order of users' and queues' ids. Start with the first
    /// after the session of `after`, a user and a queue.
    pub fn sessions_after<'s>(&'s self, after: Option<(&'s str, &'s str)>) -> impl Iterator<Item = &'s Arc<Session>> {
        let from = after.map_or(Bound::Unbounded, |(user_id, _)| Bound::Included(user_id));
        let holders = self.session_holders.range::<_, str>((from, Bound::Unbounded));
        holders.flat_map(|user_id| self.sessions_of_user(user_id.as_str())).skip_while(move |session| {
            after.is_some_and(|after| (session.user_id.as_str(), session.queue_id.as_str()) <= after)
        })
    }
}
