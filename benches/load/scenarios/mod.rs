//! The scenarios, one module each.

pub mod requests;
pub mod comparison;
mod check;
mod batch;
mod writes;
mod size;
mod empty;
mod neighbours;
mod watch;
mod console;
mod cluster;
mod cerbos;
mod confirm;

use anyhow::Context;

use crate::options::{Options, Scenario};

/// Run the scenario that the options name.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    match options.scenario {
        Scenario::Checks => check::run(options).await.context("checks"),
        Scenario::Batch => batch::run(options).await.context("batch"),
        Scenario::Writes => writes::run(options).await.context("writes"),
        Scenario::Size => size::run(options).await.context("size"),
        Scenario::Neighbours => neighbours::run(options).await.context("neighbours"),
        Scenario::Empty => empty::run(options).await.context("empty"),
        Scenario::Watch => watch::run(options).await.context("watch"),
        Scenario::Console => console::run(options).await.context("console"),
        Scenario::Cluster => cluster::run(options).await.context("cluster"),
        Scenario::Cerbos => cerbos::run(options).await.context("cerbos"),
        Scenario::Confirm => confirm::run(options).await.context("confirm"),
    }
}
