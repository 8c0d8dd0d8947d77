//! The load program. It starts the built server and servers that do nothing, drives them in turn over loopback, and prints
//! how they compare: `cargo bench --bench load -- --help`.

mod batch;
mod call;
mod checks;
mod contest;
mod crew;
mod drive;
mod floor;
mod neighbours;
mod peers;
mod process;
mod raw;
mod report;
mod setup;
mod size;
mod storing;
mod watch;
mod writes;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// The floors allocate as the server does, so that what differs is what the server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives the real server over loopback next to servers that do nothing, and prints how they compare.
#[derive(Parser)]
#[command(name = "cargo bench --bench load --")]
struct Options {
    /// What to measure.
    #[arg(value_enum, default_value = "checks")]
    scenario: Scenario,
    /// Connections to each server.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls under way at once on each connection, in a closed loop.
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Threads that call, each with its part of the connections.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// How often each server has its turn. Ratios are of the same round, and the median of all rounds is told.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is measured, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many users there are; left out: 10,000, and a million for `size`.
    #[arg(long, default_value_t = 10_000, default_value_if("scenario", "size", "1000000"), hide_default_value = true)]
    users: usize,
    /// Over how many organizations `size` spreads them.
    #[arg(long, default_value_t = 1)]
    organizations: usize,
    /// Keep the database of `size` here, and use it if it is there.
    #[arg(long, value_name = "FILE")]
    prepared: Option<PathBuf>,
    /// How many watches `watch` has.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// How many changes a second `watch` asks for.
    #[arg(long, default_value_t = 1_000.0)]
    changes: f64,
    /// Calls a second in an open loop; left out: half of what the slowest server did in the closed loop.
    #[arg(long)]
    rate: Option<f64>,
    /// How calls come in an open loop.
    #[arg(long, value_enum, default_value = "exponential")]
    arrivals: drive::Arrivals,
    /// Speak TLS with all servers.
    #[arg(long)]
    tls: bool,
    /// Give the servers the first processor and the load the second; otherwise they share all.
    #[arg(long)]
    pin: bool,
    /// Another setting of the server under test, such as --flag=--shed-delay=1s. Repeat it for more.
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Another program to test in the place of the one built with this benchmark.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_queuegate"))]
    program: PathBuf,
    /// The program as it was before a change: `checks` measures it in turn with the others. On a machine that isn't always as
    /// fast, differences of a few percent can be seen only so.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Cerbos' program.
    #[arg(long, value_name = "FILE")]
    cerbos: Option<PathBuf>,
    /// h2load's program.
    #[arg(long, value_name = "FILE", default_value = "h2load")]
    h2load: PathBuf,
    /// k6's program.
    #[arg(long, value_name = "FILE")]
    k6: Option<PathBuf>,
    /// Where databases are put; a folder of its own is made there, and removed.
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
    /// Measure next to nothing: does it run at all?
    #[arg(long)]
    smoke: bool,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// CheckQueueAccess with everything that is on by default, next to two servers that do nothing.
    Checks,
    /// BatchCheckQueueAccess of 1,000 on one processor.
    Batch,
    /// SignIn and SignOut, next to SQLite alone and to a server that does nothing but store.
    Writes,
    /// A start, checks and changes with a million users, ten million assignments and a million sessions, unless --users and
    /// --organizations say otherwise.
    Size,
    /// Checks of a small organization beside each rpc of a large one.
    Neighbours,
    /// A server with nothing in it.
    Empty,
    /// Many watches while many change.
    Watch,
    /// Checks of ours and of Cerbos, whose program --cerbos names.
    Cerbos,
    /// Checks by h2load, by k6 if --k6 names it, and by this program: do they agree?
    Confirm,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(floor::COMMAND) {
        return floor::main(arguments);
    }
    let mut options = Options::parse();
    if options.smoke {
        (options.rounds, options.seconds, options.users) = (1, 0.2, options.users.min(1_000));
        options.watchers = options.watchers.min(20);
    }
    if options.connections == 0
        || options.streams == 0
        || options.threads == 0
        || options.rounds == 0
        || options.users < 10
    {
        bail!("at least one connection, stream, thread and round, and 10 users");
    }
    // What calls has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Servers are ended when what holds them is dropped.
        tokio::select! {
            done = run(&options) => done,
            _ = terminate.recv() => bail!("told to end"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })
}

async fn run(options: &Options) -> anyhow::Result<()> {
    match options.scenario {
        Scenario::Checks => checks::run(options).await.context("checks"),
        Scenario::Batch => batch::run(options).await.context("batch"),
        Scenario::Size => size::run(options).await.context("size"),
        Scenario::Empty => size::empty(options).await.context("empty"),
        Scenario::Watch => watch::run(options).await.context("watch"),
        Scenario::Cerbos => peers::cerbos(options).await.context("cerbos"),
        Scenario::Confirm => peers::confirm(options).await.context("confirm"),
        Scenario::Neighbours => neighbours::run(options).await.context("neighbours"),
        Scenario::Writes => writes::run(options).await.context("writes"),
    }
}
