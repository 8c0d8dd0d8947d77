//! The counters of calls. Each label set's handle is looked up once and then kept, so that counting is an addition.

use std::{sync::OnceLock, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets::DURATIONS;

/// The label values of the counters. Counting code refers to them by index.
#[derive(Debug, Default)]
pub struct CallLabels {
    /// Methods; any other method is counted as `unknown`.
    pub methods: Vec<&'static str>,
    /// Status codes.
    pub codes: Vec<&'static str>,
    /// Reasons of decisions.
    pub reasons: Vec<&'static str>,
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The numbers, outcomes and durations of calls.
#[derive(Debug)]
pub(super) struct Calls {
    labels: CallLabels,
    calls: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    decisions: Family<Labels<1>, Counter>,
    methods: Vec<Method>,
    reasons: Vec<OnceLock<Counter>>,
}

/// The handles of one method.
#[derive(Debug)]
struct Method {
    name: &'static str,
    codes: Vec<OnceLock<Counter>>,
    duration: OnceLock<Histogram>,
}

impl Calls {
    pub(super) fn new(labels: CallLabels) -> Self {
        let method = |name| Method { name, codes: unset(labels.codes.len()), duration: OnceLock::new() };
        Self {
            methods: labels.methods.iter().copied().chain(["unknown"]).map(method).collect(),
            reasons: unset(labels.reasons.len()),
            calls: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            decisions: Family::default(),
            labels,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let text = "Calls that have ended, by method and status code";
        registry.register("grpc_calls", text, self.calls.clone());
        let text = "Duration of calls, from their headers to the last byte of the response";
        registry.register_with_unit("grpc_call_duration", text, Unit::Seconds, self.durations.clone());
        let text = "Decisions about queue access, by reason";
        registry.register("decisions", text, self.decisions.clone());
    }

    pub(super) fn ended(&self, method: usize, code: usize, took: Duration) {
        let Some(method) = self.methods.get(method).or_else(|| self.methods.last()) else { return };
        if let Some((handle, code)) = method.codes.get(code).zip(self.labels.codes.get(code)) {
            let labels = [("method", method.name), ("code", *code)];
            handle.get_or_init(|| self.calls.get_or_create(&labels).clone()).inc();
        }
        let new = || self.durations.get_or_create(&[("method", method.name)]).clone();
        method.duration.get_or_init(new).observe(took.as_secs_f64());
    }

    pub(super) fn decided(&self, reason: usize) {
        if let Some((handle, name)) = self.reasons.get(reason).zip(self.labels.reasons.get(reason)) {
            handle.get_or_init(|| self.decisions.get_or_create(&[("reason", *name)]).clone()).inc();
        }
    }
}

fn unset<T>(count: usize) -> Vec<OnceLock<T>> {
    std::iter::repeat_with(OnceLock::new).take(count).collect()
}
