//! A turn: a warm-up, and then a measured period, in which all workers call one server.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use tonic::Code;

use crate::harness::{
    measurement::{Counts, Measurement},
    process_usage::ProcessUsage,
    workers::{Worker, Workers},
};

/// The length of the warm-up, as a part of the measured period.
const WARM_UP: f64 = 0.15;

/// The phase of a turn, the same for all threads: warm-up, measured, over.
#[derive(Clone, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    const MEASURED: u8 = 1;
    const OVER: u8 = 2;

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::MEASURED
    }

    /// Advance through the phases. Return the measured seconds and the server's processor time in them.
    async fn advance(&self, server: ProcessUsage, seconds: f64) -> anyhow::Result<(f64, Duration)> {
        tokio::time::sleep(Duration::from_secs_f64(seconds * WARM_UP)).await;
        self.0.store(Self::MEASURED, Ordering::Relaxed);
        let (start, before) = (Instant::now(), server.cpu()?);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        self.0.store(Self::OVER, Ordering::Relaxed);
        Ok((start.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(before)))
    }
}

/// Records the calls of one thread.
pub struct Recorder {
    phase: Phase,
    counts: RefCell<Counts>,
}

impl Recorder {
    fn new(phase: Phase) -> anyhow::Result<Rc<Self>> {
        Ok(Rc::new(Self { phase, counts: RefCell::new(Counts::new()?) }))
    }

    /// Count a call that has just ended, if the phase is measured.
    pub fn record(&self, code: Code, latency: Duration) {
        if self.phase.is_measured() {
            self.counts.borrow_mut().record(code, latency);
        }
    }

    fn into_counts(self: Rc<Self>) -> anyhow::Result<Counts> {
        let Self { phase: _, counts } = Rc::into_inner(self).context("a call is still in flight")?;
        Ok(counts.into_inner())
    }
}

/// Run a job on every worker for one turn, and sum the calls that they record.
pub async fn run<F>(
    workers: &Workers,
    seconds: f64,
    job: impl FnOnce(Worker, Phase, Rc<Recorder>) -> F + Clone + Send + 'static,
) -> anyhow::Result<Measurement>
where
    F: Future<Output = anyhow::Result<()>> + 'static,
{
    let phase = Phase::default();
    let workers_phase = phase.clone();
    let calls = workers.run(|worker| async move {
        let recorder = Recorder::new(workers_phase.clone())?;
        job(worker, workers_phase, Rc::clone(&recorder)).await?;
        recorder.into_counts()
    });
    let (period, calls) = tokio::join!(phase.advance(workers.server, seconds), calls);
    let ((seconds, cpu), mut all) = (period?, calls?.into_iter());
    let mut counts = all.next().context("no worker called")?;
    for other in all {
        counts.add(&other)?;
    }
    Ok(Measurement { seconds, counts, cpu })
}
