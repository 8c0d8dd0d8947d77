//! One user with their roles and sessions, so that a decision finds everything by one search.
//!
//! There may be millions of these, and each is copied when it changes. The data of a decision is in two neighbouring
//! cache lines. Most users have only their names and sessions elsewhere.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    named::{HasNames, in_either},
    queue_state::QueueState,
    slots::{QueueRoles, Slot, Slots},
};
use crate::domain::{
    ids::{Extension, QueueId, UserId},
    model::{Role, RoleSet, Session, User},
    time::Timestamp,
};

/// The problem of a role without a licence.
pub(super) const NEEDS_LICENCE: &str = "a user who holds a role needs a licence";

/// The number of queues whose roles are stored in the user itself. More are stored elsewhere.
const FEW: usize = 8;

/// A user of an organization, with their roles and sessions.
#[derive(Debug, Clone)]
pub struct UserState {
    pub(super) user: User,
    pub(super) organization_roles: RoleSet,
    /// The roles that any of `queue_roles` confers.
    conferred: RoleSet,
    /// In order of the queues' ids.
    queue_roles: SmallVec<[QueueRoles; FEW]>,
    /// In order of the queues' ids. Few users have more than one.
    sessions: SmallVec<[(Slot, Arc<Session>); 1]>,
}

impl HasNames for UserState {
    type Id = UserId;

    fn id(&self) -> &UserId {
        &self.user().user_id
    }

    fn extension(&self) -> &Option<Extension> {
        &self.user().extension
    }
}

/// Queries.
impl UserState {
    /// Return the user's own attributes.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Return the roles that the user holds: those for the organization, and those that any queue assignment confers
    /// (`docs/semantics.md` section 1).
    pub fn roles_held(&self) -> RoleSet {
        self.organization_roles.union(self.conferred)
    }

    /// Return the roles that the user holds on a queue of the same state.
    pub fn roles_on(&self, queue_state: &QueueState) -> RoleSet {
        let found = self.queue_roles.iter().find(|on| on.slot() == queue_state.slot);
        found.map(|on| on.roles()).unwrap_or_default()
    }

    /// Return whether the user is assigned to a queue of the same state: has an AGENT assignment on it.
    pub fn is_assigned(&self, queue_state: &QueueState) -> bool {
        self.roles_on(queue_state).contains(Role::Agent)
    }

    /// Return the user's live session on a queue of the same state, or `None`.
    pub fn live_session(&self, queue_state: &QueueState, now: Timestamp) -> Option<&Arc<Session>> {
        let found = self.sessions.iter().find(|(slot, _)| *slot == queue_state.slot);
        found.map(|(_, session)| session).filter(|session| session.is_live(now))
    }

    pub(super) fn recorded_session(&self, queue_id: &str) -> Option<&Arc<Session>> {
        let (_, session) = self.sessions.get(self.session_at(queue_id).ok()?)?;
        Some(session)
    }

    fn session_at(&self, queue_id: &str) -> Result<usize, usize> {
        self.sessions.binary_search_by(|(_, session)| session.queue_id.as_str().cmp(queue_id))
    }

    pub(super) fn has_queue_roles(&self) -> bool {
        !self.queue_roles.is_empty()
    }

    pub(super) fn supervised_queues(&self) -> usize {
        self.queue_roles.iter().filter(|on| on.roles().contains(Role::Supervisor)).count()
    }

    /// Iterate over the roles in order of the queues' ids, of an organization with these slots.
    pub(super) fn queue_roles<'s>(&'s self, slots: &'s Slots) -> impl Iterator<Item = (&'s QueueId, RoleSet)> {
        self.queue_roles.iter().filter_map(|on| Some((slots.queue_id(on.slot())?, on.roles())))
    }

    /// Iterate over the queues on which the user has a role or a session, in order of their ids.
    pub(super) fn queues<'s>(&'s self, slots: &'s Slots) -> impl Iterator<Item = &'s QueueId> {
        let with_roles = self.queue_roles(slots).map(|(queue_id, _)| queue_id);
        in_either(with_roles, self.sessions().map(|session| &session.queue_id))
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.iter().map(|(_, session)| session)
    }

    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    pub(super) fn has_roles(&self) -> bool {
        !self.roles_held().is_empty()
    }

    /// Return whether this is equal to a user of another state, which may have other slots.
    pub(super) fn is_same(&self, slots: &Slots, other: &Self, others: &Slots) -> bool {
        // The conferred roles follow from the roles on queues.
        let Self { user, organization_roles, conferred: _, queue_roles: _, sessions: _ } = self;
        *user == other.user
            && *organization_roles == other.organization_roles
            && self.queue_roles(slots).eq(other.queue_roles(others))
            && self.sessions().eq(other.sessions())
    }
}

/// Updates.
impl UserState {
    pub(super) fn new(user: User) -> Self {
        Self {
            user,
            organization_roles: RoleSet::default(),
            conferred: RoleSet::default(),
            queue_roles: SmallVec::new(),
            sessions: SmallVec::new(),
        }
    }

    /// Set all roles on queues, given in order of the queues' ids.
    pub(super) fn set_queue_roles(&mut self, queue_roles: impl Iterator<Item = QueueRoles>) {
        self.queue_roles = queue_roles.collect();
        self.queue_roles.shrink_to_fit();
        self.sum_up();
    }

    pub(super) fn set_on_queue(&mut self, queue_state: &QueueState, roles: RoleSet, slots: &Slots) {
        let is_before = |on: &QueueRoles| slots.queue_id(on.slot()).is_some_and(|id| *id < queue_state.queue.queue_id);
        let at = self.queue_roles.partition_point(is_before);
        if self.queue_roles.get(at).is_some_and(|on| on.slot() == queue_state.slot) {
            self.queue_roles.remove(at);
        }
        if !roles.is_empty() {
            self.queue_roles.insert(at, QueueRoles::new(queue_state.slot, roles));
        }
        self.sum_up();
    }

    fn sum_up(&mut self) {
        self.conferred = self.queue_roles.iter().fold(RoleSet::default(), |all, on| all.union(on.roles()));
    }

    /// Add a session on a queue without one.
    pub(super) fn add_session(&mut self, on: Slot, session: Arc<Session>) {
        let (Ok(at) | Err(at)) = self.session_at(session.queue_id.as_str());
        self.sessions.insert(at, (on, session));
    }

    pub(super) fn remove_session(&mut self, on: Slot) {
        self.sessions.retain(|(slot, _)| *slot != on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two reference counts before it, it takes exactly two cache lines of 64 bytes.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_user_state_takes_two_cache_lines() {
        assert_eq!(size_of::<UserState>(), 2 * 64 - 2 * size_of::<usize>());
    }
}
