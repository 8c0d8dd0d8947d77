//! The read side of the audit log, which is also the history from which watches resume.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{
    connection::connect,
    log::{digest, link},
    paths::{LOG, beside},
    sync::LogSync,
};
use crate::{
    domain::{
        chain::{Digest, Link},
        ids::{OrganizationId, QueueRef, Sequence, UserId, UserRef},
        summary::Verdict,
        time::Timestamp,
        vocabulary::AuditAction,
    },
    store::{
        entry::{damaged, decode},
        error::Error,
        events::{EventFilter, Logged, Newest},
        numbers::{integer, sequence},
    },
};

/// The read side, to follow, search or verify the audit log.
#[derive(Debug)]
pub struct LogReader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

/// The number of an organization's events that one search step examines.
const WINDOW: u32 = 10_000;

/// The largest number of search steps for one page. A filter that matches few events has pages with few or no events,
/// so no call examines a log of millions.
const MAX_WINDOWS: usize = 5;

/// A page of events in progress.
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

    /// Open another connection to the same file, for long work.
    pub fn another(&self) -> Result<Self, Error> {
        Self::open(&self.path)
    }
}

impl LogReader {
    /// Return the version and the hash of a user's PIN.
    pub fn pin_hash(&self, organization_id: &OrganizationId, user_id: &UserId) -> Result<Option<(i64, String)>, Error> {
        let sql = "SELECT etag, hash FROM user_pin WHERE organization_id = ? AND user_id = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement
            .query_row(params![organization_id.as_str(), user_id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?)
    }

    /// Return up to `most` records after `after`, and up to `up_to`, in order. With an organization, return only its
    /// own.
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

    /// Return the newest events of an organization after `after` and before `before` that match the filter, newest
    /// first. There are up to `most`, and fewer if their entries exceed `most_bytes`, or if too many events were
    /// examined.
    pub fn newest_events(
        &self,
        organization_id: &OrganizationId,
        (after, mut before): (Sequence, Sequence),
        filter: &EventFilter,
        most: usize,
        most_bytes: usize,
    ) -> Result<Newest, Error> {
        let mut page = Page { events: Vec::new(), most, bytes: 0, most_bytes };
        for _ in 0..MAX_WINDOWS {
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

    /// Return the last event before the [`WINDOW`] newest ones, or `None` if there are fewer.
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

    /// Add matching events to a page. If it becomes full, return the event before which the next page begins.
    fn newest_in_window(
        &self,
        organization_id: &OrganizationId,
        (after, before): (Sequence, Sequence),
        filter: &EventFilter,
        page: &mut Page,
    ) -> Result<Option<Sequence>, Error> {
        let EventFilter { users, queues, actor, action, verdict, start, end } = filter;
        // Pass lists as JSON, so that their length doesn't change the statement.
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

    /// Return up to `most` stored entries after `after` and up to `up_to`, each with its number and its hash.
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

    /// Wait until everything that was read so far is durable, because the server may have written it just now. Call
    /// this before giving a hash to a caller who may keep it.
    pub fn settle(&self) -> Result<(), Error> {
        match LogSync::open(&self.path, None) {
            Ok(log) => log.sync(),
            // A server that stops leaves everything in the file, and no log.
            Err(_) if !beside(&self.path, LOG).exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Return where an organization's chain was cut, and its head. `None` means that nothing was ever recorded.
    pub fn chain(&self, organization_id: &OrganizationId) -> Result<Option<(Link, Link)>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT cut_revision, cut_hash, head_revision, head_hash FROM audit_chain WHERE organization_id = ?",
        )?;
        let found = statement.query_row([organization_id.as_str()], |row| Ok((link(row, 0), link(row, 2))));
        found.optional()?.map(|(cut, head)| Ok((cut?, head?))).transpose()
    }

    /// Return the hash of an event of an organization, or `None` if it is missing.
    pub fn hash_at(&self, organization_id: &OrganizationId, at: Sequence) -> Result<Option<Digest>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT hash FROM audit_log WHERE organization_id = ? AND revision = ?")?;
        let found = statement.query_row(params![organization_id.as_str(), integer(at)?], |row| Ok(digest(row, 0)));
        found.optional()?.transpose()
    }
}

fn logged(row: &Row<'_>) -> Result<Logged, Error> {
    let revision = row.get(0)?;
    let entry = row.get_ref(1)?.as_str().map_err(|error| damaged(revision, &error))?;
    decode(revision, entry, digest(row, 2)?)
}
