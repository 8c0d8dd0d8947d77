//! An empty server: the time of a start, the memory, and the processor time without calls.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    harness::{
        report::{Figure, mebibytes, print_figures},
        rounds::median,
    },
    options::Options,
    servers::{environment::Environment, process::Process},
};

/// The number of starts.
const STARTS: usize = 10;

/// The time without calls.
const IDLE: Duration = Duration::from_secs(10);

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let database = environment.path("empty.db");
    Process::queuegate(&environment, &database)?.stop()?;
    let mut starts_ms = Vec::new();
    for _ in 0..STARTS {
        let server = Process::queuegate(&environment, &database)?;
        starts_ms.push(server.start_to_ready.as_secs_f64() * 1e3);
        server.stop()?;
    }
    let server = Process::queuegate(&environment, &database)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = server.usage().cpu()?;
    let idle = if options.smoke { IDLE / 20 } else { IDLE };
    tokio::time::sleep(idle).await;
    let cpu_ms = server.usage().cpu()?.saturating_sub(before).as_secs_f64() * 1e3;
    let memory_bytes = server.usage().memory_bytes()?;
    let program_bytes = fs::metadata(&options.program)?.len();
    let slowest_ms = starts_ms.iter().copied().fold(0.0, f64::max);
    let median_ms = median(&starts_ms);
    let figure = |name, text, json| Figure { name, text, json };
    let figures = vec![
        figure("start to ready, ms, median", format!("{median_ms:.1}"), json!(median_ms)),
        figure("start to ready, ms, slowest", format!("{slowest_ms:.1}"), json!(slowest_ms)),
        figure("resident, MiB", mebibytes(memory_bytes), json!(memory_bytes)),
        figure("CPU, ms in 10 s without a call", format!("{cpu_ms:.2}"), json!(cpu_ms)),
        figure("the program, MiB", mebibytes(program_bytes), json!(program_bytes)),
    ];
    print_figures(options.json, "An empty server", figures);
    Ok(())
}
