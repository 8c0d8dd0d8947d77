//! The command that runs the server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    args::{ServerDatabase, Wrong},
    exit::Outcome,
};
use crate::{
    auth::TokenFile,
    console::{Changes, Origin},
    server::{
        self, ConsoleConfig, Database, Exposure, Limits, Listen, Reflection, SharedDatabase, TlsFiles, WhenStale,
    },
    state::clock::SystemClock,
    store,
    telemetry::{logging, traces::Traces},
};

/// Arguments of `serve`.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: ServerSettings,
}

/// The settings of a server. Each has a flag, an environment variable, and a key in the configuration file.
#[derive(Args)]
pub(super) struct ServerSettings {
    /// A TOML file with any of these settings; its keys are the flags without `--`. Flags and environment variables
    /// take precedence.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on. Other than loopback only with tokens and TLS.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_LISTEN", default_value = "127.0.0.1:50051",
          value_parser = super::args::address)]
    listen: SocketAddr,
    /// Database file, created if it doesn't exist; or a PostgreSQL database that several nodes share, such as
    /// `postgres://queuegate@db1,db2/queuegate?sslmode=verify-full`.
    #[arg(long, value_name = "DATABASE", env = "QUEUEGATE_DATABASE", default_value = "queuegate.db",
          value_parser = super::args::server_database, hide_env_values = true)]
    database: ServerDatabase,
    /// File with the password for PostgreSQL. It is read at each connection.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE_PASSWORD_FILE")]
    database_password_file: Option<PathBuf>,
    /// Address that this node announces to the other nodes. Absent: the address that it listens on.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_NODE_ADDRESS")]
    node_address: Option<String>,
    /// How long PostgreSQL may be out of reach before readiness says NOT_SERVING.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_STALE_AFTER", default_value = "10s",
          value_parser = humantime::parse_duration)]
    stale_after: Duration,
    /// Refuse to decide after that time, instead of deciding by the last known state.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_REFUSE_STALE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    refuse_stale: bool,
    /// File of callers that `queuegate token` writes. Without it, every caller has full access.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TOKENS")]
    tokens: Option<PathBuf>,
    /// The server's certificate and its intermediate certificates (PEM), for TLS.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_CERTIFICATE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Trusted authorities for client certificates (PEM). The token file names the caller of each certificate.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_TLS_CLIENT_CA", requires_all = ["tls_certificate", "tokens"])]
    tls_client_ca: Option<PathBuf>,
    /// Listen on a non-loopback address without tokens or TLS, because the network is protected otherwise.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    insecure: bool,
    /// Serve gRPC reflection, which describes the API's services and messages.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_REFLECTION", action = clap::ArgAction::Set, default_value = "true")]
    reflection: bool,
    /// Address to serve /metrics, /status, /livez and /readyz on, over plain HTTP. Absent: disabled.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_METRICS_LISTEN", value_parser = super::args::address)]
    metrics_listen: Option<SocketAddr>,
    /// Serve metrics and probes on a non-loopback address, because the network is protected otherwise.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_METRICS_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    metrics_insecure: bool,
    /// Address to serve the console on, the web pages for administrators and supervisors. Other than loopback only with
    /// tokens, TLS and --console-origin. Absent: disabled.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_CONSOLE_LISTEN", value_parser = super::args::address)]
    console_listen: Option<SocketAddr>,
    /// The console's address as browsers see it, such as https://pbx.example.com/queuegate, behind a proxy or with a name.
    #[arg(long, value_name = "URL", env = "QUEUEGATE_CONSOLE_ORIGIN")]
    console_origin: Option<Origin>,
    /// Show everything in the console, and let it change nothing.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_CONSOLE_READ_ONLY", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    console_read_only: bool,
    /// OTLP endpoint (gRPC) to export traces of calls to, such as http://127.0.0.1:4317. Absent: disabled.
    #[arg(long, value_name = "URL", env = "QUEUEGATE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Sampling ratio for calls without a `traceparent`, from 0 to 1.
    #[arg(long, value_name = "SHARE", env = "QUEUEGATE_TRACE_SHARE", default_value = "0", value_parser = share)]
    trace_share: f64,
    /// Time to report NOT_SERVING and still accept calls before the stop, so that load balancers notice.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_DRAIN_DELAY", default_value = "0s",
          value_parser = humantime::parse_duration)]
    drain_delay: Duration,
    /// Time limit of the stop after that: three quarters for calls in flight, the rest for accepted writes.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_DRAIN_DEADLINE", default_value = "10s",
          value_parser = humantime::parse_duration)]
    drain_deadline: Duration,
    /// Concurrent connections.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CONNECTIONS", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Concurrent calls per connection.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CALLS_PER_CONNECTION",
          default_value_t = Limits::default().streams_per_connection)]
    max_calls_per_connection: u32,
    /// Concurrent unary calls per caller.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_CALLS_PER_CALLER",
          default_value_t = Limits::default().calls_per_caller)]
    max_calls_per_caller: usize,
    /// Concurrent streams per caller, such as watches.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_MAX_STREAMS_PER_CALLER",
          default_value_t = Limits::default().streams_per_caller)]
    max_streams_per_caller: usize,
    /// Size of a call's headers.
    #[arg(long, value_name = "BYTES", env = "QUEUEGATE_MAX_HEADER_BYTES", default_value_t = Limits::default().header_bytes)]
    max_header_bytes: u32,
    /// Time limit of a new connection's TLS and HTTP/2 handshakes.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_HANDSHAKE_TIMEOUT", default_value = "10s",
          value_parser = humantime::parse_duration)]
    handshake_timeout: Duration,
    /// Silence of a connection after which the server pings it.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_KEEPALIVE_INTERVAL", default_value = "30s",
          value_parser = humantime::parse_duration)]
    keepalive_interval: Duration,
    /// Time limit of the reply to a ping.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_KEEPALIVE_TIMEOUT", default_value = "20s",
          value_parser = humantime::parse_duration)]
    keepalive_timeout: Duration,
    /// Time without a call after which the server closes a connection.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_IDLE_TIMEOUT", default_value = "15m",
          value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
    /// Age at which a connection stops accepting calls.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_MAX_CONNECTION_AGE", default_value = "1d",
          value_parser = humantime::parse_duration)]
    max_connection_age: Duration,
    /// Time that calls in flight may continue after that.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_MAX_CONNECTION_AGE_GRACE", default_value = "5m",
          value_parser = humantime::parse_duration)]
    max_connection_age_grace: Duration,
    /// Queueing delay above which new calls are shed.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_SHED_DELAY", default_value = "5ms",
          value_parser = humantime::parse_duration)]
    shed_delay: Duration,
    #[command(flatten)]
    log: Log,
}

/// The level and format of the log.
#[derive(Args)]
pub(super) struct Log {
    /// Format of the log on standard error.
    #[arg(long, value_enum, env = "QUEUEGATE_LOG_FORMAT", default_value = "human")]
    log_format: LogFormat,
    /// Log level (error, warn, info, debug, trace), or targets with levels, such as queuegate=debug,h2=warn.
    #[arg(long, value_name = "FILTER", env = "QUEUEGATE_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

impl Log {
    /// Start logging. SIGUSR1 switches between the configured level and `debug`. Call this within an async runtime.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let format = match self.log_format {
            LogFormat::Human => logging::Format::Human,
            LogFormat::Json => logging::Format::Json,
        };
        let mut level = logging::init(format, &self.log).map_err(|problem| Wrong(format!("--log: {problem}")))?;
        let mut signals = signal(SignalKind::user_defined1())?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                match level.toggle() {
                    Ok(filter) => tracing::warn!(filter, "log level changed"),
                    Err(problem) => tracing::warn!(problem, "log level can't be changed"),
                }
            }
        });
        Ok(())
    }
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { settings } = self;
        if let ServerDatabase::File(path) = &settings.database {
            store::refuse_special(path)?;
        }
        settings.log.start()?;
        let config = settings.server()?;
        let mut stop = Box::pin(stop_signal()?);
        let server = tokio::select! {
            started = server::start(config) => started?,
            // A file system that doesn't respond may block a start, but never a stop.
            () = &mut stop => {
                tracing::info!("stopped before the server had started");
                return Ok(Outcome::Done);
            }
        };
        server.run(stop).await?;
        Ok(Outcome::Done)
    }
}

impl ServerSettings {
    /// Build the server's configuration. Inherited sockets (systemd's socket activation) take precedence over
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
        let database = match self.database {
            ServerDatabase::File(path) => Database::File(path),
            ServerDatabase::Shared(target) => Database::Shared(SharedDatabase {
                target: target.with_password_file(self.database_password_file),
                node_address: self.node_address,
                stale_after: self.stale_after,
                when_stale: if self.refuse_stale { WhenStale::Refuse } else { WhenStale::Decide },
            }),
        };
        Ok(server::Config {
            traces,
            listen,
            database,
            tokens: self.tokens.map(TokenFile::new),
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key, client_ca: tls_client_ca }),
            exposure: if self.insecure { Exposure::Accepted } else { Exposure::Refused },
            metrics_exposure: if self.metrics_insecure { Exposure::Accepted } else { Exposure::Refused },
            reflection: if self.reflection { Reflection::On } else { Reflection::Off },
            metrics,
            console: self.console_listen.map(|address| ConsoleConfig {
                listen: Listen::At(address),
                origin: self.console_origin,
                changes: if self.console_read_only { Changes::ReadOnly } else { Changes::Allowed },
            }),
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

/// Complete on SIGTERM or SIGINT. The handlers are in place when this returns.
pub(super) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
