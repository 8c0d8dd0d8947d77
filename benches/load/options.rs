//! The options of the command line.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, ValueEnum};

use crate::harness::pacing::Arrivals;

/// Measure the real server over loopback, next to servers that do nothing, and print the ratios.
///
/// In each round every server has one turn. A ratio compares the turns of one round, and the median of all rounds is
/// printed.
#[derive(Parser)]
#[command(name = "cargo bench --bench load --")]
pub struct Options {
    /// Scenario to measure.
    #[arg(value_enum, default_value = "checks")]
    pub scenario: Scenario,
    /// Connections to each server.
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Calls in flight per connection, in a closed loop.
    #[arg(long, default_value_t = 8)]
    pub streams: usize,
    /// Threads of the load, over which the connections are spread.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Rounds, in each of which every server has one turn.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Measured seconds per turn.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Number of users. Default: 10,000, and a million for `size`.
    #[arg(long, default_value_t = 10_000, default_value_if("scenario", "size", "1000000"), hide_default_value = true)]
    pub users: usize,
    /// Number of organizations of `size`, over which the users are spread.
    #[arg(long, default_value_t = 1)]
    pub organizations: usize,
    /// Keep the database of `size` in this file, and use the file if it exists.
    #[arg(long, value_name = "FILE")]
    pub prepared: Option<PathBuf>,
    /// Number of watches of `watch` (default: 1,000), and of pages of `console` (500).
    #[arg(long, default_value_t = 1_000, default_value_if("scenario", "console", "500"), hide_default_value = true)]
    pub watchers: usize,
    /// Changes per second of `watch` (default: 1,000) and of `console` (100).
    #[arg(long, default_value_t = 1_000.0, default_value_if("scenario", "console", "100"), hide_default_value = true)]
    pub changes: f64,
    /// Calls per second in an open loop. Default: half the rate of the slowest server in the closed loop.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Distribution of the intervals between calls in an open loop.
    #[arg(long, value_enum, default_value = "exponential")]
    pub arrivals: Arrivals,
    /// Speak TLS with all servers.
    #[arg(long)]
    pub tls: bool,
    /// Run the servers on the first processor and the load on the second. By default both use all processors.
    #[arg(long)]
    pub pin: bool,
    /// Another flag of the server under test, such as --flag=--shed-delay=1s. Repeat it for more.
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    pub flags: Vec<String>,
    /// Program to test instead of the one that was built with this benchmark.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_queuegate"))]
    pub program: PathBuf,
    /// Older program, which `checks` measures in the same rounds. The speed of a machine varies, so only
    /// such a comparison shows differences of a few percent.
    #[arg(long, value_name = "FILE")]
    pub before: Option<PathBuf>,
    /// Program of Cerbos.
    #[arg(long, value_name = "FILE")]
    pub cerbos: Option<PathBuf>,
    /// Program of h2load.
    #[arg(long, value_name = "FILE", default_value = "h2load")]
    pub h2load: PathBuf,
    /// Program of k6.
    #[arg(long, value_name = "FILE")]
    pub k6: Option<PathBuf>,
    /// Folder for the databases. They are in a temporary folder in it, which is removed at the end.
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    pub folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Measure one short round with few users, to test that the scenario runs.
    #[arg(long)]
    pub smoke: bool,
    /// Accepted because Cargo passes it to every benchmark.
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// The scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Measure CheckQueueAccess with the default settings, next to two servers that do nothing.
    Checks,
    /// Measure BatchCheckQueueAccess with 1,000 checks per call, on one processor.
    Batch,
    /// Measure SignIn and SignOut, next to SQLite alone and to a server that only stores.
    Writes,
    /// Measure the start, checks and changes with a million users, ten million assignments and a million sessions.
    /// --users and --organizations change these numbers.
    Size,
    /// Measure the checks of a small organization beside each rpc of a large one.
    Neighbours,
    /// Measure an empty server.
    Empty,
    /// Measure many watches during many changes.
    Watch,
    /// Measure many open Floor pages of the console during changes.
    Console,
    /// Measure nodes over PostgreSQL with a synchronous standby. It needs PostgreSQL's programs.
    Cluster,
    /// Measure checks by queuegate and by Cerbos. --cerbos names its program.
    Cerbos,
    /// Compare the figures of this program with those of h2load and, if --k6 names its program, of k6.
    Confirm,
}

impl Options {
    /// Read the command line.
    pub fn read() -> anyhow::Result<Self> {
        let mut options = Self::parse();
        if options.smoke {
            (options.rounds, options.seconds, options.users) = (1, 0.2, options.users.min(1_000));
            options.watchers = options.watchers.min(20);
        }
        let Self { connections, streams, threads, rounds, users, .. } = options;
        if connections == 0 || streams == 0 || threads == 0 || rounds == 0 || users < 10 {
            bail!("at least one connection, stream, thread and round, and 10 users are required");
        }
        Ok(options)
    }
}
