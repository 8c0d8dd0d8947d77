//! The threads that call a server, each with connections of its own, so that nothing is shared between them.

use std::{future::Future, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, thread};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};
use tokio_rustls::rustls::ClientConfig;

use crate::{call::Line, process::Process, setup::Setup};

/// How to reach a server.
#[derive(Clone)]
pub struct Callee {
    pub address: SocketAddr,
    pub token: String,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Callee {
    pub fn new(setup: &Setup, server: &Process) -> Self {
        let tls = setup.tls.as_ref().map(|tls| Arc::clone(&tls.client));
        Self { address: server.address(), token: setup.token.clone(), tls }
    }
}

/// One thread's part of the connections.
#[derive(Clone)]
pub struct Share {
    /// Which of the threads it is, from 0.
    pub thread: usize,
    /// How many threads there are.
    pub threads: usize,
    pub lines: Rc<[Line]>,
}

type Work = Box<dyn FnOnce(Share) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Threads that are connected to a server, and wait for work.
pub struct Crew(Vec<mpsc::UnboundedSender<Work>>);

impl Crew {
    /// Deals so many connections out to so many threads.
    pub async fn connect(callee: &Callee, threads: usize, connections: usize) -> anyhow::Result<Self> {
        let threads = threads.min(connections);
        let mut crew = Vec::new();
        for thread in 0..threads {
            let (give, given) = mpsc::unbounded_channel();
            let (tell, told) = oneshot::channel();
            let callee = callee.clone();
            let own = connections / threads + usize::from(thread < connections % threads);
            thread::spawn(move || {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
                LocalSet::new().block_on(&runtime, work(callee, (thread, threads, own), tell, given));
            });
            told.await.context("a thread ended")??;
            crew.push(give);
        }
        Ok(Self(crew))
    }

    /// Has every thread do the same, and waits for all of them.
    pub async fn all<T, F>(&self, work: impl FnOnce(Share) -> F + Clone + Send + 'static) -> anyhow::Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>> + 'static,
    {
        let mut results = Vec::new();
        for give in &self.0 {
            let (tell, told) = oneshot::channel();
            let work = work.clone();
            let boxed: Work = Box::new(move |share| {
                Box::pin(async move {
                    // Whoever wanted to know may have given up.
                    let _ = tell.send(work(share).await);
                })
            });
            give.send(boxed).ok().context("a thread ended")?;
            results.push(told);
        }
        let mut all = Vec::new();
        for told in results {
            all.push(told.await.context("a thread ended")??);
        }
        Ok(all)
    }
}

async fn work(
    callee: Callee,
    (thread, threads, connections): (usize, usize, usize),
    tell: oneshot::Sender<anyhow::Result<()>>,
    mut given: mpsc::UnboundedReceiver<Work>,
) {
    let mut lines = Vec::new();
    for _ in 0..connections {
        match Line::connect(&callee).await {
            Ok(line) => lines.push(line),
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        }
    }
    let _ = tell.send(Ok(()));
    let share = Share { thread, threads, lines: lines.into() };
    while let Some(work) = given.recv().await {
        work(share.clone()).await;
    }
}
