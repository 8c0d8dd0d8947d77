//! The server put together: the listener, the services, health, reflection, and how it ends.

mod admission;
mod answer;
mod connection;
mod cores;
mod deadline;
mod gate;
mod health;
mod limits;
mod memory;
mod operator;
mod preface;
mod request_body;
mod quiet;
mod reload;
mod services;
mod ticks;
mod tls;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tonic::service::Routes;
use tonic_reflection::pb::{
    v1::server_reflection_server::ServerReflectionServer as ReflectionV1,
    v1alpha::server_reflection_server::ServerReflectionServer as ReflectionV1Alpha,
};
use tracing::{error, info, warn};

use self::{
    admission::{Admission, Callers},
    connection::Connections,
    cores::Cores,
    gate::Gate,
    health::{Health, ServingStatus},
    operator::Operator,
    tls::Tls,
};
pub use self::{
    limits::Limits,
    memory::fit_pages_to,
    tls::{Error as TlsError, TlsFiles},
};
use crate::{
    auth::{self, Authority, TokenFile},
    rpc::{
        self, Rpc, StreamTimes,
        reflection::{Descriptors, V1, V1Alpha},
    },
    state::{Ended, State, WriterEnd, clock::Clock},
    store::{self, Store},
    telemetry::{
        metrics::{Metrics, Shed},
        traces::Traces,
    },
};

/// What a server needs to know.
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// The database file.
    pub database: PathBuf,
    /// Who may call; none: everybody may do everything.
    pub tokens: Option<TokenFile>,
    /// The certificates to speak TLS with; none: plain HTTP/2.
    pub tls: Option<TlsFiles>,
    /// Whether to listen beyond this machine without tokens or TLS.
    pub exposure: Exposure,
    /// Whether to serve metrics and probes beyond this machine, where they have neither tokens nor TLS.
    pub metrics_exposure: Exposure,
    /// Whether to tell callers what services there are.
    pub reflection: Reflection,
    /// Where to serve metrics and probes, over plain HTTP; none: nowhere.
    pub metrics: Option<Listen>,
    /// Where spans of calls go; none: nowhere.
    pub traces: Option<Traces>,
    /// How much to take on.
    pub limits: Limits,
    /// How long health says NOT_SERVING before calls are refused, once the server is asked to stop, so that those who
    /// share the load out can learn of it.
    pub drain_delay: Duration,
    /// How long calls that are under way may take to finish after that.
    pub drain_deadline: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// At an address; port 0 takes a free one.
    At(SocketAddr),
    /// At a socket that the process was started with.
    Inherited(std::net::TcpListener),
}

/// Whether a server may listen beyond this machine without tokens or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It may not.
    Refused,
    /// The operator says that something else keeps strangers out.
    Accepted,
}

/// Whether a server tells what services it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// It does.
    On,
    /// It doesn't.
    Off,
}

impl Config {
    /// A server for this machine alone, with everything else as it is by default.
    pub fn new(listen: SocketAddr, database: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: Listen::At(listen),
            database,
            tokens: None,
            tls: None,
            exposure: Exposure::Refused,
            metrics_exposure: Exposure::Refused,
            reflection: Reflection::On,
            metrics: None,
            traces: None,
            limits: Limits::default(),
            drain_delay: Duration::ZERO,
            drain_deadline: Duration::from_secs(10),
            clock,
        }
    }
}

/// Why a server can't start, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or isn't one of this machine's.
    #[error("can't listen on {address}: {problem}; give another {flag} address")]
    Listen {
        /// The address.
        address: String,
        /// The flag that says it.
        flag: &'static str,
        /// Why not.
        problem: std::io::Error,
    },
    /// Strangers could call.
    #[error(
        "{address} can be reached from other machines, and the server has no {missing}: anybody could sign agents in and \
         out, or read along; give {flags}, listen on 127.0.0.1, or say --insecure if something else keeps strangers out"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
        /// What is missing.
        missing: &'static str,
        /// The flags that give it.
        flags: &'static str,
    },
    /// Strangers could read metrics, and hold up probes.
    #[error(
        "{address} can be reached from other machines, and metrics and probes have neither tokens nor TLS; listen on \
         127.0.0.1, or say --metrics-insecure if something else keeps strangers out"
    )]
    MetricsExposed {
        /// The address.
        address: SocketAddr,
    },
    /// A certificate or key can't be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The token file can't be used.
    #[error(transparent)]
    Tokens(#[from] auth::Error),
    /// The database can't be used, or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There are too many threads.
    #[error("can't start the threads that serve calls: {0}")]
    Threads(std::io::Error),
    /// A part of the server ended that must not.
    #[error("the {0} ended unexpectedly")]
    Broken(&'static str),
    /// The disk didn't answer in time when the server was asked to stop.
    #[error(
        "the writer didn't finish in time; what was acknowledged is safe, what was not may or may not have happened"
    )]
    Stuck,
}

/// A server that listens. It answers health checks with NOT_SERVING, and everything else with UNAVAILABLE, until its
/// database is loaded.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    drain_delay: Duration,
    drain_deadline: Duration,
    health: Health,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
    state: Arc<OnceLock<State>>,
    loading: JoinHandle<Result<(State, WriterEnd), store::Error>>,
    serving: JoinHandle<()>,
    /// What goes on beside the calls, and ends with the server.
    beside: JoinSet<()>,
    drain: watch::Sender<bool>,
}

/// Opens the database, begins to listen, and begins to load.
pub async fn start(config: Config) -> Result<Server, Error> {
    let Config {
        listen,
        database,
        tokens,
        tls,
        exposure,
        metrics_exposure,
        reflection,
        metrics: metrics_listen,
        traces,
        limits,
        drain_delay,
        drain_deadline,
        clock,
    } = config;
    let limits = limits.within_descriptors(processors());
    // Files are read where waiting for them holds up nothing else, not even a stop.
    let reading = tokio::task::spawn_blocking(move || {
        let authority = tokens.map(Authority::open).transpose()?.map(Arc::new);
        Ok::<_, Error>((authority, tls.map(Tls::open).transpose()?.map(Arc::new)))
    });
    let (authority, tls) = reading.await.map_err(|_| Error::Broken("reading of the token file"))??;
    let listener = listen.bind("--listen").await?;
    let address = local_address(&listener)?;
    if exposure == Exposure::Refused {
        refuse_exposure(address, authority.is_some(), tls.is_some())?;
    }
    let metrics_listener = match metrics_listen {
        Some(listen) => Some(listen.bind("--metrics-listen").await?),
        None => None,
    };
    let metrics_address = metrics_listener.as_ref().map(local_address).transpose()?;
    if let Some(address) = metrics_address.filter(|address| !address.ip().is_loopback())
        && [exposure, metrics_exposure] == [Exposure::Refused; 2]
    {
        return Err(Error::MetricsExposed { address });
    }
    let path = database.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&path, new_store_id()));
    let store = store.await.map_err(|_| Error::Broken("opening of the database"))??;

    let metrics = Arc::new(Metrics::new(rpc::call_labels()));
    let traces = traces.map(Arc::new);
    let state = Arc::new(OnceLock::new());
    let (drain, draining) = watch::channel(false);
    let rpc = Rpc::new(
        Arc::clone(&state),
        draining.clone(),
        Arc::clone(&metrics),
        StreamTimes { patience: limits.read_patience, quiet: limits.quiet },
    );
    let health = Health::of([""].into_iter().chain(rpc::SERVICE_NAMES));
    let mut routes = Routes::new(health.service());
    if reflection == Reflection::On {
        let descriptors = Descriptors::new().ok_or(Error::Broken("set of service descriptors"))?;
        routes = routes
            .add_service(ReflectionV1::new(V1(Arc::clone(&descriptors))))
            .add_service(ReflectionV1Alpha::new(V1Alpha(descriptors)));
    }
    let routes = routes.prepare();
    let callers = Arc::new(Callers::default());
    let connections_of_a_core = || {
        let gate = Gate {
            rpc: rpc.for_another_runtime(),
            others: routes.clone(),
            authority: authority.clone(),
            admission: Arc::new(Admission::new(limits, Arc::clone(&metrics))),
            callers: Arc::clone(&callers),
            metrics: Arc::clone(&metrics),
            traces: traces.clone(),
            clock: Arc::clone(&clock),
        };
        Connections { gate: Arc::new(gate), limits, tls: tls.clone(), draining: draining.clone() }
    };
    let connections: Vec<Connections> = std::iter::repeat_with(connections_of_a_core).take(processors()).collect();
    let admissions = connections.iter().map(|connections| Arc::clone(&connections.gate.admission)).collect();
    let cores = Cores::start(connections).map_err(Error::Threads)?;
    let mut beside = JoinSet::new();
    beside.spawn(reload::watch(authority, tls, Arc::clone(&clock), Arc::clone(&metrics)));
    let operator = Arc::new(Operator::new(Arc::clone(&metrics), Arc::clone(&state), &database, callers, admissions));
    beside.spawn(Arc::clone(&operator).watch(health.clone()));
    if let Some(listener) = metrics_listener {
        beside.spawn(operator.serve(listener));
    }
    let serving = tokio::spawn(accept(listener, cores, limits, Arc::clone(&metrics), draining));
    info!(%address, "listening");
    let loaded = Arc::clone(&metrics);
    let loading = tokio::task::spawn_blocking(move || State::start(store, clock, loaded, processors()));
    Ok(Server {
        address,
        metrics_address,
        drain_delay,
        drain_deadline,
        health,
        metrics,
        traces,
        state,
        loading,
        serving,
        beside,
        drain,
    })
}

/// How much of the time that a drain may take is for the calls under way; the rest is for the end of the writer.
const CALLS_SHARE_OF_DRAIN: f64 = 0.75;

/// How long the writer is waited for at least, before its disk is said to hang.
const SHORTEST_FLUSH: Duration = Duration::from_secs(1);

impl Server {
    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server serves its metrics, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Serves until `stop` completes, then drains: health says NOT_SERVING; after a delay no more connections and calls
    /// are taken and watches end; calls under way finish or are cut off at the deadline; and every acknowledged change is
    /// in the file. Ends early if the store fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            drain_delay,
            drain_deadline,
            health,
            metrics,
            traces,
            state,
            loading,
            mut serving,
            beside,
            drain,
            ..
        } = self;
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
        set_health(&health, ServingStatus::Serving);
        metrics.ready.set(1);
        operator::tell_systemd(&[sd_notify::NotifyState::Ready]);

        let failed = tokio::select! {
            () = &mut stop => None,
            ended = &mut writer_end => Some(writer_failed(ended)),
            _ = &mut serving => Some(Err(Error::Broken("listener"))),
        };
        set_health(&health, ServingStatus::NotServing);
        metrics.ready.set(0);
        operator::tell_systemd(&[sd_notify::NotifyState::Stopping]);
        if failed.is_none() && !drain_delay.is_zero() {
            info!(delay = ?drain_delay, "stopping: calls are still taken until others have learnt of it");
            tokio::time::sleep(drain_delay).await;
        }
        info!("stopping");
        let deadline = Instant::now() + drain_deadline;
        drain.send_replace(true);
        let calls_deadline = drain_deadline.mul_f64(CALLS_SHARE_OF_DRAIN);
        if !serving.is_finished() && timeout(calls_deadline, &mut serving).await.is_err() {
            warn!(after = ?calls_deadline, "calls that were still under way are cut off");
            serving.abort();
        }
        drop(beside);
        let ended = match failed {
            Some(failed) => failed,
            None => {
                // Asking may have to wait for a place in the queue; and not for a thread of those that calls may hold.
                std::thread::spawn(move || loaded.stop());
                match timeout_at(deadline.max(Instant::now() + SHORTEST_FLUSH), writer_end).await {
                    Ok(ended) => writer_failed(ended),
                    Err(_) => Err(Error::Stuck),
                }
            }
        };
        if let Some(traces) = traces {
            // Nothing depends on it.
            let _ = timeout_at(deadline, tokio::task::spawn_blocking(move || traces.finish())).await;
        }
        ended?;
        info!("stopped");
        Ok(())
    }
}

impl Listen {
    async fn bind(self, flag: &'static str) -> Result<TcpListener, Error> {
        match self {
            Self::At(address) => {
                let refused = |problem| Error::Listen { address: address.to_string(), flag, problem };
                TcpListener::bind(address).await.map_err(refused)
            }
            Self::Inherited(listener) => {
                let refused = |problem| Error::Listen { address: "the inherited socket".to_owned(), flag, problem };
                listener.set_nonblocking(true).map_err(refused)?;
                TcpListener::from_std(listener).map_err(refused)
            }
        }
    }
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    let unknown = |problem| Error::Listen { address: "the socket".to_owned(), flag: "--listen", problem };
    listener.local_addr().map_err(unknown)
}

/// A server that other machines reach must know who calls, and let nobody read along.
fn refuse_exposure(address: SocketAddr, has_tokens: bool, has_tls: bool) -> Result<(), Error> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let (missing, flags) = match (has_tokens, has_tls) {
        (true, true) => return Ok(()),
        (false, true) => ("tokens", "--tokens"),
        (true, false) => ("TLS", "--tls-certificate and --tls-key"),
        (false, false) => ("tokens and no TLS", "--tokens, --tls-certificate and --tls-key"),
    };
    Err(Error::Exposed { address, missing, flags })
}

/// Takes connections until the server drains, and then waits for those that are open.
async fn accept(
    listener: TcpListener,
    cores: Cores,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut draining: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = began(&mut draining) => break,
        };
        // The processor that serves it waits for it in its own way.
        match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok(_) if cores.open() >= limits.connections => metrics.shed(Shed::Connections),
            Ok((stream, address)) => cores.serve(stream, address),
            Err(error) => {
                // Most likely there are no file descriptors left, which takes a while to change.
                warn!(%error, "can't take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    cores.finish().await;
}

/// Completes once the server drains.
async fn began(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = draining.wait_for(|draining| *draining).await;
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

fn set_health(health: &Health, status: ServingStatus) {
    for name in [""].into_iter().chain(rpc::SERVICE_NAMES) {
        health.set(name, status);
    }
}

/// How many processors there are to serve with.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn new_store_id() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
