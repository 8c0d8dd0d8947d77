//! The metrics of a call-control handler on a PBX, with names, labels and descriptions.

use std::time::Duration;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets::DURATIONS;

/// One label with a fixed name and a fixed value.
type Label = [(&'static str, &'static str); 1];

/// A peer of the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The PBX's interface for programs.
    Pbx,
    /// queuegate.
    Queuegate,
}

impl Peer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pbx => "pbx",
            Self::Queuegate => "queuegate",
        }
    }
}

/// The metrics of a handler.
#[derive(Debug)]
pub struct HandlerMetrics {
    calls: Family<Vec<(&'static str, String)>, Counter>,
    call_duration: Family<Label, Histogram, fn() -> Histogram>,
    corrections: Family<Label, Counter>,
    journal_entries: Gauge,
    connected: Family<Label, Gauge>,
}

impl Default for HandlerMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            call_duration: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            corrections: Family::default(),
            journal_entries: Gauge::default(),
            connected: Family::default(),
        }
    }
}

impl HandlerMetrics {
    /// Count a call with its result and its duration.
    pub fn call_ended(&self, action: &'static str, status: &'static str, reason: &str, took: Duration) {
        let labels = vec![("action", action.to_owned()), ("status", status.to_owned()), ("reason", reason.to_owned())];
        self.calls.get_or_create(&labels).inc();
        self.call_duration.get_or_create(&[("action", action)]).observe(took.as_secs_f64());
    }

    /// Count a correction of a member by reconciling.
    pub fn corrected(&self, correction: &'static str) {
        self.corrections.get_or_create(&[("correction", correction)]).inc();
    }

    /// Set whether the handler is connected to a peer.
    pub fn set_connected(&self, peer: Peer, is_connected: bool) {
        self.connected.get_or_create(&[("to", peer.as_str())]).set(is_connected.into());
    }

    /// Return all metrics in the OpenMetrics text format, with the present number of entries in the journal.
    pub fn text(&self, journal_entries: usize) -> String {
        self.journal_entries.set(i64::try_from(journal_entries).unwrap_or(i64::MAX));
        let mut registry = Registry::with_prefix("queuegate_pbx");
        let all = &mut registry;
        all.register("calls", "Calls that were handled, by action and result", self.calls.clone());
        let text = "Duration of calls, with the time that callers listen and type";
        all.register_with_unit("call_duration", text, Unit::Seconds, self.call_duration.clone());
        let text = "Corrections of members by reconciling, and members that it left because no plan was seen";
        all.register("corrections", text, self.corrections.clone());
        let text = "Sign-ins and sign-outs in the journal whose outcome is open";
        all.register("journal_entries", text, self.journal_entries.clone());
        let text = "1 while the handler is connected, for reconciling";
        all.register("connected", text, self.connected.clone());
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

    /// Dashboards and alerts depend on these names and labels.
    #[test]
    fn names_and_labels_are_as_they_were_promised() {
        let metrics = HandlerMetrics::default();
        metrics.call_ended("sign-in", "allowed", "ASSIGNED", Duration::from_millis(2));
        metrics.corrected("add");
        metrics.set_connected(Peer::Pbx, true);
        metrics.set_connected(Peer::Queuegate, false);
        let text = metrics.text(3);
        assert_eq!(series(&text), documented("queuegate_pbx_"));
        for line in [
            r#"queuegate_pbx_calls_total{action="sign-in",status="allowed",reason="ASSIGNED"} 1"#,
            r#"queuegate_pbx_call_duration_seconds_count{action="sign-in"} 1"#,
            r#"queuegate_pbx_corrections_total{correction="add"} 1"#,
            "queuegate_pbx_journal_entries 3",
            r#"queuegate_pbx_connected{to="pbx"} 1"#,
            r#"queuegate_pbx_connected{to="queuegate"} 0"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
