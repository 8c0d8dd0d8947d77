//! The load program. It starts the built server and servers that do nothing, calls them in turn over loopback, and
//! prints the ratios: `cargo bench --bench load -- --help`.
//!
//! The [`harness`] makes load and measures it. The [`servers`] are the processes under test. The [`scenarios`] put both
//! together.

mod options;
#[path = "../shared/organization.rs"]
mod organization;
mod harness;
mod servers;
mod scenarios;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use crate::{options::Options, servers::floor};

/// The server's allocator, because the floors must allocate as the server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(floor::COMMAND) {
        return floor::main(arguments);
    }
    let options = Options::read()?;
    // The workers have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // A signal drops the scenario, and with it the servers, which end.
        tokio::select! {
            result = scenarios::run(&options) => result,
            _ = terminate.recv() => bail!("terminated"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })
}
