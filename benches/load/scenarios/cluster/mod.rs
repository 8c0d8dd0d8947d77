//! Nodes over PostgreSQL with a synchronous standby on the same machine.
//!
//! - A check on a node, next to one on a server with a file.
//! - One change at a time, next to an UPDATE of one row.
//! - Many changes in flight on one node, next to the same rows by the same statement without a server.
//! - Many changes in flight on three nodes, next to one node.
//! - How soon a change on one node is in the decisions of another.

mod bare;

#[allow(clippy::unwrap_used, clippy::panic, missing_docs, dead_code, reason = "the tests start the same servers")]
#[path = "../../../../tests/it/cluster/postgres.rs"]
mod postgres;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use queuegate::{
    client::{Client, Credentials},
    rpc::proto::*,
};
use serde_json::json;

use crate::{
    harness::{
        loops,
        measurement::Measurement,
        report::{Figure, print_figures},
        request::EncodedRequest,
        rounds::{Ratio, median},
        workers::Workers,
    },
    options::Options,
    organization::{Plan, queue_id, user_id},
    scenarios::{
        comparison::{ComparedServer, measure},
        requests,
    },
    servers::{
        environment::Environment,
        import::{import, start_with_organization},
        process::Process,
    },
};
use postgres::Postgres;

/// Changes in flight per connection, and connections.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 4;

/// The number of changes whose arrival on another node is measured.
const FOLLOWED: usize = 300;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    let settings = "fsync = on\nautovacuum = on\nshared_buffers = 128MB\nmax_wal_size = 4GB";
    let primary = Postgres::start_with(settings).context("PostgreSQL isn't installed")?;
    let _standby = primary.standby();
    let database = primary.database();
    let node = Process::queuegate(&environment, Path::new(&database))?;
    import(&environment, &node, &plan)?;
    let file = start_with_organization(&environment, "file.db", &plan)?;
    let checks: Arc<[EncodedRequest]> = requests::checks(std::slice::from_ref(&plan))?.into();
    let changes: Arc<[EncodedRequest]> = requests::changes(&plan, plan.users)?.into();
    let mut servers = vec![
        ComparedServer::connect(&environment, options, node).await?,
        ComparedServer::connect(&environment, options, file).await?,
    ];
    measure(&mut servers, options, &checks).await?;
    let mut servers = servers.into_iter();
    let (node, file) = (servers.next().context("no node")?, servers.next().context("no server")?);
    let mut figures = vec![
        ratio("check, CPU to a server with a file, closed loop", node.closed.ratio(&file.closed, Measurement::cpu_us)),
        ratio("check, CPU to a server with a file, half load", node.open.ratio(&file.open, Measurement::cpu_us)),
    ];
    drop(file);
    let target = node.process.target(&environment);
    let single = Workers::connect(&target, 1, 1).await?;
    let many = Workers::connect(&target, options.threads, CONNECTIONS).await?;
    let others = [
        Process::queuegate(&environment, Path::new(&database))?,
        Process::queuegate(&environment, Path::new(&database))?,
    ];
    let (mut followed, mut lone, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    let (mut one, mut bare, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        raw.push(bare::update_p50_us(&database, options.seconds).await?);
        lone.push(loops::closed(&single, 1, &changes, options.seconds).await?.p50_us());
        let before = batches_of(&node.process)?;
        one.push(loops::closed(&many, CALLERS, &changes, options.seconds).await?.rate());
        let after = batches_of(&node.process)?;
        let batch = ((after.0 - before.0) / (after.1 - before.1).max(1.0)).round().max(1.0);
        batches.push(batch);
        let (address, seconds) = (primary.database(), options.seconds);
        bare.push(tokio::task::spawn_blocking(move || bare::batches(&address, batch as usize, seconds)).await??);
        followed.extend(follow(&environment, &plan, &node.process, &others[0]).await?);
    }
    let three = [&node.process, &others[0], &others[1]];
    let mut shares = Vec::new();
    for _ in 0..options.rounds {
        shares.push(three_at_once(&environment, options, &changes, three).await?);
    }
    let totals: Vec<f64> = shares.iter().map(|shares| shares.iter().sum()).collect();
    let least_to_most = |shares: &Vec<f64>| {
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        least / shares.iter().copied().fold(0.0, f64::max)
    };
    followed.sort_by(f64::total_cmp);
    let at = |share: f64| followed.get((followed.len() as f64 * share) as usize).copied().unwrap_or_default();
    figures.extend([
        ratio("one change alone, p50 to an UPDATE of one row", Ratio::of(lone.iter().copied(), raw.iter().copied())),
        plain("one change alone, p50 in us", median(&lone)),
        ratio("256 in flight, one node to the bare statement", Ratio::of(one.iter().copied(), bare.iter().copied())),
        plain("256 in flight, one node, changes per second", median(&one)),
        plain("256 in flight, one node, changes per batch", median(&batches)),
        ratio("256 in flight each, three nodes to one", Ratio::of(totals.iter().copied(), one.iter().copied())),
        plain(
            "least share to the largest of three nodes",
            median(&shares.iter().map(least_to_most).collect::<Vec<_>>()),
        ),
        plain("a change is on another node after its answer, p50 in ms", at(0.5)),
        plain("a change is on another node after its answer, p99 in ms", at(0.99)),
    ]);
    print_figures(options.json, "Nodes over PostgreSQL, with a synchronous standby on this machine", figures);
    Ok(())
}

/// Return the number of committed commands, and of batches.
fn batches_of(node: &Process) -> anyhow::Result<(f64, f64)> {
    Ok((node.metric("queuegate_batch_commands_sum")?, node.metric("queuegate_batch_commands_count")?))
}

fn ratio(name: &'static str, ratio: Ratio) -> Figure {
    Figure { name, text: ratio.to_string(), json: ratio.json() }
}

fn plain(name: &'static str, figure: f64) -> Figure {
    Figure { name, text: format!("{figure:.2}"), json: json!(figure) }
}

/// Return how many milliseconds after its answer each change is in the decisions of another node.
async fn follow(environment: &Environment, plan: &Plan, one: &Process, other: &Process) -> anyhow::Result<Vec<f64>> {
    let connect = async |process: &Process| {
        let credentials = Credentials { token: Some(environment.token.clone()), ..Credentials::default() };
        Client::connect_as(&process.address().to_string(), credentials).await
    };
    let (mut one, mut other) = (connect(one).await?, connect(other).await?);
    let organization_id = plan.organization_id.to_string();
    let mut after = Vec::new();
    for number in 0..FOLLOWED {
        let (user, queue) =
            (user_id(number % plan.users)?.to_string(), queue_id(plan.queue_of(number % plan.users, 0))?);
        let revision = if number.is_multiple_of(2) {
            let request = SignInRequest {
                organization_id: organization_id.clone(),
                user: Some(sign_in_request::User::UserId(user.clone())),
                queue: Some(sign_in_request::Queue::QueueId(queue.to_string())),
                channel: Channel::FeatureCode.into(),
                ..Default::default()
            };
            one.queue_access.sign_in(request).await?.into_inner().revision
        } else {
            let request = SignOutRequest {
                organization_id: organization_id.clone(),
                user: Some(sign_out_request::User::UserId(user.clone())),
                all_queues: true,
                ..Default::default()
            };
            one.queue_access.sign_out(request).await?.into_inner().revision
        };
        let answered = Instant::now();
        let check = CheckQueueAccessRequest {
            organization_id: organization_id.clone(),
            user: Some(check_queue_access_request::User::UserId(user)),
            queue: Some(check_queue_access_request::Queue::QueueId(queue.to_string())),
            channel: Channel::FeatureCode.into(),
            at_least_revision: revision,
            ..Default::default()
        };
        other.queue_access.check_queue_access(check).await?;
        after.push(answered.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(after)
}

/// Return the changes per second of three nodes at the same time.
async fn three_at_once(
    environment: &Environment,
    options: &Options,
    changes: &Arc<[EncodedRequest]>,
    nodes: [&Process; 3],
) -> anyhow::Result<Vec<f64>> {
    let mut workers = Vec::new();
    for node in nodes {
        workers.push(Workers::connect(&node.target(environment), 1, CONNECTIONS).await?);
    }
    let [one, two, three] = workers.as_slice() else { anyhow::bail!("three nodes are measured") };
    let measured = tokio::try_join!(
        loops::closed(one, CALLERS, changes, options.seconds),
        loops::closed(two, CALLERS, changes, options.seconds),
        loops::closed(three, CALLERS, changes, options.seconds),
    )?;
    Ok(vec![measured.0.rate(), measured.1.rate(), measured.2.rate()])
}
