//! The operator's interface: metrics and probes over plain HTTP, liveness, and systemd.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
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
};
use crate::{
    rpc::methods::Work,
    server::call::{Admission, Callers},
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
    write_ahead_log: Option<PathBuf>,
    callers: Arc<Callers>,
    admissions: Vec<Arc<Admission>>,
    readers: Arc<Semaphore>,
}

impl Operator {
    pub fn new(
        metrics: Arc<Metrics>,
        state: Arc<OnceLock<State>>,
        file: Option<&Path>,
        callers: Arc<Callers>,
        admissions: Vec<Arc<Admission>>,
    ) -> Self {
        Self {
            metrics,
            state,
            write_ahead_log: file.map(write_ahead_log),
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

    /// Serve `/metrics`, `/livez` and `/readyz`.
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
                        let answer = if request.uri().path() == "/metrics" {
                            operator.metrics(&request, &permit)
                        } else {
                            operator.answer(&request)
                        };
                        std::future::ready(Ok::<_, Infallible>(answer))
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

    /// Answer with the metrics. Refuses more concurrent readers than [`MAX_READERS`].
    fn metrics(&self, request: &Request<Incoming>, permit: &Mutex<Option<OwnedSemaphorePermit>>) -> Response<String> {
        let Ok(taken) = Arc::clone(&self.readers).try_acquire_owned() else {
            let mut answer = Response::new("too many readers of metrics\n".to_owned());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return answer;
        };
        *permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        self.answer(request)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                self.measure();
                let mut answer = Response::new(self.metrics.text());
                let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(openmetrics));
                return answer;
            }
            (&Method::GET | &Method::HEAD, "/livez") if self.is_alive() => (StatusCode::OK, "alive\n"),
            (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::SERVICE_UNAVAILABLE, "the writer is stuck\n"),
            (&Method::GET | &Method::HEAD, "/readyz") if self.metrics.ready.get() == 1 => (StatusCode::OK, "ready\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => (StatusCode::SERVICE_UNAVAILABLE, "loading or stopping\n"),
            (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n"),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        };
        let mut answer = Response::new(text.to_owned());
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
        let log = self.write_ahead_log.as_ref().and_then(|path| std::fs::metadata(path).ok());
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
