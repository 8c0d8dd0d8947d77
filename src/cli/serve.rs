//! Running the server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use listenfd::ListenFd;

use super::{args::Wrong, exit::Outcome};
use crate::{
    auth::TokenFile,
    server::{self, Exposure, Limits, Listen, Reflection, TlsFiles},
    state::clock::SystemClock,
    store,
    telemetry::{logging, traces::Traces},
};

/// Arguments of `serve`.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

/// Everything that can be set about a server: by a flag, by an environment variable, or in the configuration file.
#[derive(Args)]
pub(super) struct Settings {
    /// A file (TOML) with any of these settings, named as the flags are without their dashes. Flags and environment
    /// variables come before it.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen. Beyond this machine only with tokens and TLS.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_LISTEN", default_value = "127.0.0.1:50051",
          value_parser = super::args::address)]
    listen: SocketAddr,
    /// The database file; created if there is none.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE", default_value = "queuegate.db",
          value_parser = super::args::database)]
    database: PathBuf,
    /// Who may call: the file that `queuegate token` writes. Without it everybody may do everything.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TOKENS")]
    tokens: Option<PathBuf>,
    /// The server's certificate and those between it and its root (PEM), to speak TLS.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose client certificates are believed; the token file says whose they are.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_CLIENT_CA", requires_all = ["tls_certificate", "tokens"])]
    tls_client_ca: Option<PathBuf>,
    /// Listen beyond this machine without tokens or TLS, because something else keeps strangers out.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    insecure: bool,
    /// Tell callers what services and messages there are (gRPC server reflection).
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_REFLECTION", action = clap::ArgAction::Set, default_value = "true")]
    reflection: bool,
    /// Where to serve /metrics, /livez and /readyz over plain HTTP; not at all unless given.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_METRICS_LISTEN", value_parser = super::args::address)]
    metrics_listen: Option<SocketAddr>,
    /// Serve metrics and probes beyond this machine, because something else keeps strangers out.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_METRICS_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    metrics_insecure: bool,
    /// Where to send traces of calls: an OTLP endpoint (gRPC), such as http://127.0.0.1:4317; nowhere unless given.
    #[arg(long, value_name = "URL", env = "QUEUEGATE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Which share of the calls to trace, from 0 to 1, where the caller's trace context (traceparent) doesn't say.
    #[arg(long, value_name = "SHARE", env = "QUEUEGATE_TRACE_SHARE", default_value = "0", value_parser = share)]
    trace_share: f64,
    /// How long health says NOT_SERVING, while calls are still taken, before the server stops: as long as load balancers
    /// take to notice.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_DRAIN_DELAY", default_value = "0s",
          value_parser = humantime::parse_duration)]
    drain_delay: Duration,
    /// How long the stop may take after that: calls under way have three quarters of it to finish, and the changes already
    /// taken the rest.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_DRAIN_DEADLINE", default_value = "10s",
          value_parser = humantime::parse_duration)]
    drain_deadline: Duration,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CONNECTIONS", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Calls at once on one connection.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CALLS_PER_CONNECTION",
          default_value_t = Limits::default().streams_per_connection)]
    max_calls_per_connection: u32,
    /// Calls of one caller at once that are answered once.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CALLS_PER_CALLER",
          default_value_t = Limits::default().calls_per_caller)]
    max_calls_per_caller: usize,
    /// Calls of one caller at once that go on and on, such as watches.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_STREAMS_PER_CALLER",
          default_value_t = Limits::default().streams_per_caller)]
    max_streams_per_caller: usize,
    /// The size of a call's headers.
    #[arg(long, value_name = "BYTES", env = "QUEUEGATE_MAX_HEADER_BYTES", default_value_t = Limits::default().header_bytes)]
    max_header_bytes: u32,
    /// How long a new connection may take to say that it speaks TLS and HTTP/2.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_HANDSHAKE_TIMEOUT", default_value = "10s",
          value_parser = humantime::parse_duration)]
    handshake_timeout: Duration,
    /// After how long of hearing nothing a connection is asked whether it is still there.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_KEEPALIVE_INTERVAL", default_value = "30s",
          value_parser = humantime::parse_duration)]
    keepalive_interval: Duration,
    /// How long the answer to that may take.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_KEEPALIVE_TIMEOUT", default_value = "20s",
          value_parser = humantime::parse_duration)]
    keepalive_timeout: Duration,
    /// After how long without a call a connection is closed.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_IDLE_TIMEOUT", default_value = "15m",
          value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
    /// After how long a connection takes no more calls.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_MAX_CONNECTION_AGE", default_value = "1d",
          value_parser = humantime::parse_duration)]
    max_connection_age: Duration,
    /// How long calls may go on after that.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_MAX_CONNECTION_AGE_GRACE", default_value = "5m",
          value_parser = humantime::parse_duration)]
    max_connection_age_grace: Duration,
    /// How long work may have to wait for a processor before new work is refused.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_SHED_DELAY", default_value = "5ms",
          value_parser = humantime::parse_duration)]
    shed_delay: Duration,
    #[command(flatten)]
    log: Log,
}

/// What a server logs, and how.
#[derive(Args)]
pub(super) struct Log {
    /// How to write the log, which goes to standard error.
    #[arg(long, value_enum, env = "QUEUEGATE_LOG_FORMAT", default_value = "human")]
    log_format: LogFormat,
    /// What to log: a level (error, warn, info, debug, trace), or targets with levels, such as queuegate=debug,h2=warn.
    #[arg(long, value_name = "FILTER", env = "QUEUEGATE_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people; coloured on a terminal.
    Human,
    /// A JSON object a line.
    Json,
}

impl Log {
    /// Starts logging.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let format = match self.log_format {
            LogFormat::Human => logging::Format::Human,
            LogFormat::Json => logging::Format::Json,
        };
        Ok(logging::init(format, &self.log).map_err(|problem| Wrong(format!("--log: {problem}")))?)
    }
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { settings } = self;
        store::refuse_special(&settings.database)?;
        server::fit_pages_to(&settings.database);
        settings.log.start()?;
        let config = settings.server()?;
        let mut stop = Box::pin(stop_signal()?);
        let server = tokio::select! {
            started = server::start(config) => started?,
            // A file system that doesn't answer holds up a start, and not its end.
            () = &mut stop => {
                tracing::info!("stopped before the server had started");
                return Ok(Outcome::Done);
            }
        };
        server.run(stop).await?;
        Ok(Outcome::Done)
    }
}

impl Settings {
    /// What the server is told. Sockets that the process was started with (systemd's socket activation) come before
    /// addresses: the first is for calls, the second for metrics.
    fn server(self) -> anyhow::Result<server::Config> {
        let mut inherited = ListenFd::from_env();
        let mut inherited = |index| inherited.take_tcp_listener(index).context("can't use the inherited socket");
        let listen = inherited(0)?.map_or(Listen::At(self.listen), Listen::Inherited);
        let metrics = inherited(1)?.map(Listen::Inherited).or(self.metrics_listen.map(Listen::At));
        let tls = self.tls_certificate.zip(self.tls_key);
        let tls_client_ca = self.tls_client_ca;
        let traces = self.otlp_endpoint.map(|endpoint| Traces::start(&endpoint, self.trace_share)).transpose();
        let traces = traces.map_err(|problem| Wrong(format!("--otlp-endpoint: {problem}")))?;
        Ok(server::Config {
            traces,
            listen,
            database: self.database,
            tokens: self.tokens.map(TokenFile::new),
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key, client_ca: tls_client_ca }),
            exposure: if self.insecure { Exposure::Accepted } else { Exposure::Refused },
            metrics_exposure: if self.metrics_insecure { Exposure::Accepted } else { Exposure::Refused },
            reflection: if self.reflection { Reflection::On } else { Reflection::Off },
            metrics,
            limits: Limits {
                connections: self.max_connections,
                handshake: self.handshake_timeout,
                streams_per_connection: self.max_calls_per_connection,
                header_bytes: self.max_header_bytes,
                keepalive_interval: self.keepalive_interval,
                keepalive_timeout: self.keepalive_timeout,
                idle: self.idle_timeout,
                age: self.max_connection_age,
                age_grace: self.max_connection_age_grace,
                calls_per_caller: self.max_calls_per_caller,
                streams_per_caller: self.max_streams_per_caller,
                shed_delay: self.shed_delay,
                ..Limits::default()
            },
            drain_delay: self.drain_delay,
            drain_deadline: self.drain_deadline,
            clock: Arc::new(SystemClock::start()),
        })
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// Completes when the process is asked to stop. The handlers are in place when this returns.
pub(super) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
