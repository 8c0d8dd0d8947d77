//! The note that an operator has seen the plan for a PBX. It is a text file beside the journal, with the address of one
//! PBX in each line.

use std::{
    ffi::OsString,
    fs::{File, read_to_string},
    io::{ErrorKind, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The note can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {problem}; it notes the PBXs whose plan was seen", file.display())]
pub struct MarkerError {
    file: PathBuf,
    problem: std::io::Error,
}

/// Note that the plan for a PBX was seen. From the next start on, the handler with this journal removes members without
/// a session from this PBX.
pub fn note_planned(journal: &Path, pbx: SocketAddr) -> Result<(), MarkerError> {
    if is_planned(journal, pbx)? {
        return Ok(());
    }
    let file = marker(journal);
    let append = || {
        let mut file = File::options().append(true).create(true).open(&file)?;
        // One write for the whole line, so that a full disk leaves no half address.
        file.write_all(format!("{pbx}\n").as_bytes())?;
        file.sync_all()
    };
    append().map_err(|problem| MarkerError { file: file.clone(), problem })
}

/// Return whether the plan for a PBX was seen.
pub(crate) fn is_planned(journal: &Path, pbx: SocketAddr) -> Result<bool, MarkerError> {
    let file = marker(journal);
    match read_to_string(&file) {
        Ok(text) => Ok(text.lines().any(|line| line.parse() == Ok(pbx))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(problem) => Err(MarkerError { file, problem }),
    }
}

fn marker(journal: &Path) -> PathBuf {
    let mut name: OsString = journal.to_owned().into_os_string();
    name.push(".planned");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_about_one_pbx() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("agi.journal");
        let (one, two) = ("127.0.0.1:5038".parse().unwrap(), "192.0.2.1:5038".parse().unwrap());
        assert!(!is_planned(&journal, one).unwrap());
        note_planned(&journal, one).unwrap();
        assert!(is_planned(&journal, one).unwrap() && !is_planned(&journal, two).unwrap());
        note_planned(&journal, two).unwrap();
        note_planned(&journal, two).unwrap();
        assert!(is_planned(&journal, one).unwrap() && is_planned(&journal, two).unwrap());
        assert_eq!(read_to_string(marker(&journal)).unwrap().lines().count(), 2);
    }
}
