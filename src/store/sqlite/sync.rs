//! The sync of the write-ahead log, in parallel with the writer.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    error::unopenable,
    open_files::OpenFiles,
    paths::{LOG, beside},
};
use crate::store::error::Error;

/// Makes all earlier commits durable. It works on any thread.
#[derive(Debug)]
pub struct LogSync {
    /// The write-ahead log. SQLite takes no locks on it, so closing it releases none.
    log: File,
    path: PathBuf,
    /// The open files to check, or `None` if another process owns them.
    files: Option<OpenFiles>,
}

impl LogSync {
    pub(super) fn open(database: &Path, files: Option<OpenFiles>) -> Result<Self, Error> {
        let path = beside(database, LOG);
        let log = File::open(&path).map_err(|error| unopenable(&path, &error))?;
        Ok(Self { log, path, files })
    }

    /// Wait until all earlier commits are durable, in files that the next start will find. Otherwise, fail with
    /// [`Error::Displaced`].
    pub fn sync(&self) -> Result<(), Error> {
        let unsynced = |problem| Error::Unsynced { path: self.path.display().to_string(), problem };
        self.log.sync_data().map_err(unsynced)?;
        self.files.as_ref().map_or(Ok(()), OpenFiles::check)
    }
}
