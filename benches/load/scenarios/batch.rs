//! Many checks in one call, on one processor.

use std::sync::Arc;

use serde_json::json;

use crate::{
    harness::{
        measurement::Measurement,
        report::{mebibytes, table},
        rounds::Ratio,
    },
    options::Options,
    scenarios::{
        comparison::{ComparedServer, with_floors},
        requests::{self, BATCH},
    },
    servers::{environment::Environment, import::start_with_organization},
};

/// Callers per connection.
const CALLERS: usize = 1;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut environment = Environment::new(options)?;
    environment.pin = true;
    let plan = requests::plan(options.users)?;
    let process = start_with_organization(&environment, "batch.db", &plan)?;
    let batches: Arc<[_]> = requests::batch_checks(&plan)?.into();
    let mut servers = with_floors(&environment, options, process, &batches).await?;
    for _ in 0..options.rounds {
        for server in &mut servers {
            server.measure_closed(CALLERS, &batches, options.seconds).await?;
        }
    }
    report(options, &servers)
}

fn report(options: &Options, servers: &[ComparedServer; 3]) -> anyhow::Result<()> {
    let [per_core, stock, queuegate] = servers;
    let ratios = [per_core, stock].map(|floor| queuegate.closed.ratio(&floor.closed, Measurement::cpu_us));
    if options.json {
        let servers = servers.iter().map(|ComparedServer { process, closed, .. }| {
            let per_second = closed.median(checks_per_cpu_second);
            json!({ "server": process.name, "decisions_per_second_of_cpu": per_second, "calls": closed.json() })
        });
        let [per_core, stock] = ratios.map(Ratio::json);
        let servers: Vec<_> = servers.collect();
        println!("{:#}", json!({ "servers": servers, "cpu_to_floor_per_core": per_core, "cpu_to_floor_stock": stock }));
        return Ok(());
    }
    let mut rows = Vec::new();
    for ComparedServer { process, closed, .. } in servers {
        rows.push(vec![
            process.name.to_owned(),
            format!("{:.0}", closed.median(checks_per_cpu_second)),
            format!("{:.0}", closed.median(Measurement::rate)),
            format!("{:.0}", closed.median(Measurement::cpu_us)),
            format!("{:.0}", closed.median(Measurement::p99_us)),
            mebibytes(process.usage().peak_memory_bytes()?),
        ]);
    }
    let title = format!("Calls of {BATCH} checks, the servers on one processor and the load on the other");
    let columns = ["server", "checks/s of CPU", "calls/s", "CPU us/call", "p99 us", "peak MiB"];
    println!("{}", table(&title, columns, rows));
    let [per_core, stock] = ratios;
    println!("CPU per call to floor-per-core: {per_core}; to floor-stock: {stock}");
    Ok(())
}

/// Return the checks per second of the server's processor time.
fn checks_per_cpu_second(measurement: &Measurement) -> f64 {
    measurement.counts.answered as f64 * BATCH as f64 / measurement.cpu.as_secs_f64()
}
