//! Many open Floor pages of the console during changes: do checks get slower?
//!
//! In each round the checks run quietly, then beside the changes alone, and then beside the changes and the pages.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    harness::{
        loops::{self, RequestSequence},
        measurement::Measurement,
        pacing::Schedule,
        report::{Figure, mebibytes, print_figures},
        rounds::Rounds,
        workers::Workers,
    },
    options::Options,
    organization::{self, Plan},
    scenarios::requests,
    servers::{environment::Environment, import::start_with_organization, process::Process},
};

/// The default rate of checks beside the pages.
const CHECKS_PER_SECOND: f64 = 2_000.0;

/// The longest wait for a response of the console.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut environment = Environment::new(options)?;
    let console = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    environment.flags.push(format!("--console-listen={console}"));
    let plan = requests::plan(options.users)?;
    let process = start_with_organization(&environment, "console.db", &plan)?;
    let cookie = enter(&environment, &process, &plan, console).await?;
    let target = process.target(&environment);
    let checking = Workers::connect(&target, options.threads, options.connections).await?;
    let changing = Workers::connect(&target, 1, 1).await?;
    let checks = RequestSequence::new(requests::checks(std::slice::from_ref(&plan))?.into());
    let changes = RequestSequence::new(requests::distant_changes(&plan, options.users.min(2_000))?.into());
    let check_rate = options.rate.unwrap_or(CHECKS_PER_SECOND);
    let schedule = |calls_per_second| Schedule { calls_per_second, arrivals: options.arrivals };
    let check = || loops::open(&checking, schedule(check_rate), &checks, options.seconds);
    let change = || loops::open(&changing, schedule(options.changes), &changes, options.seconds);

    let (mut quiet, mut beside_changes, mut beside_pages) = (Rounds::default(), Rounds::default(), Rounds::default());
    let (mut memory_without, mut memory_with, mut received) = (0, 0, 0);
    for _ in 0..options.rounds {
        quiet.0.push(check().await?);
        let (checked, changed) = tokio::join!(check(), change());
        changed?;
        beside_changes.0.push(checked?);
        memory_without = process.usage().memory_bytes()?;
        let pages = Pages::open(console, &cookie, options.watchers).await?;
        let before = pages.received();
        let (checked, changed) = tokio::join!(check(), change());
        changed?;
        beside_pages.0.push(checked?);
        memory_with = process.usage().memory_bytes()?;
        received = pages.received() - before;
        anyhow::ensure!(received > 0, "the pages got nothing");
    }
    let p99 = Measurement::p99_us;
    let (of_changes, of_pages) = (beside_changes.ratio(&quiet, p99), beside_pages.ratio(&quiet, p99));
    let kib_per_second = received as f64 / 1_024.0 / options.seconds / options.watchers as f64;
    let figure = |name, text, json| Figure { name, text, json };
    let title =
        format!("{} Floor pages, {} changes and {check_rate} checks a second", options.watchers, options.changes);
    print_figures(
        options.json,
        &title,
        vec![
            figure("checks' p99, quiet, us", format!("{:.0}", quiet.median(p99)), json!(quiet.json())),
            figure("beside changes, ratio", of_changes.to_string(), of_changes.json()),
            figure("beside changes and pages, ratio", of_pages.to_string(), of_pages.json()),
            figure("their p99, us", format!("{:.0}", beside_pages.median(p99)), json!(beside_pages.json())),
            figure("KiB per page and second", format!("{kib_per_second:.1}"), json!(kib_per_second)),
            figure("MiB without pages", mebibytes(memory_without), json!(memory_without)),
            figure("MiB with", mebibytes(memory_with), json!(memory_with)),
        ],
    );
    Ok(())
}

/// Make the first user a contact admin, enter the console as them by a link, and return the session's cookie.
async fn enter(
    environment: &Environment,
    process: &Process,
    plan: &Plan,
    console: SocketAddr,
) -> anyhow::Result<String> {
    let user_id = organization::user(0)?.user_id.to_string();
    let server = format!("http://{}", process.address());
    let run = |words: &[&str]| {
        let common = ["--organization", plan.organization_id.as_str(), "--server", &server];
        environment.run(words.iter().chain(&common).map(Into::into))
    };
    run(&["assign", &user_id, "--role", "contact-admin"])?;
    let printed = run(&["console", "link", &user_id])?;
    let link = printed.split_once("link=").context("no link")?.1.split_whitespace().next().context("no link")?;
    let body = format!("link={link}");
    let mut stream = TcpStream::connect(console).await?;
    let request = format!(
        "POST /enter HTTP/1.1\r\nhost: {console}\r\norigin: http://{console}\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(WAIT_LIMIT, stream.read_to_string(&mut answer)).await??;
    let cookies = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let session = cookies.filter_map(|cookie| cookie.split(';').next()).find(|cookie| cookie.contains("session"));
    session.map(str::to_owned).with_context(|| format!("no session: {answer}"))
}

/// Open Floor pages, each with a connection of its own. Their drop closes them.
struct Pages {
    _reading: JoinSet<()>,
    received: Arc<AtomicU64>,
}

impl Pages {
    async fn open(console: SocketAddr, cookie: &str, count: usize) -> anyhow::Result<Self> {
        let (mut reading, received) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let request = format!("GET /live HTTP/1.1\r\nhost: {console}\r\ncookie: {cookie}\r\n\r\n");
        for _ in 0..count {
            let mut stream = TcpStream::connect(console).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut bytes = vec![0; 64 * 1_024];
            let first = timeout(WAIT_LIMIT, stream.read(&mut bytes)).await??;
            let status = String::from_utf8_lossy(bytes.get(..first.min(15)).unwrap_or_default()).into_owned();
            anyhow::ensure!(status.starts_with("HTTP/1.1 200"), "the console answered {status}");
            let received = Arc::clone(&received);
            reading.spawn_local(async move {
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    received.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::Relaxed);
                }
            });
        }
        Ok(Self { _reading: reading, received })
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}
