//! The count of watches in the metrics.

use std::sync::Arc;

use crate::telemetry::metrics::Metrics;

/// A watch in flight, which is counted.
pub(super) struct Watcher(Arc<Metrics>);

impl Watcher {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.watchers.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.dec();
    }
}
