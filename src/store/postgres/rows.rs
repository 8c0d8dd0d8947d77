//! Changes as rows. INVARIANT: after a batch is written, the tables agree with a snapshot after applying it.
//!
//! A batch is split into groups, each written by one statement. The parts of a statement don't see each other's rows, so
//! a group changes no row twice. [`row_parts`](super::row_parts) writes the parts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use crate::{
    domain::{
        chain::{Digest, Link},
        change::{Change, Event, Record},
        ids::{Lineage, OrganizationId, QueueId, Sequence},
        model::{Organization, Queue, Role, RoleAssignment, Session, User},
        pin::PinHash,
        settings::{Etag, PermissionSettings},
    },
    store::{
        entry::{Columns, encode},
        error::Error,
        numbers::integer,
        request::RequestRecord,
    },
};

/// The most records that one statement writes.
const MAX_RECORDS: usize = 5_000;

/// The last link of each chain.
pub(super) type Heads = HashMap<OrganizationId, Link>;

/// The rows of one statement.
#[derive(Default)]
pub(super) struct Rows<'r> {
    pub(super) log: Vec<LogRow<'r>>,
    pub(super) chains: HashMap<&'r OrganizationId, ChainRow>,
    pub(super) created: Vec<(&'r Organization, &'r PermissionSettings, i64)>,
    pub(super) renamed: Vec<(&'r str, &'r str)>,
    pub(super) deleted: Vec<&'r str>,
    pub(super) settings: Vec<(&'r str, &'r PermissionSettings, i64)>,
    pub(super) users: Vec<(&'r str, &'r User)>,
    pub(super) updated_users: Vec<(&'r str, &'r User)>,
    pub(super) deleted_users: Vec<(&'r str, &'r str)>,
    pub(super) queues: Vec<(&'r str, &'r Queue)>,
    pub(super) updated_queues: Vec<(&'r str, &'r Queue)>,
    pub(super) deleted_queues: Vec<(&'r str, &'r str)>,
    pub(super) roles: Vec<(&'r str, &'r RoleAssignment)>,
    pub(super) updated_roles: Vec<(&'r str, &'r RoleAssignment)>,
    pub(super) removed_roles: Vec<(&'r str, &'r RoleAssignment)>,
    pub(super) pins: Vec<(&'r str, &'r str, &'r PinHash, i64)>,
    pub(super) cleared_pins: Vec<(&'r str, &'r str)>,
    pub(super) counted_pins: Vec<(&'r str, &'r str, i64, Option<i64>)>,
    pub(super) sessions: Vec<(&'r str, &'r Session)>,
    pub(super) ended_sessions: Vec<(&'r str, &'r Session)>,
    pub(super) requests: &'r [RequestRecord],
    /// The rows that this statement changes, and the organizations that they belong to.
    touched: HashSet<Key<'r>>,
    organizations: HashSet<&'r str>,
    deleted_organizations: HashSet<&'r str>,
}

/// The key of a row.
#[derive(PartialEq, Eq, Hash)]
enum Key<'r> {
    Organization(&'r str),
    User(&'r str, &'r str),
    Queue(&'r str, &'r str),
    Role(&'r str, &'r str, Role, Option<&'r str>),
}

pub(super) struct LogRow<'r> {
    pub(super) sequence: i64,
    pub(super) record: &'r Record,
    pub(super) columns: Columns,
    pub(super) entry: Cow<'r, str>,
    pub(super) hash: Digest,
}

#[derive(Default)]
pub(super) struct ChainRow {
    pub(super) cut: Option<Link>,
    pub(super) head: Option<Link>,
}

impl<'r> Rows<'r> {
    /// Return the rows of a batch, in the groups in which they are written. `heads` gets the new end of each chain.
    pub fn of(
        lineage: Lineage,
        records: &'r [Record],
        requests: &'r [RequestRecord],
        before: &Heads,
        heads: &mut Heads,
    ) -> Result<Vec<Self>, Error> {
        let mut groups = Vec::new();
        let mut rows = Self::default();
        for record in records {
            if rows.log.len() >= MAX_RECORDS || !rows.fits(&record.change) {
                groups.push(std::mem::take(&mut rows));
                rows.fits(&record.change);
            }
            let organization_id = &record.change.organization_id;
            let previous = heads.get(organization_id).or_else(|| before.get(organization_id));
            let previous = previous.map_or(Digest::GENESIS, |link| link.hash);
            let (entry, hash) = encode(lineage, record, previous)?;
            heads.insert(organization_id.clone(), Link { sequence: record.sequence, hash });
            rows.add(record, entry, hash)?;
        }
        rows.requests = requests;
        groups.push(rows);
        Ok(groups)
    }

    /// Return the sequence after this group, or `None` if it has no records.
    pub fn last(&self) -> Option<i64> {
        self.log.last().map(|row| row.sequence)
    }

    /// Return the number of records.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Return whether a change can be part of this group, and note the row that it changes.
    fn fits(&mut self, Change { organization_id, event }: &'r Change) -> bool {
        let organization = organization_id.as_str();
        if self.deleted_organizations.contains(organization) {
            return false;
        }
        let key = match event {
            Event::OrganizationDeleted { .. } => {
                let is_first = !self.organizations.contains(organization);
                self.deleted_organizations.insert(organization);
                self.organizations.insert(organization);
                return is_first;
            }
            Event::OrganizationCreated { .. } | Event::OrganizationUpdated { .. } | Event::SettingsUpdated { .. } => {
                Key::Organization(organization)
            }
            Event::UserCreated { user } | Event::UserUpdated { before: _, user } | Event::UserDeleted { user } => {
                Key::User(organization, user.user_id.as_str())
            }
            Event::QueueCreated { queue }
            | Event::QueueUpdated { before: _, queue }
            | Event::QueueDeleted { queue } => Key::Queue(organization, queue.queue_id.as_str()),
            Event::RoleAssigned { assignment }
            | Event::RoleAssignmentUpdated { before: _, assignment }
            | Event::RoleUnassigned { assignment } => {
                let RoleAssignment { user_id, role, queue_id, penalty: _ } = assignment;
                Key::Role(organization, user_id.as_str(), *role, queue_id.as_ref().map(QueueId::as_str))
            }
            Event::PinSet { user_id, .. }
            | Event::PinCleared { user_id }
            | Event::PinAccepted { user_id }
            | Event::PinRefused { user_id, .. } => Key::User(organization, user_id.as_str()),
            // A session that begins and ends in the same batch has no row, so no row is changed twice.
            Event::SessionStarted { .. }
            | Event::SessionEnded { .. }
            | Event::AttemptRefused { .. }
            | Event::WriteRefused { .. }
            | Event::AuditLogCut { .. } => {
                self.organizations.insert(organization);
                return true;
            }
        };
        self.organizations.insert(organization);
        self.touched.insert(key)
    }

    fn add(&mut self, record: &'r Record, entry: String, hash: Digest) -> Result<(), Error> {
        let Change { organization_id, event } = &record.change;
        let organization = organization_id.as_str();
        let chain = self.chains.entry(organization_id).or_default();
        chain.head = Some(Link { sequence: record.sequence, hash });
        match event {
            Event::OrganizationCreated { organization, settings, etag } => {
                self.created.push((organization, settings, etag_number(*etag)?));
            }
            Event::OrganizationUpdated { before: _, organization: attributes } => {
                self.renamed.push((organization, &attributes.display_name));
            }
            Event::OrganizationDeleted { .. } => self.deleted.push(organization),
            Event::SettingsUpdated { before: _, settings, etag } => {
                self.settings.push((organization, settings, etag_number(*etag)?));
            }
            Event::UserCreated { user } => self.users.push((organization, user)),
            Event::UserUpdated { before: _, user } => self.updated_users.push((organization, user)),
            Event::UserDeleted { user } => self.deleted_users.push((organization, user.user_id.as_str())),
            Event::QueueCreated { queue } => self.queues.push((organization, queue)),
            Event::QueueUpdated { before: _, queue } => self.updated_queues.push((organization, queue)),
            Event::QueueDeleted { queue } => self.deleted_queues.push((organization, queue.queue_id.as_str())),
            Event::RoleAssigned { assignment } => self.roles.push((organization, assignment)),
            Event::RoleAssignmentUpdated { before: _, assignment } => {
                self.updated_roles.push((organization, assignment));
            }
            Event::RoleUnassigned { assignment } => self.removed_roles.push((organization, assignment)),
            Event::PinSet { user_id, etag, hash } => {
                self.pins.push((organization, user_id.as_str(), hash, etag_number(*etag)?));
            }
            Event::PinCleared { user_id } => self.cleared_pins.push((organization, user_id.as_str())),
            Event::PinAccepted { user_id } => self.counted_pins.push((organization, user_id.as_str(), 0, None)),
            Event::PinRefused { user_id, failures, locked_until } => {
                let locked_until = locked_until.map(|time| time.unix_ms());
                self.counted_pins.push((organization, user_id.as_str(), i64::from(*failures), locked_until));
            }
            Event::SessionStarted { session, justification: _ } => self.sessions.push((organization, session)),
            Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
                let began = self.sessions.iter().position(|(_, began)| began.session_id == session.session_id);
                match began {
                    Some(at) => drop(self.sessions.remove(at)),
                    None => self.ended_sessions.push((organization, session)),
                }
            }
            Event::AttemptRefused { .. } | Event::WriteRefused { .. } => {}
            Event::AuditLogCut { through, hash } => chain.cut = Some(Link { sequence: *through, hash: *hash }),
        }
        let columns = Columns::of(event, &record.origin);
        self.log.push(LogRow { sequence: integer(record.sequence)?, record, columns, entry: entry.into(), hash });
        Ok(())
    }
}

fn etag_number(Etag(etag): Etag) -> Result<i64, Error> {
    integer(Sequence(etag))
}
