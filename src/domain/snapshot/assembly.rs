//! The assembly of a state from its parts instead of its changes. A start would take minutes if each of millions of
//! rows were a change.
//!
//! INVARIANT: the assembled state is the same as the state after the changes. Parts that don't fit are refused for the
//! same reasons. Wherever a test loads a state, it is compared with a replayed one.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;
use imbl::OrdSet;

use super::{
    named::HasNames,
    organization_state::OrganizationState,
    queue_state::QueueState,
    role_holders::RoleHolders,
    slots::{QueueRoles, Slot},
    user_state::{NEEDS_LICENCE, UserState},
    whole::{Snapshot, expiration},
};
use crate::domain::{
    ids::{Lineage, OrganizationId, QueueId, Sequence, UserId},
    model::{Organization, Penalty, Queue, Role, RoleSet, Session, User},
    pin::PinState,
    settings::{Etag, PermissionSettings},
};

/// A state in assembly: organizations first, then users and queues, then roles and sessions.
#[derive(Debug)]
pub struct Assembly {
    snapshot: Snapshot,
    organizations: Parts<OrganizationId, OrganizationAssembly>,
}

/// An organization in assembly. It may have millions of users and assignments, so little is kept for each until the
/// end.
#[derive(Debug)]
struct OrganizationAssembly {
    organization: OrganizationState,
    user_states: Parts<UserId, UserState>,
    queues: Parts<QueueId, QueueParts>,
    latest: Latest,
}

/// The collected queue roles of the latest user with a queue role.
#[derive(Debug, Default)]
struct Latest {
    /// The user's index.
    at: usize,
    /// Indexes of queues, and roles on them.
    roles: Vec<(usize, Role)>,
}

#[derive(Debug)]
struct QueueParts {
    queue: Queue,
    slot: Slot,
    /// Indexes of users.
    role_holders: Vec<u32>,
    session_holders: Vec<u32>,
}

/// Items in the order in which they were added, and their indexes by key.
#[derive(Debug)]
struct Parts<K, V> {
    items: Vec<V>,
    places: HashMap<K, usize, FixedState>,
    /// The index of the last search. Rows are in order, so the same item is often searched again.
    last: usize,
}

/// The reason why a part doesn't fit, in the words of the rules.
type Problem = &'static str;

impl Assembly {
    /// Start an empty assembly.
    pub fn new(lineage: Lineage) -> Self {
        Self { snapshot: Snapshot::empty(lineage), organizations: Parts::default() }
    }

    /// Add an organization.
    pub fn organization(&mut self, organization: Organization, etag: Etag) -> Result<(), Problem> {
        let id = organization.organization_id.clone();
        let organization = OrganizationState::new(organization, PermissionSettings::default(), etag);
        let (user_states, queues) = (Parts::default(), Parts::default());
        let assembly = OrganizationAssembly { organization, user_states, queues, latest: Latest::default() };
        self.organizations.add(id, assembly, "the organization exists already")
    }

    /// Return the settings of an organization, to be filled in.
    pub fn settings(&mut self, organization_id: &str) -> Result<&mut PermissionSettings, Problem> {
        Ok(&mut self.assembly_of(organization_id)?.organization.settings)
    }

    /// Add a user.
    pub fn user(&mut self, organization_id: &str, user: User) -> Result<(), Problem> {
        let id = user.user_id.clone();
        self.assembly_of(organization_id)?.user_states.add(id, UserState::new(user), "the user exists already")
    }

    /// Add a queue.
    pub fn queue(&mut self, organization_id: &str, queue: Queue) -> Result<(), Problem> {
        let id = queue.queue_id.clone();
        let OrganizationAssembly { organization, queues, .. } = self.assembly_of(organization_id)?;
        let slot = organization.slots.next()?;
        let parts = QueueParts { queue, slot, role_holders: Vec::new(), session_holders: Vec::new() };
        queues.add(id.clone(), parts, "the queue exists already")?;
        organization.slots.take(id);
        Ok(())
    }

    /// Add a role, for the organization or for a queue. Those for queues come user by user.
    pub fn role(
        &mut self,
        organization_id: &str,
        user_id: &str,
        role: Role,
        queue_id: Option<&str>,
        penalty: Penalty,
    ) -> Result<(), Problem> {
        let OrganizationAssembly { organization, user_states, queues, latest } = self.assembly_of(organization_id)?;
        let (at, user_state) = user_states.find(user_id).ok_or("no such user")?;
        if !user_state.user.may_hold_roles() {
            return Err(NEEDS_LICENCE);
        }
        let Some(queue_id) = queue_id else {
            if user_state.organization_roles.contains(role) {
                return Err("the role is assigned already");
            }
            user_state.organization_roles = user_state.organization_roles.with(role);
            return Ok(());
        };
        if role == Role::ContactAdmin {
            return Err("CONTACT_ADMIN is never given for a queue");
        }
        let user_id = user_state.user.user_id.clone();
        if latest.at != at {
            latest.settle(user_states, queues)?;
            latest.at = at;
        }
        let (on, place) = queues.find(queue_id).ok_or("no such queue")?;
        if role == Role::Agent && !penalty.is_zero() {
            organization.penalties.set(&user_id, &place.queue.queue_id, penalty);
        }
        latest.roles.push((on, role));
        place.role_holders.push(number(at)?);
        Ok(())
    }

    /// Add a user's PIN.
    pub fn pin(&mut self, organization_id: &str, user_id: &str, pin: PinState) -> Result<(), Problem> {
        let OrganizationAssembly { organization, user_states, .. } = self.assembly_of(organization_id)?;
        let (_, user_state) = user_states.find(user_id).ok_or("no such user")?;
        organization.pins.insert(user_state.user.user_id.clone(), pin);
        Ok(())
    }

    /// Add a session that has not ended.
    pub fn session(&mut self, organization_id: &str, mut session: Session) -> Result<(), Problem> {
        let OrganizationAssembly { organization, user_states, queues, .. } = self.assembly_of(organization_id)?;
        let (at, user_state) = user_states.find(session.user_id.as_str()).ok_or("no such user or queue")?;
        let (_, place) = queues.find(session.queue_id.as_str()).ok_or("no such user or queue")?;
        if user_state.recorded_session(session.queue_id.as_str()).is_some() {
            return Err("the user has a session on the queue already");
        }
        let own_id = user_state.user.user_id.clone();
        if session.signed_in_by == own_id {
            session.signed_in_by = own_id.clone();
        }
        session.user_id = own_id;
        session.queue_id = place.queue.queue_id.clone();
        place.session_holders.push(number(at)?);
        let expiration = expiration(&organization.attributes.organization_id, &session);
        user_state.add_session(place.slot, Arc::new(session));
        organization.sessions += 1;
        self.snapshot.expirations.extend(expiration);
        Ok(())
    }

    /// Set the last event that was cut off an organization's audit log. The organization may be deleted.
    pub fn audit_cut(&mut self, organization_id: OrganizationId, through: Sequence) {
        self.snapshot.audit_cuts.insert(organization_id, through);
    }

    /// Return the state, at this position in the history.
    pub fn finish(mut self, sequence: Sequence) -> Result<Snapshot, Problem> {
        for assembly in self.organizations.items {
            self.snapshot.organizations.insert(assembly.finish()?);
        }
        Ok(self.snapshot.at(sequence))
    }

    fn assembly_of(&mut self, organization_id: &str) -> Result<&mut OrganizationAssembly, Problem> {
        self.organizations.find(organization_id).map(|(_, assembly_of)| assembly_of).ok_or("no such organization")
    }
}

impl Latest {
    /// Give the user the collected roles.
    fn settle(
        &mut self,
        user_states: &mut Parts<UserId, UserState>,
        queues: &Parts<QueueId, QueueParts>,
    ) -> Result<(), Problem> {
        let Self { at, roles } = self;
        let Some(user_state) = user_states.items.get_mut(*at).filter(|_| !roles.is_empty()) else { return Ok(()) };
        if user_state.has_queue_roles() {
            return Err("the roles for queues do not come user by user");
        }
        let parts = |(on, _): &(usize, Role)| queues.items.get(*on);
        roles.sort_by(|one, other| parts(one).map(Identified::id).cmp(&parts(other).map(Identified::id)));
        let mut each = Vec::with_capacity(roles.len());
        for on_queue in roles.chunk_by(|(one, _), (other, _)| one == other) {
            let held = on_queue.iter().fold(RoleSet::default(), |held, (_, role)| held.with(*role));
            if held.iter().count() < on_queue.len() {
                return Err("the role is assigned already");
            }
            each.extend(on_queue.first().and_then(parts).map(|parts| QueueRoles::new(parts.slot, held)));
        }
        user_state.set_queue_roles(each.into_iter());
        roles.clear();
        Ok(())
    }
}

/// Return an index of a user, as 4 bytes.
fn number(at: usize) -> Result<u32, Problem> {
    u32::try_from(at).map_err(|_| "there are too many users")
}

impl OrganizationAssembly {
    fn finish(self) -> Result<OrganizationState, Problem> {
        let Self { mut organization, mut user_states, queues, mut latest } = self;
        latest.settle(&mut user_states, &queues)?;
        let Parts { items: user_states, .. } = user_states;
        let ids = |numbers: Vec<u32>| {
            let user_states = numbers.into_iter().filter_map(|number| user_states.get(usize::try_from(number).ok()?));
            packed(user_states.map(HasNames::id).cloned().collect())
        };
        for parts in queues.items {
            let QueueParts { queue, slot, role_holders, session_holders } = parts;
            organization.queues.insert(QueueState { queue, slot, role_holders: ids(role_holders) })?;
            if !session_holders.is_empty() {
                organization.session_holders_on.insert(slot, ids(session_holders));
            }
        }
        let ids_of = |which: fn(&&UserState) -> bool| {
            packed(user_states.iter().filter(which).map(HasNames::id).cloned().collect())
        };
        organization.role_holders = RoleHolders::new(|role| match role {
            Role::ContactAdmin => ids_of(|user_state| user_state.roles_held().contains(Role::ContactAdmin)),
            Role::Supervisor => ids_of(|user_state| user_state.roles_held().contains(Role::Supervisor)),
            Role::Agent => ids_of(|user_state| user_state.roles_held().contains(Role::Agent)),
        });
        organization.session_holders = ids_of(|user_state| user_state.has_sessions());
        organization.users.order = ids_of(|_| true);
        for user_state in user_states {
            if let Some(login) = &user_state.user.login
                && organization.logins.insert(login.clone(), user_state.user.user_id.clone()).is_some()
            {
                return Err("the login is in use");
            }
            organization.users.replace(user_state)?;
        }
        Ok(organization)
    }
}

/// Return the set of these keys, which may have duplicates, in half the usual space. Keys in order would leave each
/// node of the tree half full, because a full node is split in its middle. So every other key is inserted first, and
/// the rest fills the nodes.
fn packed<K: Ord + Clone>(mut keys: Vec<K>) -> OrdSet<K> {
    keys.sort();
    keys.dedup();
    let second = keys.iter().skip(1).step_by(2);
    keys.iter().step_by(2).chain(second).cloned().collect()
}

impl<K, V> Default for Parts<K, V> {
    fn default() -> Self {
        Self { items: Vec::new(), places: HashMap::default(), last: 0 }
    }
}

impl<K: std::hash::Hash + Eq + std::borrow::Borrow<str>, V: Identified> Parts<K, V> {
    fn add(&mut self, id: K, item: V, taken: Problem) -> Result<(), Problem> {
        if self.places.insert(id, self.items.len()).is_some() {
            return Err(taken);
        }
        self.items.push(item);
        Ok(())
    }

    /// Return the item's index and the item.
    fn find(&mut self, id: &str) -> Option<(usize, &mut V)> {
        if self.items.get(self.last).is_none_or(|last| last.id() != id) {
            self.last = *self.places.get(id)?;
        }
        Some((self.last, self.items.get_mut(self.last)?))
    }
}

trait Identified {
    fn id(&self) -> &str;
}

impl Identified for OrganizationAssembly {
    fn id(&self) -> &str {
        self.organization.attributes.organization_id.as_str()
    }
}

impl Identified for UserState {
    fn id(&self) -> &str {
        self.user.user_id.as_str()
    }
}

impl Identified for QueueParts {
    fn id(&self) -> &str {
        self.queue.queue_id.as_str()
    }
}
