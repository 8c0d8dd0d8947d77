//! Makes batches durable, and only then visible, beside the writer: while the disk is at one, the writer is at the next.
//!
//! INVARIANT: batches are published in the order in which they were written, each after a sync of the log that began when it
//! was written, and only then answered.

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
    error::{Ended, chain},
    replies::{self, Reply},
    shared::{Committed, Shared},
};
use crate::{
    domain::{change::Record, snapshot::Snapshot},
    store::{self, LogSync},
};

/// How many batches may wait for the disk before the writer does too. One sync is for all of them, so that a slow disk takes as
/// many changes as a fast one.
const MOST_WAITING: usize = 64;

/// What watches need of a batch: what they tell of, and the last change of each organization, so that they know how far they
/// are. A slow watch keeps batches in memory, and an import may change a hundred thousand users.
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

/// A batch that is in the log, and not known to be durable.
pub(super) struct WrittenBatch {
    /// The state after it, and what was changed; none if nothing was written.
    pub state: Option<(Arc<Snapshot>, Vec<Record>)>,
    /// Held back until it is durable, and whatever it rests on.
    pub replies: Vec<Reply>,
    /// When writing it began.
    pub began: Instant,
}

/// Who makes batches durable.
pub(super) struct Syncer {
    log: LogSync,
    shared: Arc<Shared>,
}

/// The writer's way to the thread that syncs beside it.
pub(super) struct SyncQueue {
    batches: SyncSender<WrittenBatch>,
    /// How many were receiver over and are not concluded.
    waiting: Arc<AtomicUsize>,
}

/// The other end of a [`SyncQueue`].
pub(super) struct SyncQueueReceiver {
    batches: Receiver<WrittenBatch>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn sync_queue() -> (SyncQueue, SyncQueueReceiver) {
    let (sender, batches) = sync_channel(MOST_WAITING);
    let waiting = Arc::new(AtomicUsize::new(0));
    (SyncQueue { batches: sender, waiting: Arc::clone(&waiting) }, SyncQueueReceiver { batches, waiting })
}

impl SyncQueue {
    /// Whether everything that was receiver over is concluded.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Hands a batch over, and waits while there are too many. Gives it back if nobody takes it any more.
    pub(super) fn hand(&self, written: WrittenBatch) -> Result<(), WrittenBatch> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.batches.send(written).map_err(|refused| refused.0)
    }
}

impl Syncer {
    pub(super) fn new(log: LogSync, shared: Arc<Shared>) -> Self {
        Self { log, shared }
    }

    /// Concludes what is receiver over until the writer ends, and says how it all ended; nothing if the writer panicked.
    pub(super) fn run(
        &self,
        receiver: &SyncQueueReceiver,
        writer: JoinHandle<Result<(), store::Error>>,
    ) -> Option<Ended> {
        let concluded = self.conclude_received(receiver);
        let ended = match concluded {
            Ok(()) => writer.join().ok()?,
            // The writer finds nobody to hand over to, and ends too.
            Err(error) => Err(error),
        };
        Some(match ended {
            Ok(()) => Ended::Stopped,
            Err(error) => {
                error!(error = %chain(&error), "store failed; the outcome of the last commit is unknown");
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

    /// Makes batches durable, publishes them and answers.
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
            // Nobody may be watching.
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
