//! One user and everything that hangs on them, in one place, so that a decision finds it all by one search.
//!
//! There may be millions of these, and each is copied when it changes: the lists are as long as what is in them, and those of
//! queues are shared by the copies that have the same.

use std::sync::Arc;

use smallvec::SmallVec;

use super::named::in_either;
use crate::domain::{
    ids::QueueId,
    model::{Queue, Role, RoleSet, Session, User},
    time::Timestamp,
};

/// A user of an organization, with their roles and sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub(super) user: User,
    pub(super) organization_roles: RoleSet,
    /// The queues on which the user is an agent, and those on which they are a supervisor, each in order of their ids: half
    /// the space of a list of queues with roles, and there may be tens of millions of assignments.
    agent_on: Arc<[QueueId]>,
    supervisor_on: Arc<[QueueId]>,
    /// By their queues' ids, in order of those. Few have more than one.
    sessions: SmallVec<[(QueueId, Arc<Session>); 1]>,
}

/// Reading.
impl Member {
    /// The user's own attributes.
    pub fn user(&self) -> &User {
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
        let on =
            |list, role, roles: RoleSet| if place(list, itself, queue_id).is_ok() { roles.with(role) } else { roles };
        let roles = on(&self.supervisor_on, Role::Supervisor, RoleSet::default());
        on(&self.agent_on, Role::Agent, roles)
    }

    /// Whether the user is assigned to a queue of the same state: has an AGENT assignment on it.
    pub fn is_assigned(&self, queue: &Queue) -> bool {
        find(&self.agent_on, itself, queue).is_some()
    }

    /// The user's live session on a queue of the same state.
    pub fn live_session(&self, queue: &Queue, now: Timestamp) -> Option<&Arc<Session>> {
        find(&self.sessions, of_session, queue).map(|(_, session)| session).filter(|session| session.is_live(now))
    }

    pub(super) fn recorded_session(&self, queue_id: &str) -> Option<&Arc<Session>> {
        let place = place(&self.sessions, of_session, queue_id).ok()?;
        self.sessions.get(place).map(|(_, session)| session)
    }

    pub(super) fn supervised_queues(&self) -> usize {
        self.supervisor_on.len()
    }

    /// In order of the queues' ids.
    pub(super) fn queue_roles(&self) -> impl Iterator<Item = (&QueueId, RoleSet)> {
        self.queues_with_roles().map(|queue_id| (queue_id, self.roles_on_queue(queue_id.as_str())))
    }

    fn queues_with_roles(&self) -> impl Iterator<Item = &QueueId> {
        in_either(self.agent_on.iter(), self.supervisor_on.iter())
    }

    /// The queues on which the user has a role or a session, in order of their ids.
    pub fn queues(&self) -> impl Iterator<Item = &QueueId> {
        in_either(self.queues_with_roles(), self.sessions.iter().map(of_session))
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
}

/// Changing.
impl Member {
    pub(super) fn new(user: User) -> Self {
        Self {
            user,
            organization_roles: RoleSet::default(),
            agent_on: Arc::default(),
            supervisor_on: Arc::default(),
            sessions: SmallVec::new(),
        }
    }

    /// Says all roles on queues at once, in order of the queues' ids.
    pub(super) fn set_queue_roles(&mut self, agent_on: Arc<[QueueId]>, supervisor_on: Arc<[QueueId]>) {
        (self.agent_on, self.supervisor_on) = (agent_on, supervisor_on);
    }

    pub(super) fn set_on_queue(&mut self, queue_id: &QueueId, roles: RoleSet) {
        for (list, role) in [(&mut self.agent_on, Role::Agent), (&mut self.supervisor_on, Role::Supervisor)] {
            let place = place(list, itself, queue_id.as_str());
            if place.is_ok() != roles.contains(role) {
                put(list, place, roles.contains(role).then(|| queue_id.clone()));
            }
        }
    }

    /// Adds a session on a queue on which there is none.
    pub(super) fn add_session(&mut self, session: Arc<Session>) {
        let queue_id = session.queue_id.clone();
        let (Ok(place) | Err(place)) = place(&self.sessions, of_session, queue_id.as_str());
        self.sessions.insert(place, (queue_id, session));
    }

    pub(super) fn remove_session(&mut self, queue_id: &str) {
        self.sessions.retain(|(of, _)| of.as_str() != queue_id);
    }
}

fn itself(queue_id: &QueueId) -> &QueueId {
    queue_id
}

fn of_session((queue_id, _): &(QueueId, Arc<Session>)) -> &QueueId {
    queue_id
}

/// Where something about a queue is in a list in order of the queues' ids, or would be.
fn place<T>(list: &[T], id: impl Fn(&T) -> &QueueId, queue_id: &str) -> Result<usize, usize> {
    list.binary_search_by(|item| id(item).as_str().cmp(queue_id))
}

/// What there is about a queue in a list in order of the queues' ids. INVARIANT: the ids in the list are clones of the
/// queues' own, so in a short one they need not be read; reading them would be most of what a decision costs.
fn find<'l, T>(list: &'l [T], id: impl Fn(&T) -> &QueueId, queue: &Queue) -> Option<&'l T> {
    const SHORT: usize = 32;
    let by_reading = || list.get(place(list, &id, queue.queue_id.as_str()).ok()?);
    if list.len() > SHORT {
        return by_reading();
    }
    let found = list.iter().find(|item| id(item).is_one_with(&queue.queue_id));
    debug_assert_eq!(
        found.is_some(),
        by_reading().is_some(),
        "an id of `{}` that is not the queue's own",
        queue.queue_id
    );
    found
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
