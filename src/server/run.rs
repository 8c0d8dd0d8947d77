//! A server's life: start, serve, drain, stop.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_reflection::pb::{
    v1::server_reflection_server::ServerReflectionServer as ReflectionV1,
    v1alpha::server_reflection_server::ServerReflectionServer as ReflectionV1Alpha,
};
use tracing::{error, info, warn};

use super::{
    call::{Admission, Callers, CoreResources},
    config::{
        Config, ConsoleConfig, Database, Exposure, Reflection, SharedDatabase, WhenStale, console_settings,
        local_address, refuse_exposure,
    },
    error::Error,
    limits::Limits,
    net::{ConnectionServer, Cores, Tls, accept, serve_browsers},
    operator::{Health, Operator, ServingStatus, notify_systemd, reload},
};
use crate::{
    auth::{Authority, Links},
    console::{self, Console},
    rpc::{
        self, Rpc, StreamTimes,
        reflection::{Descriptors, V1, V1Alpha},
    },
    state::{Ended, State, WriterEnd},
    store::{self, Store, postgres, sqlite},
    telemetry::{metrics::Metrics, traces::Traces},
};

/// A server that listens. It answers health checks with NOT_SERVING, and everything else with UNAVAILABLE, until its
/// database is loaded.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    console_address: Option<(SocketAddr, String)>,
    drain_delay: Duration,
    drain_deadline: Duration,
    health: Health,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
    state: Arc<OnceLock<State>>,
    loading: JoinHandle<Result<(State, WriterEnd), store::Error>>,
    serving: JoinHandle<()>,
    /// Background tasks that end with the server.
    beside: JoinSet<()>,
    drain: watch::Sender<bool>,
    is_stopping: Arc<AtomicBool>,
}

/// Open the database, start to listen, and start to load.
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
        console,
        traces,
        limits,
        drain_delay,
        drain_deadline,
        clock,
    } = config;
    let limits = limits.within_descriptors(processors());
    // Read files on a blocking thread, so that a slow disk delays nothing else, not even a stop.
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
    let console = match console {
        Some(ConsoleConfig { listen, origin, changes }) => {
            let listener = listen.bind("--console-listen").await?;
            let address = local_address(&listener)?;
            let protections = [authority.is_some(), tls.is_some()];
            let settings = console_settings(address, origin, changes, exposure, protections)?;
            Some((listener, address, settings))
        }
        None => None,
    };
    let console_address = console.as_ref().map(|(_, address, settings)| (*address, settings.origin.to_string()));
    let console_tls = tls.clone();
    let links = console_address.as_ref().map(|(_, origin)| Arc::new(Links::new(origin.as_str())));
    let opened = database.clone();
    let store = tokio::task::spawn_blocking(move || match opened {
        Database::File(path) => sqlite::Store::open(&path, new_store_id()).map(Store::from),
        Database::Shared(SharedDatabase { target, node_address, .. }) => {
            let node_address = node_address.unwrap_or_else(|| address.to_string());
            postgres::Store::new(target, new_store_id(), node_address).map(Store::from)
        }
    });
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
        links.clone(),
    );
    let health = Health::of([""].into_iter().chain(rpc::SERVICE_NAMES));
    let mut routes = Routes::new(health.service());
    if reflection == Reflection::On {
        let descriptors = Descriptors::new().ok_or(Error::Broken("set of service descriptors"))?;
        routes = routes
            .add_service(ReflectionV1::new(V1(Arc::clone(&descriptors))).accept_compressed(CompressionEncoding::Gzip))
            .add_service(ReflectionV1Alpha::new(V1Alpha(descriptors)).accept_compressed(CompressionEncoding::Gzip));
    }
    let routes = routes.prepare();
    let callers = Arc::new(Callers::default());
    let server_of = |limits: Limits| {
        let core = CoreResources {
            rpc: rpc.for_another_runtime(),
            others: routes.clone(),
            authority: authority.clone(),
            admission: Arc::new(Admission::new(limits, Arc::clone(&metrics))),
            callers: Arc::clone(&callers),
            metrics: Arc::clone(&metrics),
            traces: traces.clone(),
            clock: Arc::clone(&clock),
        };
        ConnectionServer { core: Arc::new(core), limits, tls: tls.clone(), draining: draining.clone() }
    };
    let servers: Vec<ConnectionServer> = std::iter::repeat_with(|| server_of(limits)).take(processors()).collect();
    let of_console = Limits { shed_delay: CONSOLE_SHED_DELAY, ..limits };
    let own_server = console.is_some().then(|| Arc::new(server_of(of_console)));
    let admissions = servers.iter().chain(own_server.as_deref());
    let admissions = admissions.map(|server| Arc::clone(&server.core.admission)).collect();
    let cores = Cores::start(servers).map_err(Error::Threads)?;
    let mut beside = JoinSet::new();
    beside.spawn(reload(authority, tls, Arc::clone(&clock), Arc::clone(&metrics)));
    let is_stopping = Arc::new(AtomicBool::new(false));
    let operator = Operator::new(
        Arc::clone(&metrics),
        Arc::clone(&state),
        &database,
        Arc::clone(&is_stopping),
        callers,
        admissions,
    );
    let operator = Arc::new(operator);
    beside.spawn(Arc::clone(&operator).watch(health.clone()));
    if let Database::Shared(database) = database {
        let (state, health, metrics) = (Arc::clone(&state), health.clone(), Arc::clone(&metrics));
        beside.spawn(watch_freshness(database, state, health, metrics));
    }
    if let Some(listener) = metrics_listener {
        beside.spawn(operator.serve(listener));
    }
    let serving = accept(listener, cores, limits, Arc::clone(&metrics), draining.clone());
    let serving = match (console, own_server, links) {
        (Some((listener, address, settings)), Some(server), Some(links)) => {
            let now = Arc::clone(&clock);
            let console =
                move || Console::new(settings, connect_to(server), links, Arc::new(move || now.now())).router();
            let browsers = serve_browsers(listener, console_tls, console, draining).map_err(Error::Threads)?;
            info!(%address, "serving the console");
            tokio::spawn(async {
                tokio::join!(serving, browsers);
            })
        }
        _ => tokio::spawn(serving),
    };
    info!(%address, "listening");
    let loaded = Arc::clone(&metrics);
    let loading = tokio::task::spawn_blocking(move || State::start(store, clock, loaded, processors()));
    Ok(Server {
        address,
        metrics_address,
        console_address,
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
        is_stopping,
    })
}

/// The queueing delay of the console's thread above which its calls are shed. Pages may wait longer than a dialed
/// call, and are rendered on the same thread.
const CONSOLE_SHED_DELAY: Duration = Duration::from_secs(1);

/// The bytes of a connection within the process that one side may be ahead of the other.
const AHEAD: usize = 64 * 1024;

/// Return the entrance of the server for callers in this process.
fn connect_to(server: Arc<ConnectionServer>) -> console::Connect {
    Arc::new(move |identity| {
        let (client, stream) = tokio::io::duplex(AHEAD);
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.serve_in_process(stream, identity).await });
        client
    })
}

/// The share of the drain deadline for the calls in flight. The rest is for the end of the writer.
const CALLS_SHARE_OF_DRAIN: f64 = 0.75;

/// The shortest wait for the writer. After it, the disk counts as hanging.
const SHORTEST_FLUSH: Duration = Duration::from_secs(1);

impl Server {
    /// Return the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the address of the metrics, or `None` if the server doesn't serve them.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Return the address on which the server listens for browsers, and the console's address as they see it. `None` if
    /// the server has no console.
    pub fn console_address(&self) -> Option<(SocketAddr, &str)> {
        self.console_address.as_ref().map(|(address, origin)| (*address, origin.as_str()))
    }

    /// Serve until `stop` completes, then drain. Health turns to NOT_SERVING. After a delay, the server refuses new
    /// connections and calls, and watches end. Calls in flight finish or are cut off at the deadline. In the end every
    /// acknowledged change is in the database. Ends early if the store fails.
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
            is_stopping,
            ..
        } = self;
        tokio::pin!(stop);
        let loaded = tokio::select! {
            loaded = loading => loaded.map_err(|_| Error::Broken("loading of the database"))?,
            () = &mut stop => {
                // Nothing was acknowledged yet.
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
        notify_systemd(&[sd_notify::NotifyState::Ready]);

        let failed = tokio::select! {
            () = &mut stop => None,
            ended = &mut writer_end => Some(writer_failed(ended)),
            _ = &mut serving => Some(Err(Error::Broken("listener"))),
        };
        is_stopping.store(true, Ordering::Relaxed);
        set_health(&health, ServingStatus::NotServing);
        metrics.ready.set(0);
        notify_systemd(&[sd_notify::NotifyState::Stopping]);
        if failed.is_none() && !drain_delay.is_zero() {
            info!(delay = ?drain_delay, "stopping after the drain delay; calls are still accepted");
            tokio::time::sleep(drain_delay).await;
        }
        info!("stopping");
        let deadline = Instant::now() + drain_deadline;
        drain.send_replace(true);
        let calls_deadline = drain_deadline.mul_f64(CALLS_SHARE_OF_DRAIN);
        if !serving.is_finished() && timeout(calls_deadline, &mut serving).await.is_err() {
            warn!(after = ?calls_deadline, "calls still in flight are cut off");
            serving.abort();
        }
        drop(beside);
        let ended = match failed {
            Some(failed) => failed,
            None => {
                // The request may wait for a full queue. It needs a thread of its own, because calls may hold all
                // blocking threads.
                std::thread::spawn(move || loaded.stop());
                match timeout_at(deadline.max(Instant::now() + SHORTEST_FLUSH), writer_end).await {
                    Ok(ended) => writer_failed(ended),
                    Err(_) => Err(Error::Stuck),
                }
            }
        };
        if let Some(traces) = traces {
            // The last spans are optional.
            let _ = timeout_at(deadline, tokio::task::spawn_blocking(move || traces.finish())).await;
        }
        ended?;
        info!("stopped");
        Ok(())
    }
}

/// Convert the writer's end to an error, unless it stopped normally.
fn writer_failed(ended: Result<Ended, oneshot::error::RecvError>) -> Result<(), Error> {
    match ended {
        Ok(Ended::Stopped) => Ok(()),
        Ok(Ended::Failed(error)) => {
            error!("no more changes are acknowledged; the outcome of changes in flight is unknown");
            Err(Error::Store(error))
        }
        Err(_) => Err(Error::Broken("writer thread")),
    }
}

/// The interval at which a node looks whether its state is current.
const LOOK_AT_FRESHNESS_EVERY: Duration = Duration::from_millis(250);

/// Say NOT_SERVING while a node hasn't reached the database for too long, or loads its state anew. So load balancers
/// prefer other nodes.
async fn watch_freshness(
    SharedDatabase { stale_after, when_stale, .. }: SharedDatabase,
    state: Arc<OnceLock<State>>,
    health: Health,
    metrics: Arc<Metrics>,
) {
    let mut interval = tokio::time::interval(LOOK_AT_FRESHNESS_EVERY);
    let mut was_fresh = true;
    loop {
        interval.tick().await;
        let Some(state) = state.get() else { continue };
        let stale_for = state.stale_for();
        let is_fresh = state.is_usable() && stale_for <= stale_after;
        if is_fresh == was_fresh {
            continue;
        }
        was_fresh = is_fresh;
        if when_stale == WhenStale::Refuse {
            state.refuse_reads(!is_fresh);
        }
        set_health(&health, if is_fresh { ServingStatus::Serving } else { ServingStatus::NotServing });
        metrics.ready.set(i64::from(is_fresh));
        if is_fresh {
            info!("the node has reached the database again");
        } else {
            warn!(?stale_for, ?when_stale, "the node hasn't reached the database; it says NOT_SERVING");
        }
    }
}

fn set_health(health: &Health, status: ServingStatus) {
    for name in [""].into_iter().chain(rpc::SERVICE_NAMES) {
        health.set(name, status);
    }
}

/// Return the number of processors.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn new_store_id() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
}
