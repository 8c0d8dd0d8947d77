//! Running the server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};

use super::{args::Wrong, exit::Outcome};
use crate::{server, state::clock::SystemClock, telemetry};

/// Arguments of `serve`.
#[derive(Args)]
pub(super) struct Serve {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_LISTEN", default_value = "127.0.0.1:50051",
          value_parser = super::args::address)]
    listen: SocketAddr,
    /// The database file; created if there is none.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE", default_value = "queuegate.db")]
    database: PathBuf,
    /// How long calls under way may take to finish when the server is asked to stop.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_DRAIN_DEADLINE", default_value = "10s",
          value_parser = humantime::parse_duration)]
    drain_deadline: Duration,
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

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let format = match self.log_format {
            LogFormat::Human => telemetry::Format::Human,
            LogFormat::Json => telemetry::Format::Json,
        };
        telemetry::init(format, &self.log).map_err(|problem| Wrong(format!("--log: {problem}")))?;
        let config = server::Config {
            listen: self.listen,
            database: self.database,
            drain_deadline: self.drain_deadline,
            clock: Arc::new(SystemClock::start()),
        };
        let stop = stop_signal()?;
        server::start(config).await?.run(stop).await?;
        Ok(Outcome::Done)
    }
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
