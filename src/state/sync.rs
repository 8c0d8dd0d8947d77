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

use tracing::error;

use super::{
    error::{Ended, with_causes},
    replies::{self, Reply},
    shared::{Committed, Shared},
};
use crate::{
    domain::{change::Record, snapshot::Snapshot},
    store::{self, LogSync},
};

/// The number of batches that may wait for the disk. Then the writer waits too. One sync covers all of them, so a slow
/// disk takes as many changes as a fast one.
const MAX_WAITING: usize = 64;

/// Return the changes of a batch that watches need: those they send, and the last change of each organization, for
/// their checkpoints. Other changes are dropped: a slow watch keeps batches in memory, and an import may change a
/// hundred thousand users.
fn for_watches(records: Vec<Record>) -> Arc<[Committed]> {
    let mut kept = Vec::new();
    let mut records = records.into_iter().peekable();
    while let Some(record) = records.next() {
        let next = records.peek().map(|next| &next.change.organization_id);
        if record.change.event.watched().is_some() || next != Some(&record.change.organization_id) {
            kept.push(Committed::new(record));
        }
    }
    kept.into()
}

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
        Some(match ended {
            Ok(()) => Ended::Stopped,
            Err(error) => {
                error!(error = %with_causes(&error), "store failed; the outcome of the last commit is unknown");
                Ended::Failed(error)
            }
        })
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
                self.publish(snapshot, records);
            }
            answers.extend(replies);
        }
        replies::send(answers);
        Ok(())
    }

    fn publish(&self, snapshot: Arc<Snapshot>, records: Vec<Record>) {
        let sequence = snapshot.revision().sequence;
        self.shared.published.store(snapshot);
        self.shared.sequence.send_replace(sequence);
        if !records.is_empty() {
            // There may be no watches.
            let _ = self.shared.changes.send(for_watches(records));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        change::{Change, Event, Origin},
        ids::{Caller, Sequence},
        model::{Basis, Channel, Queue, QueueKind, Session},
        time::Timestamp,
    };

    #[test]
    fn watches_get_the_changes_of_sessions_and_the_last_of_each_organization() {
        let session = Session {
            session_id: "s".parse().unwrap(),
            user_id: "ann".parse().unwrap(),
            queue_id: "q".parse().unwrap(),
            channel: Channel::FeatureCode,
            basis: Basis::Assigned,
            signed_in_by: "ann".parse().unwrap(),
            sign_in_time: Timestamp::from_unix_ms(0),
            expire_time: None,
            device: String::new(),
            end: None,
        };
        let (queue_id, display_name) = ("q".parse().unwrap(), String::new());
        let queue = Queue { queue_id, display_name, extension: None, kind: QueueKind::CallQueue };
        let created = |_| Event::QueueCreated { queue: queue.clone() };
        let started = |_| Event::SessionStarted { session: session.clone(), justification: String::new() };
        let events: Vec<(&str, Event)> = (0..1_000)
            .map(|number| ("acme", created(number)))
            .chain((0..2).map(|number| ("acme", started(number))))
            .chain((0..5).map(|number| ("acme", created(number))))
            .chain((0..1_000).map(|number| ("globex", created(number))))
            .collect();
        let records = events.into_iter().zip(1..).map(|((organization_id, event), sequence)| Record {
            sequence: Sequence(sequence),
            time: Timestamp::from_unix_ms(0),
            origin: Origin { caller: Caller::server(), actor: None },
            change: Change { organization_id: organization_id.parse().unwrap(), event },
        });
        let kept = for_watches(records.collect());
        let sequences: Vec<u64> = kept.iter().map(|committed| committed.record.sequence.0).collect();
        assert_eq!(sequences, [1_001, 1_002, 1_007, 2_007]);
    }
}
