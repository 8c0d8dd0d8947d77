//! Connections to SQLite, and the first bytes of its files.

use std::{ops::Range, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::store::error::Error;

/// The first version of SQLite without the WAL-reset bug, which loses commits in WAL mode.
const OLDEST_SQLITE: i32 = 3_051_003;

/// The time to wait for a lock of another program, such as the `sqlite3` shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size in bytes to which the write-ahead log's file is truncated once its content is in the database.
const LONGEST_LOG: u64 = 64 << 20;

/// The first bytes of every SQLite file.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// The place of the journal mode in SQLite's header, and its value for a write-ahead log.
const JOURNAL_AT: Range<usize> = 18..20;
const WRITE_AHEAD: &[u8] = &[2, 2];

pub(super) fn require_sqlite() -> Result<(), Error> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(Error::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Open a connection without automatic checkpoints. After a commit, SQLite would hide the failure of one. At the end,
/// the connection may be closed because the file was refused or the disk failed.
pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    // The path is never read as a URI.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Prepare a connection to write.
pub(super) fn prepare(path: &Path, connection: &Connection) -> Result<(), Error> {
    // Readers don't stop the writer, and a commit is one append and one sync. The mode is a property of the file.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::Unopenable {
            path: path.display().to_string(),
            problem: format!("it can't be used with a write-ahead log (the journal mode stays {mode})"),
        });
    }
    // FULL syncs the log at every commit, so an acknowledged change survives a power failure. NORMAL doesn't promise
    // that.
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    // Give back the space of a log after a large import, once its content is in the file.
    connection.execute_batch(&format!("PRAGMA journal_size_limit = {LONGEST_LOG}"))?;
    // Off by default in SQLite; without it the schema's references are not enforced.
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    // Don't let a foreign file's schema run functions.
    connection.execute_batch("PRAGMA trusted_schema = OFF")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Return whether a database's header says that it has a write-ahead log.
pub(super) fn has_log(header: &[u8]) -> bool {
    header.get(JOURNAL_AT) == Some(WRITE_AHEAD)
}
