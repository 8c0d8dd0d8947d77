//! All metrics for Prometheus, with names, labels and descriptions. Reasons, outcomes and methods are labels;
//! organizations, users and callers never are.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use prometheus_client::metrics::gauge::Gauge;

pub use super::calls::CallLabels;
use super::{buckets::DURATIONS, calls::Calls};

/// Labels with fixed names.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Histogram buckets of batch sizes.
const SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// The reasons for shedding a call or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// A caller had too many calls in flight.
    CallerLimit,
    /// The queueing delay was too long.
    Overloaded,
    /// Too many changes waited for the writer.
    WriterQueue,
    /// There were too many connections.
    Connections,
    /// Too many lists and batches of one organization waited for the background threads.
    Scans,
    /// A caller left too many bytes of large answers unread.
    UnreadAnswers,
}

impl Shed {
    fn as_str(self) -> &'static str {
        match self {
            Self::CallerLimit => "caller_limit",
            Self::Overloaded => "overloaded",
            Self::WriterQueue => "writer_queue",
            Self::Connections => "connections",
            Self::Scans => "scans",
            Self::UnreadAnswers => "unread_answers",
        }
    }
}

/// The size of the state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Organizations.
    pub organizations: usize,
    /// Users of all organizations.
    pub users: usize,
    /// Queues of all organizations.
    pub queues: usize,
    /// Live sessions of all organizations.
    pub sessions: usize,
}

/// The metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    calls: Calls,
    calls_in_flight: Family<Labels<1>, Gauge>,
    sheds: Family<Labels<1>, Counter>,
    shedding: Gauge,
    reload_failures: Family<Labels<1>, Counter>,
    sizes: Family<Labels<1>, Gauge>,
    /// Open connections.
    pub connections: Gauge,
    /// Handshakes that failed or took too long.
    pub handshake_failures: Counter,
    /// Changes that wait for the writer.
    pub writer_queue: Gauge,
    batch_size: Histogram,
    commit_duration: Histogram,
    /// The number of the last change.
    pub revision: Gauge,
    /// The size of the write-ahead log, in bytes.
    pub wal_size: Gauge,
    /// Watches in flight.
    pub watchers: Gauge,
    /// Bytes of large responses that wait for their readers.
    pub unread_answers: Gauge,
    /// 1 while the store is writable, 0 while it has no space or is locked.
    pub store_writable: Gauge,
    /// 1 while the server is ready.
    pub ready: Gauge,
    /// Commits of this node that the database refused because another node was faster.
    pub commit_conflicts: Counter,
    /// How long this node waited for the lock on the history's end, in seconds.
    pub lock_duration: Histogram,
    /// Commits of this node whose outcome was unknown at first.
    pub unknown_outcomes: Counter,
    /// How often this node found a history that didn't include the changes that it had seen.
    pub rewritten_histories: Counter,
    /// How long changes of other nodes may have been missed, in seconds.
    pub staleness: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Create metrics for calls with these labels, all zero.
    pub fn new(labels: CallLabels) -> Self {
        Self {
            calls: Calls::new(labels),
            calls_in_flight: Family::default(),
            sheds: Family::default(),
            shedding: Gauge::default(),
            reload_failures: Family::default(),
            sizes: Family::default(),
            connections: Gauge::default(),
            handshake_failures: Counter::default(),
            writer_queue: Gauge::default(),
            batch_size: Histogram::new(SIZES),
            commit_duration: Histogram::new(DURATIONS),
            revision: Gauge::default(),
            wal_size: Gauge::default(),
            watchers: Gauge::default(),
            unread_answers: Gauge::default(),
            store_writable: Gauge::default(),
            ready: Gauge::default(),
            commit_conflicts: Counter::default(),
            lock_duration: Histogram::new(DURATIONS),
            unknown_outcomes: Counter::default(),
            rewritten_histories: Counter::default(),
            staleness: Gauge::default(),
        }
    }

    /// Count a call that has ended, by the label indexes of its method and its status code, and by its duration.
    pub fn call_ended(&self, method: usize, code: usize, took: Duration) {
        self.calls.ended(method, code, took);
    }

    /// Set the number of calls of a kind in flight.
    pub fn set_calls_in_flight(&self, work: &'static str, calls: usize) {
        self.calls_in_flight.get_or_create(&[("work", work)]).set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// Count a decision by the label index of its reason.
    pub fn decided(&self, reason: usize) {
        self.calls.decided(reason);
    }

    /// Count a shed call or connection.
    pub fn shed(&self, why: Shed) {
        self.sheds.get_or_create(&[("reason", why.as_str())]).inc();
    }

    /// Set how often the queue of waiting calls was halved for lack of processor time, from 0 (nothing is shed) to 10.
    pub fn set_shedding(&self, halvings: u32) {
        self.shedding.set(halvings.into());
    }

    /// Count a changed file that could not be used.
    pub fn reload_failed(&self, file: &'static str) {
        self.reload_failures.get_or_create(&[("file", file)]).inc();
    }

    /// Set the size of the state.
    pub fn set_sizes(&self, sizes: Sizes) {
        let Sizes { organizations, users, queues, sessions } = sizes;
        let sizes = [("organizations", organizations), ("users", users), ("queues", queues), ("sessions", sessions)];
        for (of, size) in sizes {
            self.sizes.get_or_create(&[("of", of)]).set(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }

    /// Count a commit.
    pub fn committed(&self, commands: usize, took: Duration) {
        self.batch_size.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
        self.commit_duration.observe(took.as_secs_f64());
    }

    /// All metrics in the OpenMetrics text format, for Prometheus.
    pub fn text(&self) -> String {
        // The registry ends each text with a full stop.
        let mut registry = Registry::with_prefix("queuegate");
        let all = &mut registry;
        self.calls.register(all);
        let text = "Calls in flight: checks, scans, writes, and streams";
        all.register("grpc_calls_under_way", text, self.calls_in_flight.clone());
        let text = "Shed calls and connections, by reason";
        all.register("sheds", text, self.sheds.clone());
        let text = "How often the queue of waiting calls was halved for lack of processor time, from 0 (nothing is shed) to 10";
        all.register("shedding", text, self.shedding.clone());
        all.register("connections", "Open connections", self.connections.clone());
        let text = "Connections whose TLS or HTTP/2 handshake failed or timed out";
        all.register("handshake_failures", text, self.handshake_failures.clone());
        let text = "Changed token files and certificates that could not be used; the previous ones stay in effect";
        all.register("reload_failures", text, self.reload_failures.clone());
        all.register("writer_queue", "Changes that wait for the writer", self.writer_queue.clone());
        all.register("batch_commands", "Commands in one commit", self.batch_size.clone());
        let text = "Duration of commits, including the disk";
        all.register_with_unit("commit_duration", text, Unit::Seconds, self.commit_duration.clone());
        let text = "Organizations, users, queues and live sessions";
        all.register("state_size", text, self.sizes.clone());
        all.register("revision", "The number of the last change", self.revision.clone());
        all.register_with_unit("wal_size", "The size of the write-ahead log", Unit::Bytes, self.wal_size.clone());
        all.register("watchers", "Watches of sessions and audit events in flight", self.watchers.clone());
        let text = "Large responses (over 16 KiB) that wait for their readers";
        all.register_with_unit("unread_answers", text, Unit::Bytes, self.unread_answers.clone());
        let text = "1 while the store is writable; 0 while it has no space or another program has locked it";
        all.register("store_writable", text, self.store_writable.clone());
        all.register("ready", "1 while the server is ready; 0 while it loads or stops", self.ready.clone());
        let text = "Commits that the database refused because another node was faster; they are planned again";
        all.register("commit_conflicts", text, self.commit_conflicts.clone());
        let text = "Waits of this node for the lock on the end of the history";
        all.register_with_unit("commit_lock_duration", text, Unit::Seconds, self.lock_duration.clone());
        let text = "Commits whose outcome was unknown until the database was asked";
        all.register("unknown_outcomes", text, self.unknown_outcomes.clone());
        let text = "How often the database's history didn't include the changes that this node had seen";
        all.register("rewritten_histories", text, self.rewritten_histories.clone());
        let text = "How long changes of other nodes may have been missed; 0 for the only server of a file";
        all.register_with_unit("staleness", text, Unit::Seconds, self.staleness.clone());
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::documented::{documented, series};

    #[test]
    fn counts_of_all_threads_add_up() {
        let labels = CallLabels { methods: vec!["/a.B/C"], codes: vec!["OK", "UNKNOWN"], reasons: vec!["ASSIGNED"] };
        let metrics = Metrics::new(labels);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    // A 512th of a second, whose sum is exact.
                    metrics.call_ended(0, 1, Duration::from_nanos(1_953_125));
                    metrics.call_ended(0, 0, Duration::from_secs(20));
                    metrics.call_ended(7, 0, Duration::from_micros(50));
                    metrics.decided(0);
                });
            }
        });
        let text = metrics.text();
        for line in [
            r#"queuegate_grpc_calls_total{method="/a.B/C",code="OK"} 20"#,
            r#"queuegate_grpc_calls_total{method="/a.B/C",code="UNKNOWN"} 20"#,
            r#"queuegate_grpc_calls_total{method="unknown",code="OK"} 20"#,
            r#"queuegate_grpc_call_duration_seconds_sum{method="/a.B/C"} 400.0390625"#,
            r#"queuegate_grpc_call_duration_seconds_count{method="/a.B/C"} 40"#,
            r#"queuegate_grpc_call_duration_seconds_bucket{le="0.001",method="/a.B/C"} 0"#,
            r#"queuegate_grpc_call_duration_seconds_bucket{le="0.0025",method="/a.B/C"} 20"#,
            r#"queuegate_grpc_call_duration_seconds_bucket{le="10.0",method="/a.B/C"} 20"#,
            r#"queuegate_grpc_call_duration_seconds_bucket{le="+Inf",method="/a.B/C"} 40"#,
            r#"queuegate_grpc_call_duration_seconds_bucket{le="0.00005",method="unknown"} 20"#,
            r#"queuegate_decisions_total{reason="ASSIGNED"} 20"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    /// Dashboards and alerts depend on these names and labels.
    #[test]
    fn names_and_labels_are_as_they_were_promised() {
        let labels = CallLabels { methods: vec!["/a.B/C"], codes: vec!["OK"], reasons: vec!["ASSIGNED"] };
        let metrics = Metrics::new(labels);
        metrics.call_ended(0, 0, Duration::from_millis(2));
        metrics.set_calls_in_flight("check", 1);
        metrics.decided(0);
        metrics.shed(Shed::Overloaded);
        metrics.reload_failed("tokens");
        metrics.set_sizes(Sizes::default());
        metrics.committed(3, Duration::from_millis(1));
        let text = metrics.text();
        assert_eq!(series(&text), documented("queuegate_"));
    }
}
