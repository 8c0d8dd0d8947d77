//! The parts of the state that its readers and its owners share.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use super::{clock::Clock, page_snapshots::PageSnapshots};
use crate::{
    domain::{change::Record, ids::Sequence, snapshot::Snapshot},
    store::LogReader,
    telemetry::metrics::Metrics,
};

pub(super) struct Shared {
    pub(super) published: ArcSwap<Snapshot>,
    pub(super) sequence: watch::Sender<Sequence>,
    pub(super) changes: broadcast::Sender<Published>,
    pub(super) log: Mutex<LogReader>,
    /// Readers of the log that are not in use.
    pub(super) idle_readers: Mutex<Vec<LogReader>>,
    pub(super) page_snapshots: Mutex<PageSnapshots>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether a read has come since the writer last looked.
    pub(super) has_reads: AtomicBool,
    pub(super) busy: Busy,
    pub(super) freshness: Freshness,
}

/// The batches that wait for the disk, so that a disk that hangs is noticed.
#[derive(Default)]
pub(super) struct Busy {
    /// When the writer began its batch, or `None`.
    writing: Mutex<Option<Instant>>,
    /// When the sync thread began its batches, or `None`.
    syncing: Mutex<Option<Instant>>,
}

impl Busy {
    pub(super) fn writing(&self, since: Option<Instant>) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(super) fn syncing(&self, since: Option<Instant>) {
        *self.syncing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(super) fn longest(&self) -> Duration {
        let since = |busy: &Mutex<Option<Instant>>| *busy.lock().unwrap_or_else(PoisonError::into_inner);
        [&self.writing, &self.syncing]
            .into_iter()
            .filter_map(since)
            .min()
            .map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Whether the published state is current. The state of a server with a file always is.
#[derive(Default)]
pub(super) struct Freshness {
    /// When a node last saw the end of the history; `None` for a server with a file.
    seen: Mutex<Option<Instant>>,
    /// Whether the published state is not part of the history any more.
    is_rewritten: AtomicBool,
    /// Whether reads are refused because the published state is stale.
    is_refused: AtomicBool,
}

impl Freshness {
    /// Note that the published state includes all changes that were committed at this time.
    pub(super) fn saw_all(&self, at: Instant) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Note whether the published state must not be used.
    pub(super) fn set_rewritten(&self, is_rewritten: bool) {
        self.is_rewritten.store(is_rewritten, Ordering::Relaxed);
    }

    pub(super) fn is_rewritten(&self) -> bool {
        self.is_rewritten.load(Ordering::Relaxed)
    }

    pub(super) fn set_refused(&self, is_refused: bool) {
        self.is_refused.store(is_refused, Ordering::Relaxed);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Return whether there are other nodes.
    pub(super) fn is_node(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Return how long changes of other nodes may have been missed.
    pub(super) fn stale_for(&self) -> Duration {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |seen| seen.elapsed())
    }
}

/// A message to the watches.
#[derive(Debug, Clone)]
pub enum Published {
    /// The changes of a batch.
    Batch(Arc<[Committed]>),
    /// The history was rewritten: a failover or a restore lost changes that watches may have sent.
    Rewritten,
}

/// A committed change, for the watches.
#[derive(Debug)]
pub struct Committed {
    /// The change.
    pub record: Record,
    message: OnceLock<Arc<[u8]>>,
}

impl Committed {
    pub(super) fn new(record: Record) -> Self {
        Self { record, message: OnceLock::new() }
    }

    /// Return the change as an encoded message. The first watch makes it, and all others share it.
    pub fn message(&self, make: impl FnOnce() -> Arc<[u8]>) -> Arc<[u8]> {
        Arc::clone(self.message.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_is_noticed_during_writes_and_syncs() {
        let busy = Busy::default();
        assert_eq!(busy.longest(), Duration::ZERO);
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        busy.writing(ago(1));
        busy.syncing(ago(60));
        assert!(busy.longest() >= Duration::from_secs(60));
        busy.syncing(None);
        assert!((1..60).contains(&busy.longest().as_secs()));
        busy.writing(None);
        assert_eq!(busy.longest(), Duration::ZERO);
    }
}
