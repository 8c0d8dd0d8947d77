//! A compressed week of a contact center: the server's memory and files must not grow with the work that it has done.
//!
//! `QUEUEGATE_WEEK=1` runs a campaign: seven days of 10,000 agents, 40,000 sign-ins and 40,000 sign-outs a day, each
//! with a request id, 50 watches, and an audit log that is archived and cut every night. Otherwise it is a small
//! center. The clock is moved, so a week takes minutes.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use queuegate::{client::Client, rpc::proto::*, server::Config};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::support::{ACME, ManualClock, TestServer, sign_in};

/// The week runs in its own process, so that its memory can be measured.
const PROCESS: &str = "QUEUEGATE_WEEK_PROCESS";

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The number of concurrent calls.
const IN_FLIGHT: usize = 64;

/// The size of the contact center.
#[derive(Debug, Clone, Copy)]
struct Center {
    agents: usize,
    queues: usize,
    /// Sign-ins a day, and as many sign-outs.
    sign_ins: usize,
    watches: usize,
    days: usize,
}

const LARGE: Center = Center { agents: 10_000, queues: 200, sign_ins: 40_000, watches: 50, days: 7 };
const SMALL: Center = Center { agents: 200, queues: 10, sign_ins: 1_200, watches: 6, days: 4 };

/// The server's state at the end of a day.
#[derive(Debug, Clone, Copy)]
struct Kept {
    memory_mib: f64,
    requests: i64,
    events: i64,
    sessions: i64,
    file_mib: f64,
    log_mib: f64,
}

#[test]
fn what_is_kept_after_a_week_is_what_was_kept_after_a_day() {
    let is_large = std::env::var_os("QUEUEGATE_WEEK").is_some();
    let name = "week::a_week_in_a_process_of_its_own";
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture"]).env(PROCESS, if is_large { "large" } else { "small" });
    let output = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("memory MiB"), "the week didn't pass");
}

/// Runs only in a process that the test above starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_in_a_process_of_its_own() {
    let center = match std::env::var(PROCESS).as_deref() {
        Ok("large") => LARGE,
        Ok(_) => SMALL,
        Err(_) => return,
    };
    // Watches send their revisions soon, so that all of them can resume after the cut.
    let change = |config: &mut Config| config.limits.quiet = Duration::from_millis(300);
    let clock = Arc::new(ManualClock::default());
    let mut server = TestServer::start_as(tempfile::tempdir().unwrap(), clock, change).await;
    server.import(&document(center)).await.unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let mut kept = Vec::new();
    println!(
        "{center:?}\n{:>4} {:>11} {:>9} {:>7} {:>9} {:>9} {:>8}",
        "day", "memory MiB", "requests", "events", "sessions", "file MiB", "log MiB"
    );
    let mut watches = follow(&server, center, &told, Vec::new()).await;
    for day in 1..=center.days {
        for hour in 0..24 {
            let each = center.sign_ins / 24;
            pass(&server.client, center, day, hour * each..(hour + 1) * each).await;
            server.clock.advance(HOUR);
        }
        let revision = last_revision(&mut server).await;
        while watches.iter().any(|watch| *watch.last.lock().unwrap() < revision) {
            tokio::task::yield_now().await;
        }
        archive(&mut server).await;
        // Half of the watches end every night and resume.
        let resumed = watches.split_off(watches.len() / 2);
        let mut from = Vec::new();
        for watch in resumed {
            watch.running.abort();
            from.push(watch.last.lock().unwrap().clone());
        }
        watches.extend(follow(&server, center, &told, from).await);
        let now = measure(&server.database, center).await;
        let Kept { memory_mib, requests, events, sessions, file_mib, log_mib } = now;
        println!("{day:>4} {memory_mib:>11.1} {requests:>9} {events:>7} {sessions:>9} {file_mib:>9.1} {log_mib:>8.1}");
        kept.push(now);
    }
    println!("{} messages of watches", told.load(Ordering::Relaxed));
    let (second, last) = (kept[1], kept[kept.len() - 1]);
    // Request ids are remembered for a day, and for up to an hour more until they are swept.
    assert!(last.requests <= i64::try_from(center.sign_ins * 2 * 26 / 24).unwrap(), "{last:?}");
    assert!(last.events <= second.events + 10 && last.sessions == second.sessions, "{second:?} {last:?}");
    assert!(last.file_mib < second.file_mib * 1.25, "{second:?} {last:?}");
    assert!(last.memory_mib < second.memory_mib * 1.25, "{second:?} {last:?}");
    assert!(told.load(Ordering::Relaxed) > center.sign_ins * center.days);
}

fn document(center: Center) -> String {
    let queues = (0..center.queues).map(|queue| format!("  - {{ queue_id: q{queue}, kind: CALL_QUEUE }}\n"));
    let users = (0..center.agents).map(|user| format!("  - {{ user_id: u{user} }}\n"));
    format!("queues:\n{}users:\n{}", queues.collect::<String>(), users.collect::<String>())
}

/// Signs agents in and out again.
async fn pass(client: &Client, center: Center, day: usize, numbers: std::ops::Range<usize>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut calls = JoinSet::new();
    for number in numbers {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let mut client = client.queue_access.clone();
        let (user, queue) = (format!("u{}", number % center.agents), format!("q{}", number % center.queues));
        calls.spawn(async move {
            let request_id = format!("in-{day}-{number}");
            client.sign_in(SignInRequest { request_id, ..sign_in(&user, &queue) }).await.unwrap();
            let sign_out = SignOutRequest {
                organization_id: ACME.into(),
                user: Some(sign_out_request::User::UserId(user)),
                queue: Some(sign_out_request::Queue::QueueId(queue)),
                request_id: format!("out-{day}-{number}"),
                ..Default::default()
            };
            client.sign_out(sign_out).await.unwrap();
            drop(place);
        });
        while calls.try_join_next().is_some_and(|done| done.is_ok()) {}
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

/// Exports the audit log, and cuts off the exported events.
async fn archive(server: &mut TestServer) {
    let export = ExportAuditLogRequest { organization_id: ACME.into(), before_time: None };
    let mut pieces = server.client.audit.export_audit_log(export).await.unwrap().into_inner();
    let mut through = None;
    while let Some(piece) = pieces.message().await.unwrap() {
        through = piece.through.or(through);
    }
    let AuditLogPosition { revision, hash } = through.unwrap();
    let cut = CutAuditLogRequest {
        organization_id: ACME.into(),
        through_revision: revision,
        through_hash: hash,
        ..Default::default()
    };
    server.client.audit.cut_audit_log(cut).await.unwrap();
}

async fn last_revision(server: &mut TestServer) -> String {
    let head = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.audit.get_audit_log_head(head).await.unwrap().into_inner().head.unwrap().revision
}

/// A watch, and the last revision that it sent.
struct Watch {
    last: Arc<Mutex<String>>,
    running: JoinHandle<()>,
}

/// Starts the watches, or resumes stopped ones: some of the whole organization, some of one queue.
async fn follow(server: &TestServer, center: Center, told: &Arc<AtomicUsize>, from: Vec<String>) -> Vec<Watch> {
    let mut watches = Vec::new();
    let count = if from.is_empty() { center.watches } else { from.len() };
    for number in 0..count {
        let mut client = Client::connect(&server.address.to_string()).await.unwrap().queue_access;
        let queue = (number % 2 == 1).then(|| format!("q{}", number % center.queues));
        let request = WatchSessionsRequest {
            organization_id: ACME.into(),
            queue: queue.map(watch_sessions_request::Queue::QueueId),
            start_revision: from.get(number).cloned().unwrap_or_default(),
            ..Default::default()
        };
        let told = Arc::clone(told);
        let mut messages = client.watch_sessions(request).await.unwrap().into_inner();
        let last = Arc::new(Mutex::new(messages.message().await.unwrap().unwrap().revision));
        let noted = Arc::clone(&last);
        let running = tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                *noted.lock().unwrap() = message.revision;
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        watches.push(Watch { last, running });
    }
    watches
}

/// The server's state, after the cut events are swept and old requests are forgotten.
async fn measure(database: &Path, center: Center) -> Kept {
    let file = rusqlite::Connection::open(database).unwrap();
    let count = |table: &str| -> i64 {
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let most = i64::try_from(center.sign_ins * 2 * 26 / 24).unwrap();
    while count("audit_log") > 10 || count("request") > most {
        tokio::task::yield_now().await;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let size = |path: &Path| mib(std::fs::metadata(path).map_or(0, |found| found.len()));
    let resident: u64 =
        std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    Kept {
        memory_mib: mib(resident * 4_096),
        requests: count("request"),
        events: count("audit_log"),
        sessions: count("session"),
        file_mib: size(database),
        log_mib: size(&database.with_extension("db-wal")),
    }
}
