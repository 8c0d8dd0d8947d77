//! The command `status`: whether a server is ready, its database, and the nodes that share the database.

use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::{args, exit::Outcome, operator_page, print};
use crate::{
    server::{Served, Status},
    store::postgres::{ClusterReport, ListedNode},
};

/// Arguments of `status`.
#[derive(Args)]
pub(super) struct StatusOf {
    /// The address of the server's metrics: its --metrics-listen.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "QUEUEGATE_METRICS",
        default_value = "127.0.0.1:9464",
        value_parser = args::address
    )]
    metrics: SocketAddr,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

impl StatusOf {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let parse = |page: &str| serde_json::from_str::<Status>(page);
        let page = operator_page::read(self.metrics, "status", |page| parse(page).is_ok()).await?;
        let status = parse(&page)?;
        if self.json {
            print::json_value(&serde_json::from_str(&page)?)?;
        } else {
            print_status(&status)?;
        }
        Ok(if status.ready { Outcome::Done } else { Outcome::Denied })
    }
}

fn print_status(Status { ready: _, problem, file, store, database, database_problem }: &Status) -> anyhow::Result<()> {
    let (green, red) = (print::GREEN, print::RED);
    match problem {
        None => print::line(&format!("{green}ready{green:#}"))?,
        Some(problem) => print::line(&format!("{red}not ready{red:#}  {problem}"))?,
    }
    if let Some(Served { store_id, epoch, sequence, revision: _, stale_ms }) = store {
        let stale = if file.is_some() { String::new() } else { format!("  stale {}", span(*stale_ms)) };
        print::line(&format!("store {store_id}  epoch {epoch}  revision {sequence}{stale}"))?;
    }
    if let Some(file) = file {
        print::line(&format!("file {}", file.display()))?;
    }
    if let Some(problem) = database_problem {
        print::line(&format!("{red}database{red:#}  {problem}"))?;
    }
    database.as_ref().map_or(Ok(()), print_database)
}

fn print_database(
    ClusterReport { server, timeline, synchronous_standby_names, epoch, sequence, nodes }: &ClusterReport,
) -> anyhow::Result<()> {
    print::line(&format!("PostgreSQL {server}  timeline {timeline}  epoch {epoch}  revision {sequence}"))?;
    print::line(&match synchronous_standby_names.as_str() {
        "" => "no synchronous standby: a failover may lose acknowledged changes".to_owned(),
        names => format!("synchronous standbys {names}"),
    })?;
    print::line("")?;
    let rows =
        nodes.iter().map(|ListedNode { node_id, address, version, sequence, stale_ms, uptime_ms, silent_ms }| {
            let [stale, uptime, silent] =
                [stale_ms, uptime_ms, silent_ms].map(|millis| span(u64::try_from(*millis).unwrap_or(0)));
            let node = node_id.rsplit('-').next().unwrap_or(node_id);
            [node.to_owned(), address.clone(), version.clone(), sequence.to_string(), stale, silent, uptime]
        });
    print::table(["NODE", "ADDRESS", "VERSION", "REVISION", "STALE", "HEARTBEAT", "UP"], rows)
}

/// A time span in one or two units.
fn span(millis: u64) -> String {
    let span = Duration::from_millis(millis);
    let rounded = match span.as_secs() {
        0..60 => span,
        60..86_400 => Duration::from_secs(span.as_secs()),
        _ => Duration::from_secs(span.as_secs() / 60 * 60),
    };
    humantime::format_duration(rounded).to_string()
}
