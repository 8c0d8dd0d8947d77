//! Opening the file: the lock, what kind of file it is, the pragmas, the migrations.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Error, LogReader, Store, log};
use crate::domain::ids::Lineage;

/// Marks a SQLite file as ours: "QGAT".
const APPLICATION_ID: i64 = 0x5147_4154;

/// The schema's steps, oldest first. Append only: a step that was ever released is never changed.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("audit_log.sql")];

/// The first SQLite in which WAL mode doesn't lose commits (its WAL-reset bug is mended in it).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long to wait while somebody with the `sqlite3` shell holds a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the file, creating it if there is none. `new_store_id` names it if it is new. What isn't ours, or is newer
    /// than this version, is refused and left as it is.
    pub fn open(path: &Path, new_store_id: u64) -> Result<Self, Error> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(Error::OldSqlite { found: rusqlite::version() });
        }
        let path = &real_path(path)?;
        let lock = lock(path)?;
        // A path is a path: nothing in it is read as a URI.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|error| unopenable(path, &error))?;
        refuse_foreign(path, &connection)?;
        prepare(path, &connection)?;
        migrate(&mut connection)?;
        let lineage = lineage(&connection, new_store_id)?;
        let heads = log::heads(&connection)?;
        Ok(Self { connection, lineage, heads, path: path.to_owned(), _lock: lock })
    }
}

impl LogReader {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| unopenable(path, &error))?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Another connection to the same file, for work that takes a while.
    pub fn another(&self) -> Result<Self, Error> {
        Self::open(&self.path)
    }
}

/// The file itself, whichever symbolic links lead to it, so that it has one lock. Creates it, empty, if there is
/// none: that is what SQLite makes a new database of.
fn real_path(path: &Path) -> Result<PathBuf, Error> {
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => unopenable(path, &"the folder doesn't exist; create it first"),
        _ => unopenable(path, &error),
    };
    let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(refused)?;
    if file.metadata().map_err(refused)?.nlink() > 1 {
        // Each of its names would have a lock, and a write-ahead log, of its own.
        return Err(unopenable(path, &"the file has more than one name (hard links); remove the others, or copy it"));
    }
    path.canonicalize().map_err(refused)
}

/// Takes the lock file beside the database. The system lets go of it when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, Error> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path);
    let mut file = opened.map_err(|error| unopenable(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only to say more in the message: an unreadable lock file is still a taken lock.
            let _ = file.read_to_string(&mut owner);
            let owner = if owner.trim().is_empty() { "unknown" } else { owner.trim() }.to_owned();
            return Err(Error::InUse { path: path.display().to_string(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(unopenable(&lock_path, &error)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind());
    let written = written.and_then(|()| write!(file, "process {}", std::process::id()));
    written.map_err(|error| unopenable(&lock_path, &error))?;
    Ok(file)
}

/// Looks at the file before anything is written to it.
fn refuse_foreign(path: &Path, connection: &Connection) -> Result<(), Error> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = match read("SELECT count(*) FROM sqlite_schema") {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(Error::NotOurs { path: path.display().to_string() });
        }
        Err(error) => return Err(unopenable(path, &error)),
    };
    let application_id = read("PRAGMA application_id")?;
    let is_new = tables == 0 && application_id == 0;
    if !is_new && application_id != APPLICATION_ID {
        return Err(Error::NotOurs { path: path.display().to_string() });
    }
    let found = read("PRAGMA user_version")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::NewerSchema { path: path.display().to_string(), found, known });
    }
    Ok(())
}

fn prepare(path: &Path, connection: &Connection) -> Result<(), Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Readers don't stop the writer, and a commit is one append and one sync. The mode is a property of the file.
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|error| unopenable(path, &error))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::Unopenable {
            path: path.display().to_string(),
            problem: format!("it can't be used with a write-ahead log (the journal mode stays {mode})"),
        });
    }
    // FULL syncs the log at every commit: what was acknowledged survives a power failure. NORMAL would not promise that.
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    // Off by default in SQLite; the schema's references hold only with it.
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    // A file from elsewhere must not make us run functions that its schema names.
    connection.execute_batch("PRAGMA trusted_schema = OFF")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

fn lineage(connection: &Connection, new_store_id: u64) -> Result<Lineage, Error> {
    connection.execute(
        "INSERT OR IGNORE INTO store (only_row, store_id, epoch) VALUES (1, ?, 1)",
        [format!("{new_store_id:016x}")],
    )?;
    let row = connection
        .query_row("SELECT store_id, epoch FROM store", [], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
        .optional()?;
    let (store_id, epoch) = row.ok_or_else(|| Error::Damaged("table store is empty".to_owned()))?;
    let store_id = u64::from_str_radix(&store_id, 16);
    let store_id = store_id.map_err(|_| Error::Damaged("store.store_id is not 16 hexadecimal digits".to_owned()))?;
    Ok(Lineage { store_id, epoch })
}

fn unopenable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unopenable { path: path.display().to_string(), problem: error.to_string() }
}
