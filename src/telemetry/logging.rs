//! Logging: structured events on standard error, for people or for machines.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, reload};

/// The filter for a closer look. Libraries log warnings only.
const DEBUG: &str = "warn,queuegate=debug";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The level of a running log.
pub struct Level {
    configured: String,
    is_debug: bool,
    reload: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl Level {
    /// Switch between the configured filter and `debug`, and return the filter that applies now. The error describes
    /// the problem.
    pub fn toggle(&mut self) -> Result<&str, String> {
        self.is_debug = !self.is_debug;
        let filter = if self.is_debug { DEBUG } else { &self.configured };
        (self.reload)(EnvFilter::new(filter)).map_err(|error| error.to_string())?;
        Ok(filter)
    }
}

/// Start logging. `filter` is a level (`info`) or a list of targets with levels (`queuegate=debug,h2=warn`). The error
/// describes the problem with the filter.
pub fn init(format: Format, filter: &str) -> Result<Level, String> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let level = |reload| Level { configured: filter.to_owned(), is_debug: false, reload };
    match format {
        Format::Human => {
            let builder = builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = builder.reload_handle();
            let started = builder.try_init().map(|()| level(Box::new(move |filter| handle.reload(filter))));
            started.map_err(|error| error.to_string())
        }
        Format::Json => {
            let builder = builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            let started = builder.try_init().map(|()| level(Box::new(move |filter| handle.reload(filter))));
            started.map_err(|error| error.to_string())
        }
    }
}
