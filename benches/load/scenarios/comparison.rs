//! The comparison of queuegate with the floors. All servers run at the same time, and are measured in turn.

use std::sync::Arc;

use anyhow::Context;

use crate::{
    harness::{
        connection::Connection,
        loops::{self, RequestSequence},
        measurement::Measurement,
        pacing::Schedule,
        report::mebibytes,
        request::EncodedRequest,
        rounds::Rounds,
        workers::Workers,
    },
    options::Options,
    servers::{environment::Environment, floor::Layout, floor_service::save_answer, process::Process},
};

/// A server, its workers, and its measurements.
pub struct ComparedServer {
    pub process: Process,
    pub workers: Workers,
    pub closed: Rounds,
    pub open: Rounds,
}

impl ComparedServer {
    /// Connect workers to a running server.
    pub async fn connect(environment: &Environment, options: &Options, process: Process) -> anyhow::Result<Self> {
        let workers = Workers::connect(&process.target(environment), options.threads, options.connections).await?;
        Ok(Self { process, workers, closed: Rounds::default(), open: Rounds::default() })
    }

    /// Measure one turn of the closed loop.
    pub async fn measure_closed(
        &mut self,
        callers: usize,
        requests: &Arc<[EncodedRequest]>,
        seconds: f64,
    ) -> anyhow::Result<()> {
        self.closed.0.push(loops::closed(&self.workers, callers, requests, seconds).await?);
        Ok(())
    }

    /// Return the row in the table of the closed loop.
    pub fn row(&self) -> anyhow::Result<Vec<String>> {
        let mut row = vec![self.process.name.to_owned()];
        row.extend(self.closed.cells());
        row.push(mebibytes(self.process.usage().peak_memory_bytes()?));
        Ok(row)
    }
}

/// Start both floors, which repeat queuegate's response to the first request. Return `floor-per-core`, `floor-stock`
/// and queuegate.
pub async fn with_floors(
    environment: &Environment,
    options: &Options,
    queuegate: Process,
    requests: &[EncodedRequest],
) -> anyhow::Result<[ComparedServer; 3]> {
    let answers = environment.path("answers");
    let connection = Connection::open(&queuegate.target(environment)).await?;
    let request = requests.first().context("no requests")?;
    save_answer(&answers, request, &connection.response(request).await?)?;
    let per_core = Process::floor(environment, Layout::PerCore, &answers)?;
    let stock = Process::floor(environment, Layout::Stock, &answers)?;
    Ok([
        ComparedServer::connect(environment, options, per_core).await?,
        ComparedServer::connect(environment, options, stock).await?,
        ComparedServer::connect(environment, options, queuegate).await?,
    ])
}

/// Measure all rounds of the closed loop, and then of the open loop. Return the calls per second of the open loop.
pub async fn measure(
    servers: &mut [ComparedServer],
    options: &Options,
    requests: &Arc<[EncodedRequest]>,
) -> anyhow::Result<f64> {
    for _ in 0..options.rounds {
        for server in servers.iter_mut() {
            server.measure_closed(options.streams, requests, options.seconds).await?;
        }
    }
    let sequence = RequestSequence::new(Arc::clone(requests));
    let rates = servers.iter().map(|server| server.closed.median(Measurement::rate));
    let rate = options.rate.unwrap_or_else(|| rates.fold(f64::INFINITY, f64::min) / 2.0);
    let schedule = Schedule { calls_per_second: rate, arrivals: options.arrivals };
    for _ in 0..options.rounds {
        for ComparedServer { workers, open, .. } in servers.iter_mut() {
            open.0.push(loops::open(workers, schedule, &sequence, options.seconds).await?);
        }
    }
    Ok(rate)
}
