//! Checks through everything that is on by default, next to servers that do nothing.

use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use crate::{
    Options,
    call::{Line, Question},
    crew::{Callee, Crew},
    drive::{self, Measured},
    floor::{Layout, Nothing},
    process::Process,
    report::{COLUMNS, Ratio, Rounds, mebibytes, table},
    setup::{self, ORGANIZATION, Setup},
};

/// A server and what was measured of it.
pub struct Contestant {
    pub server: Process,
    pub crew: Crew,
    pub closed: Rounds,
    pub open: Rounds,
}

impl Contestant {
    pub async fn new(setup: &Setup, options: &Options, server: Process) -> anyhow::Result<Self> {
        let crew = Crew::connect(&Callee::new(setup, &server), options.threads, options.connections).await?;
        Ok(Self { server, crew, closed: Rounds::default(), open: Rounds::default() })
    }
}

/// Starts a server with an organization of so many users, and both floors, which answer as it does.
pub async fn contestants(
    setup: &Setup,
    options: &Options,
    users: usize,
    questions: &[Question],
) -> anyhow::Result<[Contestant; 3]> {
    let database = setup.folder.path().join("checks.db");
    let server = Process::queuegate(setup, &database)?;
    setup.import(&server, ORGANIZATION, &setup::document(ORGANIZATION, users)?)?;
    // Started anew, so that the import's memory isn't in its peak.
    server.stop()?;
    let server = Process::queuegate(setup, &database)?;
    let answers = setup.folder.path().join("answers");
    let line = Line::connect(&Callee::new(setup, &server)).await?;
    Nothing::write(&answers, &line.ask(questions.first().context("no questions")?).await?)?;
    let per_core = Process::floor(setup, Layout::PerCore, &answers)?;
    let stock = Process::floor(setup, Layout::Stock, &answers)?;
    Ok([
        Contestant::new(setup, options, per_core).await?,
        Contestant::new(setup, options, stock).await?,
        Contestant::new(setup, options, server).await?,
    ])
}

/// Measures every contestant in turn, closed and then open.
pub async fn measure(
    contestants: &mut [Contestant],
    options: &Options,
    questions: &Arc<[Question]>,
) -> anyhow::Result<f64> {
    for _ in 0..options.rounds {
        for Contestant { server, crew, closed, .. } in contestants.iter_mut() {
            closed.0.push(drive::closed(server, crew, options.streams, questions, options.seconds).await?);
        }
    }
    let slowest = contestants.iter().map(|contestant| contestant.closed.median(Measured::rate));
    let rate = options.rate.unwrap_or_else(|| slowest.fold(f64::INFINITY, f64::min) / 2.0);
    for _ in 0..options.rounds {
        for Contestant { server, crew, open, .. } in contestants.iter_mut() {
            open.0.push(drive::open(server, crew, (rate, options.arrivals), questions, options.seconds).await?);
        }
    }
    Ok(rate)
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let questions: Arc<[Question]> = setup::check_questions(options.users).into();
    let mut all = contestants(&setup, options, options.users, &questions).await?;
    let rate = measure(&mut all, options, &questions).await?;
    let [per_core, stock, ours] = &all;
    let p99 = |measured: &Measured| measured.percentile_us(99.0);
    let ratios = [
        ("CPU per call", [per_core, stock].map(|floor| ours.closed.ratio(&floor.closed, Measured::cpu_us))),
        ("rate", [per_core, stock].map(|floor| ours.closed.ratio(&floor.closed, Measured::rate))),
        ("p99 at half load", [per_core, stock].map(|floor| ours.open.ratio(&floor.open, p99))),
        ("CPU per call at half load", [per_core, stock].map(|floor| ours.open.ratio(&floor.open, Measured::cpu_us))),
    ];
    if options.json {
        println!("{:#}", report(&all, rate, &ratios)?);
        return Ok(());
    }
    let mut rows = Vec::new();
    for Contestant { server, closed, .. } in &all {
        let mut row = vec![server.name.to_owned()];
        row.extend(closed.cells());
        row.push(mebibytes(server.peak_memory()?));
        rows.push(row);
    }
    let (connections, streams) = (options.connections, options.streams);
    let title = format!("Closed loop, {connections} connections x {streams} streams");
    println!("{}", table(&title, ["server"].into_iter().chain(COLUMNS).chain(["peak MiB"]), rows));
    let rows = all.iter().map(|contestant| {
        let mut row = vec![contestant.server.name.to_owned()];
        row.extend(contestant.open.cells());
        row
    });
    println!("{}", table(&format!("Open loop, {rate:.0} calls/s"), ["server"].into_iter().chain(COLUMNS), rows));
    let rows =
        ratios.map(|(what, ratios)| [what.to_owned()].into_iter().chain(ratios.map(|r| r.to_string())).collect());
    let title = "queuegate against servers that do nothing: the median over the rounds (least to most)";
    println!("{}", table(title, ["", "to floor-per-core", "to floor-stock"], rows));
    Ok(())
}

fn report(all: &[Contestant], rate: f64, ratios: &[(&str, [Ratio; 2])]) -> anyhow::Result<serde_json::Value> {
    let mut servers = Vec::new();
    for Contestant { server, closed, open, .. } in all {
        servers.push(json!({
            "server": server.name,
            "closed": closed.json(),
            "open": open.json(),
            "peak_memory_bytes": server.peak_memory()?,
        }));
    }
    let ratios = ratios.iter().map(|(what, [per_core, stock])| {
        json!({ "of": what, "to_floor_per_core": per_core.json(), "to_floor_stock": stock.json() })
    });
    Ok(json!({ "servers": servers, "open_loop_rate": rate, "ratios": ratios.collect::<Vec<_>>() }))
}
