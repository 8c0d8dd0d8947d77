//! The comparison of stored events with their chain: it finds events that were altered, removed or swapped.
//!
//! It trusts no data. Each value is compared and not only parsed, and an unreadable value is a fault of the row, not an
//! error of the verification.

use std::collections::BTreeMap;

use super::entry::{Columns, Entry};
use crate::domain::{
    chain::{Digest, Link},
    change::Event,
    ids::{Revision, Sequence},
};

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

impl Verification {
    /// Return the result for a chain whose recorded ends can't be read.
    pub(super) fn without_ends(problem: &str) -> Self {
        let text = format!("the record of the log's beginning and end was altered: {problem}");
        let fault = Fault::new(Sequence(0), text);
        Self { events: 0, cut: Link::GENESIS, head: Link::GENESIS, fault: Some(fault) }
    }
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
    pub(super) fn new(sequence: Sequence, description: impl Into<String>) -> Self {
        Self { sequence, description: description.into() }
    }
}

/// One stored row with any values.
pub(super) type Values = BTreeMap<&'static str, Value>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Other,
}

pub(super) const COLUMNS: [&str; 10] =
    ["revision", "organization_id", "time_ms", "action", "allowed", "actor", "user", "queue", "entry", "hash"];

/// The walk along a chain.
pub(super) struct Walk {
    /// The last event without a fault.
    pub(super) last: Link,
    /// The noted link, which the chain must contain.
    expected: Option<Link>,
    /// The cut that the newest cut event records.
    last_cut: Option<Link>,
    pub(super) events: u64,
}

impl Walk {
    /// Begin after the last event that was cut off.
    pub(super) fn begin(cut: Link, expected: Option<Link>) -> Self {
        Self { last: cut, expected, last_cut: None, events: 0 }
    }

    /// Compare a row with the chain.
    pub(super) fn step(&mut self, row: &Values) -> Result<(), Fault> {
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
    pub(super) fn end(&self, cut: Link, head: Link) -> Result<(), Fault> {
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
