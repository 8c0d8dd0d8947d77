//! The power fails. Unlike a killed process, a machine without power loses unsynced writes: all, some, or parts of
//! single writes, in any order. From a record of every call, the tests build the disks that are possible at any moment,
//! and open them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use queuegate::{domain::snapshot::Snapshot, rpc::proto::*};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    History,
    workload::{self, Promises},
};
use crate::{
    durability::{Process, prepare},
    support::{ACME, program},
};

/// A recorded call that changed something.
#[derive(Debug, Clone)]
enum Call {
    Write(String, usize, Vec<u8>),
    Truncate(String, usize),
    Sync(String),
    Create(String),
    Unlink(String),
    Rename(String, String),
    /// The program acknowledged something.
    Promise(String),
}

fn calls(trace: &[u8]) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut rest = trace;
    while !rest.is_empty() {
        let named = usize::from(rest[1]);
        let name = String::from_utf8(rest[2..2 + named].to_vec()).unwrap();
        let offset = u64::from_le_bytes(rest[2 + named..10 + named].try_into().unwrap()).try_into().unwrap();
        let length: usize = u32::from_le_bytes(rest[10 + named..14 + named].try_into().unwrap()).try_into().unwrap();
        let bytes = rest[14 + named..14 + named + length].to_vec();
        let op = rest[0];
        rest = &rest[14 + named + length..];
        // SQLite rebuilds the index of the log at every opening, and the lock has no content.
        if name.ends_with("-shm") || name.ends_with(".lock") {
            continue;
        }
        calls.push(match op {
            b'w' => Call::Write(name, offset, bytes),
            b't' => Call::Truncate(name, offset),
            b's' => Call::Sync(name),
            b'c' if name == "acknowledged" => continue,
            b'c' => Call::Create(name),
            b'u' => Call::Unlink(name),
            b'r' => Call::Rename(name, String::from_utf8(bytes).unwrap()),
            b'a' => Call::Promise(String::from_utf8(bytes).unwrap()),
            op => panic!("{op}"),
        });
    }
    calls
}

/// A file on a disk: its synced content, and the unsynced writes.
#[derive(Debug, Clone, Default)]
struct File {
    certain: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => put(bytes, *offset, data),
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

/// The sync calls that a disk honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Honoured,
    /// As with `synchronous = NORMAL`, which syncs the log only occasionally.
    NotOfTheLog,
    /// As with `synchronous = OFF`.
    Ignored,
}

/// A disk in use.
#[derive(Debug, Clone)]
struct Disk {
    files: Vec<File>,
    /// The folder's synced content, and the unsynced changes.
    certain: BTreeMap<String, usize>,
    now: BTreeMap<String, usize>,
    renamings: Vec<(String, Option<usize>)>,
    syncs: Syncs,
}

impl Disk {
    fn new(syncs: Syncs) -> Self {
        Self { files: Vec::new(), certain: BTreeMap::new(), now: BTreeMap::new(), renamings: Vec::new(), syncs }
    }

    fn apply(&mut self, call: &Call) {
        match call {
            Call::Write(name, offset, bytes) => {
                self.files[self.now[name]].pending.push(Pending::Write(*offset, bytes.clone()));
            }
            Call::Truncate(name, length) => self.files[self.now[name]].pending.push(Pending::Truncate(*length)),
            Call::Sync(_) if self.syncs == Syncs::Ignored => {}
            Call::Sync(name) if self.syncs == Syncs::NotOfTheLog && name.ends_with("-wal") => {}
            Call::Sync(name) if name == "." => {
                self.certain = self.now.clone();
                self.renamings.clear();
            }
            Call::Sync(name) => {
                let file = &mut self.files[self.now[name]];
                for pending in std::mem::take(&mut file.pending) {
                    pending.apply(&mut file.certain);
                }
            }
            Call::Create(name) => {
                self.files.push(File::default());
                self.name(name, Some(self.files.len() - 1));
            }
            Call::Unlink(name) => self.name(name, None),
            Call::Rename(from, to) => {
                let file = self.now[from];
                self.name(to, Some(file));
                self.name(from, None);
            }
            Call::Promise(_) => {}
        }
    }

    fn name(&mut self, name: &str, file: Option<usize>) {
        match file {
            Some(file) => self.now.insert(name.to_owned(), file),
            None => self.now.remove(name),
        };
        self.renamings.push((name.to_owned(), file));
    }

    /// A possible state of the files if the power failed now.
    fn after_power_loss(&self, random: &mut StdRng) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.certain.clone();
        // The first few of the folder's unsynced changes; every file system keeps their order.
        let kept = random.random_range(0..=self.renamings.len());
        for (name, file) in &self.renamings[..kept] {
            match file {
                Some(file) => names.insert(name.clone(), *file),
                None => names.remove(name),
            };
        }
        names.into_iter().map(|(name, file)| (name, self.files[file].after_power_loss(random))).collect()
    }
}

impl File {
    fn after_power_loss(&self, random: &mut StdRng) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        let pending = &self.pending;
        match random.random_range(0..6) {
            // None or all of the writes.
            0 => {}
            1 => pending.iter().for_each(|pending| pending.apply(&mut bytes)),
            // The first few writes, with the last one torn at any byte.
            2 => {
                let kept = random.random_range(0..=pending.len());
                pending[..kept].iter().for_each(|pending| pending.apply(&mut bytes));
                if let Some(Pending::Write(offset, data)) = pending.get(kept) {
                    put(&mut bytes, *offset, &data[..random.random_range(0..=data.len())]);
                }
            }
            // Any of the writes, in their order.
            3 => {
                let some = pending.iter().filter(|_| random.random());
                some.for_each(|pending| pending.apply(&mut bytes));
            }
            // Any of the writes, in any order.
            4 => {
                let mut some: Vec<&Pending> = pending.iter().filter(|_| random.random()).collect();
                some.shuffle(random);
                some.into_iter().for_each(|pending| pending.apply(&mut bytes));
            }
            // Any sectors of the writes.
            _ => {
                for pending in pending {
                    let Pending::Write(offset, data) = pending else {
                        pending.apply(&mut bytes);
                        continue;
                    };
                    let mut at = 0;
                    while at < data.len() {
                        // A sector ends at the disk's boundary, not at the write's end.
                        let end = data.len().min(at + 512 - (offset + at) % 512);
                        if random.random() {
                            put(&mut bytes, offset + at, &data[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        bytes
    }
}

/// A record of the workload, and its expected history.
struct Recorded {
    calls: Vec<Call>,
    history: History,
    states: Vec<Snapshot>,
}

fn recorded() -> Recorded {
    let folder = super::folder();
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    std::fs::create_dir(&data).unwrap();
    let shim = super::shim(folder.path());
    let output = workload::command(&shim, &data).env("FAULTS_TRACE", &trace).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("stopped"), "{output:?}");
    let history = super::history(&std::fs::read_to_string(workload::history_of(&data)).unwrap());
    let store = super::open(&workload::database(&data)).unwrap();
    let states = super::states(&store, &history);
    assert!(states.last() == Some(&store.load().unwrap()));
    let calls = calls(&std::fs::read(trace).unwrap());
    let count = |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
    // The record covers the important cases: a log that was checkpointed and restarted, and synced folders.
    let database_syncs = count(|call| matches!(call, Call::Sync(name) if name == "faults.db"));
    let folder_syncs = count(|call| matches!(call, Call::Sync(name) if name == "."));
    let log_starts = count(|call| matches!(call, Call::Write(name, 0, _) if name.ends_with("-wal")));
    assert!(database_syncs > 10 && folder_syncs > 0 && log_starts > 5, "{database_syncs} {folder_syncs} {log_starts}");
    Recorded { calls, history, states }
}

impl Recorded {
    /// Cuts the power this many times, evenly over the record, and returns the faults after all cuts.
    fn cut_power(&self, cuts: usize, syncs: Syncs) -> Vec<String> {
        let wrong = std::sync::Mutex::new(Vec::new());
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let (wrong, done) = (&wrong, &done);
                scope.spawn(move || {
                    let folder = super::folder();
                    let (mut disk, mut at, mut said) = (Disk::new(syncs), 0, String::new());
                    for cut in (worker..cuts).step_by(2) {
                        let moment = cut * (self.calls.len() + 1) / cuts;
                        while at < moment {
                            if let Call::Promise(line) = &self.calls[at] {
                                said.push_str(line);
                            }
                            disk.apply(&self.calls[at]);
                            at += 1;
                        }
                        let mut random = StdRng::seed_from_u64(u64::try_from(cut).unwrap());
                        let files = disk.after_power_loss(&mut random);
                        if let Err(problem) = self.holds(folder.path(), &files, &workload::promises(&said)) {
                            wrong.lock().unwrap().push(format!("cut {cut} after {at} calls: {problem}"));
                        }
                        if done.fetch_add(1, Ordering::Relaxed) % 5_000 == 4_999 {
                            println!("{} cuts", done.load(Ordering::Relaxed));
                        }
                    }
                });
            }
        });
        wrong.into_inner().unwrap()
    }

    fn holds(&self, folder: &Path, files: &BTreeMap<String, Vec<u8>>, said: &Promises) -> Result<(), String> {
        let image = folder.join("image");
        std::fs::create_dir(&image).unwrap();
        for (name, bytes) in files {
            std::fs::write(image.join(name), bytes).unwrap();
        }
        let held = self.image_holds(&image, said);
        std::fs::remove_dir_all(&image).unwrap();
        held
    }

    fn image_holds(&self, image: &Path, said: &Promises) -> Result<(), String> {
        let path = workload::database(image);
        let store = super::open(&path).map_err(|error| error.to_string())?;
        let state = store.load().map_err(|error| error.to_string())?;
        let at = usize::try_from(state.revision().sequence.0).unwrap();
        // The disk holds one moment of the real history, so it has no change without a request,
        if self.states.get(at) != Some(&state) {
            return Err(format!("the state differs from the replayed log at revision {at}"));
        }
        let log = store.log_reader().map_err(|error| error.to_string())?;
        for organization in workload::ORGANIZATIONS {
            let organization_id = organization.parse().unwrap();
            let before = |(_, entry): &(_, &super::Entry)| entry.organization_id == organization_id;
            let expected = self.history.iter().take(at).rfind(before).map(|(sequence, entry)| (*sequence, entry.hash));
            let head = log.chain(&organization_id).map_err(|error| error.to_string())?.map(|(_, head)| head);
            if head.map(|head| (head.sequence, head.hash)) != expected {
                return Err(format!("the chain of {organization} ends with {head:?}, and not with {expected:?}"));
            }
        }
        // and it has every acknowledged change.
        if let Some(contradiction) = workload::contradiction(&store, said) {
            return Err(contradiction);
        }
        drop((log, store));
        super::unsound(&path).map_or(Ok(()), Err)
    }
}

/// No acknowledged write is lost, with any part of the other writes on the disk. `QUEUEGATE_POWER_CUTS=20000` runs a
/// campaign.
#[test]
fn what_was_acknowledged_survives_power_loss() {
    let cuts: usize = std::env::var("QUEUEGATE_POWER_CUTS").ok().map_or(400, |text| text.parse().unwrap());
    let recorded = recorded();
    let wrong = recorded.cut_power(cuts, Syncs::Honoured);
    let promises = recorded.calls.iter().filter(|call| matches!(call, Call::Promise(_))).count();
    assert!(
        wrong.is_empty(),
        "{} of {cuts} power cuts did harm, the first: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    println!(
        "{cuts} power cuts over {} calls, {promises} lines of promises and {} events: everything acknowledged was there",
        recorded.calls.len(),
        recorded.history.len()
    );
}

/// A caller may save a log's head and compare it later, so that head must be durable; but another connection may read
/// committed changes before they are synced.
#[tokio::test]
async fn where_a_log_ends_is_told_after_a_sync() {
    let folder = super::folder();
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    std::fs::create_dir(&data).unwrap();
    let (shim, database, copy) = (super::shim(folder.path()), data.join("told.db"), folder.path().join("copy"));
    let preloaded = || {
        let mut command = super::preloaded(program(), &shim, &data);
        command.env("FAULTS_TRACE", &trace).stdout(Stdio::null());
        command
    };
    let is_synced = |call: &Call| matches!(call, Call::Sync(name) if name == "told.db-wal");
    let syncs = || calls(&std::fs::read(&trace).unwrap()).iter().filter(|call| is_synced(call)).count();
    let server = prepare(Process::start_by(preloaded(), &database), 1).await;
    let mut client = server.client().await;

    let before = syncs();
    let request = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
    assert!(client.audit.get_audit_log_head(request).await.unwrap().into_inner().head.is_some());
    let told_head = syncs();
    let request = VerifyAuditLogRequest { organization_id: ACME.into(), ..Default::default() };
    let mut answers = client.audit.verify_audit_log(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let verified = syncs();
    assert!(preloaded().arg("verify").arg(&database).status().unwrap().success());
    let examined = syncs();
    assert!(preloaded().arg("backup").arg("--database").arg(&database).arg(&copy).status().unwrap().success());
    let counts = [before, told_head, verified, examined, syncs()];
    assert!(counts.is_sorted_by(|one, next| one < next), "{counts:?}");
}

/// The first calls on a new file, many times: after an interrupted first start, the next start must succeed.
#[test]
fn a_database_whose_creation_was_cut_short_is_created_anew() {
    let recorded = recorded();
    let first = recorded.calls.iter().position(|call| matches!(call, Call::Promise(_))).unwrap();
    let begun = Recorded { calls: recorded.calls[..first].to_vec(), ..recorded };
    let wrong = begun.cut_power(600, Syncs::Honoured);
    assert!(wrong.is_empty(), "{} of 600 power cuts did harm, the first: {:?}", wrong.len(), wrong[0]);
}

/// The same test detects a store that doesn't sync correctly.
#[test]
fn power_loss_without_syncs_loses_what_was_acknowledged_and_is_found() {
    let recorded = recorded();
    for syncs in [Syncs::NotOfTheLog, Syncs::Ignored] {
        let wrong = recorded.cut_power(100, syncs);
        let lost: BTreeSet<&String> = wrong.iter().filter(|wrong| wrong.contains("was reported as Done")).collect();
        println!("{syncs:?}: {} of 100 power cuts did harm, {} lost acknowledged writes", wrong.len(), lost.len());
        assert!(lost.len() >= 10, "{wrong:?}");
    }
}
