//! Checks of a small organization beside each rpc of a large one: how much longer do the checks take?
//!
//! Two callers of the large organization repeat one rpc in a closed loop, while the small organization's checks follow
//! a schedule. Each rpc has a turn, next to a quiet turn without it. The scenario prints the ratio of the two p99.

mod rpc_requests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use anyhow::Context;
use queuegate::rpc::methods::METHODS;
use serde_json::json;
use tonic::Code;

use crate::{
    harness::{
        connection::Connection,
        loops::{self, RequestSequence},
        measurement::Measurement,
        pacing::{Arrivals, Schedule},
        report::table,
        request::EncodedRequest,
        rounds::median,
        workers::Workers,
    },
    options::Options,
    organization::Plan,
    scenarios::requests,
    servers::{environment::Environment, import::import, process::Process},
};

/// The id of the small organization.
const NEIGHBOUR: &str = "neighbour";

/// The schedule of its checks.
const SCHEDULE: Schedule = Schedule { calls_per_second: 1_000.0, arrivals: Arrivals::Fixed };

/// The number of callers of the large organization.
const CALLERS: usize = 2;

/// The number of sessions of the large organization.
const SESSIONS: usize = 1_000;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let large = requests::plan(options.users * 2)?;
    let small = Plan { organization_id: NEIGHBOUR.parse()?, ..requests::plan(100)? };
    let server = start(&environment, &large, &small)?;
    let target = server.target(&environment);
    let neighbour = Workers::connect(&target, options.threads, options.connections).await?;
    let callers = Workers::connect(&target, CALLERS, CALLERS).await?;
    sign_in(&callers, &large).await?;
    let checks = RequestSequence::new(requests::checks(std::slice::from_ref(&small))?.into());
    let mut turns = Vec::new();
    let own = METHODS.iter().filter(|method| method.path.starts_with("/queuegate."));
    for method in own.filter(|method| !method.path.contains("/Watch")) {
        let request = rpc_requests::request(method.path)?;
        let quiet = loops::open(&neighbour, SCHEDULE, &checks, options.seconds).await?;
        let (beside, repeated) = measure_beside(&neighbour, &checks, &callers, request, options.seconds).await?;
        turns.push(Turn {
            rpc: method.path.rsplit_once('/').map_or(method.path, |(_, name)| name),
            quiet_us: quiet.p99_us(),
            beside_us: beside.p99_us(),
            refused: beside.counts.refused,
            repeated,
        });
    }
    server.stop()?;
    report(options, &turns, large.users);
    Ok(())
}

/// The turn of one rpc.
struct Turn {
    rpc: &'static str,
    /// The p99 of checks without the rpc.
    quiet_us: f64,
    /// The p99 of checks beside the rpc.
    beside_us: f64,
    /// The number of checks that did not end with OK.
    refused: u64,
    repeated: Repeated,
}

/// The calls of the repeated rpc.
struct Repeated {
    answered: u64,
    not_ok: u64,
}

/// Start a server with both organizations, and restart it after their imports.
fn start(environment: &Environment, large: &Plan, small: &Plan) -> anyhow::Result<Process> {
    let database = environment.path("neighbours.db");
    let server = Process::queuegate(environment, &database)?;
    import(environment, &server, large)?;
    import(environment, &server, small)?;
    server.stop()?;
    Process::queuegate(environment, &database)
}

async fn sign_in(workers: &Workers, plan: &Plan) -> anyhow::Result<()> {
    let changes = requests::distant_changes(plan, SESSIONS.min(plan.users))?;
    let sign_ins: Arc<[EncodedRequest]> = changes.iter().take(changes.len() / 2).cloned().collect();
    let job = workers.run(|worker| async move {
        let connection = worker.connections.first().context("no connection")?;
        for request in sign_ins.iter().skip(worker.index).step_by(worker.count) {
            connection.response(request).await?;
        }
        Ok(())
    });
    job.await.map(drop)
}

/// Measure the checks while the callers repeat a request.
async fn measure_beside(
    neighbour: &Workers,
    checks: &RequestSequence,
    callers: &Workers,
    request: EncodedRequest,
    seconds: f64,
) -> anyhow::Result<(Measurement, Repeated)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (answered, not_ok) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (stop, count_answered, count_not_ok) = (Arc::clone(&is_over), Arc::clone(&answered), Arc::clone(&not_ok));
    let repeating = callers.run(|worker| async move {
        let connection: &Connection = worker.connections.first().context("no connection")?;
        while !stop.load(Ordering::Relaxed) {
            let is_ok = connection.call(&request, |_| {}).await? == Code::Ok;
            let count = if is_ok { &count_answered } else { &count_not_ok };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let measuring = async {
        let measurement = loops::open(neighbour, SCHEDULE, checks, seconds).await;
        is_over.store(true, Ordering::Relaxed);
        measurement
    };
    let (measurement, repeated) = tokio::join!(measuring, repeating);
    repeated?;
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok((measurement?, Repeated { answered: read(&answered), not_ok: read(&not_ok) }))
}

fn report(options: &Options, turns: &[Turn], users: usize) {
    // The p99 of one quiet turn varies, so all rpcs are compared with the median of all quiet turns.
    let quiet_us = median(&turns.iter().map(|turn| turn.quiet_us).collect::<Vec<_>>());
    if options.json {
        let turns = turns.iter().map(|Turn { rpc, quiet_us: _, beside_us, refused, repeated }| {
            let Repeated { answered, not_ok } = repeated;
            json!({
                "rpc": rpc, "beside_p99_us": beside_us, "ratio": beside_us / quiet_us, "checks_refused": refused,
                "answered": answered, "not_ok": not_ok,
            })
        });
        println!("{:#}", json!({ "quiet_p99_us": quiet_us, "neighbours": turns.collect::<Vec<_>>() }));
        return;
    }
    let rows = turns.iter().map(|Turn { rpc, quiet_us: _, beside_us, refused, repeated }| {
        let Repeated { answered, not_ok } = repeated;
        vec![
            (*rpc).to_owned(),
            format!("{beside_us:.0}"),
            format!("{:.1}", beside_us / quiet_us),
            format!("{:.0}", *answered as f64 / options.seconds),
            not_ok.to_string(),
            refused.to_string(),
        ]
    });
    let title = format!(
        "{:.0} checks a second of a small organization, beside {CALLERS} callers of one of {users} users",
        SCHEDULE.calls_per_second
    );
    let columns = ["rpc", "p99 us", "to quiet", "its calls/s", "not OK", "checks refused"];
    println!("{}", table(&title, columns, rows));
    println!("quiet: p99 {quiet_us:.0} us, the median of {} turns", turns.len());
}
