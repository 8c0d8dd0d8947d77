//! A state made of what it consists of, and not of the changes that led to it: a start would take minutes if each of
//! millions of rows were a change.
//!
//! INVARIANT: the same as the changes would have made. What doesn't fit is refused for the same reasons, and wherever a
//! state is loaded in a test, it is compared with one that was replayed.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;
use imbl::OrdSet;

use super::{ById, Member, Named, Place, Snapshot, Tenant, expiration};
use crate::domain::{
    change::Etag,
    ids::{Lineage, OrganizationId, QueueId, Sequence, UserId},
    model::{Organization, Queue, Role, RoleSet, Session, User},
    settings::PermissionSettings,
};

/// A state that is being put together: organizations first, then users and queues, then what connects them.
#[derive(Debug)]
pub struct Assembly {
    snapshot: Snapshot,
    organizations: Parts<OrganizationId, Office>,
}

/// An organization that is being put together.
#[derive(Debug)]
struct Office {
    tenant: Tenant,
    users: Parts<UserId, UserParts>,
    queues: Parts<QueueId, QueueParts>,
}

#[derive(Debug)]
struct UserParts {
    user: User,
    organization_roles: RoleSet,
    queue_roles: Vec<(QueueId, RoleSet)>,
    sessions: Vec<Arc<Session>>,
}

#[derive(Debug)]
struct QueueParts {
    queue: Queue,
    role_holders: Vec<UserId>,
    session_holders: Vec<UserId>,
}

/// Things in the order in which they came, and where each is.
#[derive(Debug)]
struct Parts<K, V> {
    items: Vec<V>,
    places: HashMap<K, usize, FixedState>,
    /// Which was asked for last. Rows come in order, so it is likely to be asked for again.
    last: usize,
}

/// What doesn't fit, as a word of the rules.
type Problem = &'static str;

impl Assembly {
    /// Nothing yet.
    pub fn new(lineage: Lineage) -> Self {
        Self { snapshot: Snapshot::empty(lineage), organizations: Parts::default() }
    }

    /// Adds an organization.
    pub fn organization(&mut self, organization: Organization, etag: Etag) -> Result<(), Problem> {
        let id = organization.organization_id.clone();
        let tenant = Tenant::new(organization, PermissionSettings::default(), etag);
        let office = Office { tenant, users: Parts::default(), queues: Parts::default() };
        self.organizations.add(id, office, "the organization exists already")
    }

    /// The settings of an organization, to be set.
    pub fn settings(&mut self, organization_id: &str) -> Result<&mut PermissionSettings, Problem> {
        Ok(&mut self.office(organization_id)?.tenant.settings)
    }

    /// Adds a user.
    pub fn user(&mut self, organization_id: &str, user: User) -> Result<(), Problem> {
        let id = user.user_id.clone();
        let roles = RoleSet::default();
        let parts = UserParts { user, organization_roles: roles, queue_roles: Vec::new(), sessions: Vec::new() };
        self.office(organization_id)?.users.add(id, parts, "the user exists already")
    }

    /// Adds a queue.
    pub fn queue(&mut self, organization_id: &str, queue: Queue) -> Result<(), Problem> {
        let id = queue.queue_id.clone();
        let parts = QueueParts { queue, role_holders: Vec::new(), session_holders: Vec::new() };
        self.office(organization_id)?.queues.add(id, parts, "the queue exists already")
    }

    /// Adds a role, for the organization or for a queue. Those of one user on one queue must come one after the other.
    pub fn role(
        &mut self,
        organization_id: &str,
        user_id: &str,
        role: Role,
        queue_id: Option<&str>,
    ) -> Result<(), Problem> {
        let office = self.office(organization_id)?;
        let member = office.users.find(user_id).ok_or("no such user")?;
        if !member.user.contact_center_license {
            return Err("a user who holds a role needs a licence");
        }
        let roles = match queue_id {
            None => &mut member.organization_roles,
            Some(_) if role == Role::ContactAdmin => return Err("CONTACT_ADMIN is never given for a queue"),
            Some(queue_id) => {
                let place = office.queues.find(queue_id).ok_or("no such queue")?;
                if member.queue_roles.last().is_none_or(|(last, _)| last.as_str() != queue_id) {
                    // Kept are the ids that are there already: there may be millions of assignments.
                    member.queue_roles.push((place.queue.queue_id.clone(), RoleSet::default()));
                    place.role_holders.push(member.user.user_id.clone());
                }
                let last = member.queue_roles.last_mut();
                last.map(|(_, roles)| roles).ok_or("no such queue")?
            }
        };
        if roles.contains(role) {
            return Err("the role is assigned already");
        }
        *roles = roles.with(role);
        Ok(())
    }

    /// Adds a session that has not ended.
    pub fn session(&mut self, organization_id: &str, mut session: Session) -> Result<(), Problem> {
        let office = self.office(organization_id)?;
        let user = office.users.find(session.user_id.as_str());
        let (Some(member), Some(place)) = (user, office.queues.find(session.queue_id.as_str())) else {
            return Err("no such user or queue");
        };
        let own_id = member.user.user_id.clone();
        if session.signed_in_by == own_id {
            session.signed_in_by = own_id.clone();
        }
        session.user_id = own_id.clone();
        session.queue_id = place.queue.queue_id.clone();
        place.session_holders.push(own_id);
        let organization_id = office.tenant.id().clone();
        let expiration = expiration(&organization_id, &session);
        member.sessions.push(Arc::new(session));
        office.tenant.sessions += 1;
        self.snapshot.expirations.extend(expiration);
        Ok(())
    }

    /// Says through which event an organization's audit log was cut. The organization may be gone.
    pub fn audit_cut(&mut self, organization_id: OrganizationId, through: Sequence) {
        self.snapshot.audit_cuts.insert(organization_id, through);
    }

    /// The state, at this place in the history.
    pub fn finish(mut self, sequence: Sequence) -> Result<Snapshot, Problem> {
        for office in self.organizations.items {
            self.snapshot.tenants.insert(office.finish()?)?;
        }
        Ok(self.snapshot.at(sequence))
    }

    fn office(&mut self, organization_id: &str) -> Result<&mut Office, Problem> {
        self.organizations.find(organization_id).ok_or("no such organization")
    }
}

impl Office {
    fn finish(self) -> Result<Tenant, Problem> {
        let Self { mut tenant, users, queues } = self;
        for parts in queues.items {
            let QueueParts { queue, role_holders, session_holders } = parts;
            tenant.queues.insert(Place {
                queue: Arc::new(queue),
                role_holders: OrdSet::from_iter(role_holders),
                session_holders: OrdSet::from_iter(session_holders),
            })?;
        }
        let mut members = ById::new();
        for parts in users.items {
            let UserParts { user, organization_roles, mut queue_roles, mut sessions } = parts;
            queue_roles.sort_by(|(a, _), (b, _)| a.cmp(b));
            sessions.sort_by(|a, b| a.queue_id.cmp(&b.queue_id));
            if !queue_roles.is_sorted_by(|(a, _), (b, _)| a < b) {
                return Err("the role is assigned already");
            }
            if !sessions.is_sorted_by(|a, b| a.queue_id < b.queue_id) {
                return Err("the user has a session on the queue already");
            }
            let member = Member::of_parts(Arc::new(user), organization_roles, queue_roles, sessions);
            if member.has_roles() {
                tenant.role_holders.insert(member.id().clone());
            }
            if !member.sessions().is_empty() {
                tenant.session_holders.insert(member.id().clone());
            }
            members.insert(member)?;
        }
        tenant.members = members;
        Ok(tenant)
    }
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

    fn find(&mut self, id: &str) -> Option<&mut V> {
        if self.items.get(self.last).is_none_or(|last| last.id() != id) {
            self.last = *self.places.get(id)?;
        }
        self.items.get_mut(self.last)
    }
}

trait Identified {
    fn id(&self) -> &str;
}

impl Identified for Office {
    fn id(&self) -> &str {
        self.tenant.organization.organization_id.as_str()
    }
}

impl Identified for UserParts {
    fn id(&self) -> &str {
        self.user.user_id.as_str()
    }
}

impl Identified for QueueParts {
    fn id(&self) -> &str {
        self.queue.queue_id.as_str()
    }
}
