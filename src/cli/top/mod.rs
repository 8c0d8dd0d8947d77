//! The command `top`: a live view of a server, from the metrics on its operator listener.

mod scrape;
mod reading;
mod view;

use std::{io::IsTerminal, net::SocketAddr, time::Duration};

use clap::Args;

use self::reading::Reading;
use crate::cli::{args, exit::Outcome, print};

/// Arguments of `top`.
#[derive(Args)]
pub(super) struct Top {
    /// The address of the server's metrics: its --metrics-listen.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "QUEUEGATE_METRICS",
        default_value = "127.0.0.1:9464",
        value_parser = args::address
    )]
    metrics: SocketAddr,
    /// Interval of the readings. Rates and the 99th percentile are those of one interval.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Print one reading as text and exit, as without a terminal.
    #[arg(long)]
    once: bool,
    /// Print one reading as JSON for machines.
    #[arg(long)]
    json: bool,
}

impl Top {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let before = scrape::scrape(self.metrics).await?;
        if self.json || self.once || !std::io::stdout().is_terminal() {
            let (_, reading) = reading::next(self.metrics, self.interval, &before).await?;
            self.print(&reading)?;
        } else {
            view::show(self.metrics, self.interval, before).await?;
        }
        Ok(Outcome::Done)
    }

    fn print(&self, reading: &Reading) -> anyhow::Result<()> {
        if self.json {
            return print::json_value(&serde_json::to_value(reading)?);
        }
        print::line(&reading.state())?;
        reading.gauge_lines().try_for_each(|line| print::line(&line))?;
        print::line("")?;
        print::table(reading::CALL_HEADING, reading.call_rows())?;
        if !reading.refusals.is_empty() {
            print::line("")?;
            print::table(reading::REFUSAL_HEADING, reading.refusal_rows())?;
        }
        Ok(())
    }
}
