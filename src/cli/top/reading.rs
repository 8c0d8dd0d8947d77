//! The state and the rates of a server, from its metrics at two instants.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::Serialize;
use tonic::Status;

use super::scrape::{Scrape, scrape};
use crate::domain::vocabulary::Reason;

pub(super) const CALL_HEADING: [&str; 5] = ["METHOD", "CALLS/S", "FAILED/S", "P99", "CALLS"];
pub(super) const REFUSAL_HEADING: [&str; 4] = ["REFUSED", "REASON", "PER SECOND", "ALL"];

const CALLS: &str = "queuegate_grpc_calls_total";
const DURATIONS: &str = "queuegate_grpc_call_duration_seconds_bucket";
const DECISIONS: &str = "queuegate_decisions_total";
const SHEDS: &str = "queuegate_sheds_total";

/// The gauges: the name to show, the metric, and the label that selects one of its values.
const GAUGES: [(&str, &str, &str); 13] = [
    ("sessions", "queuegate_state_size", "of=sessions"),
    ("users", "queuegate_state_size", "of=users"),
    ("queues", "queuegate_state_size", "of=queues"),
    ("organizations", "queuegate_state_size", "of=organizations"),
    ("connections", "queuegate_connections", ""),
    ("watchers", "queuegate_watchers", ""),
    ("revision", "queuegate_revision", ""),
    ("writer_queue", "queuegate_writer_queue", ""),
    ("shedding", "queuegate_shedding", ""),
    ("streams_in_flight", "queuegate_grpc_calls_under_way", "work=stream"),
    ("checks_in_flight", "queuegate_grpc_calls_under_way", "work=check"),
    ("scans_in_flight", "queuegate_grpc_calls_under_way", "work=scan"),
    ("writes_in_flight", "queuegate_grpc_calls_under_way", "work=write"),
];

/// The number of gauges in a line.
const GAUGES_IN_A_LINE: usize = 5;

/// The state at the end of an interval, and the rates in it.
#[derive(Debug, Serialize)]
pub(super) struct Reading {
    pub seconds: f64,
    pub ready: bool,
    pub writable: bool,
    pub gauges: BTreeMap<&'static str, f64>,
    /// All calls, and then those of each method, most frequent first.
    pub calls: Vec<Calls>,
    pub refusals: Vec<Refusals>,
}

/// The calls of a method.
#[derive(Debug, Serialize)]
pub(super) struct Calls {
    pub method: String,
    pub per_second: f64,
    pub failed_per_second: f64,
    /// The upper bound of the 99th percentile, from the histogram. `None` without calls in the interval.
    pub p99_seconds: Option<f64>,
    pub total: f64,
}

/// Refusals: denials, or calls that were shed.
#[derive(Debug, Serialize)]
pub(super) struct Refusals {
    pub kind: &'static str,
    pub reason: String,
    pub per_second: f64,
    pub total: f64,
}

/// Wait for an interval, and return the metrics at its end and the reading.
pub(super) async fn next(
    address: SocketAddr,
    interval: Duration,
    before: &Scrape,
) -> Result<(Scrape, Reading), Status> {
    tokio::time::sleep(interval).await;
    let after = scrape(address).await?;
    let reading = Reading::new(before, &after);
    Ok((after, reading))
}

impl Reading {
    fn new(before: &Scrape, after: &Scrape) -> Self {
        let seconds = after.time.duration_since(before.time).as_secs_f64();
        let interval = Interval { after, increases: after.increases_since(before), seconds };
        let gauge = |(shown, name, label): (_, _, &'static str)| (shown, after.sum(name, label.split_once('=')));
        let mut calls: Vec<Calls> =
            after.sums_by("method", CALLS, None).into_keys().map(|method| interval.calls(Some(method))).collect();
        calls.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.total.total_cmp(&a.total)));
        calls.insert(0, interval.calls(None));
        let mut refusals = interval.refusals("denied", DECISIONS);
        refusals.retain(|refusals| Reason::ALL.iter().any(|r| r.as_str() == refusals.reason && !r.is_allowed()));
        refusals.extend(interval.refusals("shed", SHEDS));
        refusals.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.total.total_cmp(&a.total)));
        Self {
            seconds,
            ready: after.sum("queuegate_ready", None) > 0.0,
            writable: after.sum("queuegate_store_writable", None) > 0.0,
            gauges: GAUGES.into_iter().map(gauge).collect(),
            calls,
            refusals,
        }
    }

    /// Whether the server answers and takes changes.
    pub(super) fn state(&self) -> String {
        let ready = if self.ready { "ready" } else { "loading or stopping" };
        let writable = if self.writable { "writable" } else { "not writable" };
        format!("{ready}, {writable}")
    }

    /// The gauges, in lines.
    pub(super) fn gauge_lines(&self) -> impl Iterator<Item = String> {
        GAUGES.chunks(GAUGES_IN_A_LINE).map(|gauges| {
            let named = gauges.iter().filter_map(|(name, ..)| Some(format!("{name} {}", self.gauges.get(name)?)));
            named.collect::<Vec<_>>().join("  ")
        })
    }

    pub(super) fn call_rows(&self) -> impl Iterator<Item = [String; 5]> {
        self.calls.iter().map(|calls| {
            [
                calls.method.clone(),
                format!("{:.1}", calls.per_second),
                format!("{:.1}", calls.failed_per_second),
                calls.p99_seconds.map_or_else(|| "-".to_owned(), duration),
                calls.total.to_string(),
            ]
        })
    }

    pub(super) fn refusal_rows(&self) -> impl Iterator<Item = [String; 4]> {
        self.refusals.iter().map(|refusals| {
            let rate = format!("{:.1}", refusals.per_second);
            [refusals.kind.to_owned(), refusals.reason.clone(), rate, refusals.total.to_string()]
        })
    }
}

/// The metrics at the end of an interval, and their increases in it.
struct Interval<'s> {
    after: &'s Scrape,
    increases: Scrape,
    seconds: f64,
}

impl Interval<'_> {
    /// The calls of a method, or of all.
    fn calls(&self, method: Option<&str>) -> Calls {
        let only = method.map(|method| ("method", method));
        let all = self.increases.sum(CALLS, only);
        let succeeded = self.increases.sums_by("code", CALLS, only).remove("OK").unwrap_or_default();
        Calls {
            method: method.map_or("all", |method| method.rsplit('/').next().unwrap_or(method)).to_owned(),
            per_second: all / self.seconds,
            failed_per_second: (all - succeeded) / self.seconds,
            p99_seconds: self.p99(only),
            total: self.after.sum(CALLS, only),
        }
    }

    /// The upper bound of the bucket that has the 99th percentile of the interval's calls.
    fn p99(&self, only: Option<(&str, &str)>) -> Option<f64> {
        let buckets = self.increases.sums_by("le", DURATIONS, only);
        let buckets = buckets.into_iter().filter_map(|(bound, count)| Some((bound.parse::<f64>().ok()?, count)));
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (_, all) = *buckets.last().filter(|(_, all)| *all > 0.0)?;
        buckets.into_iter().find(|(_, count)| *count >= 0.99 * all).map(|(bound, _)| bound)
    }

    fn refusals(&self, kind: &'static str, name: &str) -> Vec<Refusals> {
        let totals = self.after.sums_by("reason", name, None);
        let refusals = totals.into_iter().map(|(reason, total)| {
            let per_second = self.increases.sum(name, Some(("reason", reason))) / self.seconds;
            Refusals { kind, reason: reason.to_owned(), per_second, total }
        });
        refusals.collect()
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_infinite() => "over 10 s".to_owned(),
        seconds if seconds < 1.0 => format!("{} ms", seconds * 1_000.0),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const BEFORE: &str = r#"# TYPE queuegate_grpc_calls counter
queuegate_grpc_calls_total{method="/q.S/Check",code="OK"} 100
queuegate_grpc_call_duration_seconds_bucket{le="0.001",method="/q.S/Check"} 100
queuegate_grpc_call_duration_seconds_bucket{le="0.01",method="/q.S/Check"} 100
queuegate_grpc_call_duration_seconds_bucket{le="+Inf",method="/q.S/Check"} 100
queuegate_decisions_total{reason="ASSIGNED"} 7
queuegate_decisions_total{reason="UNKNOWN_QUEUE"} 5
queuegate_state_size{of="sessions"} 3
queuegate_ready 1
"#;
    const AFTER: &str = r#"queuegate_grpc_calls_total{method="/q.S/Check",code="OK"} 290
queuegate_grpc_calls_total{method="/q.S/Check",code="NOT_FOUND"} 10
queuegate_grpc_calls_total{method="/q.S/List",code="OK"} 1
queuegate_grpc_call_duration_seconds_bucket{le="0.001",method="/q.S/Check"} 297
queuegate_grpc_call_duration_seconds_bucket{le="0.01",method="/q.S/Check"} 299
queuegate_grpc_call_duration_seconds_bucket{le="+Inf",method="/q.S/Check"} 300
queuegate_grpc_call_duration_seconds_bucket{le="10.0",method="/q.S/List"} 0
queuegate_grpc_call_duration_seconds_bucket{le="+Inf",method="/q.S/List"} 1
queuegate_decisions_total{reason="ASSIGNED"} 8
queuegate_decisions_total{reason="UNKNOWN_QUEUE"} 9
queuegate_sheds_total{reason="overloaded"} 6
queuegate_state_size{of="sessions"} 4
queuegate_state_size{of="users"} 9
queuegate_ready 1
queuegate_store_writable 0
"#;

    fn reading(before: &str, after: &str) -> Reading {
        let start = Instant::now();
        let before = Scrape::parse(start, before);
        Reading::new(&before, &Scrape::parse(start + Duration::from_secs(2), after))
    }

    #[test]
    fn rates_and_percentiles_are_those_of_the_interval() {
        let reading = reading(BEFORE, AFTER);
        let rows: Vec<String> = reading.call_rows().map(|row| row.join(" ")).collect();
        assert_eq!(rows, ["all 100.5 5.0 10 ms 301", "Check 100.0 5.0 10 ms 300", "List 0.5 0.0 over 10 s 1"]);
        let rows: Vec<String> = reading.refusal_rows().map(|row| row.join(" ")).collect();
        assert_eq!(rows, ["shed overloaded 3.0 6", "denied UNKNOWN_QUEUE 2.0 9"]);
        assert_eq!(reading.state(), "ready, not writable");
        let gauges: Vec<String> = reading.gauge_lines().collect();
        assert!(gauges[0].starts_with("sessions 4  users 9  queues 0") && gauges.len() == 3, "{gauges:?}");
    }

    #[test]
    fn a_server_without_calls_has_zeros() {
        assert_eq!(reading("", "").call_rows().next().unwrap().join(" "), "all 0.0 0.0 - 0");
    }

    #[test]
    fn counters_begin_anew_with_the_server() {
        let reading = reading(AFTER, BEFORE);
        assert_eq!(reading.call_rows().next().unwrap().join(" "), "all 50.0 0.0 1 ms 100");
    }
}
