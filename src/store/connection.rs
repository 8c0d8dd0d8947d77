//! Connections to SQLite, and the bytes that its files begin with.

use std::{ops::Range, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::error::Error;

/// The first SQLite in which WAL mode doesn't lose commits (its WAL-reset bug is mended in it).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long to wait while somebody with the `sqlite3` shell holds a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the write-ahead log's file is kept for the next changes once its content is in the database, in bytes.
const LONGEST_LOG: u64 = 64 << 20;

/// What every SQLite file begins with.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where SQLite's header says how the file is journaled, and what it says of a write-ahead log.
const JOURNAL_AT: Range<usize> = 18..20;
const WRITE_AHEAD: &[u8] = &[2, 2];

pub(super) fn require_sqlite() -> Result<(), Error> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(Error::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// A connection that moves nothing into the file by itself: neither after a commit, where SQLite would keep a failure to
/// itself, nor when it is closed, which may be because the file is refused, or because the disk failed.
pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    // A path is a path: nothing in it is read as a URI.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Set a connection up to write.
pub(super) fn prepare(path: &Path, connection: &Connection) -> Result<(), Error> {
    // Readers don't stop the writer, and a commit is one append and one sync. The mode is a property of the file.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::Unopenable {
            path: path.display().to_string(),
            problem: format!("it can't be used with a write-ahead log (the journal mode stays {mode})"),
        });
    }
    // FULL syncs the log at every commit: what was acknowledged survives a power failure. NORMAL would not promise that.
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    // A log that a large import made long gives its space back once it is in the file.
    connection.execute_batch(&format!("PRAGMA journal_size_limit = {LONGEST_LOG}"))?;
    // Off by default in SQLite; the schema's references hold only with it.
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    // A file from elsewhere must not make us run functions that its schema names.
    connection.execute_batch("PRAGMA trusted_schema = OFF")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Whether a database's header says that there is a write-ahead log beside it.
pub(super) fn has_log(header: &[u8]) -> bool {
    header.get(JOURNAL_AT) == Some(WRITE_AHEAD)
}
