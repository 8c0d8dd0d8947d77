//! Opening the file: the lock, what kind of file it is, the pragmas, the migrations.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, config::DbConfig};

use super::{Error, LONG_LOG, LogReader, Store, kind, log, place};
use crate::domain::ids::Lineage;

/// Marks a SQLite file as ours: "QGAT".
const APPLICATION_ID: i64 = 0x5147_4154;

/// The schema's steps, oldest first. Append only: a step that was ever released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("audit_log.sql"),
    include_str!("session_checks.sql"),
    include_str!("session_keys.sql"),
];

/// The schema that this version reads and writes.
pub(super) fn known_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The first SQLite in which WAL mode doesn't lose commits (its WAL-reset bug is mended in it).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long to wait while somebody with the `sqlite3` shell holds a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What every SQLite file begins with.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// The most that a file holds of a database whose creation was cut short.
const NEW_FILE: u64 = 4_096;

/// How much of the write-ahead log's file is kept for the next changes once its content is in the database, in bytes.
const LONGEST_LOG: u64 = 64 << 20;

impl Store {
    /// Opens the file, creating it if there is none. `new_store_id` names it if it is new. What isn't ours, or is newer
    /// than this version, is refused and left as it is.
    pub fn open(path: &Path, new_store_id: u64) -> Result<Self, Error> {
        require_sqlite()?;
        let path = &real_path(path)?;
        let lock = Lock::take(path)?;
        match open_locked(path, new_store_id) {
            Ok((connection, lineage, heads)) => {
                Ok(Self { connection, lineage, heads, path: path.to_owned(), long_log: LONG_LOG, place: None, lock })
            }
            Err(error) => {
                lock.withdraw();
                Err(at_open(path, error))
            }
        }
    }
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

/// The file itself, whichever symbolic links lead to it, so that it has one lock. Creates it, empty, if there is
/// none: that is what SQLite makes a new database of.
pub(super) fn real_path(path: &Path) -> Result<PathBuf, Error> {
    let refused = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => unopenable(path, &"the folder doesn't exist; create it first"),
        ErrorKind::IsADirectory => unopenable(path, &"it is a folder; name a file in it"),
        ErrorKind::PermissionDenied => {
            unopenable(path, &"permission denied; the user that queuegate runs as must own the file and its folder")
        }
        ErrorKind::ReadOnlyFilesystem => {
            unopenable(path, &"the file system is mounted read-only; mount it for writing, or give another --database")
        }
        ErrorKind::StorageFull => Error::NoSpace { path: path.display().to_string() },
        _ => unopenable(path, &error),
    };
    kind::refuse_special(path)?;
    // Who calls whom is nobody else's business. What SQLite creates beside the file gets the file's mode.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(refused)?;
    place::refuse_elsewhere(path, &file)?;
    if file.metadata().map_err(refused)?.nlink() > 1 {
        // Each of its names would have a lock, and a write-ahead log, of its own.
        return Err(unopenable(path, &"the file has more than one name (hard links); remove the others, or copy it"));
    }
    path.canonicalize().map_err(refused)
}

/// How often, and for how long, a lock is waited for: a process that whoever had it started has it too until it
/// becomes another program, which is a moment later.
const LOCK_PAUSES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The lock file beside the database, and the lock on the database itself. The system releases both when the process ends,
/// however it ends.
///
/// The first goes by name and says who holds it. The second goes by inode, so it also keeps a process away that knows the
/// file by another path, such as one in another container. SQLite's own locks are of another kind and don't meet it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    is_new: bool,
    /// INVARIANT: closed after SQLite's last connection, whose locks would be released with it.
    database: Arc<File>,
}

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Self, Error> {
        let path = beside(database, ".lock");
        let (mut file, is_new) = Self::take_name(database, &path)?;
        match Self::take_inode(database) {
            Ok(inode) => {
                // Only to say more to the second process: there may be no space for it.
                let _ = file.set_len(0).and_then(|()| file.rewind());
                let _ = write!(file, "process {}", std::process::id());
                Ok(Self { file, path, is_new, database: Arc::new(inode) })
            }
            Err(error) => {
                withdraw(&path, is_new);
                Err(error)
            }
        }
    }

    /// The database's own file, which stays open for as long as the lock is held.
    pub(super) fn database(&self) -> Arc<File> {
        Arc::clone(&self.database)
    }

    /// Locks the lock file. Says whether this made it.
    fn take_name(database: &Path, path: &Path) -> Result<(File, bool), Error> {
        let mut pauses = 0..LOCK_PAUSES;
        loop {
            let (mut file, is_new) = Self::open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if pauses.next().is_some() => {
                    std::thread::sleep(LOCK_PAUSE);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    // Only to say more in the message: an unreadable lock file is still a taken lock.
                    let _ = file.read_to_string(&mut owner);
                    let owner = if owner.trim().is_empty() { "unknown" } else { owner.trim() }.to_owned();
                    return Err(Error::InUse { path: database.display().to_string(), owner });
                }
                Err(TryLockError::Error(error)) => return Err(unopenable(path, &error)),
            }
            // Whoever was refused withdraws the lock that it made. One that is withdrawn locks nothing.
            let locked = file.metadata().map(|of| (of.dev(), of.ino())).map_err(|error| unopenable(path, &error))?;
            if path.metadata().is_ok_and(|of| (of.dev(), of.ino()) == locked) {
                return Ok((file, is_new));
            }
        }
    }

    /// Locks the database's inode.
    fn take_inode(database: &Path) -> Result<File, Error> {
        let refused = |error: std::io::Error| unopenable(database, &error);
        let file = OpenOptions::new().read(true).write(true).open(database).map_err(refused)?;
        let mut pauses = 0..LOCK_PAUSES;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if pauses.next().is_some() => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let owner = "it knows the file by another path".to_owned();
                    return Err(Error::InUse { path: database.display().to_string(), owner });
                }
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
    }

    fn open(path: &Path) -> Result<(File, bool), Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let opened = match options.clone().create_new(true).open(path) {
            Ok(file) => Ok((file, true)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                options.create(true).truncate(false).open(path).map(|file| (file, false))
            }
            Err(error) => Err(error),
        };
        opened.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                let problem = "nothing can be created beside the database; the folder must be writable for queuegate, \
                               which keeps a lock and a write-ahead log there";
                unopenable(path, &problem)
            }
            ErrorKind::StorageFull => Error::NoSpace { path: path.display().to_string() },
            _ => unopenable(path, &error),
        })
    }

    /// Leaves nothing beside a file that was refused. INVARIANT: removed while it is held, so that nobody takes it for one.
    pub(super) fn withdraw(self) {
        withdraw(&self.path, self.is_new);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file may stay open a moment longer, where it is still looked at. The lock is not needed for that.
        let _ = self.database.unlock();
        let _ = self.file.unlock();
    }
}

fn withdraw(path: &Path, is_new: bool) {
    if is_new {
        // It may stay: it is empty of meaning once nobody holds it.
        let _ = std::fs::remove_file(path);
    }
}

/// Looks at the file before SQLite may touch it: merely by opening it, SQLite would roll back what another program left
/// half done.
pub(super) fn look(path: &Path) -> Result<(), Error> {
    let not_ours = || Error::NotOurs { path: path.display().to_string() };
    let unreadable = |error: std::io::Error| unopenable(path, &error);
    let mut header = Vec::with_capacity(100);
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Read::by_ref(&mut file).take(100).read_to_end(&mut header).map_err(unreadable)?;
    // Closed before SQLite opens it: closing it later would let go of SQLite's own locks.
    drop(file);
    if length == 0 {
        return Ok(());
    }
    // Where they are is part of SQLite's file format.
    header.resize(100, 0);
    if place::has_log(&header) {
        place::refuse_mounted(path)?;
    }
    let number = |at: usize| header.get(at..at + 4).and_then(|four| four.try_into().ok()).map(i32::from_be_bytes);
    let (Some(user_version), Some(application_id)) = (number(60), number(68)) else { return Err(not_ours()) };
    // If the power fails while SQLite makes its first page, part of it may be there, and the journal that takes it back.
    let is_begun = length <= NEW_FILE && application_id == 0 && beside(path, "-journal").exists();
    if is_begun {
        return Ok(());
    }
    if !header.starts_with(MAGIC) {
        return Err(not_ours());
    }
    match i64::from(application_id) {
        APPLICATION_ID => refuse_newer(path, user_version.into()),
        // It may be ours all the same, with everything still in the write-ahead log.
        0 => match connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|reader| refuse_foreign(path, &reader)) {
            // Another program left a change half done.
            Err(Error::Sqlite(error)) if is_read_only(&error) => Err(not_ours()),
            looked => looked,
        },
        _ => Err(not_ours()),
    }
}

pub(super) fn refuse_foreign(path: &Path, connection: &Connection) -> Result<(), Error> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = match read("SELECT count(*) FROM sqlite_schema") {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(Error::NotOurs { path: path.display().to_string() });
        }
        Err(error) => return Err(error.into()),
    };
    let application_id = read("PRAGMA application_id")?;
    let is_new = tables == 0 && application_id == 0;
    if !is_new && application_id != APPLICATION_ID {
        return Err(Error::NotOurs { path: path.display().to_string() });
    }
    refuse_newer(path, read("PRAGMA user_version")?)
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), Error> {
    let known = known_schema();
    if found > known {
        return Err(Error::NewerSchema { path: path.display().to_string(), found, known });
    }
    Ok(())
}

fn prepare(path: &Path, connection: &Connection) -> Result<(), Error> {
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

pub(super) fn migrate(connection: &mut Connection) -> Result<(), Error> {
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
    read_lineage(connection)
}

pub(super) fn read_lineage(connection: &Connection) -> Result<Lineage, Error> {
    let row = connection
        .query_row("SELECT store_id, epoch FROM store", [], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
        .optional()?;
    let (store_id, epoch) = row.ok_or_else(|| Error::Damaged("table store is empty".to_owned()))?;
    let store_id = u64::from_str_radix(&store_id, 16);
    let store_id = store_id.map_err(|_| Error::Damaged("store.store_id is not 16 hexadecimal digits".to_owned()))?;
    Ok(Lineage { store_id, epoch })
}

pub(super) fn unopenable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unopenable { path: path.display().to_string(), problem: error.to_string() }
}

/// What went wrong, in the words of whoever is to mend it.
pub(super) fn at_open(path: &Path, error: Error) -> Error {
    match error {
        Error::Full(_) => Error::NoSpace { path: path.display().to_string() },
        // The index of the write-ahead log is made anew at every start, and takes a little space.
        Error::Sqlite(error) if super::is_index_refused(&error) => Error::NoSpace { path: path.display().to_string() },
        Error::Sqlite(error) if is_read_only(&error) => {
            let problem = "it, or the write-ahead log beside it, can only be read; make them and the folder writable for \
                           queuegate";
            unopenable(path, &problem)
        }
        Error::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            let problem = format!(
                "{error}; queuegate must be able to create files in its folder, and to read and write those beside it"
            );
            unopenable(path, &problem)
        }
        error => error.of_file(path),
    }
}

fn is_read_only(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ReadOnly)
}

/// What lies beside a database by its name and a suffix.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
