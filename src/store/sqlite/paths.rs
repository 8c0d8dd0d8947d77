//! The paths of the database's file and the files beside it.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, fstatfs, statx};

use super::{error::unopenable, file_kind::refuse_special};
use crate::store::error::Error;

/// The suffix of the write-ahead log's name.
pub(super) const LOG: &str = "-wal";

/// Return the path of a database's write-ahead log.
pub fn write_ahead_log(database: &Path) -> PathBuf {
    beside(database, LOG)
}

/// The suffix of the name of the log's index.
pub(super) const INDEX: &str = "-shm";

/// The suffix of the name of SQLite's rollback journal, which exists only while a database is created.
pub(super) const JOURNAL: &str = "-journal";

/// File systems that several machines may use at the same time, by the system's number for each. The index of a
/// write-ahead log is shared memory, which machines don't share.
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x517B, "SMB"),
    (0x564C, "NCP"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
];

/// Return the path of a database with a suffix.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Return the path of the file itself behind symbolic links, so that it has one lock. A missing file is created empty,
/// because SQLite makes a new database from an empty file.
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
    refuse_special(path)?;
    // Only the owner may read the file, because it is about people. SQLite gives the files beside it the same mode.
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(refused)?;
    refuse_elsewhere(path, &file)?;
    if file.metadata().map_err(refused)?.nlink() > 1 {
        // Each of its names would have its own lock and write-ahead log.
        return Err(unopenable(path, &"the file has more than one name (hard links); remove the others, or copy it"));
    }
    path.canonicalize().map_err(refused)
}

/// Refuse a database whose write-ahead log another process would look for elsewhere: one on a network file system, and
/// one that is mounted by itself, without its folder.
pub(super) fn refuse_elsewhere(path: &Path, file: &File) -> Result<(), Error> {
    // If the system doesn't tell, the file is not refused.
    if let Ok(system) = fstatfs(file) {
        let number = u32::try_from(system.f_type & 0xFFFF_FFFF).unwrap_or_default();
        if let Some((_, name)) = NETWORK.iter().find(|(network, _)| *network == number) {
            let problem = format!(
                "it is on a network file system ({name}), where a write-ahead log isn't safe; put it on a local disk"
            );
            return Err(unopenable(path, &problem));
        }
    }
    refuse_mounted(path)
}

/// Refuse a file that is itself a mount point.
pub(super) fn refuse_mounted(path: &Path) -> Result<(), Error> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    let root = StatxAttributes::MOUNT_ROOT;
    if found.is_ok_and(|found| found.stx_attributes_mask.contains(root) && found.stx_attributes.contains(root)) {
        let problem = "the file itself is a mount point, and its write-ahead log would stay outside it; mount its folder \
                       instead";
        return Err(unopenable(path, &problem));
    }
    Ok(())
}
