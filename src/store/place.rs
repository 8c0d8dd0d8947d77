//! Whether the files are still those that were opened.
//!
//! The database, its write-ahead log and the log's index go by name; what is written goes by inode. Once a name leads to
//! another inode, or to none, the next process reads something else than what was acknowledged here.

use std::{
    fs::{File, Metadata},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, fstatfs, statx};

use super::{
    Error,
    open::{MAGIC, beside, unopenable},
};

/// Where SQLite's header says how the file is journaled, and what it says of a write-ahead log.
const JOURNAL_AT: Range<usize> = 18..20;
const WRITE_AHEAD: &[u8] = &[2, 2];

/// File systems that several machines may use at once, by the number that the system has for each. The index of a
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
pub(super) struct Place {
    database: Arc<File>,
    /// The database, its log and the log's index.
    files: Vec<(PathBuf, Inode)>,
}

impl Place {
    /// Notes where the files of an open database are. `database` is the file of this path.
    pub(super) fn of(path: &Path, database: Arc<File>) -> Result<Self, Error> {
        let note = |path: PathBuf| {
            // None of them is opened: to close it would release the locks that SQLite holds on it.
            let found = path.metadata().map_err(|error| unopenable(&path, &error))?;
            Ok::<_, Error>((path, Inode::from(&found)))
        };
        let files = vec![note(path.to_owned())?, note(beside(path, "-wal"))?, note(beside(path, "-shm"))?];
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

/// Whether a database's header says that there is a write-ahead log beside it.
pub(super) fn has_log(header: &[u8]) -> bool {
    header.get(JOURNAL_AT) == Some(WRITE_AHEAD)
}

fn displaced(path: &Path, problem: String) -> Error {
    Error::Displaced { path: path.display().to_string(), problem }
}

/// Refuses a database whose write-ahead log another process would look for elsewhere: one on a network file system, and
/// one that is mounted by itself, without its folder.
pub(super) fn refuse_elsewhere(path: &Path, file: &File) -> Result<(), Error> {
    // Where this can't be found out, it is not refused.
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

/// Refuses a file that is itself a mount point.
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
