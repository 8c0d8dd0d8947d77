//! Checks through everything that is on by default, next to servers that do nothing.

use std::{slice, sync::Arc};

use anyhow::Context;
use serde_json::json;

use crate::{
    Options,
    call::CheckCall,
    contest::{Contestant, contestants, measure},
    drive::Measured,
    report::{COLUMNS, Ratio, table},
    setup::{self, Setup},
};

/// A figure of one turn.
type Figure<'f> = &'f dyn Fn(&Measured) -> f64;

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("checks.db", &plan)?;
    let questions: Arc<[CheckCall]> = setup::check_questions(slice::from_ref(&plan))?.into();
    let mut all = Vec::from(contestants(&setup, options, server, &questions).await?);
    let setup_before = options.before.as_ref().map(|before| Setup::of(options, before)).transpose()?;
    if let Some(setup) = &setup_before {
        let mut server = setup.queuegate("before.db", &plan)?;
        server.name = "before";
        all.push(Contestant::new(setup, options, server).await?);
    }
    let rate = measure(&mut all, options, &questions).await?;
    let (ours, others): (Vec<_>, Vec<_>) = all.iter().partition(|contestant| contestant.server.name == "queuegate");
    let ours = ours.first().context("nothing was measured")?;
    let p99 = |measured: &Measured| measured.percentile_us(99.0);
    let closed = |figure: Figure| others.iter().map(|other| ours.closed.ratio(&other.closed, figure)).collect();
    let open = |figure: Figure| others.iter().map(|other| ours.open.ratio(&other.open, figure)).collect();
    let ratios: [(&str, Vec<Ratio>); 4] = [
        ("CPU per call", closed(&Measured::cpu_us)),
        ("rate", closed(&Measured::rate)),
        ("p99 at half load", open(&p99)),
        ("CPU per call at half load", open(&Measured::cpu_us)),
    ];
    let names = others.iter().map(|other| other.server.name);
    if options.json {
        println!("{:#}", report(&all, rate, &names.collect::<Vec<_>>(), &ratios)?);
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
        ratios.map(|(what, ratios)| [what.to_owned()].into_iter().chain(ratios.iter().map(Ratio::to_string)).collect());
    let title = "queuegate against the others: the median over the rounds (least to most)";
    let columns: Vec<String> = names.map(|name| format!("to {name}")).collect();
    println!("{}", table(title, [""].into_iter().chain(columns.iter().map(String::as_str)), rows));
    Ok(())
}

fn report(
    all: &[Contestant],
    rate: f64,
    names: &[&str],
    ratios: &[(&str, Vec<Ratio>)],
) -> anyhow::Result<serde_json::Value> {
    let mut servers = Vec::new();
    for Contestant { server, closed, open, .. } in all {
        servers.push(json!({
            "server": server.name,
            "closed": closed.json(),
            "open": open.json(),
            "peak_memory_bytes": server.peak_memory()?,
        }));
    }
    let ratios = ratios.iter().map(|(what, ratios)| {
        let to = names.iter().zip(ratios).map(|(name, ratio)| (format!("to_{}", name.replace('-', "_")), ratio.json()));
        let of = [("of".to_owned(), json!(what))];
        of.into_iter().chain(to).collect::<serde_json::Map<_, _>>()
    });
    Ok(json!({ "servers": servers, "open_loop_rate": rate, "ratios": ratios.collect::<Vec<_>>() }))
}
