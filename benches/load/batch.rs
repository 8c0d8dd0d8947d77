//! A thousand checks in one call, on one processor.

use std::sync::Arc;

use serde_json::json;

use crate::{
    Options,
    contest::{Contestant, contestants},
    drive::{self, Measured},
    report::{Ratio, mebibytes, table},
    setup::{self, BATCH, Setup},
};

/// Callers on each connection.
const CALLERS: usize = 1;

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut setup = Setup::new(options)?;
    setup.pin = true;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("batch.db", &plan)?;
    let questions: Arc<[_]> = setup::batch_questions(&plan)?.into();
    let mut all = contestants(&setup, options, server, &questions).await?;
    for _ in 0..options.rounds {
        for Contestant { server, crew, closed, .. } in &mut all {
            closed.0.push(drive::closed(server, crew, CALLERS, &questions, options.seconds).await?);
        }
    }
    let per_second = |contestant: &Contestant| contestant.closed.median(decisions);
    let [per_core, stock, ours] = &all;
    let ratios = [per_core, stock].map(|floor| ours.closed.ratio(&floor.closed, Measured::cpu_us));
    if options.json {
        let servers = all.iter().map(|contestant| {
            let per_second = per_second(contestant);
            json!({ "server": contestant.server.name, "decisions_per_second_of_cpu": per_second, "calls": contestant.closed.json() })
        });
        let [per_core, stock] = ratios.map(Ratio::json);
        let servers: Vec<_> = servers.collect();
        println!("{:#}", json!({ "servers": servers, "cpu_to_floor_per_core": per_core, "cpu_to_floor_stock": stock }));
        return Ok(());
    }
    let mut rows = Vec::new();
    for contestant in &all {
        let Contestant { server, closed, .. } = contestant;
        rows.push(vec![
            server.name.to_owned(),
            format!("{:.0}", per_second(contestant)),
            format!("{:.0}", closed.median(Measured::rate)),
            format!("{:.0}", closed.median(Measured::cpu_us)),
            format!("{:.0}", closed.median(|measured| measured.percentile_us(99.0))),
            mebibytes(server.peak_memory()?),
        ]);
    }
    let title = format!("Calls of {BATCH} checks, the servers on one processor and the load on the other");
    let columns = ["server", "checks/s of CPU", "calls/s", "CPU us/call", "p99 us", "peak MiB"];
    println!("{}", table(&title, columns, rows));
    let [per_core, stock] = ratios;
    println!("CPU per call to floor-per-core: {per_core}; to floor-stock: {stock}");
    Ok(())
}

/// Decisions for each second of the server's processor time.
fn decisions(measured: &Measured) -> f64 {
    measured.answered as f64 * BATCH as f64 / measured.cpu.as_secs_f64()
}
