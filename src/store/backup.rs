//! Copies of a database, made while it is served, and databases made of copies.
//!
//! INVARIANT: a file has its name only once it is complete, verified and on disk. INVARIANT: a database that was made of a
//! copy is of a later epoch than any before, so that whatever was handed out since the copy was made is refused, not
//! misread.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::{
    connection::connect,
    error::Error,
    examine::{Examination, examine, open_to_read},
    lock::Lock,
    paths::{INDEX, JOURNAL, LOG, beside, real_path},
    schema::migrate,
};
use crate::domain::{ids::Revision, time::Timestamp};

/// How many pages are copied between two tellings.
const PAGES_AT_ONCE: i32 = 1_000;

/// A database that was made of a copy.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What was found in the copy.
    pub examination: Examination,
    /// Where the copy's history ended.
    pub from: Option<Revision>,
    /// Where the database begins: the same state, in an epoch of its own.
    pub now: Option<Revision>,
}

/// Copies a database, which another process may be serving, as it is at one moment. The copy is one file, verified.
/// `progress` is told what is done of what there is to do: pages to copy, then events to verify.
pub fn back_up(database: &Path, file: &Path, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    let source = open_to_read(database)?;
    let copy = Copy::begin(file, "give the backup another name")?;
    copy.fill(&source.connection, &progress).map_err(|error| error.of_file(database))?;
    source.settle()?;
    let examination = examine(&copy.partial, &progress)?;
    if !examination.is_whole() {
        // A copy of what is broken is as broken, and is not to be taken for a backup.
        return Err(Error::Broken { path: database.display().to_string(), problems: examination.problems });
    }
    copy.finish()?;
    Ok(examination)
}

/// Makes a database of a copy. What is there already is not touched.
pub fn restore(file: &Path, database: &Path, now: Timestamp, progress: impl Fn(u64, u64)) -> Result<Restored, Error> {
    const HINT: &str = "move it away, with the -wal and -shm files beside it, or give another --database";
    let source = open_to_read(file)?.connection;
    if let Err(exists) = refuse_existing(database, HINT) {
        if database.is_file() {
            // Nobody is told to move away what is served.
            Lock::take(&real_path(database)?)?.withdraw();
        }
        return Err(exists);
    }
    let database = &real_path(database)?;
    // As long as it is made, nobody serves it. Whether somebody did just before shows in the file.
    let lock = Lock::take(database)?;
    let made = Copy::begin(database, HINT).and_then(|copy| make_of(copy, &source, file, now, &progress));
    lock.withdraw();
    made.map_err(|error| error.of_file(file))
}

/// Makes the database of a copy, and gives it its name.
fn make_of(
    copy: Copy,
    source: &Connection,
    file: &Path,
    now: Timestamp,
    progress: &impl Fn(u64, u64),
) -> Result<Restored, Error> {
    copy.fill(source, progress)?;
    let mut connection = connect(&copy.partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate(&mut connection)?;
    let examination = examine(&copy.partial, progress)?;
    if !examination.is_whole() {
        return Err(Error::Broken { path: file.display().to_string(), problems: examination.problems });
    }
    let from = examination.revision;
    let epoch = begin_epoch(&connection, now)?;
    connection.close().map_err(|(_, error)| error)?;
    copy.finish()?;
    let in_epoch = |mut revision: Revision| {
        revision.lineage.epoch = epoch;
        revision
    };
    Ok(Restored { examination, from, now: from.map(in_epoch) })
}

/// Begins an epoch. It is named after the second, so that two databases that are made of one copy differ.
fn begin_epoch(connection: &Connection, now: Timestamp) -> Result<u32, Error> {
    let second = u32::try_from(now.unix_ms() / 1_000).unwrap_or(0);
    let next = "UPDATE store SET epoch = max(epoch + 1, ?) RETURNING epoch";
    Ok(connection.query_row(next, [second], |row| row.get(0))?)
}

/// Refuses a file that holds something, and one beside which there is what SQLite would take for its own log.
fn refuse_existing(file: &Path, hint: &'static str) -> Result<(), Error> {
    let is_something = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file() || found.len() > 0);
    for suffix in ["", LOG, JOURNAL] {
        let path = beside(file, suffix);
        if is_something(&path) {
            return Err(Error::Exists { path: path.display().to_string(), hint });
        }
    }
    Ok(())
}

/// A file that is being made under another name. Dropped before it is finished, it leaves nothing.
struct Copy {
    file: PathBuf,
    partial: PathBuf,
    is_finished: bool,
}

impl Copy {
    /// Takes the name, with an empty file. An empty one that is there already may be taken too: it holds nothing.
    fn begin(file: &Path, hint: &'static str) -> Result<Self, Error> {
        refuse_existing(file, hint)?;
        let unwritable = |problem| Error::Unwritable { path: file.display().to_string(), problem };
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if !file.exists() {
            create(file).map_err(unwritable)?;
        }
        let copy = Self { file: file.to_owned(), partial: beside(file, ".partial"), is_finished: false };
        // What an earlier try left is no copy of anything; least of all what SQLite would take for this one's journal.
        for suffix in ["", JOURNAL, LOG, INDEX] {
            let left = beside(&copy.partial, suffix);
            if left.exists() {
                std::fs::remove_file(&left).map_err(unwritable)?;
            }
        }
        create(&copy.partial).map_err(unwritable)?;
        Ok(copy)
    }

    /// Copies every page, as all of them are at one moment.
    fn fill(&self, source: &Connection, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let mut target = connect(&self.partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // It counts only once all of it is synced, at the end.
        target.execute_batch("PRAGMA synchronous = OFF")?;
        // Within a transaction the source stays as it is, and the copy isn't begun anew at each change.
        let reading = source.unchecked_transaction()?;
        reading.query_row("SELECT count(*) FROM store", [], |_| Ok(()))?;
        let backup = Backup::new(source, &mut target)?;
        loop {
            let step = backup.step(PAGES_AT_ONCE)?;
            let pages = |count: i32| u64::try_from(count).unwrap_or(0);
            let (left, all) = (pages(backup.progress().remaining), pages(backup.progress().pagecount));
            progress(all.saturating_sub(left), all);
            if step == rusqlite::backup::StepResult::Done {
                break;
            }
        }
        drop(backup);
        // One file, without a log beside it.
        target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        target.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Gives the file its name, durably.
    fn finish(mut self) -> Result<(), Error> {
        let unwritable = |problem| Error::Unwritable { path: self.file.display().to_string(), problem };
        File::open(&self.partial).and_then(|file| file.sync_all()).map_err(unwritable)?;
        std::fs::rename(&self.partial, &self.file).map_err(unwritable)?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(unwritable)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.is_finished {
            // What can't be removed is empty, or says by its name that it isn't finished.
            let _ = std::fs::remove_file(&self.partial);
            if self.file.metadata().is_ok_and(|file| file.len() == 0) {
                let _ = std::fs::remove_file(&self.file);
            }
        }
    }
}
