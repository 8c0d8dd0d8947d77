//! The integrity check of a file: its pages, references, rows and chains, and a comparison of the state with the
//! replayed log.
//!
//! It works while a server writes to the file: it reads everything at one moment, and writes nothing.

use std::{ops::ControlFlow, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    connection::{connect, require_sqlite},
    error::at_open,
    file_kind::refuse_special,
    load::Tables,
    log_reader::LogReader,
    schema::{known_schema, look, read_lineage, refuse_foreign},
    values::text,
};
use crate::{
    domain::{
        chain::Link,
        ids::{OrganizationId, Revision, Sequence},
        snapshot::Snapshot,
    },
    store::error::Error,
};

/// The largest number of problems of a kind that are reported.
const MAX_PROBLEMS: usize = 10;

/// The number of events that are replayed at a time.
const CHUNK: u32 = 1_000;

/// The result of an integrity check.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The end of the history, or `None` if the rows can't be read.
    pub revision: Option<Revision>,
    /// The number of events in the audit logs, all of which were verified.
    pub events: u64,
    /// Each organization with an audit log, and its head.
    pub heads: Vec<(OrganizationId, Link)>,
    /// The number of organizations whose state was replayed from the log and compared. That is impossible after a cut.
    pub replayed: usize,
    /// The problems. Without any, the file is whole.
    pub problems: Vec<String>,
}

impl Examination {
    /// Return whether there are no problems.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Check the integrity of a file. `progress` repeatedly gets the number of verified events and the total.
pub fn examine(path: &Path, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    let mut examination =
        Examination { revision: None, events: 0, heads: Vec::new(), replayed: 0, problems: Vec::new() };
    match examination.all(path, &progress) {
        Ok(()) => Ok(examination),
        Err(Error::Damaged(problem) | Error::DamagedFile { path: _, problem }) => {
            examination.problems.push(problem);
            Ok(examination)
        }
        Err(error) => Err(error),
    }
}

/// Open a queuegate database to read, even while a server writes to it.
pub(super) fn open_to_read(path: &Path) -> Result<LogReader, Error> {
    require_sqlite()?;
    refuse_special(path)?;
    let missing = || Error::Missing { path: path.display().to_string() };
    // A server makes a new database from an empty file.
    if path.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) || !path.try_exists().unwrap_or(true) {
        return Err(missing());
    }
    look(path)?;
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|connection| {
        refuse_foreign(path, &connection)?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 { Err(missing()) } else { Ok(connection) }
    });
    let connection = opened.map_err(|error| at_open(path, error))?;
    Ok(LogReader { connection, path: path.to_owned() })
}

impl Examination {
    fn all(&mut self, path: &Path, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let reader = open_to_read(path)?;
        let found: i64 = reader.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found < known_schema() {
            return Err(Error::OlderSchema { path: path.display().to_string(), found });
        }
        // Read in one transaction, so that each concurrent change is seen completely or not at all.
        let _transaction = reader.connection.unchecked_transaction()?;
        self.pages(&reader.connection);
        let live = self.rows(&reader.connection);
        self.logs(&reader, live.as_ref(), progress)?;
        reader.settle()
    }

    /// Collect the problems that SQLite itself finds.
    fn pages(&mut self, connection: &Connection) {
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MAX_PROBLEMS})"))?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        match check() {
            Ok(lines) => {
                let bad = lines.into_iter().filter(|line| line != "ok");
                self.problems.extend(bad.map(|line| format!("integrity_check: {line}")));
            }
            Err(error) => self.problems.push(format!("integrity_check: {error}")),
        }
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
            let described = |row: &rusqlite::Row<'_>| {
                let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
                Ok(format!("foreign_key_check: a row of {table} refers to a missing row of {parent}"))
            };
            statement.query_map([], described)?.take(MAX_PROBLEMS).collect()
        };
        match check() {
            Ok(broken) => self.problems.extend(broken),
            Err(error) => self.problems.push(format!("foreign_key_check: {error}")),
        }
    }

    /// Return the state, or `None` if a row can't be read.
    fn rows(&mut self, connection: &Connection) -> Option<Snapshot> {
        let loaded = read_lineage(connection).and_then(|lineage| Tables { connection, lineage }.load());
        match loaded {
            Ok(live) => {
                self.revision = Some(live.revision());
                Some(live)
            }
            Err(error) => {
                self.problems.push(format!("the state can't be loaded: {error}"));
                None
            }
        }
    }

    /// Verify every chain, and compare the state with its replay.
    fn logs(&mut self, reader: &LogReader, live: Option<&Snapshot>, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let total = reader.connection.query_row("SELECT count(*) FROM audit_log", [], |row| row.get::<_, i64>(0))?;
        let total = u64::try_from(total).unwrap_or(0);
        let mut statement = reader.connection.prepare(
            "SELECT organization_id FROM audit_chain UNION SELECT organization_id FROM audit_log \
             UNION SELECT organization_id FROM organization ORDER BY 1",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let organization_id: OrganizationId = text(row, 0)?;
            let walked = reader.walk(&organization_id, None, |events| {
                progress(self.events + events, total);
                ControlFlow::Continue(())
            });
            let Some(walked) = walked? else {
                self.problems.push(format!("{organization_id}: it has no audit log"));
                continue;
            };
            self.events += walked.events;
            self.heads.push((organization_id.clone(), walked.head));
            if let Some(fault) = walked.fault {
                self.problems.push(format!("{organization_id}: event {}: {}", fault.sequence.0, fault.description));
                continue;
            }
            let Some(live) = live else { continue };
            if walked.cut.sequence == Sequence(0) {
                self.replay(reader, live, &organization_id)?;
            }
        }
        progress(total, total);
        Ok(())
    }

    /// Replay an organization's log, and compare the result with the live state.
    fn replay(&mut self, reader: &LogReader, live: &Snapshot, organization_id: &OrganizationId) -> Result<(), Error> {
        let mut replayed = Snapshot::empty(live.revision().lineage);
        let mut last = Sequence(0);
        loop {
            let records = reader.records_since(last, live.revision().sequence, Some(organization_id), CHUNK)?;
            let Some(newest) = records.last() else { break };
            last = newest.record.sequence;
            for logged in &records {
                if let Err(error) = replayed.apply(&logged.record.change) {
                    let number = logged.record.sequence.0;
                    self.problems.push(format!("{organization_id}: event {number} doesn't follow: {error}"));
                    return Ok(());
                }
            }
        }
        let id = organization_id.as_str();
        if replayed.organization(id) != live.organization(id) {
            self.problems.push(format!(
                "{organization_id}: the tables of the state differ from the replayed audit log; one of them was altered"
            ));
        }
        self.replayed += 1;
        Ok(())
    }
}
