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
        ids::{OrganizationId, Sequence},
        snapshot::Snapshot,
    },
    store::{
        error::Error,
        events::Logged,
        examination::{Examination, Log, MAX_PROBLEMS, ORGANIZATIONS},
        verification::Verification,
    },
};

/// Check the integrity of a file. `progress` repeatedly gets the number of verified events and the total.
pub fn examine(path: &Path, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    Examination::of(|examination| Examiner { examination }.all(path, &progress))
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

/// An examination in progress.
struct Examiner<'e> {
    examination: &'e mut Examination,
}

impl Examiner<'_> {
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
                self.examination.problems.extend(bad.map(|line| format!("integrity_check: {line}")));
            }
            Err(error) => self.examination.problems.push(format!("integrity_check: {error}")),
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
            Ok(broken) => self.examination.problems.extend(broken),
            Err(error) => self.examination.problems.push(format!("foreign_key_check: {error}")),
        }
    }

    /// Return the state, or `None` if a row can't be read.
    fn rows(&mut self, connection: &Connection) -> Option<Snapshot> {
        let loaded = read_lineage(connection).and_then(|lineage| Tables { connection, lineage }.load());
        match loaded {
            Ok(live) => {
                self.examination.revision = Some(live.revision());
                Some(live)
            }
            Err(error) => {
                self.examination.problems.push(format!("the state can't be loaded: {error}"));
                None
            }
        }
    }

    /// Verify every chain, and compare the state with its replay.
    fn logs(&mut self, reader: &LogReader, live: Option<&Snapshot>, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let total = reader.connection.query_row("SELECT count(*) FROM audit_log", [], |row| row.get::<_, i64>(0))?;
        let mut statement = reader.connection.prepare(ORGANIZATIONS)?;
        let mut rows = statement.query([])?;
        let mut organizations = Vec::new();
        while let Some(row) = rows.next()? {
            organizations.push(text(row, 0)?);
        }
        self.examination.logs(reader, &organizations, live, (u64::try_from(total).unwrap_or(0), progress))
    }
}

impl Log for LogReader {
    fn walk(&self, organization_id: &OrganizationId, progress: &dyn Fn(u64)) -> Result<Option<Verification>, Error> {
        Self::walk(self, organization_id, None, |events| {
            progress(events);
            ControlFlow::Continue(())
        })
    }

    fn records_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<Logged>, Error> {
        Self::records_since(self, after, up_to, Some(organization_id), most)
    }
}
