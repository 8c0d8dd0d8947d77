//! Makes batches durable, and only then visible, beside the writer: while the disk syncs one batch, the writer writes
//! the next.
//!
//! INVARIANT: batches are published in the order in which they were written. Each is published after a sync of the log
//! that began after its write, and its replies are sent after that.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use super::{
    error::Ended,
    publish::publish,
    replies::{self, Reply},
    shared::Shared,
};
use crate::{
    domain::{change::Record, snapshot::Snapshot},
    store::{self, LogSync},
};

/// The number of batches that may wait for the disk. Then the writer waits too. One sync covers all of them, so a slow
/// disk takes as many changes as a fast one.
const MAX_WAITING: usize = 64;

/// A batch in the write-ahead log that isn't known to be durable.
pub(super) struct WrittenBatch {
    /// The state after it, and its changes; `None` if nothing was written.
    pub state: Option<(Arc<Snapshot>, Vec<Record>)>,
    /// Held back until the batch and all earlier ones are durable.
    pub replies: Vec<Reply>,
    /// When its write began.
    pub began: Instant,
}

/// The part that makes batches durable.
pub(super) struct Syncer {
    log: LogSync,
    shared: Arc<Shared>,
}

/// The queue from the writer to the sync thread.
pub(super) struct SyncQueue {
    batches: SyncSender<WrittenBatch>,
    /// The number of batches handed over and not concluded.
    waiting: Arc<AtomicUsize>,
}

/// The other end of a [`SyncQueue`].
pub(super) struct SyncQueueReceiver {
    batches: Receiver<WrittenBatch>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn sync_queue() -> (SyncQueue, SyncQueueReceiver) {
    let (sender, batches) = sync_channel(MAX_WAITING);
    let waiting = Arc::new(AtomicUsize::new(0));
    (SyncQueue { batches: sender, waiting: Arc::clone(&waiting) }, SyncQueueReceiver { batches, waiting })
}

impl SyncQueue {
    /// Return whether all batches that were handed over are concluded.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Hand a batch over, and wait while there are too many. Return it as the error if the sync thread has ended.
    pub(super) fn hand(&self, written: WrittenBatch) -> Result<(), WrittenBatch> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.batches.send(written).map_err(|refused| refused.0)
    }
}

impl Syncer {
    pub(super) fn new(log: LogSync, shared: Arc<Shared>) -> Self {
        Self { log, shared }
    }

    /// Conclude the batches that are handed over until the writer ends. Return how it ended, or `None` if the writer
    /// panicked.
    pub(super) fn run(
        &self,
        receiver: &SyncQueueReceiver,
        writer: JoinHandle<Result<(), store::Error>>,
    ) -> Option<Ended> {
        let concluded = self.conclude_received(receiver);
        let ended = match concluded {
            Ok(()) => writer.join().ok()?,
            // The writer can't hand over batches any more, and ends too.
            Err(error) => Err(error),
        };
        Some(Ended::of_writer(ended))
    }

    fn conclude_received(&self, receiver: &SyncQueueReceiver) -> Result<(), store::Error> {
        while let Ok(first) = receiver.batches.recv() {
            let began = Instant::now();
            self.shared.busy.syncing(Some(began));
            let batches: Vec<WrittenBatch> = iter::once(first).chain(receiver.batches.try_iter()).collect();
            let count = batches.len();
            self.conclude(batches)?;
            self.shared.busy.syncing(None);
            receiver.waiting.fetch_sub(count, Ordering::Release);
        }
        Ok(())
    }

    /// Make batches durable, publish them and send their replies.
    pub(super) fn conclude(&self, batches: Vec<WrittenBatch>) -> Result<(), store::Error> {
        if batches.iter().any(|batch| batch.state.is_some()) {
            self.log.sync()?;
        }
        let mut answers = Vec::new();
        for WrittenBatch { state, replies, began } in batches {
            if let Some((snapshot, records)) = state {
                self.shared.metrics.committed(replies.len(), began.elapsed());
                publish(&self.shared, snapshot, records);
            }
            answers.extend(replies);
        }
        replies::send(answers);
        Ok(())
    }
}
