//! The write side of the file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    connection::{connect, prepare, require_sqlite},
    error::{at_open, is_index_refused},
    lock::Lock,
    log,
    log_reader::LogReader,
    open_files::OpenFiles,
    paths::real_path,
    rows,
    schema::{lineage, look, migrate, refuse_foreign},
    sync::LogSync,
};
use crate::{
    domain::{
        chain::Digest,
        change::Record,
        ids::{Lineage, OrganizationId, RequestId, Sequence},
        time::Timestamp,
    },
    store::{
        error::Error,
        numbers::{integer, sequence},
        request::RequestRecord,
    },
};

/// The number of pages in the write-ahead log that causes a checkpoint. INVARIANT: it is far below 4,062, where the
/// log's index must grow. So a write to the log itself detects a full disk, and its failure has a known outcome.
const LONG_LOG: i64 = 1_000;

/// The write side of the file. It has one owner.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) lineage: Lineage,
    heads: log::Heads,
    pub(super) path: PathBuf,
    /// The number of pages in the log that causes a checkpoint.
    long_log: i64,
    /// The open files, once a [`LogSync`] syncs the log.
    files: Option<OpenFiles>,
    /// The lock that keeps a second process away for as long as the store exists.
    lock: Lock,
}

impl Store {
    /// Open the file, or create it. A new file gets the id `new_store_id`. A foreign file, or one of a newer version,
    /// is refused and not changed.
    pub fn open(path: &Path, new_store_id: u64) -> Result<Self, Error> {
        require_sqlite()?;
        let path = &real_path(path)?;
        let lock = Lock::take(path)?;
        match open_locked(path, new_store_id) {
            Ok((connection, lineage, heads)) => {
                Ok(Self { connection, lineage, heads, path: path.to_owned(), long_log: LONG_LOG, files: None, lock })
            }
            Err(error) => {
                lock.withdraw();
                Err(at_open(path, error))
            }
        }
    }
}

impl Store {
    /// Return the lineage of this file's history.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Set the number of pages in the log that causes a checkpoint; the default is 1,000. Tests use a small number to
    /// get frequent checkpoints.
    #[must_use]
    pub fn with_log_of(mut self, pages: u16) -> Self {
        self.long_log = pages.into();
        self
    }

    /// Stop syncing at each commit. A commit is durable after the next [`LogSync::sync`] of the returned value.
    ///
    /// SQLite itself syncs the log before each checkpoint, and where the log starts again. So only unsynced commits at
    /// the log's end can be lost.
    pub fn defer_sync(&mut self) -> Result<LogSync, Error> {
        let files = OpenFiles::of(&self.path, self.lock.database())?;
        let log = LogSync::open(&self.path, Some(files.clone()))?;
        self.files = Some(files);
        self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(log)
    }

    /// Commit a batch completely, or change nothing. `progress` repeatedly gets the number of written changes.
    pub fn commit(
        &mut self,
        records: &[Record],
        requests: &[RequestRecord],
        progress: impl Fn(usize),
    ) -> Result<(), Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction, self.lineage, &self.heads, (records, requests), &progress);
        let committed = match written {
            // A failure before the commit has no effect.
            Ok(heads) => transaction.commit().map(|()| heads).map_err(Error::from),
            Err(error) => {
                drop(transaction);
                Err(error)
            }
        };
        if !self.connection.is_autocommit() {
            // The transaction could not be rolled back, and later statements would become part of it.
            return Err(Error::Damaged("a transaction that failed could not be rolled back".to_owned()));
        }
        self.heads.extend(committed?);
        progress(records.len());
        Ok(())
    }

    /// Return the request with this id that was carried out at `since` or later, or `None`.
    pub fn request(
        &self,
        organization_id: &OrganizationId,
        request_id: &RequestId,
        since: Timestamp,
    ) -> Result<Option<RequestRecord>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT content_sha256, outcome, revision, time_ms FROM request \
             WHERE organization_id = ? AND request_id = ? AND time_ms >= ?",
        )?;
        let row = statement
            .query_row(params![organization_id.as_str(), request_id.as_str(), since.unix_ms()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        row.map(|(content_sha256, outcome, revision, time_ms)| {
            Ok(RequestRecord {
                organization_id: organization_id.clone(),
                request_id: request_id.clone(),
                content_sha256,
                outcome,
                sequence: sequence(revision)?,
                time: Timestamp::from_unix_ms(time_ms),
            })
        })
        .transpose()
    }

    /// Forget up to `most` requests carried out before `before`, and return their number.
    pub fn forget_requests(&mut self, before: Timestamp, most: usize) -> Result<usize, Error> {
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM request WHERE (organization_id, request_id) IN \
             (SELECT organization_id, request_id FROM request WHERE time_ms < ? LIMIT ?)",
        )?;
        Ok(statement.execute(params![before.unix_ms(), i64::try_from(most).unwrap_or(i64::MAX)])?)
    }

    /// Return the organizations whose audit logs were cut and not swept yet, each with the last event to sweep.
    pub fn unswept(&self) -> Result<Vec<(OrganizationId, Sequence)>, Error> {
        log::unswept(&self.connection)
    }

    /// Remove up to `most` events of an organization through one that was cut, and return their number: 0 if none is
    /// left.
    pub fn sweep(&mut self, organization_id: &OrganizationId, through: Sequence, most: usize) -> Result<usize, Error> {
        log::sweep(&self.connection, organization_id, through, most)
    }

    /// Open another, read-only connection to the same file.
    pub fn log_reader(&self) -> Result<LogReader, Error> {
        LogReader::open(&self.path)
    }

    /// Move the write-ahead log into the file if it is long, without waiting for readers. SQLite's automatic checkpoint
    /// would not report a failure. SQLite syncs the log first, so the file never has a change that the log may lose.
    pub fn checkpoint_if_due(&mut self) -> Result<(), Error> {
        let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let mut length = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        let (in_log, moved) = length.query_row([], pages)?;
        if in_log - moved >= self.long_log {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Move everything from the write-ahead log into the file, before the process ends.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl Drop for Store {
    /// Move acknowledged changes into the file if the log lost its name, because the next start would not find them.
    fn drop(&mut self) {
        if self.files.as_ref().is_some_and(OpenFiles::may_rescue) {
            // A failure can't be reported, and there is nothing else to try.
            let _ = self.checkpoint();
        }
    }
}

/// Write a batch, and return the new heads of the chains.
fn write(
    transaction: &Transaction<'_>,
    lineage: Lineage,
    before: &log::Heads,
    (records, requests): (&[Record], &[RequestRecord]),
    progress: &impl Fn(usize),
) -> Result<log::Heads, Error> {
    write_statements(transaction, lineage, before, (records, requests), progress).map_err(|error| match error {
        // In COMMIT the outcome of this error would be unknown. Before it, it is a lack of space like any other.
        Error::Sqlite(error) if is_index_refused(&error) => Error::Full(error),
        error => error,
    })
}

fn write_statements(
    transaction: &Transaction<'_>,
    lineage: Lineage,
    before: &log::Heads,
    (records, requests): (&[Record], &[RequestRecord]),
    progress: &impl Fn(usize),
) -> Result<log::Heads, Error> {
    let mut heads = log::Heads::new();
    for (index, record) in records.iter().enumerate() {
        let organization_id = &record.change.organization_id;
        rows::write(transaction, &record.change)?;
        let previous = heads.get(organization_id).or_else(|| before.get(organization_id));
        let previous = previous.map_or(Digest::GENESIS, |link| link.hash);
        heads.insert(organization_id.clone(), log::append(transaction, lineage, record, previous)?);
        if index % 1_000 == 0 {
            progress(index);
        }
    }
    log::write_heads(transaction, &heads)?;
    for request in requests {
        let mut statement = transaction.prepare_cached(
            "INSERT OR REPLACE INTO request \
             (organization_id, request_id, content_sha256, outcome, revision, time_ms) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        statement.execute(params![
            request.organization_id.as_str(),
            request.request_id.as_str(),
            request.content_sha256,
            request.outcome,
            integer(request.sequence)?,
            request.time.unix_ms(),
        ])?;
    }
    Ok(heads)
}

fn open_locked(path: &Path, new_store_id: u64) -> Result<(Connection, Lineage, log::Heads), Error> {
    look(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    refuse_foreign(path, &connection)?;
    prepare(path, &connection)?;
    migrate(&mut connection)?;
    let lineage = lineage(&connection, new_store_id)?;
    let heads = log::heads(&connection)?;
    Ok((connection, lineage, heads))
}
