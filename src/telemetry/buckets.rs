//! The buckets of histograms.

/// Histogram buckets of the durations of calls and commits, in seconds: from 50 microseconds to 10 seconds.
pub(super) const DURATIONS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
