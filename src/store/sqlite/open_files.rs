//! The open files of a database, and the check that their names still lead to them.
//!
//! The database, its write-ahead log and the log's index are found by name, but SQLite writes by inode. Once a name
//! leads to another inode or to none, the next process would not read the changes that were acknowledged here.

use std::{
    fs::{File, Metadata},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    connection::{MAGIC, has_log},
    error::unopenable,
    paths::{INDEX, LOG, beside},
};
use crate::store::error::Error;

/// The identity of a file under any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode(u64, u64);

impl From<&Metadata> for Inode {
    fn from(file: &Metadata) -> Self {
        Self(file.dev(), file.ino())
    }
}

/// The files of an open database, and their paths when it was opened.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    database: Arc<File>,
    /// The database, its log and the log's index.
    files: Vec<(PathBuf, Inode)>,
}

impl OpenFiles {
    /// Record the paths of an open database's files. `database` is the open file of this path.
    pub(super) fn of(path: &Path, database: Arc<File>) -> Result<Self, Error> {
        let note = |path: PathBuf| {
            // Don't open the files: closing one would release SQLite's locks on it.
            let found = path.metadata().map_err(|error| unopenable(&path, &error))?;
            Ok::<_, Error>((path, Inode::from(&found)))
        };
        let files = vec![note(path.to_owned())?, note(beside(path, LOG))?, note(beside(path, INDEX))?];
        Ok(Self { database, files })
    }

    /// Fail if one of the names leads elsewhere, or another program has overwritten the database.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (path, inode) in &self.files {
            let problem = match path.metadata() {
                Ok(found) if Inode::from(&found) == *inode => continue,
                Ok(_) => "was replaced by another file".to_owned(),
                Err(error) => format!("was removed or renamed ({error})"),
            };
            return Err(displaced(path, problem));
        }
        if self.is_overwritten() {
            let path = self.files.first().map(|(path, _)| path.as_path()).unwrap_or(Path::new(""));
            return Err(displaced(path, "was overwritten by another program".to_owned()));
        }
        Ok(())
    }

    /// Return whether a removed or renamed write-ahead log can still be checkpointed: no program overwrote the database,
    /// and no non-empty file has taken the name of the log or of its index.
    pub(super) fn may_rescue(&self) -> bool {
        let is_empty_or_ours = |(path, inode): &(PathBuf, Inode)| {
            path.metadata().map_or(true, |found| Inode::from(&found) == *inode || found.len() == 0)
        };
        let log_and_index = self.files.get(1..).unwrap_or_default();
        self.check().is_err() && !self.is_overwritten() && log_and_index.iter().all(is_empty_or_ours)
    }

    /// Return whether the header no longer names a write-ahead log. Copies by SQLite or queuegate name none, and an
    /// emptied file has no header.
    fn is_overwritten(&self) -> bool {
        let mut header = [0; 20];
        let read = self.database.read_exact_at(&mut header, 0);
        read.is_err() || !header.starts_with(MAGIC) || !has_log(&header)
    }
}

fn displaced(path: &Path, problem: String) -> Error {
    Error::Displaced { path: path.display().to_string(), problem }
}
