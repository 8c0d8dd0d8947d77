//! The figures of one turn.

use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

/// The number of calls and their latencies.
pub struct Counts {
    /// Calls that ended with OK.
    pub answered: u64,
    /// Calls that ended with any other status.
    pub refused: u64,
    /// The latencies of the calls that ended with OK.
    pub latencies_ns: Histogram<u64>,
}

impl Counts {
    /// Start at zero.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { answered: 0, refused: 0, latencies_ns: Histogram::new_with_bounds(1, 60_000_000_000, 3)? })
    }

    /// Count a call that has ended.
    pub fn record(&mut self, code: Code, latency: Duration) {
        if code == Code::Ok {
            self.answered += 1;
            self.latencies_ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.refused += 1;
        }
    }

    /// Add the calls of another thread.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.answered += other.answered;
        self.refused += other.refused;
        Ok(self.latencies_ns.add(&other.latencies_ns)?)
    }
}

/// The calls of one turn, and the server's processor time meanwhile.
pub struct Measurement {
    pub seconds: f64,
    pub counts: Counts,
    pub cpu: Duration,
}

impl Measurement {
    /// Return the answered calls per second.
    pub fn rate(&self) -> f64 {
        self.counts.answered as f64 / self.seconds
    }

    /// Return the server's processor time per call in microseconds, which is also milliseconds per 1,000 calls.
    pub fn cpu_us(&self) -> f64 {
        let calls = self.counts.answered + self.counts.refused;
        self.cpu.as_secs_f64() * 1e6 / calls.max(1) as f64
    }

    /// Return a percentile of the latencies, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.counts.latencies_ns.value_at_percentile(percent) as f64 / 1e3
    }

    /// Return the 50th percentile of the latencies, in microseconds.
    pub fn p50_us(&self) -> f64 {
        self.percentile_us(50.0)
    }

    /// Return the 99th percentile of the latencies, in microseconds.
    pub fn p99_us(&self) -> f64 {
        self.percentile_us(99.0)
    }
}
