//! Archives of the audit log: files that `audit export` wrote, verified without a server.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::args::Wrong;
use crate::rpc::proto;

/// The verified content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    path: PathBuf,
    /// The number of intact events, from the first on.
    pub events: u64,
    /// The hash of the event before the first.
    first_previous: String,
    /// The last intact event.
    last_revision: String,
    pub last_hash: String,
    /// Whether the file contains the saved head.
    pub has_noted: bool,
    /// The first fault.
    pub fault: Option<String>,
}

/// The chained part of a line: the previous event's hash and its own.
#[derive(serde::Deserialize)]
struct Chained {
    revision: String,
    previous_hash: String,
    hash: String,
}

/// Read a file, verifies its chain, and looks for a saved head.
pub(super) fn read(path: &Path, noted: Option<&proto::AuditLogPosition>) -> Result<Archive, Wrong> {
    let unreadable = |error: std::io::Error| Wrong(format!("can't read `{}`: {error}", path.display()));
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    read_from(file, path, noted).map_err(unreadable)
}

/// Read the content of `path`.
pub(super) fn read_from(
    file: impl BufRead,
    path: &Path,
    noted: Option<&proto::AuditLogPosition>,
) -> std::io::Result<Archive> {
    let mut archive = Archive {
        path: path.to_owned(),
        events: 0,
        first_previous: String::new(),
        last_revision: String::new(),
        last_hash: String::new(),
        has_noted: false,
        fault: None,
    };
    for (number, line) in (1..).zip(file.lines()) {
        if let Err(problem) = archive.add(&line?) {
            archive.fault = Some(format!("line {number} of {}: {problem}", path.display()));
            break;
        }
        // Compare the hash only: a head may have been saved with a revision of a later epoch than the event's.
        archive.has_noted |= noted.is_some_and(|noted| noted.hash == archive.last_hash);
    }
    Ok(archive)
}

impl Archive {
    /// The position of the last intact event, or `None`.
    pub(super) fn last(&self) -> Option<proto::AuditLogPosition> {
        let (revision, hash) = (self.last_revision.clone(), self.last_hash.clone());
        (self.events > 0).then_some(proto::AuditLogPosition { revision, hash })
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let chained: Chained = serde_json::from_str(line).map_err(|error| format!("is not an event: {error}"))?;
        let Chained { revision, previous_hash, hash } = chained;
        let tail = format!(",\"previous_hash\":\"{previous_hash}\",\"hash\":\"{hash}\"}}");
        let body = line.strip_suffix(&tail).ok_or("does not end with its two hashes")?;
        let mut computed = Sha256::new();
        computed.update(format!("{previous_hash}\n{body}}}"));
        if HEXLOWER.encode(&computed.finalize()) != hash {
            return Err("was altered: its hash doesn't match its content".to_owned());
        }
        if self.events == 0 {
            self.first_previous = previous_hash;
        } else if self.last_hash != previous_hash {
            return Err("doesn't follow the line before it: lines were removed, added or swapped".to_owned());
        }
        self.events += 1;
        (self.last_revision, self.last_hash) = (revision, hash);
        Ok(())
    }
}

/// The faults in and between the files. `after` is the hash that the first file continues from; `None`: it is the
/// beginning.
pub(super) fn faults(archives: &[Archive], after: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = archives.iter().filter_map(|archive| archive.fault.clone()).collect();
    let beginning = "0".repeat(64);
    if let Some(first) = archives.first()
        && first.first_previous != after.unwrap_or(&beginning)
    {
        let path = first.path.display();
        let begins = format!("{path} begins at the wrong event, after {}", first.first_previous);
        found.push(match after {
            Some(_) => begins,
            None => {
                format!("{begins}: earlier events are missing; give the earlier archive too, or --after with that hash")
            }
        });
    }
    for pair in archives.windows(2) {
        if let [first, second] = pair
            && first.last_hash != second.first_previous
        {
            found.push(format!("{} doesn't continue where {} ends", second.path.display(), first.path.display()));
        }
    }
    found
}
