//! Random calls on three nodes, with random faults between them and PostgreSQL. The history of all calls and answers is
//! compared with the log: no acknowledged change is lost, none happens twice, and the answers are linearizable.
//!
//! `QUEUEGATE_CLUSTER_FAULTS=1000 cargo test --test it cluster::campaign` runs a long one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use queuegate::{client::Client, rpc::proto::*};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use tonic::{Code, Status};

use super::{
    Postgres,
    nodes::{import_on, node},
    proxy::{Next, Proxy},
};
use crate::support::{ACME, TestServer};

const CLIENTS: u64 = 12;
const USERS: [&str; 4] = ["anna", "bo", "cleo", "sam"];
const QUEUES: [&str; 2] = ["sales", "support"];

/// The pause between two faults.
const PAUSE: Duration = Duration::from_millis(250);

/// An answered call.
#[derive(Debug, Clone)]
struct Answered {
    called: Instant,
    returned: Instant,
    sequence: u64,
    user: &'static str,
    queue: &'static str,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// A session was created.
    Created(String),
    /// There was a session.
    SignedIn(String),
    /// A session was ended.
    Ended(String),
    /// There was no session.
    SignedOut,
}

/// The live session of each user on each queue.
type Sessions = HashMap<(String, String), String>;

/// A change of a session, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Logged {
    sequence: u64,
    is_start: bool,
    session_id: String,
    key: (String, String),
}

fn sequence(revision: &str) -> u64 {
    u64::from_str_radix(revision.rsplit('-').next().unwrap(), 16).unwrap()
}

fn may_repeat(status: &Status) -> bool {
    let lost = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded];
    assert!(lost.contains(&status.code()), "{status}");
    true
}

/// Call until there is an answer, on any node, with the same request id.
async fn call(nodes: &[Client], rng: &mut StdRng, name: String) -> Answered {
    let (user, queue) = (USERS[rng.random_range(0..USERS.len())], QUEUES[rng.random_range(0..QUEUES.len())]);
    let is_sign_in = rng.random_bool(0.5);
    let called = Instant::now();
    loop {
        let mut client = nodes[rng.random_range(0..nodes.len())].queue_access.clone();
        let answered = if is_sign_in {
            let request = SignInRequest {
                organization_id: ACME.into(),
                user: Some(sign_in_request::User::UserId(user.into())),
                queue: Some(sign_in_request::Queue::QueueId(queue.into())),
                channel: Channel::FeatureCode.into(),
                request_id: name.clone(),
                ..Default::default()
            };
            client.sign_in(request).await.map(|answer| {
                let answer = answer.into_inner();
                let id = answer.session.unwrap().session_id;
                (answer.revision, if answer.created { Answer::Created(id) } else { Answer::SignedIn(id) })
            })
        } else {
            let request = SignOutRequest {
                organization_id: ACME.into(),
                user: Some(sign_out_request::User::UserId(user.into())),
                queue: Some(sign_out_request::Queue::QueueId(queue.into())),
                request_id: name.clone(),
                ..Default::default()
            };
            client.sign_out(request).await.map(|answer| {
                let answer = answer.into_inner();
                let ended = answer.ended_sessions.into_iter().next();
                (answer.revision, ended.map_or(Answer::SignedOut, |session| Answer::Ended(session.session_id)))
            })
        };
        match answered {
            Ok((revision, answer)) => {
                let (returned, sequence) = (Instant::now(), sequence(&revision));
                return Answered { called, returned, sequence, user, queue, answer };
            }
            Err(status) if may_repeat(&status) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(status) => panic!("{status}"),
        }
    }
}

/// Follow the sessions, on one node after another, until the marker's session begins. Return the changes told.
async fn follow(nodes: Vec<Client>, start: String, marker: String, mut rng: StdRng) -> Vec<(u64, bool, String)> {
    let (mut told, mut last) = (Vec::new(), start);
    loop {
        let request =
            WatchSessionsRequest { organization_id: ACME.into(), start_revision: last.clone(), ..Default::default() };
        let mut client = nodes[rng.random_range(0..nodes.len())].queue_access.clone();
        let Ok(watch) = client.watch_sessions(request).await else { continue };
        let mut watch = watch.into_inner();
        for _ in 0..rng.random_range(1..40) {
            let Ok(Some(message)) = watch.message().await else { break };
            last.clone_from(&message.revision);
            let is_start = match message.r#type() {
                WatchSessionsType::SignedIn => true,
                WatchSessionsType::SignedOut => false,
                _ => continue,
            };
            let session = message.session.unwrap();
            if session.user_id == marker {
                return told;
            }
            told.push((sequence(&message.revision), is_start, session.session_id));
        }
    }
}

/// Compare answers with the log. Return the number of violations' descriptions.
fn violations(answered: &[Answered], log: &[Logged]) -> Vec<String> {
    let mut found = Vec::new();
    let mut states: Vec<(u64, Sessions)> = vec![(0, Sessions::new())];
    for change in log {
        let mut state = states.last().unwrap().1.clone();
        if change.is_start {
            if state.insert(change.key.clone(), change.session_id.clone()).is_some() {
                found.push(format!("two live sessions at {}", change.sequence));
            }
        } else if state.remove(&change.key).as_ref() != Some(&change.session_id) {
            found.push(format!("a session that was not live ended at {}", change.sequence));
        }
        states.push((change.sequence, state));
    }
    let at = |sequence: u64| &states[states.partition_point(|(of, _)| *of <= sequence) - 1].1;
    let change_at = |sequence: u64| log.iter().find(|change| change.sequence == sequence);
    for call in answered {
        let live = at(call.sequence).get(&(call.user.to_owned(), call.queue.to_owned()));
        let is_right = match &call.answer {
            Answer::Created(id) => {
                live == Some(id)
                    && change_at(call.sequence).is_some_and(|change| change.is_start && change.session_id == *id)
            }
            Answer::SignedIn(id) => live == Some(id),
            Answer::Ended(id) => {
                live.is_none()
                    && change_at(call.sequence).is_some_and(|change| !change.is_start && change.session_id == *id)
            }
            Answer::SignedOut => live.is_none(),
        };
        if !is_right {
            let id = match &call.answer {
                Answer::Created(id) | Answer::SignedIn(id) | Answer::Ended(id) => id.as_str(),
                Answer::SignedOut => "",
            };
            let changes: Vec<_> = log.iter().filter(|change| change.session_id == id).collect();
            found.push(format!("{call:?}: the log says {live:?}, and of this session {changes:?}"));
        }
    }
    let mut by_return: Vec<&Answered> = answered.iter().collect();
    by_return.sort_by_key(|call| call.returned);
    let mut by_call: Vec<&Answered> = answered.iter().collect();
    by_call.sort_by_key(|call| call.called);
    let (mut returned, mut newest) = (by_return.into_iter().peekable(), 0);
    for call in by_call {
        while let Some(earlier) = returned.next_if(|earlier| earlier.returned < call.called) {
            newest = newest.max(earlier.sequence);
        }
        if call.sequence < newest {
            found.push(format!("{call:?} rests on a state before {newest}, which was answered earlier"));
        }
    }
    found
}

fn logged(postgres: &Postgres, database: &str) -> Vec<Logged> {
    let sql =
        "SELECT revision, entry FROM queuegate.audit_log WHERE action IN ('SIGN_IN', 'SIGN_OUT') ORDER BY revision";
    let text = postgres.sql_in(database, sql);
    let of = |line: &str| {
        let (revision, entry) = line.split_once('|').unwrap();
        let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
        let (kind, session) = (&entry["change"]["kind"], &entry["change"]["session"]);
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        Logged {
            sequence: revision.parse().unwrap(),
            is_start: kind == "SESSION_STARTED",
            session_id: text("session_id"),
            key: (text("user_id"), text("queue_id")),
        }
    };
    text.lines().map(of).collect()
}

async fn export(node: &mut TestServer) -> String {
    let request = ExportDirectoryRequest { organization_id: ACME.into(), ..Default::default() };
    let mut pieces = node.client.directory.export_directory(request).await.unwrap().into_inner();
    let mut text = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        text.extend(piece.document);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_under_faults_lose_nothing_and_are_linearizable() {
    let Some(mut postgres) = Postgres::start() else { return };
    let faults: u32 = std::env::var("QUEUEGATE_CLUSTER_FAULTS").map_or(12, |faults| faults.parse().unwrap());
    let seed = rand::random::<u64>();
    println!("seed {seed}, {faults} faults");
    let mut rng = StdRng::seed_from_u64(seed);
    let database = postgres.database();
    let name = database.split(['/', '?']).nth(3).unwrap().to_owned();
    let (mut proxies, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let proxy = Proxy::start(postgres.socket()).await;
        nodes.push(node(&proxy.url(&name)).await);
        proxies.push(proxy);
    }
    let [one, two, three] = nodes.as_mut_slice() else { panic!() };
    import_on(one, two).await;
    let start = one.set(UnassignedQueueSignIn::Allowed).await.revision;
    let _ = three;
    let clients: Vec<Client> = nodes.iter().map(|node| node.client.clone()).collect();
    let watching = tokio::spawn(follow(clients.clone(), start, "marker".into(), StdRng::seed_from_u64(seed ^ 1)));
    let (is_over, history) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let callers: Vec<_> = (0..CLIENTS)
        .map(|caller| {
            let (clients, is_over, history) = (clients.clone(), Arc::clone(&is_over), Arc::clone(&history));
            let mut rng = StdRng::seed_from_u64(seed ^ (caller + 2));
            tokio::spawn(async move {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let answered = call(&clients, &mut rng, format!("c{caller}-{number}")).await;
                    history.lock().unwrap().push(answered);
                }
            })
        })
        .collect();
    for _ in 0..faults {
        let proxy = &proxies[rng.random_range(0..proxies.len())];
        match rng.random_range(0..12) {
            0..=2 => proxy.next(Next::IsLost),
            3..=5 => proxy.next(Next::LosesItsAnswer),
            6 => proxy.next(Next::Hangs),
            7..=8 => {
                proxy.close();
                tokio::time::sleep(PAUSE).await;
                proxy.open();
            }
            9..=10 => {
                let terminated = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                  WHERE application_name LIKE 'queuegate%' AND random() < 0.5";
                postgres.sql(terminated);
            }
            _ => {
                postgres.stop(if rng.random_bool(0.5) { Signal::QUIT } else { Signal::INT });
                postgres.restart();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let user = User { user_id: "marker".into(), contact_center_license: Some(true), ..Default::default() };
    let request = CreateUserRequest { organization_id: ACME.into(), user: Some(user), ..Default::default() };
    nodes[0].client.directory.create_user(request).await.unwrap();
    let last = nodes[0].sign_in("marker", "sales").await;
    let told = watching.await.unwrap();
    let answered = history.lock().unwrap().clone();
    let mut log = logged(&postgres, &name);
    assert_eq!(log.pop().unwrap().key.0, "marker");
    let found = violations(&answered, &log);
    assert!(
        found.is_empty(),
        "seed {seed}: {} of {}: {:#?}",
        found.len(),
        answered.len(),
        &found[..found.len().min(5)]
    );
    let written: Vec<_> =
        log.iter().map(|change| (change.sequence, change.is_start, change.session_id.clone())).collect();
    assert_eq!(told, written, "seed {seed}: the watch that moved between nodes");
    let dense = "SELECT count(*) = max(revision) FROM queuegate.audit_log";
    assert_eq!(postgres.sql_in(&name, dense).trim(), "t");
    let mut exports = Vec::new();
    for node in &mut nodes {
        let check = CheckQueueAccessRequest {
            organization_id: ACME.into(),
            user: Some(check_queue_access_request::User::UserId("marker".into())),
            queue: Some(check_queue_access_request::Queue::QueueId("sales".into())),
            channel: Channel::FeatureCode.into(),
            at_least_revision: last.revision.clone(),
            ..Default::default()
        };
        node.client.queue_access.check_queue_access(check).await.unwrap();
        let sessions: Vec<String> = node.sessions().await.into_iter().map(|session| session.session_id).collect();
        exports.push((export(node).await, sessions));
        let verify = VerifyAuditLogRequest { organization_id: ACME.into(), ..Default::default() };
        let mut answers = node.client.audit.verify_audit_log(verify).await.unwrap().into_inner();
        while let Some(answer) = answers.message().await.unwrap() {
            assert!(answer.verification.is_none_or(|verification| verification.valid()));
        }
    }
    assert!(exports.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: the nodes differ");
    println!("{} calls, {} changes", answered.len(), log.len());
    assert!(answered.len() > 100, "{}", answered.len());
}

#[test]
fn planted_violations_are_found() {
    let now = Instant::now();
    let ms = |ms| now + Duration::from_millis(ms);
    let call = |called, returned, sequence, answer| Answered {
        called: ms(called),
        returned: ms(returned),
        sequence,
        user: "anna",
        queue: "sales",
        answer,
    };
    let key = || ("anna".to_owned(), "sales".to_owned());
    let change = |sequence, is_start, id: &str| Logged { sequence, is_start, session_id: id.into(), key: key() };
    let log = [change(1, true, "a"), change(2, false, "a"), change(3, true, "b")];
    let right = [
        call(0, 1, 1, Answer::Created("a".into())),
        call(2, 3, 2, Answer::Ended("a".into())),
        call(2, 5, 2, Answer::SignedOut),
        call(4, 6, 3, Answer::Created("b".into())),
    ];
    assert_eq!(violations(&right, &log), Vec::<String>::new());
    let with = |wrong: Answered| violations(&[&right[..], &[wrong]].concat(), &log).len();
    assert_eq!(with(call(7, 8, 4, Answer::Created("c".into()))), 1, "a lost change");
    assert_eq!(with(call(7, 8, 3, Answer::SignedOut)), 1, "a stale answer");
    assert_eq!(with(call(7, 8, 2, Answer::SignedOut)), 1, "an answer from before an earlier one");
    let twice = [change(1, true, "a"), change(2, true, "b")];
    assert_eq!(violations(&[], &twice).len(), 1, "two live sessions");
}
