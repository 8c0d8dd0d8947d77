//! Commands on the audit log: reading, verifying, exporting and cutting it.

mod event;
mod list;
mod watch;
mod verify;
mod export;

use clap::Subcommand;

pub(super) use self::event::print_event;
use self::{
    export::Export,
    list::List,
    verify::{Head, Verify},
    watch::Watch,
};
use super::exit::Outcome;

/// Subcommands of `audit`.
#[derive(Subcommand)]
pub(super) enum Audit {
    /// Print changes and refusals, newest first.
    List(Box<List>),
    /// Follow changes and refusals as they happen.
    Watch(Watch),
    /// Check the integrity of the log: whether events were altered, removed or swapped.
    Verify(Verify),
    /// Print the head of the log, as REVISION:HASH. Save it somewhere else, and give it to `verify` later.
    Head(Head),
    /// Export the log as lines of JSON, oldest first, and optionally cut off the exported events.
    Export(Export),
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::List(list) => list.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Head(head) => head.run().await,
            Self::Export(export) => export.run().await,
        }
    }
}
