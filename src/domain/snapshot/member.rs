//! One user and everything that hangs on them, in one place, so that a decision finds it all by one search.
//!
//! There may be millions of these, and each is copied when it changes: the lists are as long as what is in them, and shared
//! by the copies that have the same.

use std::sync::Arc;

use crate::domain::{
    ids::QueueId,
    model::{Role, RoleSet, Session, User},
    time::Timestamp,
};

/// A user of an organization, with their roles and sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub(super) user: Arc<User>,
    pub(super) organization_roles: RoleSet,
    /// How many queues give each role, so that what is held needs no scan.
    agent_queues: u32,
    supervisor_queues: u32,
    /// In order of the queues' ids, without any that give none.
    queue_roles: Arc<[(QueueId, RoleSet)]>,
    /// In order of the queues' ids.
    sessions: Arc<[Arc<Session>]>,
}

/// Reading.
impl Member {
    /// The user's own attributes.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The roles that the user holds: those for the organization, and those that any queue assignment confers
    /// (`SEMANTICS.md` section 1).
    pub fn roles_held(&self) -> RoleSet {
        let mut held = self.organization_roles;
        if self.supervisor_queues > 0 {
            held = held.with(Role::Supervisor);
        }
        if self.agent_queues > 0 {
            held = held.with(Role::Agent);
        }
        held
    }

    /// The roles that the user holds on one queue.
    pub fn roles_on_queue(&self, queue_id: &str) -> RoleSet {
        let found = self.queue_place(queue_id).ok().and_then(|place| self.queue_roles.get(place));
        found.map(|(_, roles)| *roles).unwrap_or_default()
    }

    /// Whether the user is assigned to the queue: has an AGENT assignment on it.
    pub fn is_assigned(&self, queue_id: &str) -> bool {
        self.roles_on_queue(queue_id).contains(Role::Agent)
    }

    /// The user's live session on a queue.
    pub fn live_session(&self, queue_id: &str, now: Timestamp) -> Option<&Arc<Session>> {
        self.recorded_session(queue_id).filter(|session| session.is_live(now))
    }

    pub(super) fn recorded_session(&self, queue_id: &str) -> Option<&Arc<Session>> {
        self.sessions.get(self.session_place(queue_id).ok()?)
    }

    pub(super) fn supervised_queues(&self) -> usize {
        self.supervisor_queues as usize
    }

    pub(super) fn queue_roles(&self) -> &[(QueueId, RoleSet)] {
        &self.queue_roles
    }

    pub(super) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    pub(super) fn has_roles(&self) -> bool {
        !self.organization_roles.is_empty() || !self.queue_roles.is_empty()
    }

    fn queue_place(&self, queue_id: &str) -> Result<usize, usize> {
        self.queue_roles.binary_search_by(|(of, _)| of.as_str().cmp(queue_id))
    }

    fn session_place(&self, queue_id: &str) -> Result<usize, usize> {
        self.sessions.binary_search_by(|session| session.queue_id.as_str().cmp(queue_id))
    }
}

/// Changing.
impl Member {
    pub(super) fn new(user: Arc<User>) -> Self {
        Self {
            user,
            organization_roles: RoleSet::default(),
            agent_queues: 0,
            supervisor_queues: 0,
            queue_roles: Arc::default(),
            sessions: Arc::default(),
        }
    }

    /// Says all roles on queues at once, in order of the queues' ids.
    pub(super) fn set_queue_roles(&mut self, queue_roles: Arc<[(QueueId, RoleSet)]>) {
        let with = |role| queue_roles.iter().map(|(_, roles)| u32::from(roles.contains(role))).sum();
        (self.agent_queues, self.supervisor_queues) = (with(Role::Agent), with(Role::Supervisor));
        self.queue_roles = queue_roles;
    }

    pub(super) fn set_on_queue(&mut self, queue_id: &QueueId, roles: RoleSet) {
        let before = self.roles_on_queue(queue_id.as_str());
        let place = self.queue_place(queue_id.as_str());
        put(&mut self.queue_roles, place, (!roles.is_empty()).then(|| (queue_id.clone(), roles)));
        let recount = |count: u32, role| count + u32::from(roles.contains(role)) - u32::from(before.contains(role));
        self.agent_queues = recount(self.agent_queues, Role::Agent);
        self.supervisor_queues = recount(self.supervisor_queues, Role::Supervisor);
    }

    pub(super) fn add_session(&mut self, session: Arc<Session>) {
        let place = self.session_place(session.queue_id.as_str());
        put(&mut self.sessions, place, Some(session));
    }

    pub(super) fn remove_session(&mut self, queue_id: &str) {
        let place = self.session_place(queue_id);
        put(&mut self.sessions, place, None);
    }
}

/// Puts an item in the place where it was found or would be, or takes away what is there.
fn put<T: Clone>(items: &mut Arc<[T]>, place: Result<usize, usize>, item: Option<T>) {
    let (place, replaced) = match place {
        Ok(place) => (place, 1),
        Err(place) => (place, 0),
    };
    let (before, rest) = items.split_at(place.min(items.len()));
    let after = rest.iter().skip(replaced);
    *items = before.iter().cloned().chain(item).chain(after.cloned()).collect();
}
