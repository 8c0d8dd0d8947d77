//! The state at one revision, in memory, with the indexes that decisions need.
//!
//! INVARIANT: a snapshot changes only by [`Snapshot::apply`], so that the live state and a state replayed from the log are
//! built by the same code. One that is loaded, by [`Assembly`](super::Assembly), is the same.
//! INVARIANT: cloning is cheap (the maps are persistent and share what didn't change), so a reader keeps a whole
//! snapshot for as long as it likes.

use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::{GenericHashMap, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};

use super::{named::after_in, organization_state::OrganizationState};
use crate::domain::{
    change::{Change, Event, Inapplicable},
    ids::{Lineage, OrganizationId, QueueId, Revision, Sequence, UserId},
    model::Session,
    time::Timestamp,
};

/// The state of the whole store at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub(super) revision: Revision,
    pub(super) organizations: Organizations,
    /// Sessions that end by themselves, soonest first.
    pub(super) expirations: OrdSet<(Timestamp, OrganizationId, UserId, QueueId)>,
    /// Where the audit logs that were cut begin: after these.
    pub(super) audit_cuts: OrdMap<OrganizationId, Sequence>,
}

/// Organizations by their ids: found by a hash, and listed in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Organizations {
    found: GenericHashMap<OrganizationId, Arc<OrganizationState>, FixedState, DefaultSharedPtr>,
    order: OrdSet<OrganizationId>,
}

impl Snapshot {
    /// The state before the first change.
    pub fn empty(lineage: Lineage) -> Self {
        Self {
            revision: Revision { lineage, sequence: Sequence(0) },
            organizations: Organizations { found: GenericHashMap::default(), order: OrdSet::new() },
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
    pub fn organization(&self, organization_id: &str) -> Option<&OrganizationState> {
        self.organizations.found.get(organization_id).map(Arc::as_ref)
    }

    /// The same state reduced to one organization, so that a copy that is kept holds no other.
    #[must_use]
    pub fn only(&self, organization_id: &str) -> Self {
        let mut only = Self::empty(self.revision.lineage).at(self.revision.sequence);
        if let Some((id, organization)) = self.organizations.found.get_key_value(organization_id) {
            only.organizations.order.insert(id.clone());
            only.organizations.found.insert(id.clone(), Arc::clone(organization));
        }
        only
    }

    /// Organizations in order of their ids, from the one after `after`.
    pub fn organizations_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s OrganizationState> {
        after_in(&self.organizations.order, after).filter_map(|id| self.organization(id.as_str()))
    }

    /// Sessions whose expire time has come, soonest first.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = (&OrganizationId, &Arc<Session>)> {
        self.expirations.iter().take_while(move |(expire_time, ..)| *expire_time <= now).filter_map(
            |(_, organization_id, user_id, queue_id)| {
                let organization = self.organization(organization_id.as_str())?;
                let session = organization.recorded_session(user_id.as_str(), queue_id.as_str())?;
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
                if self.organization(organization_id.as_str()).is_some() {
                    return Err("the organization exists already");
                }
                self.organizations.insert(OrganizationState::new(organization.clone(), *settings, *etag));
            }
            Event::OrganizationDeleted { .. } => {
                if self.organization_mut(organization_id)?.sessions > 0 {
                    return Err("the organization still has sessions");
                }
                self.organizations.remove(organization_id.as_str());
            }
            Event::OrganizationUpdated { before: _, organization } => {
                self.organization_mut(organization_id)?.attributes = organization.clone();
            }
            Event::SettingsUpdated { before: _, settings, etag } => {
                let organization = self.organization_mut(organization_id)?;
                (organization.settings, organization.settings_etag) = (*settings, *etag);
            }
            Event::UserCreated { user } => self.organization_mut(organization_id)?.create_user(user)?,
            Event::UserUpdated { before: _, user } => self.organization_mut(organization_id)?.update_user(user)?,
            Event::UserDeleted { user } => self.organization_mut(organization_id)?.delete_user(&user.user_id)?,
            Event::QueueCreated { queue } => self.organization_mut(organization_id)?.create_queue(queue)?,
            Event::QueueUpdated { before: _, queue } => self.organization_mut(organization_id)?.update_queue(queue)?,
            Event::QueueDeleted { queue } => self.organization_mut(organization_id)?.delete_queue(&queue.queue_id)?,
            Event::RoleAssigned { assignment } => self.organization_mut(organization_id)?.assign_role(assignment)?,
            Event::RoleUnassigned { assignment } => {
                self.organization_mut(organization_id)?.unassign_role(assignment)?
            }
            Event::SessionStarted { session, justification: _ } => {
                self.organization_mut(organization_id)?.start_session(session)?;
                if let Some(key) = expiration(organization_id, session) {
                    self.expirations.insert(key);
                }
            }
            Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
                self.organization_mut(organization_id)?.end_session(session)?;
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

    fn organization_mut(&mut self, organization_id: &OrganizationId) -> Result<&mut OrganizationState, &'static str> {
        self.organizations.found.get_mut(organization_id.as_str()).map(Arc::make_mut).ok_or("no such organization")
    }
}

impl Organizations {
    pub(super) fn insert(&mut self, organization: OrganizationState) {
        let id = organization.attributes.organization_id.clone();
        self.order.insert(id.clone());
        self.found.insert(id, Arc::new(organization));
    }

    fn remove(&mut self, organization_id: &str) {
        self.order.remove(organization_id);
        self.found.remove(organization_id);
    }
}

pub(super) fn expiration(
    organization_id: &OrganizationId,
    session: &Session,
) -> Option<(Timestamp, OrganizationId, UserId, QueueId)> {
    let expire_time = session.expire_time?;
    Some((expire_time, organization_id.clone(), session.user_id.clone(), session.queue_id.clone()))
}
