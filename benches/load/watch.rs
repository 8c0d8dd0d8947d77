//! Many who watch sessions while many change: does everybody get every change, what does it cost, and do checks suffer?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use queuegate::rpc::proto::{WatchSessionsRequest, WatchSessionsType};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Options,
    call::{self, CheckCall, HEADER, Line},
    contest::{Contestant, contestants},
    crew::{Callee, Crew, Share},
    drive::{self, Deck, Measured},
    report::{Ratio, mebibytes, median, table},
    setup::{self, Setup},
};

/// How many watches begin on a connection before the next ones: a server lets in only so many long answers at once.
const AT_ONCE: usize = 25;
const PAUSE: Duration = Duration::from_millis(5);

/// How many watches there are on a connection.
const WATCHES: usize = 125;

/// The rate of checks beside them, unless another is given.
const CHECKS_PER_SECOND: f64 = 2_000.0;

/// How long watches may take to begin, and the last changes to come.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A message as far as it is looked at, so that it is the server that is measured.
#[derive(Clone, PartialEq, prost::Message)]
struct Seen {
    #[prost(enumeration = "WatchSessionsType", tag = "1")]
    r#type: i32,
    #[prost(string, tag = "3")]
    revision: String,
}

/// What a watch has seen so far.
#[derive(Default)]
struct Watch {
    data: BytesMut,
    has_begun: bool,
    changes: u64,
    last: String,
}

impl Watch {
    /// Takes gRPC messages out of data as it comes.
    fn read(&mut self, data: &Bytes) -> anyhow::Result<()> {
        self.data.extend_from_slice(data);
        while let Some(header) = self.data.get(..HEADER) {
            let length = header.get(1..).context("no length")?.try_into()?;
            let length = usize::try_from(u32::from_be_bytes(length))?;
            if self.data.len() < HEADER + length {
                break;
            }
            self.data.advance(HEADER);
            let seen = Seen::decode(self.data.split_to(length))?;
            match seen.r#type() {
                WatchSessionsType::Checkpoint => self.has_begun = true,
                WatchSessionsType::SignedIn | WatchSessionsType::SignedOut => {
                    anyhow::ensure!(self.last < seen.revision, "changes came twice or out of order");
                    (self.last, self.changes) = (seen.revision, self.changes + 1);
                }
                WatchSessionsType::Initial | WatchSessionsType::Unspecified => {}
            }
        }
        Ok(())
    }
}

/// What all watches are told: that they have begun, and how many changes there were, once that is known.
#[derive(Clone)]
struct Told {
    begun: Arc<AtomicUsize>,
    made: watch::Receiver<Option<u64>>,
}

/// Watches until all changes have come, or nothing comes any more. Says how many came.
async fn watch_sessions(line: Line, question: CheckCall, mut told: Told) -> anyhow::Result<u64> {
    let (mut watched, mut has_told) = (Watch::default(), false);
    let mut stream = line.begin(&question).await?;
    loop {
        let made = *told.made.borrow();
        if made.is_some_and(|made| watched.changes >= made) {
            return Ok(watched.changes);
        }
        let patience = if made.is_some() { LONGEST_WAIT } else { Duration::MAX };
        tokio::select! {
            data = tokio::time::timeout(patience, stream.data()) => match data {
                Ok(Some(data)) => {
                    let data = data?;
                    stream.flow_control().release_capacity(data.len())?;
                    watched.read(&data)?;
                }
                // Cut off, or too late.
                Ok(None) | Err(_) => return Ok(watched.changes),
            },
            known = told.made.changed(), if made.is_none() => known?,
        }
        if watched.has_begun && !has_told {
            has_told = true;
            told.begun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One round.
struct Round {
    /// Checks of the floor and of ours, while nothing changes.
    quiet: (Measured, Measured),
    /// The same while changes come.
    busy: (Measured, Measured),
    /// Changes alone.
    changes: Measured,
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("watch.db", &plan)?;
    let checks: Arc<[CheckCall]> = setup::check_questions(std::slice::from_ref(&plan))?.into();
    let [nothing, _, ours] = &contestants(&setup, options, server, &checks).await?;
    let checks = Deck::new(checks);
    let changes = Deck::new(setup::distant_changes(&plan, options.users.min(2_000))?.into());
    let callee = Callee::new(&setup, &ours.server);
    let changing = Crew::connect(&callee, 1, 1).await?;
    let connections = options.watchers.div_ceil(WATCHES);
    let watching = Crew::connect(&callee, options.threads, connections).await?;
    let (before, memory) = (ours.server.metric("queuegate_revision")?, ours.server.memory()?);
    let (tell, made) = watch::channel(None);
    let told = Told { begun: Arc::default(), made };
    let begun = Arc::clone(&told.begun);
    let organization_id = plan.organization_id.to_string();
    let question = CheckCall::new(call::WATCH, &WatchSessionsRequest { organization_id, ..Default::default() });
    let each = options.watchers / connections;
    let all_watch = watching.all(move |Share { lines, .. }| async move {
        let mut watches = JoinSet::new();
        for line in lines.iter() {
            for number in 0..each {
                watches.spawn_local(watch_sessions(line.clone(), question.clone(), told.clone()));
                if number % AT_ONCE == AT_ONCE - 1 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        let mut counts = Vec::new();
        while let Some(watched) = watches.join_next().await {
            counts.push(watched??);
        }
        Ok(counts)
    });
    let measure = async {
        let deadline = Instant::now() + LONGEST_WAIT;
        while begun.load(Ordering::Relaxed) < each * connections {
            anyhow::ensure!(Instant::now() < deadline, "not all watches have begun");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let watched_memory = ours.server.memory()?;
        let rate = options.rate.unwrap_or(CHECKS_PER_SECOND);
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            rounds.push(round(options, (nothing, ours), (&changing, &changes), (rate, &checks)).await?);
        }
        let made = ours.server.metric("queuegate_revision")? - before;
        tell.send_replace(Some(made as u64));
        anyhow::Ok((rounds, watched_memory, made as u64, rate))
    };
    let (counts, measured) = tokio::join!(all_watch, measure);
    let (rounds, watched_memory, made, rate) = measured?;
    let counts: Vec<u64> = counts?.into_iter().flatten().collect();
    let complete = counts.iter().filter(|count| **count == made).count();
    let memory = [memory, watched_memory, ours.server.peak_memory()?];
    report(options, &rounds, (counts.len(), complete, made), memory, rate)
}

async fn round(
    options: &Options,
    (nothing, ours): (&Contestant, &Contestant),
    (changing, changes): (&Crew, &Deck),
    (rate, checks): (f64, &Deck),
) -> anyhow::Result<Round> {
    let change = || drive::open(&ours.server, changing, (options.changes, options.arrivals), changes, options.seconds);
    let check = async |Contestant { server, crew, .. }: &Contestant| {
        drive::open(server, crew, (rate, options.arrivals), checks, options.seconds).await
    };
    let quiet = (check(nothing).await?, check(ours).await?);
    let changes_alone = change().await?;
    let (of_nothing, _) = tokio::join!(check(nothing), change());
    let (of_ours, _) = tokio::join!(check(ours), change());
    Ok(Round { quiet, busy: (of_nothing?, of_ours?), changes: changes_alone })
}

fn report(
    options: &Options,
    rounds: &[Round],
    (watches, complete, made): (usize, usize, u64),
    memory @ [without, with, peak]: [u64; 3],
    rate: f64,
) -> anyhow::Result<()> {
    let p99 = |measured: &Measured| measured.percentile_us(99.0);
    let each = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
    let of = |quiet: Vec<f64>, busy: Vec<f64>| {
        (median(&quiet), median(&busy), Ratio::of(busy.iter().copied(), quiet.iter().copied()))
    };
    let of_nothing = of(each(&|round| p99(&round.quiet.0)), each(&|round| p99(&round.busy.0)));
    let of_ours = of(each(&|round| p99(&round.quiet.1)), each(&|round| p99(&round.busy.1)));
    let changes = median(&each(&|round| round.changes.rate()));
    let cpu = median(&each(&|round| round.changes.cpu.as_secs_f64() / round.changes.seconds));
    let delivery_ns = cpu * 1e9 / (changes * watches as f64);
    let took = median(&each(&|round| p99(&round.changes)));
    if options.json {
        let beside = |(quiet, busy, ratio): (f64, f64, Ratio)| json!({ "p99_us_quiet": quiet, "p99_us_busy": busy, "ratio": ratio.json() });
        println!(
            "{:#}",
            json!({
                "watches": watches,
                "changes_made": made,
                "watches_that_got_all": complete,
                "changes_per_second": changes,
                "server_processors": cpu,
                "cpu_ns_per_delivery": delivery_ns,
                "change_p99_us": took,
                "memory_bytes": { "without": without, "with": with, "peak": peak },
                "checks_beside": { "rate": rate, "floor": beside(of_nothing), "queuegate": beside(of_ours) },
            })
        );
        return Ok(());
    }
    let [without, with, peak] = memory.map(mebibytes);
    let row = [
        format!("{complete} of {watches}"),
        made.to_string(),
        format!("{changes:.0}"),
        format!("{cpu:.2}"),
        format!("{delivery_ns:.0}"),
        format!("{took:.0}"),
        without,
        with,
        peak,
    ];
    let columns = [
        "watches that got all",
        "changes",
        "changes/s",
        "processors",
        "CPU ns for a change to one watch",
        "a change's p99 us",
        "MiB without watches",
        "MiB with",
        "peak MiB",
    ];
    println!("{}", table("Watches while changes come", columns, [row.to_vec()]));
    let rows = [("floor-per-core", of_nothing), ("queuegate", of_ours)].map(|(name, (quiet, busy, ratio))| {
        vec![name.to_owned(), format!("{quiet:.0}"), format!("{busy:.0}"), ratio.to_string()]
    });
    let title = format!("Checks, {rate:.0}/s, while changes come to queuegate and its watches");
    println!("{}", table(&title, ["server", "p99 us, quiet", "p99 us, busy", "ratio"], rows));
    Ok(())
}
