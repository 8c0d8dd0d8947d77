//! Faults of disks: they fill up, fail, and lose unsynced writes at a power failure. The tests use the real SQLite and
//! the real system calls; a small library (`tests/faults/shim.c`) intercepts the calls.

mod full_disk;
mod io_errors;
mod opening;
mod power_loss;
mod workload;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use queuegate::{
    domain::{
        chain::Digest,
        change::{Change, Event},
        ids::{OrganizationId, Sequence},
        snapshot::Snapshot,
    },
    store::{Error, sqlite::Store},
};
use tempfile::TempDir;

/// A folder in memory, if the system has one: these tests need the system calls, not the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Builds the intercepting library.
fn shim(folder: &Path) -> PathBuf {
    let built = folder.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&built)
        .arg(source)
        .args(["-ldl", "-pthread"])
        .status();
    assert!(status.expect("a C compiler, which SQLite needs too").success());
    built
}

/// A command with the library, which intercepts its calls on the files of a folder.
fn preloaded(mut command: Command, shim: &Path, folder: &Path) -> Command {
    command.env("LD_PRELOAD", shim).env("FAULTS_FOLDER", folder);
    command
}

/// An entry of the audit log, from which the state can be replayed.
#[derive(Clone)]
struct Entry {
    organization_id: OrganizationId,
    hash: Digest,
    event: Event,
}

/// Every entry by its number.
type History = BTreeMap<Sequence, Entry>;

/// Lines of `number hash entry`.
fn history(lines: &str) -> History {
    let entry = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let sequence = Sequence(parts.next()?.parse().ok()?);
        let hash = parts.next()?.parse().ok()?;
        let mut entry: serde_json::Value = serde_json::from_str(parts.next()?).ok()?;
        let organization_id = entry["organization_id"].as_str()?.parse().ok()?;
        let event = serde_json::from_value(entry["change"].take()).ok()?;
        Some((sequence, Entry { organization_id, hash, event }))
    };
    lines.lines().map(|line| entry(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// The state after every entry. A complete history begins with the first entry.
fn states(store: &Store, history: &History) -> Vec<Snapshot> {
    let mut states = vec![Snapshot::empty(store.lineage())];
    for (number, (sequence, entry)) in (1..).zip(history) {
        assert_eq!(sequence.0, number, "an entry is missing");
        let mut next = states.last().unwrap().clone();
        let change = Change { organization_id: entry.organization_id.clone(), event: entry.event.clone() };
        next.apply(&change).unwrap();
        states.push(next.at(*sequence));
    }
    states
}

/// Opens a database that no server uses. Another test that starts a program inherits this process's locks for a moment.
fn open(path: &Path) -> Result<Store, Error> {
    loop {
        match Store::open(path, 7) {
            Err(Error::InUse { .. }) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

/// All faults of a closed database: its pages, its references, its chains.
fn unsound(path: &Path) -> Option<String> {
    let store = match open(path) {
        Ok(store) => store,
        Err(error) => return Some(error.to_string()),
    };
    for organization in workload::ORGANIZATIONS {
        let log = store.log_reader().unwrap();
        let verified = log.verify(&organization.parse().unwrap(), None, |_| std::ops::ControlFlow::Continue(()));
        match verified {
            Ok(verified) => {
                if let Some(fault) = verified.and_then(|verified| verified.fault) {
                    return Some(format!("{organization}: {fault:?}"));
                }
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    drop(store);
    let connection = rusqlite::Connection::open(path).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let mut references = connection.prepare("PRAGMA foreign_key_check").unwrap();
    let broken = references.exists([]).unwrap();
    (check != "ok" || broken).then(|| format!("integrity_check: {check}, references broken: {broken}"))
}
