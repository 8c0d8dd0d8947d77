//! The operator's interface: metrics and probes over plain HTTP, liveness, and systemd.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tracing::{error, info, warn};

use super::{
    health::{Health, ServingStatus},
    quiet::Quiet,
    status::Status,
};
use crate::{
    rpc::methods::Work,
    server::{
        call::{Admission, Callers},
        config::Database,
    },
    state::State,
    store::write_ahead_log,
    telemetry::metrics::{Metrics, Sizes},
};

/// The name of liveness in the health service. It says whether to restart the process, not whether to send it calls.
pub const LIVENESS: &str = "liveness";

/// How long the writer may work at one batch. After that, the process counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The interval of that check.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The most concurrent readers of metrics, and the longest time of a connection. Probes don't count as readers.
const MAX_READERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);

/// The server of the operator's interface.
pub struct Operator {
    metrics: Arc<Metrics>,
    state: Arc<OnceLock<State>>,
    /// Absent for a shared database.
    file: Option<PathBuf>,
    /// How long a shared database may be out of reach. After that, the server isn't ready.
    stale_after: Duration,
    /// Whether the server has begun to stop.
    is_stopping: Arc<AtomicBool>,
    callers: Arc<Callers>,
    admissions: Vec<Arc<Admission>>,
    readers: Arc<Semaphore>,
}

impl Operator {
    pub fn new(
        metrics: Arc<Metrics>,
        state: Arc<OnceLock<State>>,
        database: &Database,
        is_stopping: Arc<AtomicBool>,
        callers: Arc<Callers>,
        admissions: Vec<Arc<Admission>>,
    ) -> Self {
        let (file, stale_after) = match database {
            Database::File(path) => (Some(path.clone()), Duration::MAX),
            Database::Shared(shared) => (None, shared.stale_after),
        };
        Self {
            metrics,
            state,
            file,
            stale_after,
            is_stopping,
            callers,
            admissions,
            readers: Arc::new(Semaphore::new(MAX_READERS)),
        }
    }

    /// Return whether the writer isn't stuck. While the database loads, there is no writer.
    fn is_alive(&self) -> bool {
        self.state.get().is_none_or(|state| state.writer_busy_for() < STUCK_AFTER)
    }

    /// Report liveness to the health service and to systemd, for as long as it runs.
    pub async fn watch(self: Arc<Self>, health: Health) {
        let watchdog = sd_notify::watchdog_enabled();
        let every = watchdog.map_or(LOOK_EVERY, |watchdog| LOOK_EVERY.min(watchdog / 3));
        let mut interval = tokio::time::interval(every);
        let mut was_alive = None;
        loop {
            interval.tick().await;
            if let Some(state) = self.state.get() {
                state.sweep_page_snapshots();
            }
            let is_alive = self.is_alive();
            if was_alive != Some(is_alive) {
                let status = if is_alive { ServingStatus::Serving } else { ServingStatus::NotServing };
                health.set(LIVENESS, status);
                match (was_alive, is_alive) {
                    (None, _) => {}
                    (Some(_), true) => info!("the writer works again"),
                    (Some(_), false) => error!(after = ?STUCK_AFTER, "the writer is stuck: the disk doesn't answer"),
                }
                was_alive = Some(is_alive);
            }
            if is_alive && watchdog.is_some() {
                notify_systemd(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Return why calls shouldn't be sent here, or `None` if they may.
    fn not_ready(&self) -> Option<String> {
        if self.metrics.ready.get() == 1 {
            return None;
        }
        if self.is_stopping.load(Ordering::Relaxed) {
            return Some("stopping".to_owned());
        }
        let Some(state) = self.state.get() else { return Some("loading the database".to_owned()) };
        let stale_for = state.stale_for();
        Some(if !state.is_usable() {
            "loading the state anew, because the database's history was rewritten".to_owned()
        } else if stale_for > self.stale_after {
            format!("stale: the database has been out of reach for {} s", stale_for.as_secs())
        } else {
            "about to be ready again".to_owned()
        })
    }

    /// Serve `/metrics`, `/status`, `/livez` and `/readyz`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            info!(%address, "serving metrics");
        }
        let quiet = Arc::new(Quiet::default());
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "can't accept a connection for metrics");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (operator, of_all) = (Arc::clone(&self), Arc::clone(&quiet));
            quiet.add(address.ip(), |number| {
                let serving = async move {
                    // Held until the answer is sent.
                    let permit = Mutex::new(None);
                    let answer = service_fn(|request: Request<Incoming>| {
                        of_all.remove(number);
                        let (operator, permit) = (Arc::clone(&operator), &permit);
                        async move {
                            let path = request.uri().path();
                            let is_page = ["/metrics", "/status"].contains(&path);
                            if is_page && let Some(refused) = operator.take_permit(permit) {
                                return Ok::<_, Infallible>(refused);
                            }
                            Ok(match path {
                                "/status" => operator.status(&request).await,
                                _ => operator.answer(&request),
                            })
                        }
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                    // The client may have disconnected.
                    let _ = tokio::time::timeout(PATIENCE, http.serve_connection(TokioIo::new(stream), answer)).await;
                    of_all.remove(number);
                };
                connections.spawn(serving)
            });
        }
    }

    /// Take a reader's permit. Return the refusal of more concurrent readers than [`MAX_READERS`].
    fn take_permit(&self, permit: &Mutex<Option<OwnedSemaphorePermit>>) -> Option<Response<String>> {
        let Ok(taken) = Arc::clone(&self.readers).try_acquire_owned() else {
            let mut answer = Response::new("too many readers\n".to_owned());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Some(answer);
        };
        *permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        None
    }

    /// Answer with the state of the server as JSON.
    async fn status(&self, request: &Request<Incoming>) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return self.answer(request);
        }
        let status = Status::of(self.state.get(), self.not_ready(), self.file.clone()).await;
        let mut answer = Response::new(serde_json::to_string(&status).unwrap_or_default());
        answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        answer
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let not_ready;
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                self.measure();
                let mut answer = Response::new(self.metrics.text());
                let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(openmetrics));
                return answer;
            }
            (&Method::GET | &Method::HEAD, "/livez") if self.is_alive() => (StatusCode::OK, "alive"),
            (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::SERVICE_UNAVAILABLE, "the writer is stuck"),
            (&Method::GET | &Method::HEAD, "/readyz") => {
                not_ready = self.not_ready();
                match &not_ready {
                    None => (StatusCode::OK, "ready"),
                    Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem.as_str()),
                }
            }
            (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "try /metrics, /status, /livez or /readyz"),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET"),
        };
        let mut answer = Response::new(format!("{text}\n"));
        *answer.status_mut() = status;
        answer
    }

    /// Set the metrics that aren't counted as they happen.
    fn measure(&self) {
        if let Some(state) = self.state.get() {
            self.metrics.staleness.set(state.stale_for().as_secs_f64());
            let snapshot = state.snapshot();
            let mut sizes = Sizes::default();
            for organization in snapshot.organizations_after(None) {
                sizes.organizations += 1;
                sizes.users += organization.user_count();
                sizes.queues += organization.queue_count();
                sizes.sessions += organization.session_count();
            }
            self.metrics.set_sizes(sizes);
            self.metrics.revision.set(i64::try_from(snapshot.revision().sequence.0).unwrap_or(i64::MAX));
        }
        for (name, work) in
            [("check", Work::Check), ("scan", Work::Scan), ("write", Work::Write), ("stream", Work::Stream)]
        {
            self.metrics.set_calls_in_flight(name, self.callers.in_flight(work));
        }
        self.metrics.unread_answers.set(i64::try_from(self.callers.held()).unwrap_or(i64::MAX));
        let shedding = self.admissions.iter().map(|admission| admission.shedding()).max();
        self.metrics.set_shedding(shedding.unwrap_or_default());
        // An absent log is empty.
        let log = self.file.as_ref().and_then(|path| std::fs::metadata(write_ahead_log(path)).ok());
        let wal_size = log.map_or(0, |found| found.len());
        self.metrics.wal_size.set(i64::try_from(wal_size).unwrap_or(i64::MAX));
    }
}

/// Notify systemd, if it started the process and expects it.
pub fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "can't notify systemd");
    }
}
