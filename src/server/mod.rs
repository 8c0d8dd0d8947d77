//! The server put together: the listener, the services, health, reflection, and how it ends.

mod deadline;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tonic::transport::server::TcpIncoming;
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::util::{MapRequestLayer, MapResponseLayer};
use tracing::{error, info, warn};

use self::deadline::Deadline;
use crate::{
    rpc::{
        self, Rpc,
        status::{mend_answer, tell_broken_off},
    },
    state::{Ended, State, WriterEnd, clock::Clock},
    store::{self, Store},
};

/// What a server needs to know.
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database file.
    pub database: PathBuf,
    /// How long calls that are under way may take to finish once the server is asked to stop.
    pub drain_deadline: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why a server can't start, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or isn't one of this machine's.
    #[error("can't listen on {address}: {problem}; give another --listen address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        problem: std::io::Error,
    },
    /// The database can't be used, or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// gRPC failed.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A part of the server ended that must not.
    #[error("the {0} ended unexpectedly")]
    Broken(&'static str),
}

/// A server that listens. It answers health checks with NOT_SERVING, and everything else with UNAVAILABLE, until its
/// database is loaded.
pub struct Server {
    address: SocketAddr,
    drain_deadline: Duration,
    health: HealthReporter,
    state: Arc<OnceLock<State>>,
    loading: JoinHandle<Result<(State, WriterEnd), store::Error>>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    stop_watches: watch::Sender<bool>,
    stop_serving: oneshot::Sender<()>,
}

/// Opens the database, begins to listen, and begins to load.
pub async fn start(config: Config) -> Result<Server, Error> {
    let Config { listen, database, drain_deadline, clock } = config;
    let store = tokio::task::spawn_blocking(move || Store::open(&database, new_store_id()));
    let store = store.await.map_err(|_| Error::Broken("opening of the database"))??;

    let refused = |problem| Error::Listen { address: listen, problem };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    if !address.ip().is_loopback() {
        warn!(%address, "listening beyond this machine, without authentication or encryption");
    }

    let state = Arc::new(OnceLock::new());
    let (stop_watches, draining) = watch::channel(false);
    let (stop_serving, stopped) = oneshot::channel::<()>();
    let rpc = Rpc::new(Arc::clone(&state), draining);
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::NotServing).await;
    const BROKEN_DESCRIPTORS: Error = Error::Broken("set of service descriptors");
    let router = tonic::transport::Server::builder()
        .layer(tower::layer::layer_fn(Deadline))
        .layer(MapResponseLayer::new(mend_answer))
        .layer(MapRequestLayer::new(tell_broken_off))
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(|_| BROKEN_DESCRIPTORS)?)
        .add_service(reflection().build_v1alpha().map_err(|_| BROKEN_DESCRIPTORS)?)
        .add_service(rpc.queue_access())
        .add_service(rpc.permission())
        .add_service(rpc.directory())
        .add_service(rpc.audit());
    // Answers are small, and must not wait for more to send.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tokio::spawn(router.serve_with_incoming_shutdown(incoming, async {
        // A dropped sender means the same.
        let _ = stopped.await;
    }));
    info!(%address, "listening");
    let loading = tokio::task::spawn_blocking(move || State::start(store, clock));
    Ok(Server { address, drain_deadline, health, state, loading, serving, stop_watches, stop_serving })
}

impl Server {
    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, then drains: no new watches or connections, calls under way finish or are cut off
    /// at the deadline, and every acknowledged change is in the file. Ends early if the store fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { address: _, drain_deadline, health, state, loading, serving, stop_watches, stop_serving } = self;
        tokio::pin!(stop);
        let loaded = tokio::select! {
            loaded = loading => loaded.map_err(|_| Error::Broken("loading of the database"))?,
            () = &mut stop => {
                // Nothing was promised to anybody yet.
                info!("stopped before the database was loaded");
                return Ok(());
            }
        };
        let (loaded, mut writer_end) = loaded?;
        info!(revision = %loaded.snapshot().revision(), "database loaded");
        // Set once, here.
        let _ = state.set(loaded.clone());
        set_health(&health, ServingStatus::Serving).await;

        let mut serving = serving;
        let failed = tokio::select! {
            () = &mut stop => None,
            ended = &mut writer_end => Some(writer_failed(ended)),
            ended = &mut serving => Some(ended.map_err(|_| Error::Broken("gRPC server")).and_then(|served| {
                served.map_err(Error::from).and(Err(Error::Broken("gRPC server")))
            })),
        };
        set_health(&health, ServingStatus::NotServing).await;
        info!("stopping");
        stop_watches.send_replace(true);
        // The receiver may have ended with the server.
        let _ = stop_serving.send(());
        if tokio::time::timeout(drain_deadline, &mut serving).await.is_err() {
            warn!(deadline = ?drain_deadline, "calls were still under way at the deadline and are cut off");
            serving.abort();
        }
        if let Some(failed) = failed {
            return failed;
        }
        // Asking may have to wait for a place in the queue; and not for a thread of those that calls may hold.
        std::thread::spawn(move || loaded.stop());
        writer_failed(writer_end.await)?;
        info!("stopped");
        Ok(())
    }
}

/// Whether the writer ended as it should.
fn writer_failed(ended: Result<Ended, oneshot::error::RecvError>) -> Result<(), Error> {
    match ended {
        Ok(Ended::Stopped) => Ok(()),
        Ok(Ended::Failed(error)) => {
            error!("nothing more is acknowledged; what became of the changes under way is unknown");
            Err(Error::Store(error))
        }
        Err(_) => Err(Error::Broken("writer thread")),
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    for name in rpc::SERVICE_NAMES {
        health.set_service_status(name, status).await;
    }
}

/// Server reflection. It is served in both its versions: most clients ask for v1, older ones for v1alpha.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // What the details of errors are made of, so that tools can print them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

fn new_store_id() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
