//! Checks by queuegate and by Cerbos, which makes the same decision.

mod messages;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use messages::ALLOW;
use prost::Message;
use serde_json::json;

use crate::{
    harness::{
        connection::{Connection, Target},
        measurement::Measurement,
        report::table,
        request::EncodedRequest,
        rounds::COLUMNS,
    },
    options::Options,
    scenarios::{
        comparison::{ComparedServer, with_floors},
        requests,
    },
    servers::{
        environment::Environment,
        import::start_with_organization,
        process::{CERBOS, Process},
    },
};

/// The folder of Cerbos' policies, in this repository.
const POLICIES: &str = "benches/peers/cerbos/policies";

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let program = options.cerbos.as_deref().context("--cerbos must name the program")?;
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    let queuegate = start_with_organization(&environment, "cerbos.db", &plan)?;
    let checks: Arc<[EncodedRequest]> = requests::checks(std::slice::from_ref(&plan))?.into();
    let cerbos_checks: Arc<[EncodedRequest]> = messages::checks(&plan)?.into();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICIES);
    let cerbos = Process::cerbos(&environment, program, &policies)?;
    wait_until_ready(&cerbos.target(&environment), cerbos_checks.first().context("no requests")?).await?;
    let cerbos = ComparedServer::connect(&environment, options, cerbos).await?;
    let [per_core, stock, queuegate] = with_floors(&environment, options, queuegate, &checks).await?;
    let mut servers = [per_core, stock, queuegate, cerbos];
    for _ in 0..options.rounds {
        for server in &mut servers {
            let checks = if server.process.name == CERBOS { &cerbos_checks } else { &checks };
            server.measure_closed(options.streams, checks, options.seconds).await?;
        }
    }
    let [.., queuegate, cerbos] = &servers;
    let ratio = cerbos.closed.ratio(&queuegate.closed, Measurement::cpu_us);
    if options.json {
        let servers = servers
            .iter()
            .map(|ComparedServer { process, closed, .. }| json!({ "server": process.name, "closed": closed.json() }));
        println!("{:#}", json!({ "servers": servers.collect::<Vec<_>>(), "cerbos_cpu_to_queuegate": ratio.json() }));
        return Ok(());
    }
    let rows = servers.iter().map(ComparedServer::row).collect::<Result<Vec<_>, _>>()?;
    let columns = ["server"].into_iter().chain(COLUMNS).chain(["peak MiB"]);
    println!("{}", table("The same check by queuegate and by Cerbos, closed loop", columns, rows));
    println!("CPU per call of Cerbos to queuegate: {ratio}");
    Ok(())
}

/// Wait until Cerbos allows the first request.
async fn wait_until_ready(target: &Target, request: &EncodedRequest) -> anyhow::Result<()> {
    for _ in 0..200 {
        if let Ok(connection) = Connection::open(target).await
            && let Ok(response) = connection.response(request).await
        {
            let response = messages::CheckResourcesResponse::decode(response)?;
            anyhow::ensure!(response.effect() == Some(ALLOW), "Cerbos answered {response:?}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("Cerbos did not answer")
}
