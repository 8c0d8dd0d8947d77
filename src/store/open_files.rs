//! The open files of a database: are they still the files that their names lead to?
//!
//! The database, its write-ahead log and the log's index go by name; SQLite writes by inode. Once a name leads to
//! another inode, or to none, the next process reads something else than was acknowledged here.

use std::{
    fs::{File, Metadata},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    connection::{MAGIC, has_log},
    error::{Error, unopenable},
    paths::{INDEX, LOG, beside},
};

/// A file, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode(u64, u64);

impl From<&Metadata> for Inode {
    fn from(file: &Metadata) -> Self {
        Self(file.dev(), file.ino())
    }
}

/// The files of a database that is open, and where they were then.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    database: Arc<File>,
    /// The database, its log and the log's index.
    files: Vec<(PathBuf, Inode)>,
}

impl OpenFiles {
    /// Notes where the files of an open database are. `database` is the file of this path.
    pub(super) fn of(path: &Path, database: Arc<File>) -> Result<Self, Error> {
        let note = |path: PathBuf| {
            // None of them is opened: to close it would release the locks that SQLite holds on it.
            let found = path.metadata().map_err(|error| unopenable(&path, &error))?;
            Ok::<_, Error>((path, Inode::from(&found)))
        };
        let files = vec![note(path.to_owned())?, note(beside(path, LOG))?, note(beside(path, INDEX))?];
        Ok(Self { database, files })
    }

    /// Refuses to go on once one of the names leads elsewhere, or another program wrote over the database.
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

    /// Whether what was acknowledged, and is in a log that lost its name, may be moved into the file: nothing else was put
    /// in the place of either.
    pub(super) fn may_rescue(&self) -> bool {
        let is_empty_or_ours = |(path, inode): &(PathBuf, Inode)| {
            path.metadata().map_or(true, |found| Inode::from(&found) == *inode || found.len() == 0)
        };
        let log_and_index = self.files.get(1..).unwrap_or_default();
        self.check().is_err() && !self.is_overwritten() && log_and_index.iter().all(is_empty_or_ours)
    }

    /// Whether the header no longer says that there is a log. A copy that SQLite or we made says so, and a file that was
    /// emptied says nothing.
    fn is_overwritten(&self) -> bool {
        let mut header = [0; 20];
        let read = self.database.read_exact_at(&mut header, 0);
        read.is_err() || !header.starts_with(MAGIC) || !has_log(&header)
    }
}

fn displaced(path: &Path, problem: String) -> Error {
    Error::Displaced { path: path.display().to_string(), problem }
}
