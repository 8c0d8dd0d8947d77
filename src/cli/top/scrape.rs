//! Reads the metrics of a server over plain HTTP.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use tonic::Status;

use crate::cli::operator_page;

/// The metrics at one instant, or their increases in an interval.
#[derive(Debug)]
pub(super) struct Scrape {
    pub time: Instant,
    values: BTreeMap<Series, f64>,
}

/// A metric's name and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Read the metrics. A failure has the code UNAVAILABLE.
pub(super) async fn scrape(address: SocketAddr) -> Result<Scrape, Status> {
    let page = operator_page::read(address, "metrics", |page| page.contains("queuegate_ready")).await?;
    Ok(Scrape::parse(Instant::now(), &page))
}

impl Scrape {
    pub(super) fn parse(time: Instant, text: &str) -> Self {
        Self { time, values: text.lines().filter_map(parse).collect() }
    }

    /// The increases of counters since an earlier scrape. After a restart of the server they began anew.
    pub(super) fn increases_since(&self, before: &Self) -> Self {
        let increases = self.values.iter().map(|(series, now)| {
            let then = before.values.get(series).filter(|then| *then <= now).copied().unwrap_or_default();
            (series.clone(), now - then)
        });
        Self { time: self.time, values: increases.collect() }
    }

    /// The values of a metric, of one label value or of all, summed up by another label.
    pub(super) fn sums_by(&self, key: &str, name: &str, only: Option<(&str, &str)>) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in &self.values {
            if series.name == name && only.is_none_or(|(key, value)| series.label(key) == value) {
                *sums.entry(series.label(key)).or_default() += value;
            }
        }
        sums
    }

    /// The sum of a metric, of one label value or of all.
    pub(super) fn sum(&self, name: &str, only: Option<(&str, &str)>) -> f64 {
        // `sum` of nothing is negative zero.
        self.sums_by("", name, only).values().fold(0.0, |sum, value| sum + value)
    }
}

impl Series {
    /// The value of a label; empty if it is absent.
    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

/// Parse `name{label="value"} 1.0`. Comments are `None`. Label values of queuegate have no escaped characters.
fn parse(line: &str) -> Option<(Series, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
    let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect();
    Some((Series { name: name.to_owned(), labels }, value.parse().ok()?))
}
