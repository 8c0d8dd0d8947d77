//! A large state: the time of a start, the memory, and the cost of checks and changes.

mod prepare;

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{
        loops,
        measurement::Measurement,
        report::{Figure, mebibytes, print_figures},
        request::EncodedRequest,
        rounds::Rounds,
        workers::Workers,
    },
    options::Options,
    organization::Plan,
    scenarios::{
        comparison::{ComparedServer, measure, with_floors},
        requests::{self, ASSIGNMENTS},
    },
    servers::{environment::Environment, import::start_with_organization, process::Process},
};

/// The users of the small organization, with whose changes those of the large one are compared.
const SMALL: usize = 1_000;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let plans = plans(options.users, options.organizations)?;
    let database = match &options.prepared {
        Some(file) => file.clone(),
        None => environment.path("size.db"),
    };
    if !database.exists() {
        prepare::prepare(&database, &plans)?;
    }
    // The first start reads the file from the disk. A restart doesn't, so the second start is measured.
    Process::queuegate(&environment, &database)?.stop()?;
    let large = Process::queuegate(&environment, &database)?;
    let (start_to_ready, memory_bytes) = (large.start_to_ready, large.usage().memory_bytes()?);
    let checks: Arc<[EncodedRequest]> = requests::checks(&plans)?.into();
    let mut servers = with_floors(&environment, options, large, &checks).await?;
    measure(&mut servers, options, &checks).await?;
    let [_, _, queuegate] = &servers;
    let changes = measure_changes(&environment, options, &queuegate.process, &plans).await?;
    let start = Start { start_to_ready, memory_bytes, database_bytes: fs::metadata(&database)?.len() };
    report(options, &plans, &start, &servers, &changes)
}

/// The figures of the start.
struct Start {
    start_to_ready: Duration,
    memory_bytes: u64,
    database_bytes: u64,
}

/// The rounds of changes in the large state and in the small organization.
#[derive(Default)]
struct Changes {
    large: Rounds,
    small: Rounds,
}

/// Plan the organizations. Each user has ten queues and a session.
fn plans(users: usize, organizations: usize) -> anyhow::Result<Vec<Plan>> {
    let users = users / organizations;
    // An organization of a million users has 20,000 queues. One of a hundred users still has ten.
    let queues = (users / 50).max(ASSIGNMENTS);
    let plan = |number| {
        let organization_id = format!("organization-{number:05}").parse()?;
        Ok(Plan { organization_id, users, queues, assignments: ASSIGNMENTS, sessions: users })
    };
    (0..organizations).map(plan).collect()
}

/// Measure one change at a time, in the large state and in a small organization.
async fn measure_changes(
    environment: &Environment,
    options: &Options,
    large: &Process,
    plans: &[Plan],
) -> anyhow::Result<Changes> {
    let small_plan = requests::plan(SMALL)?;
    let small = start_with_organization(environment, "small.db", &small_plan)?;
    let large_requests: Arc<[_]> = sign_outs_and_sign_ins(plans)?.into();
    let small_requests: Arc<[_]> = requests::changes(&small_plan, SMALL)?.into();
    let large = Workers::connect(&large.target(environment), 1, 1).await?;
    let small_workers = Workers::connect(&small.target(environment), 1, 1).await?;
    let mut changes = Changes::default();
    for _ in 0..options.rounds {
        changes.large.0.push(loops::closed(&large, 1, &large_requests, options.seconds).await?);
        changes.small.0.push(loops::closed(&small_workers, 1, &small_requests, options.seconds).await?);
    }
    Ok(changes)
}

/// Encode sign-outs, each with a sign-in after it, because all users of the large state have a session.
fn sign_outs_and_sign_ins(plans: &[Plan]) -> anyhow::Result<Vec<EncodedRequest>> {
    let mut all = Vec::new();
    for plan in plans.iter().take(100) {
        let mut changes = requests::changes(plan, (SMALL / plans.len().min(100)).min(plan.users))?;
        for pair in changes.chunks_mut(2).filter(|_| plan.sessions > 0) {
            pair.reverse();
        }
        all.append(&mut changes);
    }
    Ok(all)
}

fn report(
    options: &Options,
    plans: &[Plan],
    start: &Start,
    [per_core, stock, queuegate]: &[ComparedServer; 3],
    changes: &Changes,
) -> anyhow::Result<()> {
    let Start { start_to_ready, memory_bytes, database_bytes } = start;
    let Changes { large, small } = changes;
    let [cpu_to_per_core, cpu_to_stock] =
        [per_core, stock].map(|floor| queuegate.closed.ratio(&floor.closed, Measurement::cpu_us));
    let cpu_at_half_load = queuegate.open.ratio(&per_core.open, Measurement::cpu_us);
    let p99_at_half_load = queuegate.open.ratio(&per_core.open, Measurement::p99_us);
    let change_p50 = large.ratio(small, Measurement::p50_us);
    let change_cpu = large.ratio(small, Measurement::cpu_us);
    let peak_bytes = queuegate.process.usage().peak_memory_bytes()?;
    let queues = plans.iter().map(|plan| plan.queues).sum::<usize>();
    let start_seconds = start_to_ready.as_secs_f64();
    let check_cpu = format!("{:.2}", queuegate.closed.median(Measurement::cpu_us));
    let figure = |name, text, json| Figure { name, text, json };
    let figures = vec![
        figure("organizations", options.organizations.to_string(), json!(options.organizations)),
        figure("users", options.users.to_string(), json!(options.users)),
        figure("queues", queues.to_string(), Value::Null),
        figure("database, MiB", mebibytes(*database_bytes), json!(database_bytes)),
        figure("start to ready, s", format!("{start_seconds:.2}"), json!(start_seconds)),
        figure("resident when ready, MiB", mebibytes(*memory_bytes), json!(memory_bytes)),
        figure("peak, MiB", mebibytes(peak_bytes), json!(peak_bytes)),
        figure("a check's CPU, us", check_cpu, queuegate.closed.json()),
        figure("to floor-per-core", cpu_to_per_core.to_string(), cpu_to_per_core.json()),
        figure("to floor-stock", cpu_to_stock.to_string(), cpu_to_stock.json()),
        figure("a check's CPU at half load to floor-per-core", cpu_at_half_load.to_string(), cpu_at_half_load.json()),
        figure("a check's p99 at half load to floor-per-core", p99_at_half_load.to_string(), p99_at_half_load.json()),
        figure("a change's p50, us", format!("{:.0}", large.median(Measurement::p50_us)), large.json()),
        figure("to 1,000 users'", change_p50.to_string(), change_p50.json()),
        figure("a change's CPU, us", format!("{:.1}", large.median(Measurement::cpu_us)), Value::Null),
        figure("to 1,000 users'", change_cpu.to_string(), change_cpu.json()),
    ];
    print_figures(options.json, "A large state", figures);
    Ok(())
}
