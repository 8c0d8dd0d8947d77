//! The state at one revision, in memory, with the indexes that decisions need.
//!
//! INVARIANT: a snapshot changes only by [`Snapshot::apply`]. So the same code builds the live state and a state that
//! is replayed from the log. A state that [`Assembly`](super::Assembly) loads is the same.
//!
//! INVARIANT: a clone is cheap, because the maps are persistent and share all unchanged parts. So a reader keeps a
//! whole snapshot for as long as it needs.

use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::{GenericHashMap, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};

use super::{named::after_in, organization_state::OrganizationState};
use crate::domain::{
    change::{Change, Event, Inapplicable},
    epochs::EpochStarts,
    ids::{Lineage, OrganizationId, QueueId, Revision, Sequence, UserId},
    model::Session,
    pin::PinState,
    time::Timestamp,
};

/// The state of the whole store at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub(super) revision: Revision,
    /// The epochs of the history, if they are known.
    pub(super) epochs: EpochStarts,
    pub(super) organizations: Organizations,
    /// Sessions with an expire time, soonest first.
    pub(super) expirations: OrdSet<(Timestamp, OrganizationId, UserId, QueueId)>,
    /// The last event that was cut off each audit log.
    pub(super) audit_cuts: OrdMap<OrganizationId, Sequence>,
}

/// Organizations by id: a hash table finds them, and a set lists them in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Organizations {
    found: GenericHashMap<OrganizationId, Arc<OrganizationState>, FixedState, DefaultSharedPtr>,
    order: OrdSet<OrganizationId>,
}

impl Snapshot {
    /// Return the state before the first change.
    pub fn empty(lineage: Lineage) -> Self {
        Self {
            revision: Revision { lineage, sequence: Sequence(0) },
            epochs: EpochStarts::default(),
            organizations: Organizations { found: GenericHashMap::default(), order: OrdSet::new() },
            expirations: OrdSet::new(),
            audit_cuts: OrdMap::new(),
        }
    }

    /// Return the revision of this state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Return the same state at another position in the history. It is for a state that was not built from the changes
    /// that led to it.
    #[must_use]
    pub fn at(mut self, sequence: Sequence) -> Self {
        self.revision.sequence = sequence;
        self
    }

    /// Return the same state in another epoch of the same history.
    #[must_use]
    pub fn in_epoch(mut self, lineage: Lineage, epochs: EpochStarts) -> Self {
        self.revision.lineage = lineage;
        self.epochs = epochs;
        self
    }

    /// Return whether the history of this state includes a revision, if the state has reached it. A revision of an
    /// earlier epoch counts if no failover or restore lost it.
    pub fn is_of_history(&self, revision: Revision) -> bool {
        self.epochs.include(self.revision.lineage, revision)
    }

    /// Return an organization with everything in it.
    pub fn organization(&self, organization_id: &str) -> Option<&OrganizationState> {
        self.organizations.found.get(organization_id).map(Arc::as_ref)
    }

    /// Return a copy of one organization's state only, so that the copy keeps no other organization in memory.
    #[must_use]
    pub fn only(&self, organization_id: &str) -> Self {
        let mut only = Self::empty(self.revision.lineage).at(self.revision.sequence);
        if let Some((id, organization)) = self.organizations.found.get_key_value(organization_id) {
            only.organizations.order.insert(id.clone());
            only.organizations.found.insert(id.clone(), Arc::clone(organization));
        }
        only
    }

    /// Iterate over organizations in order of their ids, from the one after `after`.
    pub fn organizations_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s OrganizationState> {
        after_in(&self.organizations.order, after).filter_map(|id| self.organization(id.as_str()))
    }

    /// Iterate over the sessions whose expire time has passed, soonest first.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = (&OrganizationId, &Arc<Session>)> {
        self.expirations.iter().take_while(move |(expire_time, ..)| *expire_time <= now).filter_map(
            |(_, organization_id, user_id, queue_id)| {
                let organization = self.organization(organization_id.as_str())?;
                let session = organization.recorded_session(user_id.as_str(), queue_id.as_str())?;
                Some((organization_id, session))
            },
        )
    }

    /// Return the time of the next expiration, or `None`.
    pub fn next_expiration(&self) -> Option<Timestamp> {
        self.expirations.get_min().map(|(expire_time, ..)| *expire_time)
    }

    /// Return the last event that was cut off an organization's audit log, or 0.
    pub fn audit_cut(&self, organization_id: &str) -> Sequence {
        self.audit_cuts.get(organization_id).copied().unwrap_or_default()
    }

    /// Apply one change and advance to its revision. A change that doesn't fit leaves the state as it was.
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
            Event::RoleAssignmentUpdated { before: _, assignment } => {
                self.organization_mut(organization_id)?.update_assignment(assignment)?
            }
            Event::RoleUnassigned { assignment } => {
                self.organization_mut(organization_id)?.unassign_role(assignment)?
            }
            Event::PinSet { user_id, etag, hash: _ } => {
                self.organization_mut(organization_id)?.set_pin(user_id, PinState::new(*etag))?
            }
            Event::PinCleared { user_id } => self.organization_mut(organization_id)?.clear_pin(user_id)?,
            Event::PinAccepted { user_id } => {
                self.organization_mut(organization_id)?.count_pin_failures(user_id, 0, None)?
            }
            Event::PinRefused { user_id, failures, locked_until } => {
                self.organization_mut(organization_id)?.count_pin_failures(user_id, *failures, *locked_until)?
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
            // A refusal changes only the revision.
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
