//! Reads the files with credentials, even when no file descriptor is left, and warns of files that other users can
//! access.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The error codes for a process, or a system, without free file descriptors.
const NONE_LEFT: [i32; 2] = [24, 23];

/// Number of attempts with the reserve, because another thread may take the descriptor.
const TRIES: usize = 16;

/// A file descriptor in reserve. A caller that exhausts the descriptors can't prevent the revocation of its
/// credentials.
#[derive(Debug)]
pub struct Reserve(Mutex<Option<File>>);

impl Default for Reserve {
    fn default() -> Self {
        Self(Mutex::new(hold()))
    }
}

/// Open a file that always exists.
fn hold() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Reserve {
    /// Read a whole file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut reserve = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut opened = File::open(path);
        for _ in 0..TRIES {
            if !opened.as_ref().is_err_and(|error| error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))) {
                break;
            }
            *reserve = None;
            opened = File::open(path);
        }
        let mut bytes = Vec::new();
        let read = opened.and_then(|mut file| file.read_to_end(&mut bytes));
        if reserve.is_none() {
            *reserve = hold();
        }
        read.map(|_| bytes)
    }

    /// Read a whole text file.
    pub fn read_text(&self, path: &Path) -> io::Result<String> {
        let bytes = self.read(path)?;
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
    }
}

/// The protection that a file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// No other user may read or change it, such as a key.
    Secret,
    /// Other users may read but not change it, such as a certificate.
    Public,
}

/// Return a warning if others may read, change or replace the file.
pub fn exposure(path: &Path, keeping: Keeping) -> Option<String> {
    const OTHERS_READ: u32 = 0o004;
    const OTHERS_WRITE: u32 = 0o002;
    const ONLY_OWNERS_REPLACE: u32 = 0o1000;
    let mode = path.metadata().ok()?.permissions().mode();
    let shown = path.display();
    if mode & OTHERS_WRITE != 0 {
        return Some(format!("every user of this machine may change `{shown}`; fix that with `chmod o-w`"));
    }
    if keeping == Keeping::Secret && mode & OTHERS_READ != 0 {
        return Some(format!("every user of this machine may read `{shown}`; fix that with `chmod o-r`"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = folder.metadata().ok()?.permissions().mode();
    let is_open = mode & OTHERS_WRITE != 0 && mode & ONLY_OWNERS_REPLACE == 0;
    is_open.then(|| {
        format!("every user of this machine may replace `{shown}`; fix that with `chmod o-w {}`", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_that_others_may_touch_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, "").unwrap();
        let with = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (mode, secret, public) in [
            (0o600, None, None),
            (0o640, None, None),
            (0o644, Some("may read"), None),
            (0o602, Some("may change"), Some("may change")),
            (0o666, Some("may change"), Some("may change")),
        ] {
            with(&file, mode);
            for (keeping, says) in [(Keeping::Secret, secret), (Keeping::Public, public)] {
                let warned = exposure(&file, keeping);
                assert_eq!(warned.is_some(), says.is_some(), "{mode:o} {keeping:?}: {warned:?}");
                assert!(warned.unwrap_or_default().contains(says.unwrap_or_default()), "{mode:o} {keeping:?}");
            }
        }
        with(&file, 0o600);
        with(folder.path(), 0o777);
        assert!(exposure(&file, Keeping::Public).is_some_and(|warned| warned.contains("may replace")));
        with(folder.path(), 0o1777);
        assert_eq!(exposure(&file, Keeping::Public), None);
    }
}
