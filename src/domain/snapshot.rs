//! The state at one revision, in memory, with the indexes that decisions need.
//!
//! INVARIANT: a snapshot changes only by [`Snapshot::apply`], so that the live state and a state replayed from the log are
//! built by the same code; and one that is loaded, by [`Assembly`], is the same.
//! INVARIANT: cloning is cheap (the maps are persistent and share what didn't change), so a reader keeps a whole
//! snapshot for as long as it likes.

mod assembly;
mod member;
mod named;
mod role_holders;
mod slots;
mod tenant;

use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::{GenericHashMap, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};

use self::named::after_in;
pub use self::{
    assembly::Assembly,
    member::Member,
    tenant::{Place, Tenant},
};
use super::{
    change::{Change, Event},
    ids::{Lineage, OrganizationId, QueueId, Revision, Sequence, UserId},
    model::Session,
    time::Timestamp,
};

/// The state of the whole store at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    revision: Revision,
    tenants: Tenants,
    /// Sessions that end by themselves, soonest first.
    expirations: OrdSet<(Timestamp, OrganizationId, UserId, QueueId)>,
    /// Where the audit logs that were cut begin: after these.
    audit_cuts: OrdMap<OrganizationId, Sequence>,
}

/// Organizations by their ids: found by a hash, and listed in order.
#[derive(Debug, Clone, PartialEq)]
struct Tenants {
    found: GenericHashMap<OrganizationId, Arc<Tenant>, FixedState, DefaultSharedPtr>,
    order: OrdSet<OrganizationId>,
}

/// A change that doesn't fit the state: the store is damaged, or a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change {sequence} does not fit the state: {problem} (organization `{organization_id}`)")]
pub struct Inapplicable {
    /// The change's number.
    pub sequence: u64,
    /// The organization it is about.
    pub organization_id: OrganizationId,
    /// What doesn't fit.
    pub problem: &'static str,
}

impl Snapshot {
    /// The state before the first change.
    pub fn empty(lineage: Lineage) -> Self {
        Self {
            revision: Revision { lineage, sequence: Sequence(0) },
            tenants: Tenants { found: GenericHashMap::default(), order: OrdSet::new() },
            expirations: OrdSet::new(),
            audit_cuts: OrdMap::new(),
        }
    }

    /// The revision of this state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The same state at another place in the history: for who builds it from something else than the changes that led to
    /// it.
    #[must_use]
    pub fn at(mut self, sequence: Sequence) -> Self {
        self.revision.sequence = sequence;
        self
    }

    /// An organization with everything in it.
    pub fn tenant(&self, organization_id: &str) -> Option<&Tenant> {
        self.tenants.found.get(organization_id).map(Arc::as_ref)
    }

    /// The same state reduced to one organization, so that a copy that is kept holds no other.
    #[must_use]
    pub fn only(&self, organization_id: &str) -> Self {
        let mut only = Self::empty(self.revision.lineage).at(self.revision.sequence);
        if let Some((id, tenant)) = self.tenants.found.get_key_value(organization_id) {
            only.tenants.order.insert(id.clone());
            only.tenants.found.insert(id.clone(), Arc::clone(tenant));
        }
        only
    }

    /// Organizations in order of their ids, from the one after `after`.
    pub fn tenants_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Tenant> {
        after_in(&self.tenants.order, after).filter_map(|id| self.tenant(id.as_str()))
    }

    /// Sessions whose expire time has come, soonest first.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = (&OrganizationId, &Arc<Session>)> {
        self.expirations.iter().take_while(move |(expire_time, ..)| *expire_time <= now).filter_map(
            |(_, organization_id, user_id, queue_id)| {
                let tenant = self.tenant(organization_id.as_str())?;
                let session = tenant.recorded_session(user_id.as_str(), queue_id.as_str())?;
                Some((organization_id, session))
            },
        )
    }

    /// When the next session expires.
    pub fn next_expiration(&self) -> Option<Timestamp> {
        self.expirations.get_min().map(|(expire_time, ..)| *expire_time)
    }

    /// The last event that was cut off an organization's audit log; 0 if nothing ever was.
    pub fn audit_cut(&self, organization_id: &str) -> Sequence {
        self.audit_cuts.get(organization_id).copied().unwrap_or_default()
    }

    /// Applies one change and moves on to its revision. A change that doesn't fit leaves the state as it was.
    pub fn apply(&mut self, change: &Change) -> Result<(), Inapplicable> {
        let sequence = self.revision.sequence.next();
        self.apply_event(&change.organization_id, &change.event).map_err(|problem| Inapplicable {
            sequence: sequence.0,
            organization_id: change.organization_id.clone(),
            problem,
        })?;
        self.revision.sequence = sequence;
        Ok(())
    }

    fn apply_event(&mut self, organization_id: &OrganizationId, event: &Event) -> Result<(), &'static str> {
        match event {
            Event::OrganizationCreated { organization, settings, etag } => {
                if self.tenant(organization_id.as_str()).is_some() {
                    return Err("the organization exists already");
                }
                self.tenants.insert(Tenant::new(organization.clone(), *settings, *etag));
            }
            Event::OrganizationDeleted { .. } => {
                if self.tenant_mut(organization_id)?.sessions > 0 {
                    return Err("the organization still has sessions");
                }
                self.tenants.remove(organization_id.as_str());
            }
            Event::OrganizationUpdated { before: _, organization } => {
                self.tenant_mut(organization_id)?.organization = organization.clone();
            }
            Event::SettingsUpdated { before: _, settings, etag } => {
                let tenant = self.tenant_mut(organization_id)?;
                (tenant.settings, tenant.settings_etag) = (*settings, *etag);
            }
            Event::UserCreated { user } => self.tenant_mut(organization_id)?.create_user(user)?,
            Event::UserUpdated { before: _, user } => self.tenant_mut(organization_id)?.update_user(user)?,
            Event::UserDeleted { user } => self.tenant_mut(organization_id)?.delete_user(&user.user_id)?,
            Event::QueueCreated { queue } => self.tenant_mut(organization_id)?.create_queue(queue)?,
            Event::QueueUpdated { before: _, queue } => self.tenant_mut(organization_id)?.update_queue(queue)?,
            Event::QueueDeleted { queue } => self.tenant_mut(organization_id)?.delete_queue(&queue.queue_id)?,
            Event::RoleAssigned { assignment } => self.tenant_mut(organization_id)?.assign_role(assignment)?,
            Event::RoleUnassigned { assignment } => self.tenant_mut(organization_id)?.unassign_role(assignment)?,
            Event::SessionStarted { session, justification: _ } => {
                self.tenant_mut(organization_id)?.start_session(session)?;
                if let Some(key) = expiration(organization_id, session) {
                    self.expirations.insert(key);
                }
            }
            Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
                self.tenant_mut(organization_id)?.end_session(session)?;
                if let Some(key) = expiration(organization_id, session) {
                    self.expirations.remove(&key);
                }
            }
            // What was refused changed nothing, but for the log's own number.
            Event::AttemptRefused { .. } | Event::WriteRefused { .. } => {}
            Event::AuditLogCut { through, hash: _ } => {
                if *through <= self.audit_cut(organization_id.as_str()) {
                    return Err("the audit log was cut there before");
                }
                self.audit_cuts.insert(organization_id.clone(), *through);
            }
        }
        Ok(())
    }

    fn tenant_mut(&mut self, organization_id: &OrganizationId) -> Result<&mut Tenant, &'static str> {
        self.tenants.found.get_mut(organization_id.as_str()).map(Arc::make_mut).ok_or("no such organization")
    }
}

impl Tenants {
    fn insert(&mut self, tenant: Tenant) {
        let id = tenant.organization.organization_id.clone();
        self.order.insert(id.clone());
        self.found.insert(id, Arc::new(tenant));
    }

    fn remove(&mut self, organization_id: &str) {
        self.order.remove(organization_id);
        self.found.remove(organization_id);
    }
}

fn expiration(
    organization_id: &OrganizationId,
    session: &Session,
) -> Option<(Timestamp, OrganizationId, UserId, QueueId)> {
    let expire_time = session.expire_time?;
    Some((expire_time, organization_id.clone(), session.user_id.clone(), session.queue_id.clone()))
}

#[cfg(test)]
mod tests;
