//! Reading the audit log. It is the history too, from which watches are resumed.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{
    connection::connect,
    error::Error,
    log::{Entry, digest, link},
    paths::{LOG, beside},
    sync::LogSync,
    values::{integer, sequence},
};
use crate::domain::{
    chain::{Digest, Link},
    change::{Change, Record},
    ids::{OrganizationId, QueueRef, Sequence, UserRef},
    summary::Verdict,
    time::Timestamp,
    vocabulary::AuditAction,
};

/// The read side, for whoever follows, searches or verifies the audit log.
#[derive(Debug)]
pub struct LogReader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

/// An event of the log with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What happened.
    pub record: Record,
    /// Chains it to what was before.
    pub hash: Digest,
}

/// Which events of an organization are wanted; none: every.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Done to any of these users.
    pub users: Vec<UserRef>,
    /// Done to, or on, any of these queues.
    pub queues: Vec<QueueRef>,
    /// Done by this user.
    pub actor: Option<UserRef>,
    /// Only this action.
    pub action: Option<AuditAction>,
    /// Only what was done, or only what was refused.
    pub verdict: Option<Verdict>,
    /// At this time or later.
    pub start: Option<Timestamp>,
    /// Before this time.
    pub end: Option<Timestamp>,
}

/// How many events of an organization are looked at together when some are looked for.
const WINDOW: u32 = 10_000;

/// How many times that, for one page. A filter that hardly an event passes has a page with few events, or none, and a next
/// page: no call looks at a log of millions.
const MOST_WINDOWS: usize = 5;

/// The newest events that a filter wants.
#[derive(Debug)]
pub struct Newest {
    /// The events, newest first.
    pub events: Vec<Logged>,
    /// Before which event the next page begins, if there may be more.
    pub rest: Option<Sequence>,
}

/// A page of events that is being put together.
struct Page {
    events: Vec<Logged>,
    most: usize,
    bytes: usize,
    most_bytes: usize,
}

impl LogReader {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Another connection to the same file, for work that takes a while.
    pub fn another(&self) -> Result<Self, Error> {
        Self::open(&self.path)
    }
}

impl LogReader {
    /// Up to `most` records after `after`, and up to `up_to`, in order. With an organization, only its own.
    pub fn records_since(
        &self,
        after: Sequence,
        up_to: Sequence,
        organization_id: Option<&OrganizationId>,
        most: u32,
    ) -> Result<Vec<Logged>, Error> {
        const COLUMNS: &str = "SELECT revision, entry, hash FROM audit_log";
        let (after, up_to) = (integer(after)?, integer(up_to)?);
        let mut found = Vec::new();
        match organization_id {
            Some(organization_id) => {
                let mut statement = self.connection.prepare_cached(&format!(
                    "{COLUMNS} WHERE organization_id = ? AND revision > ? AND revision <= ? ORDER BY revision LIMIT ?"
                ))?;
                let mut rows = statement.query(params![organization_id.as_str(), after, up_to, most])?;
                while let Some(row) = rows.next()? {
                    found.push(logged(row)?);
                }
            }
            None => {
                let mut statement = self.connection.prepare_cached(&format!(
                    "{COLUMNS} WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?"
                ))?;
                let mut rows = statement.query(params![after, up_to, most])?;
                while let Some(row) = rows.next()? {
                    found.push(logged(row)?);
                }
            }
        }
        Ok(found)
    }

    /// The newest events of an organization after `after` and before `before` that the filter wants, newest first: up to
    /// `most`, and fewer if their entries come to more than `most_bytes`, or if too many events were looked at.
    pub fn newest_events(
        &self,
        organization_id: &OrganizationId,
        (after, mut before): (Sequence, Sequence),
        filter: &EventFilter,
        most: usize,
        most_bytes: usize,
    ) -> Result<Newest, Error> {
        let mut page = Page { events: Vec::new(), most, bytes: 0, most_bytes };
        for _ in 0..MOST_WINDOWS {
            let window = self.window(organization_id, (after, before))?;
            let from = window.unwrap_or(after);
            if let Some(rest) = self.newest_in_window(organization_id, (from, before), filter, &mut page)? {
                return Ok(Newest { events: page.events, rest: Some(rest) });
            }
            let Some(window) = window else { return Ok(Newest { events: page.events, rest: None }) };
            before = window.next();
        }
        Ok(Newest { events: page.events, rest: Some(before) })
    }

    /// The last event before the [`WINDOW`] newest ones, or `None` if there are fewer.
    fn window(
        &self,
        organization_id: &OrganizationId,
        (after, before): (Sequence, Sequence),
    ) -> Result<Option<Sequence>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT revision FROM audit_log WHERE organization_id = ? AND revision > ? AND revision < ? \
             ORDER BY revision DESC LIMIT 1 OFFSET ?",
        )?;
        let named = params![organization_id.as_str(), integer(after)?, integer(before)?, WINDOW];
        let found: Option<i64> = statement.query_row(named, |row| row.get(0)).optional()?;
        found.map(sequence).transpose()
    }

    /// Adds what the filter wants to a page. If it becomes full, says before which event the next page begins.
    fn newest_in_window(
        &self,
        organization_id: &OrganizationId,
        (after, before): (Sequence, Sequence),
        filter: &EventFilter,
        page: &mut Page,
    ) -> Result<Option<Sequence>, Error> {
        let EventFilter { users, queues, actor, action, verdict, start, end } = filter;
        // Lists go in as JSON, so that their length doesn't change the statement.
        let keys = |keys: Vec<String>| (!keys.is_empty()).then(|| serde_json::Value::from(keys).to_string());
        let users = keys(users.iter().map(UserRef::key).collect());
        let queues = keys(queues.iter().map(QueueRef::key).collect());
        let mut statement = self.connection.prepare_cached(
            "SELECT revision, entry, hash FROM audit_log \
             WHERE organization_id = ?1 AND revision < ?2 \
             AND (?3 IS NULL OR user IN (SELECT value FROM json_each(?3))) \
             AND (?4 IS NULL OR queue IN (SELECT value FROM json_each(?4))) \
             AND (?5 IS NULL OR actor = ?5) AND (?6 IS NULL OR action = ?6) AND (?7 IS NULL OR allowed = ?7) \
             AND (?8 IS NULL OR time_ms >= ?8) AND (?9 IS NULL OR time_ms < ?9) \
             AND revision > ?10 ORDER BY revision DESC",
        )?;
        let mut rows = statement.query(params![
            organization_id.as_str(),
            integer(before)?,
            users,
            queues,
            actor.as_ref().map(UserRef::key),
            action.map(AuditAction::as_str),
            verdict.map(Verdict::is_allowed),
            start.map(Timestamp::unix_ms),
            end.map(Timestamp::unix_ms),
            integer(after)?,
        ])?;
        while let Some(row) = rows.next()? {
            if page.events.len() == page.most || page.bytes > page.most_bytes {
                return Ok(page.events.last().map(|last| last.record.sequence));
            }
            page.bytes += row.get_ref(1)?.as_str().map_or(0, str::len);
            page.events.push(logged(row)?);
        }
        Ok(None)
    }

    /// The entries after `after` and up to `up_to` as they are stored, each with its number and its hash, up to `most`.
    pub fn entries_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<(Link, Timestamp, String)>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT revision, hash, time_ms, entry FROM audit_log \
             WHERE organization_id = ? AND revision > ? AND revision <= ? ORDER BY revision LIMIT ?",
        )?;
        let mut rows = statement.query(params![organization_id.as_str(), integer(after)?, integer(up_to)?, most])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((link(row, 0)?, Timestamp::from_unix_ms(row.get(2)?), row.get(3)?));
        }
        Ok(found)
    }

    /// Returns when everything that was read until now is durable: whoever serves the file may have written it this moment.
    /// To be called before a hash is told to somebody who may keep it.
    pub fn settle(&self) -> Result<(), Error> {
        match LogSync::open(&self.path, None) {
            Ok(log) => log.sync(),
            // Whoever stops leaves everything in the file, and no log.
            Err(_) if !beside(&self.path, LOG).exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where an organization's chain was cut, and where it ends; none if nothing was ever recorded of it.
    pub fn chain(&self, organization_id: &OrganizationId) -> Result<Option<(Link, Link)>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT cut_revision, cut_hash, head_revision, head_hash FROM audit_chain WHERE organization_id = ?",
        )?;
        let found = statement.query_row([organization_id.as_str()], |row| Ok((link(row, 0), link(row, 2))));
        found.optional()?.map(|(cut, head)| Ok((cut?, head?))).transpose()
    }

    /// The hash of an event of an organization, if it is there.
    pub fn hash_at(&self, organization_id: &OrganizationId, at: Sequence) -> Result<Option<Digest>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT hash FROM audit_log WHERE organization_id = ? AND revision = ?")?;
        let found = statement.query_row(params![organization_id.as_str(), integer(at)?], |row| Ok(digest(row, 0)));
        found.optional()?.transpose()
    }
}

fn logged(row: &Row<'_>) -> Result<Logged, Error> {
    let revision: i64 = row.get(0)?;
    let damaged = |problem: &dyn std::fmt::Display| Error::DamagedEvent {
        sequence: Sequence(u64::try_from(revision).unwrap_or(0)),
        problem: problem.to_string(),
    };
    let entry = row.get_ref(1)?.as_str().map_err(|error| damaged(&error))?;
    let Entry { revision: _, time_ms, organization_id, origin, change } =
        serde_json::from_str(entry).map_err(|error| damaged(&error))?;
    Ok(Logged {
        record: Record {
            sequence: sequence(revision)?,
            time: Timestamp::from_unix_ms(time_ms),
            origin: origin.into_owned(),
            change: Change { organization_id: organization_id.into_owned(), event: change.into_owned() },
        },
        hash: digest(row, 2)?,
    })
}
