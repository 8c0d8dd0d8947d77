//! The live state: one owner writes, everyone reads.
//!
//! The writer plans and writes, and is not held up by the disk: what it wrote is synced and published beside it.
//!
//! INVARIANT: a snapshot is published after its changes are durable and before any of their callers is answered, so
//! nothing is acknowledged or visible that a crash could take back, and whoever was answered is seen by every later read.

pub mod clock;
mod error;
mod replies;
mod job;
mod page_snapshots;
mod shared;
mod throttle;
mod sync;
mod batch;
mod writer;
mod housekeeping;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{broadcast, oneshot, watch};

use self::{
    clock::Clock,
    job::{Execute, Job, Queued},
    page_snapshots::PageSnapshots,
    shared::{Busy, Shared},
    sync::{SyncQueueReceiver, Syncer},
    throttle::Throttle,
    writer::Writer,
};
pub use self::{
    error::{Ended, Error},
    job::{Progress, Request},
    replies::{Done, ReplyBatches},
    shared::Committed,
};
use crate::{
    domain::{
        command::Command,
        ids::{Caller, OrganizationId, RequestId, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, LogReader, Logged, Store},
    telemetry::metrics::{Metrics, Shed},
};

/// How many readers of the audit log are kept open for the next call.
const MOST_IDLE_READERS: usize = 4;

/// How many commands may wait for the writer before more are refused.
const QUEUE_CAPACITY: usize = 4_096;

/// How many batches of changes a watcher may be behind before it is cut off.
const WATCH_CAPACITY: usize = 1_024;

/// The state, for everybody who reads it or asks for changes. Cheap to clone.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
}

/// Who changes the state, and what they work on: each runs on a thread of its own.
struct Owners {
    writer: Writer,
    queue: Receiver<Job>,
    syncer: Arc<Syncer>,
    receiver: SyncQueueReceiver,
}

/// Tells how the writer ended. Dropped unsent if it panicked.
pub type WriterEnd = oneshot::Receiver<Ended>;

impl State {
    /// Loads the store and starts its writer, which shares so many processors with whoever asks.
    pub fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        processors: usize,
    ) -> Result<(Self, WriterEnd), store::Error> {
        let (state, Owners { writer, queue, syncer, receiver }) = Self::load(store, clock, metrics, processors)?;
        let (end, ended) = oneshot::channel();
        let writer = spawn("writer", move || writer.run(&queue))?;
        spawn("sync", move || {
            if let Some(told) = syncer.run(&receiver, writer) {
                // Nobody may be waiting for the end any more; that is their choice.
                let _ = end.send(told);
            }
        })?;
        Ok((state, ended))
    }

    /// Loads the store, and gives it to those who own it.
    fn load(
        mut store: Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        processors: usize,
    ) -> Result<(Self, Owners), store::Error> {
        let snapshot = Arc::new(store.load()?);
        let (jobs, queue) = sync_channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared {
            sequence: watch::Sender::new(snapshot.revision().sequence),
            published: ArcSwap::new(snapshot),
            changes: broadcast::Sender::new(WATCH_CAPACITY),
            log: Mutex::new(store.log_reader()?),
            idle_readers: Mutex::default(),
            page_snapshots: Mutex::default(),
            clock,
            metrics,
            asked: AtomicBool::new(false),
            busy: Busy::default(),
        });
        let syncer = Arc::new(Syncer::new(store.defer_sync()?, Arc::clone(&shared)));
        let (sync_queue, receiver) = sync::sync_queue();
        let (throttle, own) = (Throttle::new(processors), Arc::clone(&shared));
        let writer = Writer::new(store, own, throttle, (Arc::clone(&syncer), sync_queue));
        Ok((Self { shared, jobs }, Owners { writer, queue, syncer, receiver }))
    }

    /// The state now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.published.load_full()
    }

    /// The state now, for somebody who asks and to whom the writer gives way; for a moment, which is cheaper than a
    /// [`State::snapshot`] of one's own, of which all processors keep count.
    pub fn glance(&self) -> Guard<Arc<Snapshot>> {
        // Only the first writes to what all processors read.
        if !self.shared.asked.load(Ordering::Relaxed) {
            self.shared.asked.store(true, Ordering::Relaxed);
        }
        self.shared.published.load()
    }

    /// The time now, by the clock that the writer goes by.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Waits until the state includes `sequence`.
    pub async fn reach(&self, sequence: Sequence) {
        let mut published = self.shared.sequence.subscribe();
        // The sender lives as long as `self`, so waiting doesn't fail.
        let _ = published.wait_for(|published| *published >= sequence).await;
    }

    /// Keeps a snapshot for the pages that follow, for ten minutes after its last use. `owner` is the organization, or the
    /// caller who lists organizations.
    pub fn keep_for_pages(&self, owner: &str, snapshot: Snapshot) {
        self.page_snapshots().keep(owner, snapshot, Instant::now());
    }

    /// The snapshot at this sequence, if it is the published one or is still kept for this owner.
    pub fn kept_for_pages(&self, owner: &str, sequence: Sequence) -> Option<Arc<Snapshot>> {
        let now = self.snapshot();
        if now.revision().sequence == sequence {
            return Some(now);
        }
        self.page_snapshots().find(owner, sequence, Instant::now())
    }

    /// Drops snapshots that were kept for pages and are not used any more.
    pub fn sweep_page_snapshots(&self) {
        self.page_snapshots().sweep(Instant::now());
    }

    fn page_snapshots(&self) -> MutexGuard<'_, PageSnapshots> {
        self.shared.page_snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a command, durably. With a request id, a repetition within 24 hours gives the first outcome.
    pub async fn execute(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request_id: Option<RequestId>,
    ) -> Result<Done, Error> {
        let request = request_id.map(|id| Request::new(id, &command));
        self.submit(replies, command, caller, request, None)?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Like [`State::execute`], and tells how far it is.
    pub async fn execute_with_progress(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request: Option<Request>,
        progress: Arc<Progress>,
    ) -> Result<Done, Error> {
        self.submit(replies, command, caller, request, Some(progress))?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    fn submit(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request: Option<Request>,
        progress: Option<Arc<Progress>>,
    ) -> Result<oneshot::Receiver<Result<Done, Error>>, Error> {
        let (reply_to, answer) = replies.reply_to();
        let execute = Execute { command, caller, request, progress, reply_to };
        let job = Job::Execute(Queued(Some(Box::new(execute))));
        let metrics = &self.shared.metrics;
        metrics.writer_queue.inc();
        let refused = match self.jobs.try_send(job) {
            Ok(()) => return Ok(answer),
            Err(TrySendError::Full(_)) => {
                metrics.shed(Shed::WriterQueue);
                Error::Overloaded
            }
            Err(TrySendError::Disconnected(_)) => Error::Stopped,
        };
        metrics.writer_queue.dec();
        Err(refused)
    }

    /// Changes from now on, in the batches in which they were committed: all changes of sessions, and the last change of each
    /// organization. A receiver that falls too far behind is
    /// told so, and has lost some.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<[Committed]>> {
        self.shared.changes.subscribe()
    }

    /// What was recorded of an organization after `after`, and up to `up_to`. Reads the disk: not for an async thread.
    pub fn records_since(
        &self,
        after: Sequence,
        up_to: Sequence,
        organization_id: &OrganizationId,
        most: u32,
    ) -> Result<Vec<Logged>, store::Error> {
        let log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.records_since(after, up_to, Some(organization_id), most)
    }

    /// A reader of the audit log of its own, for work that takes a while. Reads the disk: not for an async thread.
    pub fn log_reader(&self) -> Result<LogReader, store::Error> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).another()
    }

    /// Reads the audit log by a reader of its own, which is kept for the next. Reads the disk: not for an async thread.
    pub fn with_log<T>(&self, read: impl FnOnce(&LogReader) -> T) -> Result<T, store::Error> {
        let idle = || self.shared.idle_readers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle().pop();
        let reader = found.map_or_else(|| self.log_reader(), Ok)?;
        let read = read(&reader);
        let mut idle = idle();
        if idle.len() < MOST_IDLE_READERS {
            idle.push(reader);
        }
        Ok(read)
    }

    /// For how long the writer has been at one batch. While it is longer than any batch takes, the disk doesn't answer.
    pub fn writer_busy_for(&self) -> Duration {
        self.shared.busy.longest()
    }

    /// Asks the writer to finish what it was asked so far, and to end. Blocks while the writer's queue is full.
    pub fn stop(&self) {
        // If the writer is gone already, there is nothing to stop.
        let _ = self.jobs.send(Job::Stop);
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, store::Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| store::Error::Damaged(format!("can't start the {name} thread: {error}")))
}
