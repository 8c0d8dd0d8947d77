//! Under overload, admitted calls are answered in time, and shed calls are told when to retry; while other peers don't
//! read, stay silent, or flood the server with resets and headers.
//!
//! `QUEUEGATE_OVERLOAD=60` runs a campaign: this many seconds of five times the server's capacity, on a release build.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use prost::Message;
use queuegate::rpc::proto::*;
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    durability::{Process, prepare},
    support::ACME,
};

/// The number of checks in one call: enough that a request costs far less than its response.
const CHECKS: usize = 1_000;

/// The numbers of callers and of connections.
const CALLERS: usize = 400;
const CONNECTIONS: usize = 16;

/// The load, as a multiple of the capacity.
const TIMES: f64 = 5.0;

/// Time until the server detects the overload and sheds the calls that were already queued.
const SETTLED: Duration = Duration::from_millis(500);

const CHECK: &str = "/queuegate.v1.QueueAccessService/BatchCheckQueueAccess";
const WATCH: &str = "/queuegate.v1.QueueAccessService/WatchSessions";

/// The outcomes that callers saw.
#[derive(Default)]
struct Met {
    /// Start (after the first) and duration of each answered call.
    answered: Mutex<Vec<(Duration, Duration)>>,
    refused: AtomicUsize,
    refused_without_a_time: AtomicUsize,
    failed: AtomicUsize,
}

impl Met {
    /// The durations of calls that began after `from`, without the slowest.
    fn percentile(&self, from: Duration, of_1000: usize) -> Duration {
        let answered = self.answered.lock().unwrap();
        let mut took: Vec<Duration> =
            answered.iter().filter(|(began, _)| *began >= from).map(|&(_, took)| took).collect();
        took.sort_unstable();
        took.get(took.len() * of_1000 / 1_000).copied().unwrap_or_default()
    }

    fn answered(&self) -> usize {
        self.answered.lock().unwrap().len()
    }
}

fn request() -> Bytes {
    let items = (0..CHECKS).map(|number| CheckQueueAccessItem {
        user: Some(check_queue_access_item::User::UserId(format!("u{}", number % 10))),
        queue: Some(check_queue_access_item::Queue::QueueId("sales".into())),
        channel: Channel::FeatureCode.into(),
        ..Default::default()
    });
    framed(&BatchCheckQueueAccessRequest { organization_id: ACME.into(), items: items.collect(), ..Default::default() })
}

fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = h2::client::Builder::new();
    let (client, connection) =
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn head(path: &str) -> http::Request<()> {
    http::Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc").body(()).unwrap()
}

/// Makes one call.
async fn call(client: &SendRequest<Bytes>, message: Bytes) -> Result<Status, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, mut sending) = client.send_request(head(CHECK), false)?;
    // A call that is shed immediately gets its response before it has sent the request, and its stream is closed.
    let _ = sending.send_data(message, true);
    let answer = answer.await?;
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Ok(status);
    }
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    Ok(Status::from_header_map(&trailers).unwrap_or_else(|| Status::unknown("no status")))
}

/// Callers that call about every `each` until `deadline`, regardless of the responses, as if each call came from
/// somebody else. Without `each`, as often as they can.
async fn ask(address: SocketAddr, callers: usize, each: Option<Duration>, deadline: Instant) -> Met {
    let (met, message, start) = (Arc::new(Met::default()), request(), Instant::now());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS.min(callers) {
        clients.push(connect(address).await);
    }
    let mut asking = JoinSet::new();
    for caller in 0..callers {
        let (client, met, message) = (clients[caller % clients.len()].clone(), Arc::clone(&met), message.clone());
        asking.spawn(async move {
            let (mut answered, mut next) = (Vec::new(), Instant::now());
            while next < deadline {
                match each {
                    Some(each) => {
                        next += each.mul_f64(2.0 * rand::random::<f64>());
                        tokio::time::sleep_until(next.into()).await;
                    }
                    None => next = Instant::now(),
                }
                let began = Instant::now();
                let status = match call(&client, message.clone()).await {
                    Ok(status) => status,
                    Err(error) => {
                        println!("a call failed: {error}");
                        met.failed.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                };
                match status.code() {
                    Code::Ok => answered.push((began - start, began.elapsed())),
                    Code::Unavailable | Code::ResourceExhausted => {
                        met.refused.fetch_add(1, Ordering::Relaxed);
                        if status.get_details_retry_info().is_none_or(|retry| retry.retry_delay.is_none()) {
                            met.refused_without_a_time.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    _ => {
                        println!("a call failed: {status}");
                        met.failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            met.answered.lock().unwrap().append(&mut answered);
        });
    }
    while asking.join_next().await.is_some() {}
    Arc::into_inner(met).unwrap()
}

/// Malicious or faulty peers, until the value is dropped.
async fn nuisances(address: SocketAddr) -> JoinSet<()> {
    let mut nuisances = JoinSet::new();
    for _ in 0..20 {
        // Connects and sends nothing.
        nuisances.spawn(async move {
            let _silent = TcpStream::connect(address).await;
            std::future::pending::<()>().await;
        });
        // Watches and doesn't read.
        nuisances.spawn(async move {
            let client = connect(address).await;
            let mut client = client.ready().await.unwrap();
            let (answer, mut sending) = client.send_request(head(WATCH), false).unwrap();
            let request = WatchSessionsRequest { organization_id: ACME.into(), ..Default::default() };
            sending.send_data(framed(&request), true).unwrap();
            let _unread = answer.await;
            std::future::pending::<()>().await;
        });
    }
    // Opens and resets calls until the server closes the connection, and connects again.
    nuisances.spawn(async move {
        loop {
            let mut client = connect(address).await;
            for _ in 0..1_000 {
                let Ok(mut ready) = client.ready().await else { break };
                let Ok((_, mut sending)) = ready.send_request(head(CHECK), false) else { break };
                sending.send_reset(h2::Reason::CANCEL);
                client = ready;
                // The callers share this thread, and must not wait for the flood's own work.
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    // Sends endless headers.
    nuisances.spawn(async move {
        loop {
            if let Ok(mut client) = connect(address).await.ready().await {
                let mut flood = head(CHECK);
                flood.headers_mut().insert("x-flood", "x".repeat(64 * 1024).parse().unwrap());
                if let Ok((answer, _)) = client.send_request(flood, true) {
                    let _ = answer.await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    nuisances
}

/// The peak memory of a process, in bytes.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// On one thread: two would take the callers' processor from each other for milliseconds, a delay that the server
/// doesn't cause.
#[tokio::test]
async fn whoever_is_let_in_is_answered_and_the_rest_is_told_when_to_come_again() {
    let seconds: Option<u64> = std::env::var("QUEUEGATE_OVERLOAD").ok().map(|text| text.parse().unwrap());
    let shed_delay = std::env::var("QUEUEGATE_SHED_DELAY").unwrap_or_else(|_| "5ms".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("overload.db");
    // The server has one processor, and the callers the other.
    let command = if seconds.is_some() { &["taskset", "-c", "0"][..] } else { &[] };
    let flags = ["--shed-delay", &shed_delay];
    let server = prepare(Process::start_on(command, &database, &flags), 10).await;
    let address: SocketAddr = server.address().parse().unwrap();
    let phase = Duration::from_secs(seconds.unwrap_or(2).min(10));

    let quiet = ask(address, 1, Some(Duration::from_millis(2)), Instant::now() + phase).await;
    let full = ask(address, 16, None, Instant::now() + phase).await;
    let capacity = full.answered() as f64 / phase.as_secs_f64();
    let before = peak(server.pid());
    let each = Duration::from_secs_f64(CALLERS as f64 / (capacity * TIMES));
    let nuisances = nuisances(address).await;
    let overload = Duration::from_secs(seconds.unwrap_or(3));
    let overloaded = ask(address, CALLERS, Some(each), Instant::now() + overload).await;
    drop(nuisances);
    let after = peak(server.pid());
    let again = ask(address, 1, Some(Duration::from_millis(2)), Instant::now() + phase).await;

    let asked = overloaded.answered() + overloaded.refused.load(Ordering::Relaxed);
    let times = asked as f64 / overload.as_secs_f64() / capacity;
    println!(
        "capacity {capacity:.0} calls of {CHECKS} checks a second; load {times:.2} times that, shed delay {shed_delay}"
    );
    let all = Duration::ZERO;
    let rows = [
        ("quiet", &quiet, all),
        ("full", &full, all),
        ("overloaded", &overloaded, all),
        ("    settled", &overloaded, SETTLED),
        ("afterwards", &again, all),
    ];
    for (name, met, from) in rows {
        println!(
            "{name:11} answered {:7}  p50 {:8.3?}  p99 {:8.3?}  p99.9 {:8.3?}  refused {}  failed {}",
            met.answered(),
            met.percentile(from, 500),
            met.percentile(from, 990),
            met.percentile(from, 999),
            met.refused.load(Ordering::Relaxed),
            met.failed.load(Ordering::Relaxed),
        );
    }
    let ratio = overloaded.percentile(SETTLED, 990).as_secs_f64() / quiet.percentile(all, 990).as_secs_f64();
    println!(
        "p99 of admitted calls: {ratio:.2} times that without load; memory at most {} MiB, {} before",
        after >> 20,
        before >> 20
    );
    for met in [&quiet, &full, &overloaded, &again] {
        assert_eq!(met.refused_without_a_time.load(Ordering::Relaxed), 0, "every shed call has a retry delay");
        assert_eq!(met.failed.load(Ordering::Relaxed), 0, "no call fails otherwise");
        assert!(met.answered() > 0);
    }
    assert!(after < 256 << 20, "{after}");
}
