//! The counters of every call. Counting must be cheap, so each thread has its own counters; a scrape adds them up.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use super::buckets::DURATIONS;

/// The number of counter sets. More threads than that share sets, which is slower but still correct.
const STRIPES: usize = 8;

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

/// The numbers, outcomes and durations of calls.
#[derive(Debug)]
pub(super) struct Calls {
    labels: CallLabels,
    stripes: Vec<Stripe>,
}

/// The counters of one or more threads.
#[derive(Debug)]
struct Stripe {
    methods: Vec<OfMethod>,
    decisions: Vec<AtomicU64>,
}

#[derive(Debug)]
struct OfMethod {
    codes: Vec<AtomicU64>,
    /// The number of calls in each bucket of [`DURATIONS`]; the last counts all longer calls.
    durations: Vec<AtomicU64>,
    nanoseconds: AtomicU64,
}

impl Calls {
    pub(super) fn new(labels: CallLabels) -> Self {
        let of_method = || OfMethod {
            codes: zeros(labels.codes.len()),
            durations: zeros(DURATIONS.len() + 1),
            nanoseconds: AtomicU64::new(0),
        };
        let stripe = || Stripe {
            methods: std::iter::repeat_with(of_method).take(labels.methods.len() + 1).collect(),
            decisions: zeros(labels.reasons.len()),
        };
        Self { stripes: std::iter::repeat_with(stripe).take(STRIPES).collect(), labels }
    }

    pub(super) fn ended(&self, method: usize, code: usize, took: Duration) {
        let Some(stripe) = self.stripes.get(own_stripe()) else { return };
        let Some(of_method) = stripe.methods.get(method).or_else(|| stripe.methods.last()) else { return };
        let seconds = took.as_secs_f64();
        count(&of_method.codes, code);
        count(&of_method.durations, DURATIONS.partition_point(|most| *most < seconds));
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        of_method.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn decided(&self, reason: usize) {
        if let Some(stripe) = self.stripes.get(own_stripe()) {
            count(&stripe.decisions, reason);
        }
    }

    fn sum<'c>(&'c self, counted: impl Fn(&'c Stripe) -> Option<&'c AtomicU64>) -> u64 {
        self.stripes.iter().filter_map(counted).map(|counted| counted.load(Ordering::Relaxed)).sum()
    }

    fn methods(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.labels.methods.iter().copied().chain(["unknown"]).enumerate()
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let text = "Calls that have ended, by method and status code.";
        let mut family = encoder.encode_descriptor("grpc_calls", text, None, MetricType::Counter)?;
        for (method, name) in self.methods() {
            for (code, code_name) in self.labels.codes.iter().enumerate() {
                let total = self.sum(|stripe| stripe.methods.get(method)?.codes.get(code));
                if total > 0 {
                    let labels = [("method", name), ("code", *code_name)];
                    family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&total, None)?;
                }
            }
        }
        Ok(())
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let text = "Duration of calls, from their headers to the last byte of the response.";
        let unit = Unit::Seconds;
        let mut family = encoder.encode_descriptor("grpc_call_duration", text, Some(&unit), MetricType::Histogram)?;
        for (method, name) in self.methods() {
            let bounds = DURATIONS.iter().copied().chain([f64::INFINITY]).enumerate();
            let of_bound = |bound| self.sum(|stripe| stripe.methods.get(method)?.durations.get(bound));
            let buckets: Vec<(f64, u64)> = bounds.map(|(bound, most)| (most, of_bound(bound))).collect();
            let total = buckets.iter().map(|(_, count)| count).sum();
            if total > 0 {
                let nanoseconds = self.sum(|stripe| Some(&stripe.methods.get(method)?.nanoseconds));
                let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
                let labels = [("method", name)];
                family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(seconds, total, &buckets, None)?;
            }
        }
        Ok(())
    }

    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let text = "Decisions about queue access, by reason.";
        let mut family = encoder.encode_descriptor("decisions", text, None, MetricType::Counter)?;
        for (reason, name) in self.labels.reasons.iter().enumerate() {
            let total = self.sum(|stripe| stripe.decisions.get(reason));
            if total > 0 {
                let labels = [("reason", *name)];
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&total, None)?;
            }
        }
        Ok(())
    }
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_calls(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        self.encode_decisions(&mut encoder)
    }
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(AtomicU64::default).take(count).collect()
}

fn count(counts: &[AtomicU64], which: usize) {
    if let Some(count) = counts.get(which) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The stripe of this thread.
fn own_stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
    STRIPE.with(|stripe| *stripe)
}
