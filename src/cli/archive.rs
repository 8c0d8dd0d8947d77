//! Archives of the audit log: files of lines that `audit export` wrote, verified without a server.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::args::Wrong;
use crate::rpc::proto;

/// What a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    path: PathBuf,
    /// How many events are as they were written, from the first on.
    pub events: u64,
    /// The hash of the event before the first.
    first_previous: String,
    /// The last event that is as it was written.
    last_revision: String,
    pub last_hash: String,
    /// Whether the event that was asked for is in it.
    pub has_noted: bool,
    /// Where the file breaks first, and how.
    pub fault: Option<String>,
}

/// The chained part of a line: the hash of the event before, and its own.
#[derive(serde::Deserialize)]
struct Chained {
    revision: String,
    previous_hash: String,
    hash: String,
}

/// Reads a file, verifies the chain in it, and looks for an event that was noted.
pub(super) fn read(path: &Path, noted: Option<&proto::AuditLogPosition>) -> Result<Archive, Wrong> {
    let unreadable = |error: std::io::Error| Wrong(format!("can't read `{}`: {error}", path.display()));
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    read_from(file, path, noted).map_err(unreadable)
}

/// Reads what `path` has.
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
        // A hash is of one event alone, which may have been noted by a revision of a later epoch than it was written in.
        archive.has_noted |= noted.is_some_and(|noted| noted.hash == archive.last_hash);
    }
    Ok(archive)
}

impl Archive {
    /// The last event in it that is as it was written.
    pub(super) fn last(&self) -> Option<proto::AuditLogPosition> {
        let (revision, hash) = (self.last_revision.clone(), self.last_hash.clone());
        (self.events > 0).then_some(proto::AuditLogPosition { revision, hash })
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let chained: Chained = serde_json::from_str(line).map_err(|error| format!("is no event: {error}"))?;
        let Chained { revision, previous_hash, hash } = chained;
        let tail = format!(",\"previous_hash\":\"{previous_hash}\",\"hash\":\"{hash}\"}}");
        let body = line.strip_suffix(&tail).ok_or("does not end with its two hashes")?;
        let mut computed = Sha256::new();
        computed.update(format!("{previous_hash}\n{body}}}"));
        if HEXLOWER.encode(&computed.finalize()) != hash {
            return Err("was altered: its hash doesn't follow from what it says".to_owned());
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

/// What is wrong in files, and where they don't follow each other. `after` is the hash that the first goes on from; none:
/// it is the beginning.
pub(super) fn faults(archives: &[Archive], after: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = archives.iter().filter_map(|archive| archive.fault.clone()).collect();
    let beginning = "0".repeat(64);
    if let Some(first) = archives.first()
        && first.first_previous != after.unwrap_or(&beginning)
    {
        let path = first.path.display();
        let begins = format!("{path} doesn't begin where it should, but after {}", first.first_previous);
        found.push(match after {
            Some(_) => begins,
            None => format!("{begins}: events before it are missing; give the archive before it, or --after that hash"),
        });
    }
    for pair in archives.windows(2) {
        if let [first, second] = pair
            && first.last_hash != second.first_previous
        {
            found.push(format!("{} doesn't go on where {} ends", second.path.display(), first.path.display()));
        }
    }
    found
}
