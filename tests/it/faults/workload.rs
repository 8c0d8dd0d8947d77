//! Changes of every kind, made in a separate process, which reports the outcome of each.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use queuegate::{
    domain::{
        command::{Action, Command as Change, IfMissing, Missing, QueueSelection, SessionsThen, UserPatch},
        directory::{Directory, QueueEntry, UserEntry},
        ids::{Caller, OrganizationId, QueueRef, RequestId, Sequence, UserRef},
        model::{Penalty, QueueKind, Role, SignInChannel},
        settings::{SettingsPatch, UnassignedQueueSignIn},
        time::Timestamp,
    },
    state::{Ended, Error, ReplyBatches, State},
    store::sqlite::Store,
    telemetry::metrics::{CallLabels, Metrics},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::ManualClock;

/// The audit log of the second organization is cut.
pub const ORGANIZATIONS: [&str; 2] = ["acme", "beta"];

/// Such a short log is checkpointed every few changes.
const LOG_OF: u16 = 24;

const GROUPS: usize = 44;

/// The folder of the workload, in the process that runs it.
const FOLDER: &str = "QUEUEGATE_WORKLOAD_FOLDER";

/// The reported outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The change is made, at this revision.
    Done(Sequence),
    /// The state doesn't allow it, and nothing changed.
    Rejected,
    /// The database can't be written to, and nothing changed.
    Refused,
    /// The outcome is unknown.
    Unknown,
}

/// The reported outcome of each change, by its number.
pub type Promises = std::collections::BTreeMap<usize, Said>;

pub fn database(folder: &Path) -> PathBuf {
    folder.join("faults.db")
}

/// Reads the reports of a process. An incomplete line doesn't count.
pub fn promises(text: &str) -> Promises {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let said = match words[0] {
            "asked" | "unknown" => Said::Unknown,
            "rejected" => Said::Rejected,
            "refused" => Said::Refused,
            "done" => Said::Done(Sequence(words[2].parse().unwrap())),
            word => panic!("{word}"),
        };
        (words[1].parse().unwrap(), said)
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(line).collect()
}

/// The request id of a change, which identifies it later.
pub fn request_id(number: usize) -> RequestId {
    format!("change-{number}").parse().unwrap()
}

/// The organization of a change.
pub fn organization(number: usize) -> OrganizationId {
    ORGANIZATIONS[usize::from(number % 3 == 2)].parse().unwrap()
}

/// A command that runs the workload in this folder and keeps its history in that file. It succeeds if the writer ended
/// as requested or the store failed with an expected error; anything else is a panic.
pub fn command(shim: &Path, folder: &Path) -> Command {
    let mut command = super::preloaded(Command::new(std::env::current_exe().unwrap()), shim, folder);
    command
        .args(["--exact", "faults::workload::every_kind_of_change_is_made_and_found_again", "--nocapture"])
        .env(FOLDER, folder);
    command
}

/// The known history of a database. It is kept in another folder, because every call on the database's folder is
/// intercepted.
pub fn history_of(folder: &Path) -> PathBuf {
    folder.with_extension("history")
}

/// As a test, it checks that every change is made without faults; in a separate process it is the workload for the
/// faults.
#[test]
fn every_kind_of_change_is_made_and_found_again() {
    let own = super::folder();
    let folder = std::env::var_os(FOLDER).map_or_else(|| own.path().join("data"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if std::env::var_os(FOLDER).is_some() {
        runtime.block_on(run(&folder));
        return;
    }
    std::fs::create_dir(&folder).unwrap();
    runtime.block_on(run(&folder));
    let said = promises(&std::fs::read_to_string(folder.join("acknowledged")).unwrap());
    let done = said.values().filter(|said| matches!(said, Said::Done(_))).count();
    assert!(done > 70 && !said.values().any(|said| matches!(said, Said::Refused | Said::Unknown)), "{said:?}");
    let store = super::open(&database(&folder)).unwrap();
    let history = super::history(&std::fs::read_to_string(history_of(&folder)).unwrap());
    assert!(super::states(&store, &history).last() == Some(&store.load().unwrap()));
    let kinds: std::collections::BTreeSet<String> = history
        .values()
        .map(|entry| serde_json::to_value(&entry.event).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.len() >= 12, "{kinds:?}");
    drop(store);
    assert_eq!(super::unsound(&database(&folder)), None);
}

/// The reports of the process, one per line.
struct Told(Mutex<File>);

impl Told {
    fn say(&self, line: &str) {
        self.0.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// The history to save before a part of it is cut off.
struct Keeper {
    file: File,
    kept: [Sequence; 2],
}

impl Keeper {
    fn keep(&mut self, state: &State) {
        for (kept, organization) in self.kept.iter_mut().zip(ORGANIZATIONS) {
            let Ok(log) = state.log_reader() else { return };
            let Ok(entries) = log.entries_since(&organization.parse().unwrap(), *kept, Sequence(1 << 40), u32::MAX)
            else {
                return;
            };
            for (link, _, entry) in entries {
                writeln!(self.file, "{} {} {entry}", link.sequence.0, link.hash).unwrap();
                *kept = link.sequence;
            }
        }
    }
}

async fn run(folder: &Path) {
    let clock = Arc::new(ManualClock::default());
    let told = OpenOptions::new().create(true).append(true).open(folder.join("acknowledged")).unwrap();
    let told = Arc::new(Told(Mutex::new(told)));
    let mut keeper = Keeper { file: File::create(history_of(folder)).unwrap(), kept: [Sequence(0); 2] };
    let mut random = StdRng::seed_from_u64(20_261_122);
    let mut number = 0;
    // Stop once in between, to cover the last checkpoint of a log and the opening of an existing file.
    for part in 0..2 {
        let store = match Store::open(&database(folder), 7) {
            Ok(store) => store.with_log_of(LOG_OF),
            Err(error) => return println!("not opened: {error}"),
        };
        let metrics = Arc::new(Metrics::new(CallLabels::default()));
        let (state, ended) = match State::start(store, Arc::clone(&clock) as Arc<_>, metrics, 2) {
            Ok(started) => started,
            Err(error) => return println!("not started: {error}"),
        };
        for group in 0..GROUPS / 2 {
            clock.advance(Duration::from_secs(7));
            // Several concurrent changes, which become one commit.
            let size = if part == 0 && group < 2 { 1 } else { random.random_range(1..=4) };
            let changes: Vec<_> = (0..size)
                .map(|_| {
                    let action = action(number, &state, &mut random);
                    number += 1;
                    (number - 1, Change { organization_id: organization(number - 1), action, actor: None })
                })
                .collect();
            // Save the history before the cut. The writer may add to it meanwhile, because sessions expire.
            keeper.keep(&state);
            let asked: Vec<_> = changes
                .into_iter()
                .map(|(number, change)| tokio::spawn(ask(state.clone(), number, change, Arc::clone(&told))))
                .collect();
            for asked in asked {
                asked.await.unwrap();
            }
        }
        keeper.keep(&state);
        let stopping = state.clone();
        std::thread::spawn(move || stopping.stop());
        match ended.await.expect("the writer ended without a report") {
            Ended::Stopped => {}
            Ended::Failed(error) => return println!("failed: {error}"),
        }
    }
    println!("stopped");
}

async fn ask(state: State, number: usize, change: Change, told: Arc<Told>) {
    told.say(&format!("asked {number}"));
    match state.execute(&ReplyBatches::open(), change, Caller::server(), Some(request_id(number))).await {
        Ok(done) => told.say(&format!("done {number} {}", done.revision.sequence.0)),
        Err(Error::Rejected(_)) => told.say(&format!("rejected {number}")),
        Err(Error::NotWritable(_)) => told.say(&format!("refused {number}")),
        Err(Error::Stopped) => told.say(&format!("refused {number}")),
        Err(Error::OutcomeUnknown) => told.say(&format!("unknown {number}")),
        Err(error) => panic!("{error}"),
    }
}

fn action(number: usize, state: &State, random: &mut StdRng) -> Action {
    let user = |number: usize| UserRef::Id(format!("u{}", number % 12).parse().unwrap());
    let queue = |number: usize| QueueRef::Id(format!("q{}", number % 3).parse().unwrap());
    let (some_user, some_queue) = (user(random.random_range(0..12)), queue(random.random_range(0..3)));
    let organization_id = organization(number);
    let cut = state.log_reader().ok().and_then(|log| log.chain(&organization_id).ok()).flatten();
    match number % 16 {
        // The first import creates each organization; later ones restore it.
        0 | 2 => Action::Import { directory: directory(number), missing: Missing::Keep },
        1 => Action::UpdateOrganization { display_name: Some(format!("Acme {number}")) },
        3 => {
            let setting = match random.random_range(0..2) {
                0 => UnassignedQueueSignIn::Allowed,
                _ => UnassignedQueueSignIn::Restricted,
            };
            let mut patch = SettingsPatch::default();
            patch.unassigned_queue_sign_in = Some(setting);
            Action::UpdateSettings { patch, expected_etag: None }
        }
        4 => Action::SignOut { user: some_user, queues: QueueSelection::All },
        5 => Action::AssignRole {
            user: user(number / 16),
            role: Role::Agent,
            queue: Some(some_queue),
            penalty: Some(penalty(number)),
        },
        // Only existing events of the second organization can be cut off.
        6 | 8 if organization_id.as_str() == ORGANIZATIONS[1] && cut.is_some() && number > 60 => {
            let (_, head) = cut.unwrap();
            Action::CutAuditLog { through: head.sequence, hash: head.hash }
        }
        6 => Action::UnassignRole {
            user: user(number / 16),
            role: Role::Agent,
            queue: Some(some_queue),
            sessions: SessionsThen::End,
        },
        7 => {
            let disabled = Some(random.random_range(0..3) == 0);
            let UserRef::Id(user_id) = some_user else { panic!() };
            Action::UpdateUser { user_id, patch: UserPatch { disabled, ..UserPatch::default() }, expected_etag: None }
        }
        9 => {
            let UserRef::Id(user_id) = user(11) else { panic!() };
            Action::DeleteUser { user_id, if_missing: IfMissing::Accept, expected_etag: None }
        }
        10 | 12 => Action::SupervisorSignIn {
            supervisor: user(0),
            user: some_user,
            queue: some_queue,
            ttl: Some(Duration::from_secs(20)),
            justification: "peak hours".repeat(40),
        },
        _ => Action::SignIn {
            user: some_user,
            queue: some_queue,
            channel: SignInChannel::FeatureCode,
            device: "desk".to_owned(),
        },
    }
}

fn penalty(number: usize) -> Penalty {
    Penalty::new(i64::try_from(number % 3).unwrap()).unwrap()
}

fn directory(number: usize) -> Directory {
    let queues = (0..3).map(|queue| QueueEntry {
        line: 0,
        queue_id: format!("q{queue}").parse().unwrap(),
        display_name: format!("Queue {queue} {number}"),
        extension: Some(format!("80{queue}").parse().unwrap()),
        kind: QueueKind::CallQueue,
    });
    let users = (0..12).map(|user| UserEntry {
        line: 0,
        user_id: format!("u{user}").parse().unwrap(),
        display_name: format!("User {user} of {number}"),
        extension: Some(format!("1{user}").parse().unwrap()),
        login: Some(format!("user{}@example.com", (user + number) % 12).parse().unwrap()),
        contact_center_license: true,
        disabled: false,
        roles: if user == 0 { vec![Role::Supervisor, Role::ContactAdmin] } else { Vec::new() },
        agent_of: vec![format!("q{}", user % 3).parse().unwrap()],
        penalties: vec![(format!("q{}", user % 3).parse().unwrap(), penalty(number))],
        supervisor_of: if user == 0 { vec!["q0".parse().unwrap()] } else { Vec::new() },
    });
    Directory {
        organization_id: None,
        display_name: Some(format!("Directory {number}")),
        settings: SettingsPatch::default(),
        left_out: Vec::new(),
        queues: queues.collect(),
        users: users.collect(),
    }
}

/// Compares the changes in a database with their reported outcomes.
pub fn contradiction(store: &Store, said: &Promises) -> Option<String> {
    for (number, said) in said {
        let found = store.request(&organization(*number), &request_id(*number), Timestamp::from_unix_ms(0));
        let found = match found {
            Ok(found) => found.map(|record| record.sequence),
            Err(error) => {
                return Some(format!("change {number} was reported as {said:?}, and can't be looked for: {error}"));
            }
        };
        let holds = match said {
            Said::Done(sequence) => found == Some(*sequence),
            Said::Rejected | Said::Refused => found.is_none(),
            Said::Unknown => true,
        };
        if !holds {
            return Some(format!("change {number} was reported as {said:?}, and is found at {found:?}"));
        }
    }
    None
}
