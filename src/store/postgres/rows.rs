//! Changes as rows. INVARIANT: after a batch is written, the tables agree with a snapshot after applying it.
//!
//! A batch is split into groups, each written by one statement. The parts of a statement don't see each other's rows, so
//! a group changes no row twice.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::statement::{Writing, booleans, hashes, integers, texts};
use crate::{
    domain::{
        chain::{Digest, Link},
        change::{Change, Event, Record},
        ids::{Extension, Lineage, Login, OrganizationId, QueueId, Sequence},
        model::{Organization, Queue, Role, RoleAssignment, Session, User},
        pin::PinHash,
        settings::{Etag, PermissionSettings, Switch},
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
    log: Vec<LogRow<'r>>,
    chains: HashMap<&'r OrganizationId, ChainRow>,
    created: Vec<(&'r Organization, &'r PermissionSettings, i64)>,
    renamed: Vec<(&'r str, &'r str)>,
    deleted: Vec<&'r str>,
    settings: Vec<(&'r str, &'r PermissionSettings, i64)>,
    users: Vec<(&'r str, &'r User)>,
    updated_users: Vec<(&'r str, &'r User)>,
    deleted_users: Vec<(&'r str, &'r str)>,
    queues: Vec<(&'r str, &'r Queue)>,
    updated_queues: Vec<(&'r str, &'r Queue)>,
    deleted_queues: Vec<(&'r str, &'r str)>,
    roles: Vec<(&'r str, &'r RoleAssignment)>,
    updated_roles: Vec<(&'r str, &'r RoleAssignment)>,
    removed_roles: Vec<(&'r str, &'r RoleAssignment)>,
    pins: Vec<(&'r str, &'r str, &'r PinHash, i64)>,
    cleared_pins: Vec<(&'r str, &'r str)>,
    counted_pins: Vec<(&'r str, &'r str, i64, Option<i64>)>,
    sessions: Vec<(&'r str, &'r Session)>,
    ended_sessions: Vec<(&'r str, &'r Session)>,
    requests: &'r [RequestRecord],
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

struct LogRow<'r> {
    sequence: i64,
    record: &'r Record,
    columns: Columns,
    entry: Cow<'r, str>,
    hash: Digest,
}

#[derive(Default)]
struct ChainRow {
    cut: Option<Link>,
    head: Option<Link>,
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

    /// Add the rows to a statement. `requests_again` says how to write a request id that exists.
    pub fn write(&'r self, writing: &mut Writing<'r>, requests_again: &str) {
        self.write_log(writing);
        self.write_organizations(writing);
        self.write_users(writing);
        self.write_queues(writing);
        self.write_roles(writing);
        self.write_pins(writing);
        self.write_sessions(writing);
        self.write_requests(writing, requests_again);
    }

    fn write_log(&'r self, writing: &mut Writing<'r>) {
        let Self { log, chains, .. } = self;
        if log.is_empty() {
            return;
        }
        writing.insert(
            "audit_log",
            vec![
                integers("revision", log.iter().map(|row| row.sequence).collect()),
                texts("organization_id", log.iter().map(|row| row.record.change.organization_id.as_str()).collect()),
                integers("time_ms", log.iter().map(|row| row.record.time.unix_ms()).collect()),
                texts("action", log.iter().map(|row| row.columns.action).collect()),
                booleans("allowed", log.iter().map(|row| row.columns.allowed).collect()),
                texts("actor", log.iter().map(|row| row.columns.actor.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("\"user\"", log.iter().map(|row| row.columns.user.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("queue", log.iter().map(|row| row.columns.queue.as_deref()).collect::<Vec<Option<&str>>>()),
                texts("entry", log.iter().map(|row| row.entry.as_ref()).collect::<Vec<&str>>()),
                hashes("hash", log.iter().map(|row| row.hash.bytes()).collect()),
            ],
            "",
        );
        let mut ends: Vec<_> = chains.iter().collect();
        // All nodes lock rows in the same order.
        ends.sort_by_key(|(organization_id, _)| organization_id.as_str());
        let number = |link: Option<Link>| i64::try_from(link.unwrap_or(Link::GENESIS).sequence.0).unwrap_or(i64::MAX);
        fn hash(link: Option<&Link>) -> &[u8] {
            link.map_or(Link::GENESIS.hash.bytes(), |link| link.hash.bytes())
        }
        writing.insert(
            "audit_chain",
            vec![
                texts("organization_id", ends.iter().map(|(id, _)| id.as_str()).collect()),
                integers("cut_revision", ends.iter().map(|(_, chain)| number(chain.cut)).collect()),
                hashes("cut_hash", ends.iter().map(|(_, chain)| hash(chain.cut.as_ref())).collect()),
                integers("head_revision", ends.iter().map(|(_, chain)| number(chain.head)).collect()),
                hashes("head_hash", ends.iter().map(|(_, chain)| hash(chain.head.as_ref())).collect()),
            ],
            "ON CONFLICT (organization_id) DO UPDATE SET head_revision = excluded.head_revision, \
             head_hash = excluded.head_hash, \
             cut_revision = greatest(audit_chain.cut_revision, excluded.cut_revision), \
             cut_hash = CASE WHEN excluded.cut_revision > audit_chain.cut_revision THEN excluded.cut_hash \
             ELSE audit_chain.cut_hash END",
        );
    }

    fn write_organizations(&'r self, writing: &mut Writing<'r>) {
        let Self { created, renamed, deleted, settings, .. } = self;
        if !deleted.is_empty() {
            writing.delete("organization", vec![texts("organization_id", deleted.clone())], deleted.len());
        }
        if !created.is_empty() {
            let columns = vec![
                texts("organization_id", created.iter().map(|(of, ..)| of.organization_id.as_str()).collect()),
                texts("display_name", created.iter().map(|(of, ..)| of.display_name.as_str()).collect()),
                texts(
                    "unassigned_queue_sign_in",
                    created.iter().map(|(_, settings, _)| settings.unassigned_queue_sign_in.as_str()).collect(),
                ),
                integers("settings_etag", created.iter().map(|(.., etag)| *etag).collect()),
            ];
            writing.insert("organization", columns, "");
        }
        if !renamed.is_empty() {
            let columns = vec![
                texts("organization_id", renamed.iter().map(|(id, _)| *id).collect()),
                texts("display_name", renamed.iter().map(|(_, name)| *name).collect()),
            ];
            writing.update("organization", 1, columns, renamed.len());
        }
        if !settings.is_empty() {
            let columns = vec![
                texts("organization_id", settings.iter().map(|(id, ..)| *id).collect()),
                texts(
                    "unassigned_queue_sign_in",
                    settings.iter().map(|(_, settings, _)| settings.unassigned_queue_sign_in.as_str()).collect(),
                ),
                integers("settings_etag", settings.iter().map(|(.., etag)| *etag).collect()),
            ];
            writing.update("organization", 1, columns, settings.len());
        }
        let of_created = created.iter().map(|(of, settings, _)| (of.organization_id.as_str(), *settings));
        let of_updated = settings.iter().map(|(id, settings, _)| (*id, *settings));
        let switches: Vec<(&str, Switch, bool)> = of_created
            .chain(of_updated)
            .flat_map(|(id, settings)| Switch::ALL.iter().map(move |switch| (id, *switch, settings.is_on(*switch))))
            .collect();
        if !switches.is_empty() {
            let columns = vec![
                texts("organization_id", switches.iter().map(|(id, ..)| *id).collect()),
                texts("setting", switches.iter().map(|(_, switch, _)| switch.as_str()).collect()),
                booleans("is_on", switches.iter().map(|(.., is_on)| *is_on).collect()),
            ];
            let conflict = "ON CONFLICT (organization_id, setting) DO UPDATE SET is_on = excluded.is_on";
            writing.insert("permission_setting", columns, conflict);
        }
    }

    fn write_users(&'r self, writing: &mut Writing<'r>) {
        let Self { users, updated_users, deleted_users, .. } = self;
        fn columns<'r>(users: &[(&'r str, &'r User)]) -> Vec<super::statement::Column<'r>> {
            vec![
                texts("organization_id", users.iter().map(|(id, _)| *id).collect()),
                texts("user_id", users.iter().map(|(_, user)| user.user_id.as_str()).collect()),
                texts("display_name", users.iter().map(|(_, user)| user.display_name.as_str()).collect()),
                texts("extension", users.iter().map(|(_, user)| digits(user.extension)).collect()),
                booleans("contact_center_license", users.iter().map(|(_, user)| user.contact_center_license).collect()),
                booleans("disabled", users.iter().map(|(_, user)| user.disabled).collect()),
                texts("login", users.iter().map(|(_, user)| user.login.as_ref().map(Login::as_str)).collect()),
            ]
        }
        if !deleted_users.is_empty() {
            let columns = vec![
                texts("organization_id", deleted_users.iter().map(|(id, _)| *id).collect()),
                texts("user_id", deleted_users.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("\"user\"", columns, deleted_users.len());
        }
        if !users.is_empty() {
            writing.insert("\"user\"", columns(users), "");
        }
        if !updated_users.is_empty() {
            writing.update("\"user\"", 2, columns(updated_users), updated_users.len());
        }
    }

    fn write_queues(&'r self, writing: &mut Writing<'r>) {
        let Self { queues, updated_queues, deleted_queues, .. } = self;
        fn columns<'r>(queues: &[(&'r str, &'r Queue)]) -> Vec<super::statement::Column<'r>> {
            vec![
                texts("organization_id", queues.iter().map(|(id, _)| *id).collect()),
                texts("queue_id", queues.iter().map(|(_, queue)| queue.queue_id.as_str()).collect()),
                texts("display_name", queues.iter().map(|(_, queue)| queue.display_name.as_str()).collect()),
                texts("extension", queues.iter().map(|(_, queue)| digits(queue.extension)).collect()),
                texts("kind", queues.iter().map(|(_, queue)| queue.kind.as_str()).collect()),
            ]
        }
        if !deleted_queues.is_empty() {
            let columns = vec![
                texts("organization_id", deleted_queues.iter().map(|(id, _)| *id).collect()),
                texts("queue_id", deleted_queues.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("queue", columns, deleted_queues.len());
        }
        if !queues.is_empty() {
            writing.insert("queue", columns(queues), "");
        }
        if !updated_queues.is_empty() {
            writing.update("queue", 2, columns(updated_queues), updated_queues.len());
        }
    }

    fn write_roles(&'r self, writing: &mut Writing<'r>) {
        type Held<'r> = (&'r str, &'r RoleAssignment);
        fn columns<'r>(roles: &[&Held<'r>]) -> Vec<super::statement::Column<'r>> {
            vec![
                texts("organization_id", roles.iter().map(|(id, _)| *id).collect()),
                texts("user_id", roles.iter().map(|(_, role)| role.user_id.as_str()).collect()),
                texts("role", roles.iter().map(|(_, role)| role.role.as_str()).collect()),
            ]
        }
        fn on_queue<'r>(roles: &[&Held<'r>]) -> Vec<super::statement::Column<'r>> {
            let queue = |role: &'r RoleAssignment| role.queue_id.as_ref().map_or("", |id| id.as_str());
            let mut columns = columns(roles);
            columns.push(texts("queue_id", roles.iter().map(|(_, role)| queue(role)).collect()));
            columns
        }
        fn with_penalty<'r>(roles: &[&Held<'r>]) -> Vec<super::statement::Column<'r>> {
            let mut columns = on_queue(roles);
            columns.push(integers("penalty", roles.iter().map(|(_, role)| i64::from(role.penalty.number())).collect()));
            columns
        }
        if !self.updated_roles.is_empty() {
            let updated: Vec<&Held<'r>> = self.updated_roles.iter().collect();
            writing.update("queue_role", 4, with_penalty(&updated), updated.len());
        }
        for (is_removal, roles) in [(true, &self.removed_roles), (false, &self.roles)] {
            let (everywhere, queues): (Vec<&Held<'r>>, Vec<&Held<'r>>) =
                roles.iter().partition(|(_, role)| role.queue_id.is_none());
            for (table, columns, count) in [
                ("organization_role", columns(&everywhere), everywhere.len()),
                ("queue_role", if is_removal { on_queue(&queues) } else { with_penalty(&queues) }, queues.len()),
            ] {
                match (count, is_removal) {
                    (0, _) => {}
                    (_, true) => writing.delete(table, columns, count),
                    (_, false) => writing.insert(table, columns, ""),
                }
            }
        }
    }

    fn write_pins(&'r self, writing: &mut Writing<'r>) {
        let Self { pins, cleared_pins, counted_pins, .. } = self;
        if !cleared_pins.is_empty() {
            let columns = vec![
                texts("organization_id", cleared_pins.iter().map(|(id, _)| *id).collect()),
                texts("user_id", cleared_pins.iter().map(|(_, id)| *id).collect()),
            ];
            writing.delete("user_pin", columns, cleared_pins.len());
        }
        if !counted_pins.is_empty() {
            let columns = vec![
                texts("organization_id", counted_pins.iter().map(|(id, ..)| *id).collect()),
                texts("user_id", counted_pins.iter().map(|(_, id, ..)| *id).collect()),
                integers("failures", counted_pins.iter().map(|(.., failures, _)| *failures).collect()),
                integers("locked_until_ms", counted_pins.iter().map(|(.., until)| *until).collect()),
            ];
            writing.update("user_pin", 2, columns, counted_pins.len());
        }
        if !pins.is_empty() {
            let columns = vec![
                texts("organization_id", pins.iter().map(|(id, ..)| *id).collect()),
                texts("user_id", pins.iter().map(|(_, id, ..)| *id).collect()),
                texts("hash", pins.iter().map(|(.., hash, _)| hash.reveal()).collect()),
                integers("etag", pins.iter().map(|(.., etag)| *etag).collect()),
                integers("failures", pins.iter().map(|_| 0_i64).collect()),
                integers("locked_until_ms", pins.iter().map(|_| None::<i64>).collect()),
            ];
            let conflict = "ON CONFLICT (organization_id, user_id) DO UPDATE SET hash = excluded.hash, \
                            etag = excluded.etag, failures = 0, locked_until_ms = NULL";
            writing.insert("user_pin", columns, conflict);
        }
    }

    fn write_sessions(&'r self, writing: &mut Writing<'r>) {
        let Self { sessions, ended_sessions, .. } = self;
        if !ended_sessions.is_empty() {
            let columns = vec![
                texts("session_id", ended_sessions.iter().map(|(_, session)| session.session_id.as_str()).collect()),
                texts("organization_id", ended_sessions.iter().map(|(id, _)| *id).collect()),
            ];
            writing.delete("session", columns, ended_sessions.len());
        }
        if sessions.is_empty() {
            return;
        }
        let each = || sessions.iter().map(|(_, session)| *session);
        let columns = vec![
            texts("session_id", each().map(|session| session.session_id.as_str()).collect()),
            texts("organization_id", sessions.iter().map(|(id, _)| *id).collect()),
            texts("user_id", each().map(|session| session.user_id.as_str()).collect()),
            texts("queue_id", each().map(|session| session.queue_id.as_str()).collect()),
            texts("channel", each().map(|session| session.channel.as_str()).collect()),
            texts("basis", each().map(|session| session.basis.as_str()).collect()),
            texts("signed_in_by", each().map(|session| session.signed_in_by.as_str()).collect()),
            integers("sign_in_time_ms", each().map(|session| session.sign_in_time.unix_ms()).collect()),
            integers(
                "expire_time_ms",
                each().map(|session| session.expire_time.map(|time| time.unix_ms())).collect::<Vec<Option<i64>>>(),
            ),
            texts("device", each().map(|session| session.device.as_str()).collect()),
        ];
        writing.insert("session", columns, "");
    }

    fn write_requests(&'r self, writing: &mut Writing<'r>, again: &str) {
        let requests = self.requests;
        if requests.is_empty() {
            return;
        }
        let number = |request: &RequestRecord| i64::try_from(request.sequence.0).unwrap_or(i64::MAX);
        let columns = vec![
            texts("organization_id", requests.iter().map(|request| request.organization_id.as_str()).collect()),
            texts("request_id", requests.iter().map(|request| request.request_id.as_str()).collect()),
            texts("content_sha256", requests.iter().map(|request| request.content_sha256.as_str()).collect()),
            texts("outcome", requests.iter().map(|request| request.outcome.as_str()).collect()),
            integers("revision", requests.iter().map(number).collect()),
            integers("time_ms", requests.iter().map(|request| request.time.unix_ms()).collect()),
        ];
        writing.insert("request", columns, again);
    }
}

fn digits(extension: Option<Extension>) -> Option<String> {
    extension.map(|extension| extension.digits().to_string())
}

fn etag_number(Etag(etag): Etag) -> Result<i64, Error> {
    integer(Sequence(etag))
}
