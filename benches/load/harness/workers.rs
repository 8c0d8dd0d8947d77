//! The threads that call a server. Each has connections of its own, so that threads don't wait for each other.

use std::{future::Future, pin::Pin, rc::Rc, thread};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use crate::harness::{
    connection::{Connection, Target},
    process_usage::ProcessUsage,
};

/// One thread, as its jobs see it.
#[derive(Clone)]
pub struct Worker {
    /// The thread's index, from 0.
    pub index: usize,
    /// The number of threads.
    pub count: usize,
    /// The thread's own connections.
    pub connections: Rc<[Connection]>,
}

type Job = Box<dyn FnOnce(Worker) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Threads that are connected to one server, and wait for jobs.
pub struct Workers {
    /// The usage of the server's process.
    pub server: ProcessUsage,
    jobs: Vec<mpsc::UnboundedSender<Job>>,
}

impl Workers {
    /// Start the threads, and spread the connections evenly over them.
    pub async fn connect(target: &Target, threads: usize, connections: usize) -> anyhow::Result<Self> {
        let threads = threads.min(connections);
        let mut jobs = Vec::new();
        for thread in 0..threads {
            let (job_sender, job_receiver) = mpsc::unbounded_channel();
            let (ready_sender, ready) = oneshot::channel();
            let target = target.clone();
            let own = connections / threads + usize::from(thread < connections % threads);
            thread::spawn(move || {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
                LocalSet::new().block_on(&runtime, async {
                    match open_connections(&target, own).await {
                        Ok(connections) => {
                            let _ = ready_sender.send(Ok(()));
                            run_jobs(Worker { index: thread, count: threads, connections }, job_receiver).await;
                        }
                        Err(error) => {
                            let _ = ready_sender.send(Err(error));
                        }
                    }
                });
            });
            ready.await.context("a worker ended")??;
            jobs.push(job_sender);
        }
        Ok(Self { server: target.usage, jobs })
    }

    /// Run the same job on every thread, and wait for all results.
    pub async fn run<T, F>(&self, job: impl FnOnce(Worker) -> F + Clone + Send + 'static) -> anyhow::Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>> + 'static,
    {
        let mut results = Vec::new();
        for jobs in &self.jobs {
            let (result_sender, result) = oneshot::channel();
            let job = job.clone();
            let boxed: Job = Box::new(move |worker| {
                Box::pin(async move {
                    // The receiver is gone if another worker failed first.
                    let _ = result_sender.send(job(worker).await);
                })
            });
            jobs.send(boxed).ok().context("a worker ended")?;
            results.push(result);
        }
        let mut all = Vec::new();
        for result in results {
            all.push(result.await.context("a worker ended")??);
        }
        Ok(all)
    }
}

async fn open_connections(target: &Target, count: usize) -> anyhow::Result<Rc<[Connection]>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(target).await?);
    }
    Ok(connections.into())
}

async fn run_jobs(worker: Worker, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job(worker.clone()).await;
    }
}
