//! The write side of the file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    connection::{connect, prepare, require_sqlite},
    error::{Error, at_open, is_index_refused},
    lock::Lock,
    log,
    log_reader::LogReader,
    open_files::OpenFiles,
    paths::real_path,
    rows,
    schema::{lineage, look, migrate, refuse_foreign},
    sync::LogSync,
    values::{integer, sequence},
};
use crate::domain::{
    chain::Digest,
    change::Record,
    ids::{Lineage, OrganizationId, RequestId, Sequence},
    time::Timestamp,
};

/// From how many pages on the write-ahead log is moved into the file. INVARIANT: far below the 4,062 that the log's index
/// holds before it must grow, so that a full disk is noticed by the log itself, whose failures leave no doubt.
const LONG_LOG: i64 = 1_000;

/// The write side of the file. One owner.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) lineage: Lineage,
    heads: log::Heads,
    pub(super) path: PathBuf,
    /// From how many pages on the log is moved into the file.
    long_log: i64,
    /// Where the files are, once somebody syncs the log.
    files: Option<OpenFiles>,
    /// Held for as long as the store is, so that a second process is turned away.
    lock: Lock,
}

/// A request that was carried out, kept so that it can be repeated safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Where.
    pub organization_id: OrganizationId,
    /// The caller's name for it.
    pub request_id: RequestId,
    /// The hash of what was asked.
    pub content_sha256: String,
    /// What came of it, as JSON.
    pub outcome: String,
    /// The revision of the answer.
    pub sequence: Sequence,
    /// When.
    pub time: Timestamp,
}

impl Store {
    /// Opens the file, creating it if there is none. `new_store_id` names it if it is new. What isn't ours, or is newer
    /// than this version, is refused and left as it is.
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
    /// Which history this file holds.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Moves the write-ahead log into the file from so many pages on, 1,000 unless told otherwise. A shorter log lets tests
    /// meet that moment often.
    #[must_use]
    pub fn with_log_of(mut self, pages: u16) -> Self {
        self.long_log = pages.into();
        self
    }

    /// Has commits no longer wait for the disk. What was committed is durable once it was synced by what this gives.
    ///
    /// SQLite syncs the log by itself before it moves any of it into the file, and where it begins anew: so what isn't synced
    /// can only be lost from its end.
    pub fn defer_sync(&mut self) -> Result<LogSync, Error> {
        let files = OpenFiles::of(&self.path, self.lock.database())?;
        let log = LogSync::open(&self.path, Some(files.clone()))?;
        self.files = Some(files);
        self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(log)
    }

    /// Commits a batch, all of it or nothing. `progress` is told now and then how many changes are written.
    pub fn commit(
        &mut self,
        records: &[Record],
        requests: &[RequestRecord],
        progress: impl Fn(usize),
    ) -> Result<(), Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction, self.lineage, &self.heads, (records, requests), &progress);
        let committed = match written {
            // Only now is anything decided: what fails before is as if it had not been tried.
            Ok(heads) => transaction.commit().map(|()| heads).map_err(Error::from),
            Err(error) => {
                drop(transaction);
                Err(error)
            }
        };
        if !self.connection.is_autocommit() {
            // It could not even be taken back. Whoever went on would write into it.
            return Err(Error::Damaged("a transaction that failed could not be rolled back".to_owned()));
        }
        self.heads.extend(committed?);
        progress(records.len());
        Ok(())
    }

    /// The request of this name that was carried out at `since` or later.
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

    /// Forgets up to `most` requests carried out before `before`, and returns how many it forgot.
    pub fn forget_requests(&mut self, before: Timestamp, most: usize) -> Result<usize, Error> {
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM request WHERE (organization_id, request_id) IN \
             (SELECT organization_id, request_id FROM request WHERE time_ms < ? LIMIT ?)",
        )?;
        Ok(statement.execute(params![before.unix_ms(), i64::try_from(most).unwrap_or(i64::MAX)])?)
    }

    /// The organizations whose audit logs were cut and not swept yet, and what the last event to sweep is.
    pub fn unswept(&self) -> Result<Vec<(OrganizationId, Sequence)>, Error> {
        log::unswept(&self.connection)
    }

    /// Removes up to `most` events of an organization through one that was cut, and says how many it removed: 0 when there
    /// are none left.
    pub fn sweep(&mut self, organization_id: &OrganizationId, through: Sequence, most: usize) -> Result<usize, Error> {
        log::sweep(&self.connection, organization_id, through, most)
    }

    /// Opens another, read-only connection to the same file.
    pub fn log_reader(&self) -> Result<LogReader, Error> {
        LogReader::open(&self.path)
    }

    /// Moves the write-ahead log into the file once it has become long, without waiting for readers. SQLite would do that
    /// by itself, and say nothing when it fails. What is moved is synced in the log first, so the file never has what the log
    /// may lose.
    pub fn checkpoint_if_due(&mut self) -> Result<(), Error> {
        let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let mut length = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        let (in_log, moved) = length.query_row([], pages)?;
        if in_log - moved >= self.long_log {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Moves everything from the write-ahead log into the file, as the last thing before the end.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl Drop for Store {
    /// Moves what was acknowledged into the file if the log lost its name, since nobody would find it there.
    fn drop(&mut self) {
        if self.files.as_ref().is_some_and(OpenFiles::may_rescue) {
            // There is nobody to tell of a failure, and nothing else to try.
            let _ = self.checkpoint();
        }
    }
}

/// Writes a batch, and says where the chains end after it.
fn write(
    transaction: &Transaction<'_>,
    lineage: Lineage,
    before: &log::Heads,
    (records, requests): (&[Record], &[RequestRecord]),
    progress: &impl Fn(usize),
) -> Result<log::Heads, Error> {
    write_statements(transaction, lineage, before, (records, requests), progress).map_err(|error| match error {
        // In COMMIT this would leave the outcome unknown; before it, it is a lack of space like any other.
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
