//! The closed loop, in which each caller waits for its response, and the open loop, which follows a schedule.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::Context;
use rand::{SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;

use crate::harness::{
    measurement::Measurement,
    pacing::{Schedule, Timer},
    request::EncodedRequest,
    turn::{self, Phase, Recorder},
    workers::{Worker, Workers},
};

/// Call as often as possible, with a number of callers per connection. Each caller repeats requests of its own, and
/// waits for each response.
pub async fn closed(
    workers: &Workers,
    callers: usize,
    requests: &Arc<[EncodedRequest]>,
    seconds: f64,
) -> anyhow::Result<Measurement> {
    let requests = Arc::clone(requests);
    let job = move |Worker { index, count, connections }, phase: Phase, recorder: Rc<Recorder>| async move {
        let mut calls = JoinSet::new();
        let own_callers = connections.len() * callers;
        for (number, connection) in connections.iter().cycle().take(own_callers).enumerate() {
            let (connection, requests, recorder, phase) =
                (connection.clone(), Arc::clone(&requests), Rc::clone(&recorder), phase.clone());
            // An even number, because a sign-in and its sign-out belong to the same caller.
            let own_requests = requests.len() / (count * own_callers) / 2 * 2;
            anyhow::ensure!(own_requests > 0, "more callers than requests");
            let first = (index * own_callers + number) * own_requests;
            calls.spawn_local(async move {
                for request in requests.iter().skip(first).take(own_requests).cycle() {
                    let start = Instant::now();
                    let code = connection.call(request, |_| {}).await?;
                    recorder.record(code, start.elapsed());
                    if phase.is_over() {
                        break;
                    }
                }
                anyhow::Ok(())
            });
        }
        join_all(calls).await
    };
    turn::run(workers, seconds, job).await
}

/// Requests that all threads send in one order. The next turn continues after the last one.
#[derive(Clone)]
pub struct RequestSequence {
    requests: Arc<[EncodedRequest]>,
    next: Arc<AtomicUsize>,
}

impl RequestSequence {
    /// Start at the first request.
    pub fn new(requests: Arc<[EncodedRequest]>) -> Self {
        Self { requests, next: Arc::default() }
    }

    fn next(&self) -> anyhow::Result<EncodedRequest> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len().max(1);
        Ok(self.requests.get(next).context("no requests")?.clone())
    }
}

/// Call on a schedule, even if earlier calls are still in flight.
///
/// Latency counts from the scheduled start, so that a call counts as slow if a slow server delays its start (no
/// coordinated omission).
pub async fn open(
    workers: &Workers,
    schedule: Schedule,
    requests: &RequestSequence,
    seconds: f64,
) -> anyhow::Result<Measurement> {
    let requests = requests.clone();
    let job = move |Worker { index, count, connections }, phase: Phase, recorder: Rc<Recorder>| async move {
        let mut random = SmallRng::seed_from_u64(index as u64);
        let mut calls = JoinSet::new();
        let timer = Timer::new()?;
        let mut due = Instant::now();
        for connection in connections.iter().cycle() {
            due += schedule.interval(count, &mut random);
            timer.wait_until(due).await?;
            if phase.is_over() {
                break;
            }
            let (connection, request, recorder) = (connection.clone(), requests.next()?, Rc::clone(&recorder));
            calls.spawn_local(async move {
                let code = connection.call(&request, |_| {}).await?;
                recorder.record(code, due.elapsed());
                anyhow::Ok(())
            });
            while let Some(ended) = calls.try_join_next() {
                ended??;
            }
        }
        join_all(calls).await
    };
    turn::run(workers, seconds, job).await
}

async fn join_all(mut calls: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = calls.join_next().await {
        ended??;
    }
    Ok(())
}
