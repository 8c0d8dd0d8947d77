//! Checks with queuegate's default settings, next to servers that do nothing.

use std::{slice, sync::Arc};

use anyhow::Context;
use serde_json::json;

use crate::{
    harness::{
        measurement::Measurement,
        report::table,
        request::EncodedRequest,
        rounds::{COLUMNS, Ratio},
    },
    options::Options,
    scenarios::{
        comparison::{ComparedServer, measure, with_floors},
        requests,
    },
    servers::{environment::Environment, import::start_with_organization},
};

/// A figure of one turn.
type Figure<'f> = &'f dyn Fn(&Measurement) -> f64;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    let process = start_with_organization(&environment, "checks.db", &plan)?;
    let checks: Arc<[EncodedRequest]> = requests::checks(slice::from_ref(&plan))?.into();
    let mut servers = Vec::from(with_floors(&environment, options, process, &checks).await?);
    let environment_before = options.before.as_ref().map(|before| Environment::of(options, before)).transpose()?;
    if let Some(environment) = &environment_before {
        let mut process = start_with_organization(environment, "before.db", &plan)?;
        process.name = "before";
        servers.push(ComparedServer::connect(environment, options, process).await?);
    }
    let rate = measure(&mut servers, options, &checks).await?;
    report(options, &servers, rate)
}

fn report(options: &Options, servers: &[ComparedServer], rate: f64) -> anyhow::Result<()> {
    let (queuegate, others): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.process.name == "queuegate");
    let queuegate = queuegate.first().context("queuegate was not measured")?;
    let closed = |figure: Figure| others.iter().map(|other| queuegate.closed.ratio(&other.closed, figure)).collect();
    let open = |figure: Figure| others.iter().map(|other| queuegate.open.ratio(&other.open, figure)).collect();
    let ratios: [(&str, Vec<Ratio>); 4] = [
        ("CPU per call", closed(&Measurement::cpu_us)),
        ("rate", closed(&Measurement::rate)),
        ("p99 at half load", open(&Measurement::p99_us)),
        ("CPU per call at half load", open(&Measurement::cpu_us)),
    ];
    let names: Vec<&str> = others.iter().map(|other| other.process.name).collect();
    if options.json {
        println!("{:#}", json(servers, rate, &names, &ratios)?);
        return Ok(());
    }
    let rows = servers.iter().map(ComparedServer::row).collect::<Result<Vec<_>, _>>()?;
    let title = format!("Closed loop, {} connections x {} streams", options.connections, options.streams);
    println!("{}", table(&title, ["server"].into_iter().chain(COLUMNS).chain(["peak MiB"]), rows));
    let rows = servers.iter().map(|server| {
        let mut row = vec![server.process.name.to_owned()];
        row.extend(server.open.cells());
        row
    });
    println!("{}", table(&format!("Open loop, {rate:.0} calls/s"), ["server"].into_iter().chain(COLUMNS), rows));
    let rows = ratios
        .map(|(figure, ratios)| [figure.to_owned()].into_iter().chain(ratios.iter().map(Ratio::to_string)).collect());
    let title = "Ratio of queuegate to the others: the median over the rounds (least to most)";
    let columns: Vec<String> = names.iter().map(|name| format!("to {name}")).collect();
    println!("{}", table(title, [""].into_iter().chain(columns.iter().map(String::as_str)), rows));
    Ok(())
}

fn json(
    servers: &[ComparedServer],
    rate: f64,
    names: &[&str],
    ratios: &[(&str, Vec<Ratio>)],
) -> anyhow::Result<serde_json::Value> {
    let mut figures = Vec::new();
    for ComparedServer { process, workers: _, closed, open } in servers {
        figures.push(json!({
            "server": process.name,
            "closed": closed.json(),
            "open": open.json(),
            "peak_memory_bytes": process.usage().peak_memory_bytes()?,
        }));
    }
    let ratios = ratios.iter().map(|(figure, ratios)| {
        let to = names.iter().zip(ratios).map(|(name, ratio)| (format!("to_{}", name.replace('-', "_")), ratio.json()));
        let of = [("of".to_owned(), json!(figure))];
        of.into_iter().chain(to).collect::<serde_json::Map<_, _>>()
    });
    Ok(json!({ "servers": figures, "open_loop_rate": rate, "ratios": ratios.collect::<Vec<_>>() }))
}
