//! The locks that keep a second process away from a database.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{error::unopenable, paths::beside};
use crate::store::error::Error;

/// The number and length of waits for a lock. A child process that the holder is starting has the lock too until it
/// becomes another program, a moment later.
const LOCK_PAUSES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The lock file beside the database, and the lock on the database itself. The system releases both when the process
/// ends, in any way.
///
/// The lock file goes by name and contains its holder's process id. The lock on the database goes by inode. So it also
/// stops a process with another path of the file, such as one in another container. SQLite's own locks are of another
/// kind and don't conflict with it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    is_new: bool,
    /// INVARIANT: closed after SQLite's last connection, because closing it releases SQLite's locks.
    database: Arc<File>,
}

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Self, Error> {
        let path = beside(database, ".lock");
        let (mut file, is_new) = Self::take_name(database, &path)?;
        match Self::take_inode(database) {
            Ok(inode) => {
                // A help for the second process only: there may be no space for it.
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

    /// Return the database's own file, which stays open for as long as the lock is held.
    pub(super) fn database(&self) -> Arc<File> {
        Arc::clone(&self.database)
    }

    /// Lock the lock file. Return whether this process created it.
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
                    // A help for the message only: an unreadable lock file is still locked.
                    let _ = file.read_to_string(&mut owner);
                    let owner = if owner.trim().is_empty() { "unknown" } else { owner.trim() }.to_owned();
                    return Err(Error::InUse { path: database.display().to_string(), owner });
                }
                Err(TryLockError::Error(error)) => return Err(unopenable(path, &error)),
            }
            // A process that fails to start removes the lock file that it created. A lock on a removed file is
            // worthless, so try again.
            let locked = file.metadata().map(|of| (of.dev(), of.ino())).map_err(|error| unopenable(path, &error))?;
            if path.metadata().is_ok_and(|of| (of.dev(), of.ino()) == locked) {
                return Ok((file, is_new));
            }
        }
    }

    /// Lock the database's inode.
    fn take_inode(database: &Path) -> Result<File, Error> {
        let refused = |error: std::io::Error| unopenable(database, &error);
        let file = OpenOptions::new().read(true).write(true).open(database).map_err(refused)?;
        let mut pauses = 0..LOCK_PAUSES;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if pauses.next().is_some() => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let owner = "it opened the file by another path".to_owned();
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

    /// Remove a new lock file beside a refused database. INVARIANT: the lock is held until then, so no other process
    /// relies on the removed file.
    pub(super) fn withdraw(self) {
        withdraw(&self.path, self.is_new);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The open file may outlive this value in a check of the files, which needs no lock.
        let _ = self.database.unlock();
        let _ = self.file.unlock();
    }
}

fn withdraw(path: &Path, is_new: bool) {
    if is_new {
        // A lock file that can't be removed does no harm, because it is unlocked.
        let _ = std::fs::remove_file(path);
    }
}
