//! The same load by this program and by other load generators, h2load and k6: do their figures agree?

use std::{path::Path, process::Command, sync::Arc};

use anyhow::Context;

use crate::{
    harness::{
        loops::{self, RequestSequence},
        measurement::Measurement,
        pacing::{Arrivals, Schedule},
        report::table,
        request::{CHECK, EncodedRequest},
        rounds::{Rounds, median},
    },
    options::Options,
    organization::{queue_extension, user_extension},
    scenarios::{
        comparison::{ComparedServer, with_floors},
        requests::{self, ORGANIZATION},
    },
    servers::{environment::Environment, import::start_with_organization, process::Process},
};

/// The rate of k6, which needs much more processor time than the server.
const K6_CALLS_PER_SECOND: f64 = 100.0;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(!options.tls, "h2load and k6 run without TLS");
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    let process = start_with_organization(&environment, "h2load.db", &plan)?;
    let mut requests = requests::checks(&[plan])?;
    let request = requests.first().context("no requests")?.clone();
    // h2load repeats one request. Here each caller has requests of its own, so all of them must be this one.
    requests.fill(request.clone());
    let requests: Arc<[EncodedRequest]> = requests.into();
    let servers = with_floors(&environment, options, process, &requests).await?;
    let body = environment.path("request.bin");
    std::fs::write(&body, request.frame())?;
    compare_with_h2load(options, &environment, &servers, &requests, &body).await?;
    if let Some(program) = &options.k6 {
        compare_with_k6(options, &environment, &servers, requests, program).await?;
    }
    Ok(())
}

async fn compare_with_h2load(
    options: &Options,
    environment: &Environment,
    servers: &[ComparedServer],
    requests: &Arc<[EncodedRequest]>,
    body: &Path,
) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for ComparedServer { process, workers, .. } in servers {
        let (mut own, mut h2load_rates, mut h2load_cpu_us) = (Rounds::default(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            own.0.push(loops::closed(workers, options.streams, requests, options.seconds).await?);
            let before = process.usage().cpu()?;
            let H2load { calls, calls_per_second } = run_h2load(options, environment, process, body)?;
            h2load_cpu_us.push(process.usage().cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / calls);
            h2load_rates.push(calls_per_second);
        }
        rows.push(vec![
            process.name.to_owned(),
            format!("{:.0}", own.median(Measurement::rate)),
            format!("{:.0}", median(&h2load_rates)),
            format!("{:.2}", own.median(Measurement::cpu_us)),
            format!("{:.2}", median(&h2load_cpu_us)),
        ]);
    }
    let columns = ["server", "calls/s", "calls/s by h2load", "CPU us/call", "CPU us/call by h2load"];
    println!("{}", table("The same closed loop by this program and by h2load", columns, rows));
    Ok(())
}

async fn compare_with_k6(
    options: &Options,
    environment: &Environment,
    servers: &[ComparedServer],
    requests: Arc<[EncodedRequest]>,
    program: &Path,
) -> anyhow::Result<()> {
    let schedule = Schedule { calls_per_second: K6_CALLS_PER_SECOND, arrivals: Arrivals::Fixed };
    let sequence = RequestSequence::new(requests);
    let mut rows = Vec::new();
    for ComparedServer { process, workers, .. } in servers {
        let own = loops::open(workers, schedule, &sequence, options.seconds).await?;
        let before = process.usage().cpu()?;
        let K6 { allowed, failed, p50_us } = run_k6(options, environment, process, program)?;
        let k6_cpu_us = process.usage().cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / allowed.max(1.0);
        rows.push(vec![
            process.name.to_owned(),
            format!("{allowed} and {failed}"),
            format!("{:.0}", own.p50_us()),
            format!("{p50_us:.0}"),
            format!("{:.1}", own.cpu_us()),
            format!("{k6_cpu_us:.1}"),
        ]);
    }
    let columns = ["server", "k6: allowed and not", "p50 us", "p50 us by k6", "CPU us/call", "CPU us/call by k6"];
    let title = format!("The same {K6_CALLS_PER_SECOND} calls/s by this program and by k6");
    println!("{}", table(&title, columns, rows));
    Ok(())
}

/// The figures that `benches/peers/check.js` prints.
#[derive(serde::Deserialize)]
struct K6 {
    allowed: f64,
    failed: f64,
    p50_us: f64,
}

fn run_k6(options: &Options, environment: &Environment, server: &Process, program: &Path) -> anyhow::Result<K6> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let user = requests::random_users(options.users, 1).next().context("no users")?;
    let queue = requests::plan(options.users)?.queue_of(user, 1);
    let output = Command::new(program)
        .args(["run", "--quiet", "--no-usage-report", "--address", ""])
        .arg(repository.join("benches/peers/check.js"))
        .env("ADDRESS", server.address().to_string())
        .env("TOKEN", &environment.token)
        .env("PROTO", repository.join("proto"))
        .env("ORGANIZATION", ORGANIZATION)
        .env("USER_EXTENSION", user_extension(user)?.to_string())
        .env("QUEUE_EXTENSION", queue_extension(queue)?.to_string())
        .env("RATE", K6_CALLS_PER_SECOND.to_string())
        .env("SECONDS", options.seconds.ceil().to_string())
        .output()
        .context("k6")?;
    let text = String::from_utf8(output.stdout)?;
    serde_json::from_str(&text)
        .with_context(|| format!("k6 printed: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The figures that h2load prints.
struct H2load {
    calls: f64,
    calls_per_second: f64,
}

fn run_h2load(options: &Options, environment: &Environment, server: &Process, body: &Path) -> anyhow::Result<H2load> {
    let (connections, streams) = (options.connections.to_string(), options.streams.to_string());
    let (threads, seconds) = (options.threads.to_string(), format!("{:.0}", options.seconds.ceil()));
    let output = Command::new(&options.h2load)
        .args(["-c", &connections, "-m", &streams, "-t", &threads, "-D", &seconds, "-d"])
        .arg(body)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 1S", "-H"])
        .arg(format!("authorization: Bearer {}", environment.token))
        .arg(format!("http://{}{CHECK}", server.address()))
        .output()
        .context("h2load")?;
    let text = String::from_utf8(output.stdout)?;
    // "requests: 1234 total, 1234 started, 1234 done, 1234 succeeded, ..." and "finished in 2.00s, 617.00 req/s, ...".
    let number = |start: &str, unit: &str| {
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.split(", ").find_map(|part| part.strip_suffix(unit)?.trim().parse::<f64>().ok())
    };
    let (calls, rate) = (number("requests:", "succeeded"), number("finished in", "req/s"));
    let figures = calls.zip(rate).map(|(calls, calls_per_second)| H2load { calls, calls_per_second });
    figures.with_context(|| format!("h2load printed: {text}{}", String::from_utf8_lossy(&output.stderr)))
}
