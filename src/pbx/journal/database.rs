//! The journal's file, a small SQLite database, and its entries in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, params};
use tracing::error;

use super::{entry::JournalEntry, error::Error, lines};
use crate::pbx::key_locks::MemberKey;

/// Marks a SQLite file as a journal: "QGJL".
const APPLICATION_ID: u32 = 0x5147_4A4C;

/// The first bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// One row per member with a pending operation. The entry is JSON.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS pending (
    pbx_queue TEXT NOT NULL,
    interface TEXT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (pbx_queue, interface)
) STRICT, WITHOUT ROWID";

/// The durability of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The change is synced, so it survives a power failure.
    Synced,
    /// The change survives the end of this process only.
    Unsynced,
}

/// The journal: at most one pending operation for each member.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
    pub(super) entries: BTreeMap<MemberKey, JournalEntry>,
    /// The members whose pending operation is unsynced.
    unsynced: BTreeSet<MemberKey>,
    /// Locked against other processes. INVARIANT: closed after the connection, whose own locks would end with it.
    _file: File,
}

impl Database {
    /// Open the file, or create it. A journal of an earlier version, a text file, becomes a database.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io = |problem| Error::Io { file: path.to_owned(), problem };
        let mut file = open_locked(path)?;
        let mut header = Vec::new();
        Read::by_ref(&mut file).take(16).read_to_end(&mut header).map_err(io)?;
        if !header.is_empty() && header != MAGIC {
            file = convert(path, file, &header)?;
        }
        // The name of a new file must survive a power failure too.
        sync_folder_of(path).map_err(io)?;
        let sqlite = |problem| Error::Sqlite { file: path.to_owned(), problem };
        let connection = connect(path).map_err(sqlite)?.ok_or_else(|| Error::NotOurs(path.to_owned()))?;
        let entries = entries(&connection).map_err(sqlite)?;
        Ok(Self { path: path.to_owned(), connection, entries, unsynced: BTreeSet::new(), _file: file })
    }

    /// Add a pending operation. It replaces an earlier one of the same member.
    pub(super) fn add(&mut self, entry: JournalEntry, durability: Durability) {
        let key = entry.key();
        self.write(durability, |connection| insert(connection, &entry));
        match durability {
            Durability::Synced => drop(self.unsynced.remove(&key)),
            Durability::Unsynced => drop(self.unsynced.insert(key.clone())),
        }
        self.entries.insert(key, entry);
    }

    /// Remove the pending operation of a member.
    pub(super) fn remove(&mut self, key: &MemberKey) {
        if self.entries.remove(key).is_some() {
            let durability = if self.unsynced.remove(key) { Durability::Unsynced } else { Durability::Synced };
            self.write(durability, |connection| {
                let delete = "DELETE FROM pending WHERE pbx_queue = ? AND interface = ?";
                connection.execute(delete, params![key.queue, key.interface]).map(drop)
            });
        }
    }

    /// Write a change. After a failure the operation is pending in memory only, until this process ends.
    fn write(&self, durability: Durability, change: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        let synchronous = match durability {
            Durability::Synced => "FULL",
            Durability::Unsynced => "NORMAL",
        };
        let synchronous = self.connection.pragma_update(None, "synchronous", synchronous);
        if let Err(error) = synchronous.and_then(|()| change(&self.connection)) {
            error!(
                file = %self.path.display(), %error,
                "the journal can't be written; a restart would lose pending operations"
            );
        }
    }
}

/// Connect to a journal, or return `None` if the file is another database.
fn connect(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let connection = Connection::open(path)?;
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0));
    let is_new = read("SELECT count(*) FROM sqlite_schema")? == 0;
    if !is_new && read("PRAGMA application_id")? != APPLICATION_ID {
        return Ok(None);
    }
    // A commit is one append, which `synchronous` syncs or not.
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).optional()?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(SCHEMA)?;
    Ok(Some(connection))
}

fn entries(connection: &Connection) -> rusqlite::Result<BTreeMap<MemberKey, JournalEntry>> {
    let mut statement = connection.prepare("SELECT entry FROM pending")?;
    let rows = statement.query_map([], |row| {
        let entry: JournalEntry = serde_json::from_str(row.get_ref(0)?.as_str()?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))?;
        Ok((entry.key(), entry))
    })?;
    rows.collect()
}

fn insert(connection: &Connection, entry: &JournalEntry) -> rusqlite::Result<()> {
    let MemberKey { queue, interface } = entry.key();
    let text = serde_json::to_string(entry).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let insert = "INSERT OR REPLACE INTO pending (pbx_queue, interface, entry) VALUES (?, ?, ?)";
    connection.execute(insert, params![queue, interface, text]).map(drop)
}

/// Make a database of a text file. A crash leaves one file or the other.
fn convert(path: &Path, mut text_file: File, header: &[u8]) -> Result<File, Error> {
    let io = |problem| Error::Io { file: path.to_owned(), problem };
    let mut text = header.to_vec();
    text_file.read_to_end(&mut text).map_err(io)?;
    let pending = lines::read(&text).ok_or_else(|| Error::NotOurs(path.to_owned()))?;
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    // A crash may have left such a file. It was never the journal.
    let file = open_locked(&new)?;
    file.set_len(0).map_err(io)?;
    let filled = connect(&new).and_then(|connection| {
        let Some(connection) = connection else { return Ok(()) };
        pending.values().try_for_each(|entry| insert(&connection, entry))?;
        // Everything into the file itself, which is renamed without its log.
        connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0)).map(drop)
    });
    filled.map_err(|problem| Error::Sqlite { file: new.clone(), problem })?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    Ok(file)
}

/// Open or create a file, and lock it against other processes.
fn open_locked(path: &Path) -> Result<File, Error> {
    let io = |problem| Error::Io { file: path.to_owned(), problem };
    let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::InUse(path.to_owned()),
        TryLockError::Error(problem) => io(problem),
    })?;
    Ok(file)
}

/// Sync the folder of a file, so that the file's name survives a power failure.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
