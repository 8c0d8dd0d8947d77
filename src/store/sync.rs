//! Syncing the write-ahead log beside the writer.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    error::{Error, unopenable},
    open_files::OpenFiles,
    paths::{LOG, beside},
};

/// Makes what was committed durable: all of it that was committed before. On whichever thread.
#[derive(Debug)]
pub struct LogSync {
    /// The write-ahead log. SQLite takes no locks on it, which to close it would release.
    log: File,
    path: PathBuf,
    /// Where the files must still be; none: they are somebody else's to keep.
    files: Option<OpenFiles>,
}

impl LogSync {
    pub(super) fn open(database: &Path, files: Option<OpenFiles>) -> Result<Self, Error> {
        let path = beside(database, LOG);
        let log = File::open(&path).map_err(|error| unopenable(&path, &error))?;
        Ok(Self { log, path, files })
    }

    /// Returns when everything that was committed before is durable, in files that the next start will find. Fails with
    /// [`Error::Displaced`] if it won't.
    pub fn sync(&self) -> Result<(), Error> {
        let unsynced = |problem| Error::Unsynced { path: self.path.display().to_string(), problem };
        self.log.sync_data().map_err(unsynced)?;
        self.files.as_ref().map_or(Ok(()), OpenFiles::check)
    }
}
