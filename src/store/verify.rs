//! Verification of the audit log's chain: it finds events that were altered, removed or swapped.
//!
//! The verification trusts no data. Each value is compared and not only parsed, and an unreadable value is a fault of
//! the row, not an error of the verification.

use std::{collections::BTreeMap, ops::ControlFlow};

use rusqlite::{OptionalExtension, Row, params, types::ValueRef};

use super::{
    error::Error,
    log::{Columns, Entry},
    log_reader::LogReader,
    values::integer,
};
use crate::domain::{
    chain::{Digest, Link},
    change::Event,
    ids::{OrganizationId, Revision, Sequence},
};

/// The number of events between two progress reports.
const PROGRESS_EVENTS: u64 = 1_000;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The number of events that are unaltered, from the first on.
    pub events: u64,
    /// The last event that was cut off.
    pub cut: Link,
    /// The end of the chain.
    pub head: Link,
    /// The first break of the chain, or `None` if it is whole.
    pub fault: Option<Fault>,
}

/// The first break of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first altered event. If events are missing, the one before which they are missing.
    pub sequence: Sequence,
    /// The description.
    pub description: String,
}

impl Fault {
    fn new(sequence: Sequence, description: impl Into<String>) -> Self {
        Self { sequence, description: description.into() }
    }
}

/// One stored row with any values.
type Values = BTreeMap<&'static str, Value>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Other,
}

const COLUMNS: [&str; 10] =
    ["revision", "organization_id", "time_ms", "action", "allowed", "actor", "user", "queue", "entry", "hash"];

impl LogReader {
    /// Verify an organization's chain, and compare it with an earlier noted link, if given. `progress` repeatedly gets
    /// the number of verified events, and may stop the verification. Return `None` if it does, or if the organization
    /// never had a chain.
    pub fn verify(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        // Read in one transaction, so that each concurrent change is seen completely or not at all.
        let _transaction = self.connection.unchecked_transaction()?;
        let walked = self.walk(organization_id, expected, progress)?;
        self.settle()?;
        Ok(walked)
    }

    /// Verify a chain as [`Self::verify`] does, within an existing transaction.
    pub(super) fn walk(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        let (cut, head) = match self.chain(organization_id) {
            Ok(Some(ends)) => ends,
            Ok(None) => return Ok(None),
            Err(Error::Damaged(problem)) => {
                let fault = Fault::new(
                    Sequence(0),
                    format!("the record of the log's beginning and end was altered: {problem}"),
                );
                return Ok(Some(Verification {
                    events: 0,
                    cut: Link::GENESIS,
                    head: Link::GENESIS,
                    fault: Some(fault),
                }));
            }
            Err(error) => return Err(error),
        };
        let mut walk = Walk { last: cut, expected, last_cut: None, events: 0 };
        let mut fault = None;
        let mut numbers = self.connection.prepare_cached(
            "SELECT revision FROM audit_log WHERE organization_id = ? AND revision > ? ORDER BY revision",
        )?;
        // Read each row by itself. In a query with the index, SQLite would read values from the index that must be
        // verified in the row.
        let mut row = self.connection.prepare_cached(
            "SELECT revision, organization_id, time_ms, action, allowed, actor, user, queue, entry, hash \
             FROM audit_log WHERE revision = ?",
        )?;
        let mut numbers = numbers.query(params![organization_id.as_str(), integer(cut.sequence)?])?;
        while fault.is_none() {
            let read = numbers.next().and_then(|number| {
                let Some(number) = number else { return Ok(None) };
                let number: i64 = number.get(0)?;
                Ok(Some((number, row.query_row([number], |row| Ok(values(row))).optional()?)))
            });
            fault = match read {
                Ok(None) => break,
                Ok(Some((_, Some(row)))) => walk.step(&row).err(),
                Ok(Some((number, None))) => {
                    let number = Sequence(u64::try_from(number).unwrap_or(0));
                    Some(Fault::new(number, "this event was removed, but its index entry was not"))
                }
                Err(error) => {
                    let text = format!("the database can't be read beyond this event: {error}");
                    Some(Fault::new(walk.last.sequence, text))
                }
            };
            if walk.events.is_multiple_of(PROGRESS_EVENTS) && progress(walk.events).is_break() {
                return Ok(None);
            }
        }
        let fault = fault.or_else(|| walk.end(cut, head).err());
        Ok(Some(Verification { events: walk.events, cut, head, fault }))
    }

    /// Estimate the number of events of an organization's chain.
    pub fn count_events(&self, organization_id: &OrganizationId) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM audit_log WHERE organization_id = ?1 AND revision > \
                   coalesce((SELECT cut_revision FROM audit_chain WHERE organization_id = ?1), 0)";
        let count: i64 = self.connection.query_row(sql, [organization_id.as_str()], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

struct Walk {
    /// The last event without a fault.
    last: Link,
    /// The noted link, which the chain must contain.
    expected: Option<Link>,
    /// The cut that the newest cut event records.
    last_cut: Option<Link>,
    events: u64,
}

impl Walk {
    /// Compare a row with the chain.
    fn step(&mut self, row: &Values) -> Result<(), Fault> {
        let sequence = match row.get("revision") {
            Some(Value::Integer(revision)) => Sequence(u64::try_from(*revision).unwrap_or(0)),
            _ => return Err(Fault::new(self.last.sequence, "the event after this one has no revision")),
        };
        let (Some(Value::Text(entry)), Some(Value::Bytes(hash))) = (row.get("entry"), row.get("hash")) else {
            return Err(Fault::new(sequence, "the entry is not text, or its hash is not bytes"));
        };
        let computed = Digest::chained(self.last.hash, entry);
        if computed.bytes() != hash.as_slice() {
            let text = "the event was altered, or events before it were removed, added or swapped: its hash doesn't \
                        follow from its entry and the hash before";
            return Err(Fault::new(sequence, text));
        }
        let read: Entry<'_> = serde_json::from_str(entry)
            .map_err(|error| Fault::new(sequence, format!("the entry can't be read: {error}")))?;
        if let Some(column) = Self::differing(&read, row) {
            let text = format!("the column {column} was altered: it differs from the entry");
            return Err(Fault::new(sequence, text));
        }
        if let Some(expected) =
            self.expected.filter(|expected| (self.last.sequence < expected.sequence) && expected.sequence <= sequence)
            && expected != (Link { sequence, hash: computed })
        {
            return Err(Fault::new(sequence, "the chain was rewritten: the noted event is no longer in it"));
        }
        if let Event::AuditLogCut { through, hash } = *read.change {
            self.last_cut = Some(Link { sequence: through, hash });
        }
        self.last = Link { sequence, hash: computed };
        self.events += 1;
        Ok(())
    }

    /// Return the first column that differs from the entry.
    fn differing(entry: &Entry<'_>, row: &Values) -> Option<&'static str> {
        let Columns { action, allowed, actor, user, queue } = Columns::of(&entry.change, &entry.origin);
        let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
        let revision: Option<Revision> = entry.revision.parse().ok();
        let revision = revision.and_then(|revision| i64::try_from(revision.sequence.0).ok());
        let should = [
            ("revision", revision.map_or(Value::Null, Value::Integer)),
            ("organization_id", Value::Text(entry.organization_id.to_string())),
            ("time_ms", Value::Integer(entry.time_ms)),
            ("action", Value::Text(action.to_owned())),
            ("allowed", Value::Integer(i64::from(allowed))),
            ("actor", text(actor)),
            ("user", text(user)),
            ("queue", text(queue)),
        ];
        should.into_iter().find(|(column, value)| row.get(column) != Some(value)).map(|(column, _)| column)
    }

    /// Compare the end of the chain with its recorded head, cut and noted link.
    fn end(&self, cut: Link, head: Link) -> Result<(), Fault> {
        let missing = "events after this one are missing";
        if self.last.sequence < head.sequence {
            return Err(Fault::new(self.last.sequence, missing));
        }
        if self.last != head {
            return Err(Fault::new(self.last.sequence, "the log continues beyond its recorded end"));
        }
        // Each cut is recorded by a later event, which therefore still exists. Changes from before the audit log
        // existed were cut without an event, and left no hash.
        let is_cut_by_event = match self.last_cut {
            Some(last_cut) => cut == last_cut,
            None => cut.hash == Digest::GENESIS,
        };
        if !is_cut_by_event {
            let text = "the beginning of the log was removed: no event records the cut";
            return Err(Fault::new(cut.sequence, text));
        }
        match self.expected {
            Some(expected) if expected.sequence > self.last.sequence => {
                Err(Fault::new(self.last.sequence, format!("{missing}: a later one was noted")))
            }
            Some(expected) if expected.sequence == cut.sequence && expected.hash != cut.hash => {
                let text =
                    "the chain was rewritten: the last event that was cut off had another hash when it was noted";
                Err(Fault::new(cut.sequence, text))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn values(row: &Row<'_>) -> Values {
    let value = |index: usize| match row.get_ref(index) {
        Ok(ValueRef::Null) => Value::Null,
        Ok(ValueRef::Integer(integer)) => Value::Integer(integer),
        Ok(ValueRef::Text(bytes)) => String::from_utf8(bytes.to_vec()).map_or(Value::Other, Value::Text),
        Ok(ValueRef::Blob(bytes)) => Value::Bytes(bytes.to_vec()),
        Ok(ValueRef::Real(_)) | Err(_) => Value::Other,
    };
    COLUMNS.iter().enumerate().map(|(index, column)| (*column, value(index))).collect()
}
