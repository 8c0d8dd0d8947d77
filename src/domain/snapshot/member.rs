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
    /// The queues on which the user is an agent, and those on which they are a supervisor, each in order of their ids: half
    /// the space of a list of queues with roles, and there may be tens of millions of assignments.
    agent_on: Arc<[QueueId]>,
    supervisor_on: Arc<[QueueId]>,
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
        if !self.supervisor_on.is_empty() {
            held = held.with(Role::Supervisor);
        }
        if !self.agent_on.is_empty() {
            held = held.with(Role::Agent);
        }
        held
    }

    /// The roles that the user holds on one queue.
    pub fn roles_on_queue(&self, queue_id: &str) -> RoleSet {
        let on = |list, role, roles: RoleSet| if place(list, queue_id).is_ok() { roles.with(role) } else { roles };
        let roles = on(&self.supervisor_on, Role::Supervisor, RoleSet::default());
        on(&self.agent_on, Role::Agent, roles)
    }

    /// Whether the user is assigned to the queue: has an AGENT assignment on it.
    pub fn is_assigned(&self, queue_id: &str) -> bool {
        place(&self.agent_on, queue_id).is_ok()
    }

    /// The user's live session on a queue.
    pub fn live_session(&self, queue_id: &str, now: Timestamp) -> Option<&Arc<Session>> {
        self.recorded_session(queue_id).filter(|session| session.is_live(now))
    }

    pub(super) fn recorded_session(&self, queue_id: &str) -> Option<&Arc<Session>> {
        self.sessions.get(self.session_place(queue_id).ok()?)
    }

    pub(super) fn supervised_queues(&self) -> usize {
        self.supervisor_on.len()
    }

    /// In order of the queues' ids.
    pub(super) fn queue_roles(&self) -> impl Iterator<Item = (&QueueId, RoleSet)> {
        let (mut agent_on, mut supervisor_on) = (self.agent_on.iter().peekable(), self.supervisor_on.iter().peekable());
        std::iter::from_fn(move || {
            let first = [agent_on.peek(), supervisor_on.peek()].into_iter().flatten().min().copied()?;
            let mut roles = RoleSet::default();
            for (list, role) in [(&mut agent_on, Role::Agent), (&mut supervisor_on, Role::Supervisor)] {
                if list.next_if(|next| *next == first).is_some() {
                    roles = roles.with(role);
                }
            }
            Some((first, roles))
        })
    }

    pub(super) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    pub(super) fn has_roles(&self) -> bool {
        !self.roles_held().is_empty()
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
            agent_on: Arc::default(),
            supervisor_on: Arc::default(),
            sessions: Arc::default(),
        }
    }

    /// Says all roles on queues at once, in order of the queues' ids.
    pub(super) fn set_queue_roles(&mut self, agent_on: Arc<[QueueId]>, supervisor_on: Arc<[QueueId]>) {
        (self.agent_on, self.supervisor_on) = (agent_on, supervisor_on);
    }

    pub(super) fn set_on_queue(&mut self, queue_id: &QueueId, roles: RoleSet) {
        for (list, role) in [(&mut self.agent_on, Role::Agent), (&mut self.supervisor_on, Role::Supervisor)] {
            let place = place(list, queue_id.as_str());
            if place.is_ok() != roles.contains(role) {
                put(list, place, roles.contains(role).then(|| queue_id.clone()));
            }
        }
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

fn place(queues: &[QueueId], queue_id: &str) -> Result<usize, usize> {
    queues.binary_search_by(|of| of.as_str().cmp(queue_id))
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
