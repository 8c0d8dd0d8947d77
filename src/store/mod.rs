//! The SQLite file: the only room that knows SQL.
//!
//! INVARIANT: one commit holds whole commands: their rows, their audit events and their request ids, or none of them.
//! INVARIANT: when [`Store::commit`] has returned, what it was given survives a power failure; if [`Store::defer_sync`] was
//! called before, when a [`LogSync::sync`] that began after it has returned.

mod backup;
mod examine;
mod kind;
mod load;
mod log;
mod open;
mod place;
mod rows;
mod verify;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

use crate::domain::{
    chain::Digest,
    change::Record,
    ids::{Lineage, OrganizationId, RequestId, Sequence},
    time::Timestamp,
};

pub use backup::{Restored, back_up, restore};
pub use examine::{Examination, examine};
pub use kind::refuse_special;
pub use log::{EventFilter, Logged, Newest};
pub use verify::{Fault, Verification};

/// From how many pages on the write-ahead log is moved into the file. INVARIANT: far below the 4,062 that the log's index
/// holds before it must grow, so that a full disk is noticed by the log itself, whose failures leave no doubt.
const LONG_LOG: i64 = 1_000;

/// The write side of the file. One owner.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    lineage: Lineage,
    heads: log::Heads,
    path: PathBuf,
    /// From how many pages on the log is moved into the file.
    long_log: i64,
    /// Where the files are, once somebody syncs the log.
    place: Option<place::Place>,
    /// Held for as long as the store is, so that a second process is turned away.
    lock: open::Lock,
}

/// The read side, for whoever follows, searches or verifies the audit log.
#[derive(Debug)]
pub struct LogReader {
    connection: Connection,
    path: PathBuf,
}

/// Makes what was committed durable: all of it that was committed before. On whichever thread.
#[derive(Debug)]
pub struct LogSync {
    /// The write-ahead log. SQLite takes no locks on it, which to close it would release.
    log: File,
    path: PathBuf,
    /// Where the files must still be; none: they are somebody else's to keep.
    place: Option<place::Place>,
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

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock is taken.
    #[error("`{path}` is in use by another queuegate process ({owner}); stop it, or give this one another --database")]
    InUse {
        /// The file.
        path: String,
        /// The other process, as it says of itself.
        owner: String,
    },
    /// The file, or the lock beside it, can't be opened.
    #[error("can't open `{path}`: {problem}")]
    Unopenable {
        /// The file.
        path: String,
        /// Why not.
        problem: String,
    },
    /// The file is something else.
    #[error("`{path}` is not a queuegate database; it was left as it is. Give another --database")]
    NotOurs {
        /// The file.
        path: String,
    },
    /// The file was written by a later version.
    #[error(
        "`{path}` has schema {found}, and this version knows schemas up to {known}; it was left as it is. Use a newer \
         queuegate"
    )]
    NewerSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The linked SQLite is too old to be safe.
    #[error("SQLite {found} can lose commits in WAL mode; 3.51.3 or later is needed")]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// There is no database to copy or to look at.
    #[error("`{path}` holds no queuegate database")]
    Missing {
        /// The file.
        path: String,
    },
    /// The file was written by an earlier version, and only serving or restoring it brings it up to date.
    #[error("`{path}` has schema {found}, which an earlier version wrote; `queuegate serve` brings it up to date")]
    OlderSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
    },
    /// Nothing is written over.
    #[error("`{path}` exists, and nothing is written over; {hint}")]
    Exists {
        /// The file.
        path: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file can't be written.
    #[error("can't write `{path}`: {problem}")]
    Unwritable {
        /// The file.
        path: String,
        /// Why not.
        problem: std::io::Error,
    },
    /// A copy is not what it should be, and is not used.
    #[error("`{path}` is broken, and nothing was made of it: {}", .problems.join("; "))]
    Broken {
        /// What was copied.
        path: String,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// There is no space to begin with.
    #[error("no space left to open `{path}`; free some: nothing in the file was touched")]
    NoSpace {
        /// The file.
        path: String,
    },
    /// What a file says can't be, and it is not used.
    #[error(
        "`{path}` is damaged: {problem}; it was left as it is. `queuegate verify` says more of it, and `queuegate restore` \
         makes a database of a backup"
    )]
    DamagedFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What the file says can't be.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// An event of the audit log can't be read.
    #[error("event {} of the audit log is damaged: {problem}", .sequence.0)]
    DamagedEvent {
        /// Which one.
        sequence: Sequence,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no space left. Nothing was written, and writing can be tried again.
    #[error("no space left for the database")]
    Full(#[source] rusqlite::Error),
    /// Another program holds the database. Nothing was written, and writing can be tried again.
    #[error("another program has locked the database")]
    Busy(#[source] rusqlite::Error),
    /// SQLite failed. What became of the last commit is unknown.
    #[error("the database failed: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// A file was removed, renamed, replaced or overwritten while it was served. What became of the last commits is unknown.
    #[error(
        "`{path}` {problem} while it was served; nothing more is acknowledged. Keep other programs away from the database \
         and the files beside it, check them with `queuegate verify`, and start again"
    )]
    Displaced {
        /// The file.
        path: String,
        /// What happened to it.
        problem: String,
    },
    /// The write-ahead log could not be synced. What became of the last commits is unknown.
    #[error("the database failed: can't sync `{path}`: {problem}")]
    Unsynced {
        /// The log.
        path: String,
        /// Why not.
        problem: std::io::Error,
    },
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

impl Error {
    /// Whether nothing was written and writing can be tried again.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_))
    }

    /// The same, with the name of the file if it is that which is damaged.
    fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Damaged(problem) => Self::DamagedFile { path: path.display().to_string(), problem },
            error => error,
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
        let place = place::Place::of(&self.path, self.lock.database())?;
        let log = LogSync::open(&self.path, Some(place.clone()))?;
        self.place = Some(place);
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

impl LogSync {
    fn open(database: &Path, place: Option<place::Place>) -> Result<Self, Error> {
        let path = open::beside(database, "-wal");
        let log = File::open(&path).map_err(|error| open::unopenable(&path, &error))?;
        Ok(Self { log, path, place })
    }

    /// Returns when everything that was committed before is durable, in files that the next start will find. Fails with
    /// [`Error::Displaced`] if it won't.
    pub fn sync(&self) -> Result<(), Error> {
        let unsynced = |problem| Error::Unsynced { path: self.path.display().to_string(), problem };
        self.log.sync_data().map_err(unsynced)?;
        self.place.as_ref().map_or(Ok(()), place::Place::check)
    }
}

impl Drop for Store {
    /// Moves what was acknowledged into the file if the log lost its name, since nobody would find it there.
    fn drop(&mut self) {
        if self.place.as_ref().is_some_and(place::Place::may_rescue) {
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

/// Whether the index of the write-ahead log, a file of its own, could not grow.
fn is_index_refused(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

fn integer(sequence: Sequence) -> Result<i64, Error> {
    i64::try_from(sequence.0).map_err(|_| Error::Damaged(format!("revision {} is out of range", sequence.0)))
}

fn sequence(revision: i64) -> Result<Sequence, Error> {
    u64::try_from(revision).map(Sequence).map_err(|_| Error::Damaged(format!("revision {revision} is negative")))
}
