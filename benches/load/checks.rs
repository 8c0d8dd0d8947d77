//! Checks through everything that is on by default, next to servers that do nothing.

use std::sync::Arc;

use serde_json::json;

use crate::{
    Options,
    call::Question,
    contest::{Contestant, contestants, measure},
    drive::Measured,
    report::{COLUMNS, Ratio, table},
    setup::{self, Setup},
};

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("checks.db", &plan)?;
    let questions: Arc<[Question]> = setup::check_questions(&[plan])?.into();
    let mut all = contestants(&setup, options, server, &questions).await?;
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
    let rows = all.iter().map(Contestant::row).collect::<Result<Vec<_>, _>>()?;
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
