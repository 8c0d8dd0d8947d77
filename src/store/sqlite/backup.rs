//! Backups of a database, made while it is served, and databases restored from them.
//!
//! INVARIANT: a file gets its name only once it is complete, verified and on disk.
//!
//! INVARIANT: a restored database has a later epoch than any before. So revisions, etags and page tokens from after the
//! backup are refused, and not misread.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, backup::Backup};

use super::{
    connection::connect,
    examine::{examine, open_to_read},
    lock::Lock,
    paths::{INDEX, JOURNAL, LOG, beside, real_path},
    schema::migrate,
};
use crate::{
    domain::{ids::Revision, time::Timestamp},
    store::{error::Error, examination::Examination},
};

/// The number of pages that are copied between two progress reports.
const PAGES_AT_ONCE: i32 = 1_000;

/// The advice if there is a file where a database is to be made.
pub(super) const HINT: &str = "move it away, with the -wal and -shm files beside it, or give another name";

/// The result of a restore.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The examination of the backup.
    pub examination: Examination,
    /// The end of the backup's history.
    pub from: Option<Revision>,
    /// The start of the database: the same state, in a new epoch.
    pub now: Option<Revision>,
}

/// Back up a database as it is at one moment, even while another process serves it. The backup is one file, verified.
/// `progress` gets the done and the total number: of pages to copy, then of events to verify.
pub fn back_up(database: &Path, file: &Path, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    let source = open_to_read(database)?;
    let copy = Copy::begin(file, "give the backup another name")?;
    copy.fill(&source.connection, &progress).map_err(|error| error.of_file(database))?;
    source.settle()?;
    let examination = examine(&copy.partial, &progress)?;
    if !examination.is_whole() {
        // A copy of a damaged database is as damaged, and must not be taken for a backup.
        return Err(Error::Broken { path: database.display().to_string(), problems: examination.problems });
    }
    copy.finish()?;
    Ok(examination)
}

/// Restore a backup as a new database. An existing file is not changed.
pub fn restore(file: &Path, database: &Path, now: Timestamp, progress: impl Fn(u64, u64)) -> Result<Restored, Error> {
    let source = open_to_read(file)?.connection;
    let made = make_database(database, |copy| make_of(copy, &source, file, now, &progress));
    made.map_err(|error| error.of_file(file))
}

/// Make a new database. `make` fills the file and gives it its name.
pub(super) fn make_database<T>(database: &Path, make: impl FnOnce(Copy) -> Result<T, Error>) -> Result<T, Error> {
    if let Err(exists) = refuse_existing(database, HINT) {
        if database.is_file() {
            // Don't advise moving away a database that is being served.
            Lock::take(&real_path(database)?)?.withdraw();
        }
        return Err(exists);
    }
    let database = &real_path(database)?;
    // No other process can serve it meanwhile. A process that served it just before left data in the file.
    let lock = Lock::take(database)?;
    let made = Copy::begin(database, HINT).and_then(make);
    lock.withdraw();
    made
}

/// Restore into the copy, and give it its name.
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

/// Begin an epoch. Its number is the present second, so that two databases restored from one backup differ.
pub(super) fn begin_epoch(connection: &Connection, now: Timestamp) -> Result<u32, Error> {
    let second = u32::try_from(now.unix_ms() / 1_000).unwrap_or(0);
    let next = "UPDATE store SET epoch = max(epoch + 1, ?) RETURNING epoch";
    Ok(connection.query_row(next, [second], |row| row.get(0))?)
}

/// Refuse an existing file that isn't empty, and one beside files that SQLite would take for its own logs.
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

/// A file in progress under another name. If it is dropped before it is finished, it is removed.
pub(super) struct Copy {
    pub file: PathBuf,
    pub partial: PathBuf,
    is_finished: bool,
}

impl Copy {
    /// Reserve the name with an empty file. An existing empty file is accepted too, because nothing is lost.
    fn begin(file: &Path, hint: &'static str) -> Result<Self, Error> {
        refuse_existing(file, hint)?;
        let unwritable = |problem| Error::Unwritable { path: file.display().to_string(), problem };
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if !file.exists() {
            create(file).map_err(unwritable)?;
        }
        let copy = Self { file: file.to_owned(), partial: beside(file, ".partial"), is_finished: false };
        // The change of the file, as a phrase that follows its path.
        for suffix in ["", JOURNAL, LOG, INDEX] {
            let left = beside(&copy.partial, suffix);
            if left.exists() {
                std::fs::remove_file(&left).map_err(unwritable)?;
            }
        }
        create(&copy.partial).map_err(unwritable)?;
        Ok(copy)
    }

    /// Copy every page, as all of them are at one moment.
    fn fill(&self, source: &Connection, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let mut target = connect(&self.partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // The copy counts only once it is synced completely, at the end.
        target.execute_batch("PRAGMA synchronous = OFF")?;
        // Within a transaction the source doesn't change, so no change restarts the copy.
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
        // Make it one file, without a log beside it.
        target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        target.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Give the file its name, durably.
    pub fn finish(mut self) -> Result<(), Error> {
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
            // A file that can't be removed is empty, or its name shows that it isn't finished.
            let _ = std::fs::remove_file(&self.partial);
            if self.file.metadata().is_ok_and(|file| file.len() == 0) {
                let _ = std::fs::remove_file(&self.file);
            }
        }
    }
}
