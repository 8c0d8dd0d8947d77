//! The journal's file and its entries in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use tracing::{error, warn};

use super::{
    append::{Length, append_line},
    entry::{JournalEntry, Record},
    error::Error,
};
use crate::agi::key_locks::MemberKey;

/// The size above which the file is compacted, in bytes.
pub(super) const COMPACT_ABOVE_BYTES: u64 = 64 * 1024;

/// The factor by which the file must have grown since it was last compacted.
const COMPACT_GROWTH: u64 = 4;

/// The durability of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The line is synced, so it survives a power failure.
    Synced,
    /// The line survives the end of this process only.
    Unsynced,
}

/// The journal: at most one pending operation for each member.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    pub(super) entries: BTreeMap<MemberKey, JournalEntry>,
    /// The members whose pending operation is unsynced.
    unsynced: BTreeSet<MemberKey>,
    length: Length,
    /// The length of the file when it was last compacted, in bytes.
    compacted_bytes: u64,
}

impl JournalFile {
    /// Open the file, or create it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io = |problem| Error::Io { file: path.to_owned(), problem };
        let mut file = open_locked(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        let whole_lines = text.get(..text.rfind('\n').map_or(0, |end| end + 1)).unwrap_or_default();
        let mut entries = BTreeMap::new();
        for (index, line) in whole_lines.lines().enumerate() {
            let record = serde_json::from_str(line);
            match record.map_err(|_| Error::NotOurs { file: path.to_owned(), line: index + 1 })? {
                Record::Pending(entry) => drop(entries.insert(entry.key(), entry)),
                Record::Done { pbx_queue, interface } => drop(entries.remove(&MemberKey::new(&pbx_queue, &interface))),
            }
        }
        // The name of a new file must survive a power failure too.
        sync_folder_of(path).map_err(io)?;
        let length = Length::of(whole_lines);
        if whole_lines.len() < text.len() {
            // A crash has cut off the last line.
            file.set_len(length.bytes).map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), file, entries, unsynced: BTreeSet::new(), length, compacted_bytes: 0 })
    }

    /// Add a pending operation. It replaces an earlier one of the same member.
    pub(super) fn add(&mut self, entry: JournalEntry, durability: Durability) {
        self.append(&Record::Pending(entry.clone()), durability);
        let key = entry.key();
        match durability {
            Durability::Synced => drop(self.unsynced.remove(&key)),
            Durability::Unsynced => drop(self.unsynced.insert(key.clone())),
        }
        self.entries.insert(key, entry);
        if durability == Durability::Synced {
            self.compact_if_due();
        }
    }

    /// Remove the pending operation of a member.
    pub(super) fn remove(&mut self, key: &MemberKey) {
        if let Some(entry) = self.entries.remove(key) {
            let durability = if self.unsynced.remove(key) { Durability::Unsynced } else { Durability::Synced };
            self.append(&Record::Done { pbx_queue: entry.pbx_queue, interface: entry.interface }, durability);
            self.compact_if_due();
        }
    }

    /// Append a line. After a failure the operation is pending in memory only, until this process ends.
    fn append(&mut self, record: &Record, durability: Durability) {
        let written = serde_json::to_string(record).map_err(std::io::Error::other).and_then(|line| {
            append_line(&mut self.file, &mut self.length, format!("{line}\n").as_bytes())?;
            match durability {
                Durability::Synced => self.file.sync_data(),
                Durability::Unsynced => Ok(()),
            }
        });
        if let Err(error) = written {
            error!(
                file = %self.path.display(), %error,
                "the journal can't be written; a restart would lose pending operations"
            );
        }
    }

    /// INVARIANT: the file is at most a few times as large as its pending operations, however long one stays pending.
    fn compact_if_due(&mut self) {
        let bytes = self.length.bytes;
        if bytes <= COMPACT_ABOVE_BYTES || bytes <= self.compacted_bytes.saturating_mul(COMPACT_GROWTH) {
            return;
        }
        if let Err(error) = self.compact() {
            // The next attempt comes when the file has grown.
            self.compacted_bytes = bytes;
            warn!(file = %self.path.display(), %error, "the journal can't be compacted");
        }
    }

    /// Write the pending operations to another file, and rename it. A crash leaves one file or the other.
    fn compact(&mut self) -> Result<(), Error> {
        let io = |file: &Path, problem| Error::Io { file: file.to_owned(), problem };
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut text = String::new();
        for entry in self.entries.values() {
            let line = serde_json::to_string(&Record::Pending(entry.clone()));
            text.push_str(&line.map_err(|error| io(&new, error.into()))?);
            text.push('\n');
        }
        // A crash may have left such a file. It was never the journal.
        let mut file = open_locked(&new)?;
        file.set_len(0).map_err(|problem| io(&new, problem))?;
        file.write_all(text.as_bytes()).map_err(|problem| io(&new, problem))?;
        file.sync_all().map_err(|problem| io(&new, problem))?;
        std::fs::rename(&new, &self.path).map_err(|problem| io(&self.path, problem))?;
        self.file = file;
        self.length = Length::of(&text);
        self.compacted_bytes = self.length.bytes;
        sync_folder_of(&self.path).map_err(|problem| io(&self.path, problem))
    }
}

/// Open or create a file, and lock it against other processes.
fn open_locked(path: &Path) -> Result<File, Error> {
    let io = |problem| Error::Io { file: path.to_owned(), problem };
    let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => Error::InUse(path.to_owned()),
        std::fs::TryLockError::Error(problem) => io(problem),
    })?;
    Ok(file)
}

/// Sync the folder of a file, so that the file's name survives a power failure.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
