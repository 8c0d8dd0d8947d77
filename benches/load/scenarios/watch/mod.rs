//! Many watches during many changes: does every watch get every change, at which cost, and do checks get slower?

mod stream;
mod report;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use queuegate::rpc::proto::WatchSessionsRequest;
use report::{Memory, Results, Round};
use stream::{Progress, watch_sessions};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    harness::{
        loops::{self, RequestSequence},
        pacing::Schedule,
        request::{EncodedRequest, WATCH},
        workers::{Worker, Workers},
    },
    options::Options,
    scenarios::{
        comparison::{ComparedServer, with_floors},
        requests,
    },
    servers::{environment::Environment, import::start_with_organization},
};

/// The number of watches that start on a connection before a pause. A server admits only a few new streams at a time.
const STARTS_PER_PAUSE: usize = 25;
const PAUSE: Duration = Duration::from_millis(5);

/// The number of watches per connection.
const WATCHES: usize = 125;

/// The default rate of checks beside the watches.
const CHECKS_PER_SECOND: f64 = 2_000.0;

/// The longest time until all watches have started, and until the last changes arrive.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    let process = start_with_organization(&environment, "watch.db", &plan)?;
    let checks: Arc<[EncodedRequest]> = requests::checks(std::slice::from_ref(&plan))?.into();
    let [floor, _, queuegate] = &with_floors(&environment, options, process, &checks).await?;
    let target = queuegate.process.target(&environment);
    let connections = options.watchers.div_ceil(WATCHES);
    let watches_per_connection = options.watchers / connections;
    let watching = Workers::connect(&target, options.threads, connections).await?;
    let rate = options.rate.unwrap_or(CHECKS_PER_SECOND);
    let load = Load {
        options,
        floor,
        queuegate,
        check_schedule: Schedule { calls_per_second: rate, arrivals: options.arrivals },
        checks: RequestSequence::new(checks),
        changing: Workers::connect(&target, 1, 1).await?,
        changes: RequestSequence::new(requests::distant_changes(&plan, options.users.min(2_000))?.into()),
    };
    let revision_before = queuegate.process.metric("queuegate_revision")?;
    let without_watches = queuegate.process.usage().memory_bytes()?;
    let (changes_made, changes_receiver) = watch::channel(None);
    let progress = Progress { started: Arc::default(), changes_made: changes_receiver };
    let started = Arc::clone(&progress.started);
    let organization_id = plan.organization_id.to_string();
    let request = EncodedRequest::new(WATCH, &WatchSessionsRequest { organization_id, ..Default::default() });
    let watches = watching.run(move |worker| run_watches(worker, watches_per_connection, request, progress));
    let measuring = async {
        let deadline = Instant::now() + WAIT_LIMIT;
        while started.load(Ordering::Relaxed) < watches_per_connection * connections {
            anyhow::ensure!(Instant::now() < deadline, "not all watches have started");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let with_watches = queuegate.process.usage().memory_bytes()?;
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            rounds.push(load.measure().await?);
        }
        let changes = (queuegate.process.metric("queuegate_revision")? - revision_before) as u64;
        changes_made.send_replace(Some(changes));
        anyhow::Ok((rounds, with_watches, changes))
    };
    let (counts, measured) = tokio::join!(watches, measuring);
    let (rounds, with_watches, changes) = measured?;
    let counts: Vec<u64> = counts?.into_iter().flatten().collect();
    let results = Results {
        rounds,
        watches: counts.len(),
        complete_watches: counts.iter().filter(|count| **count == changes).count(),
        changes,
        memory_bytes: Memory {
            without: without_watches,
            with: with_watches,
            peak: queuegate.process.usage().peak_memory_bytes()?,
        },
        checks_per_second: rate,
    };
    results.print(options.json);
    Ok(())
}

/// Start the watches of one worker, and return the number of changes that each got.
async fn run_watches(
    worker: Worker,
    watches_per_connection: usize,
    request: EncodedRequest,
    progress: Progress,
) -> anyhow::Result<Vec<u64>> {
    let mut watches = JoinSet::new();
    for connection in worker.connections.iter() {
        for number in 1..=watches_per_connection {
            watches.spawn_local(watch_sessions(connection.clone(), request.clone(), progress.clone(), WAIT_LIMIT));
            if number % STARTS_PER_PAUSE == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let mut counts = Vec::new();
    while let Some(count) = watches.join_next().await {
        counts.push(count??);
    }
    Ok(counts)
}

/// The checks and the changes of a round.
struct Load<'s> {
    options: &'s Options,
    floor: &'s ComparedServer,
    queuegate: &'s ComparedServer,
    check_schedule: Schedule,
    checks: RequestSequence,
    changing: Workers,
    changes: RequestSequence,
}

impl Load<'_> {
    /// Measure one round.
    async fn measure(&self) -> anyhow::Result<Round> {
        let Self { options, floor, queuegate, check_schedule, checks, changing, changes } = self;
        let change_schedule = Schedule { calls_per_second: options.changes, arrivals: options.arrivals };
        let change = || loops::open(changing, change_schedule, changes, options.seconds);
        let check = async |server: &ComparedServer| {
            loops::open(&server.workers, *check_schedule, checks, options.seconds).await
        };
        let (floor_quiet, queuegate_quiet) = (check(floor).await?, check(queuegate).await?);
        let changes_alone = change().await?;
        let (floor_busy, _) = tokio::join!(check(floor), change());
        let (queuegate_busy, _) = tokio::join!(check(queuegate), change());
        Ok(Round {
            floor_quiet,
            floor_busy: floor_busy?,
            queuegate_quiet,
            queuegate_busy: queuegate_busy?,
            changes: changes_alone,
        })
    }
}
