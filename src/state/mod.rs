//! The live state: one owner writes, everyone reads.
//!
//! The writer plans and writes batches. It doesn't wait for the disk: another thread syncs and publishes its batches.
//!
//! INVARIANT: a snapshot is published after its changes are durable and before their callers get replies. So no crash
//! takes back an acknowledged or visible change, and every later read sees an acknowledged change.

pub mod clock;
mod error;
mod replies;
mod job;
mod page_snapshots;
mod shared;
mod throttle;
mod publish;
mod sync;
mod batch;
mod writer;
mod node;
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
    job::{Job, PendingCommand, QueuedCommand},
    page_snapshots::PageSnapshots,
    shared::{Busy, Freshness, Shared},
    sync::{SyncQueueReceiver, Syncer},
    throttle::Throttle,
    writer::Writer,
};
pub use self::{
    error::{Ended, Error},
    job::{Progress, RequestKey},
    replies::{Done, ReplyBatches},
    shared::{Committed, Published},
};
use crate::{
    domain::{
        command::Command,
        ids::{Caller, OrganizationId, RequestId, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, LogReader, Logged, Store, postgres, sqlite},
    telemetry::metrics::{Metrics, Shed},
};

/// The most readers of the audit log that stay open for the next call.
const MAX_IDLE_READERS: usize = 4;

/// The number of commands that may wait for the writer. More are shed.
const QUEUE_CAPACITY: usize = 4_096;

/// The number of batches that a watch may be behind. Then it is cut off.
const WATCH_CAPACITY: usize = 1_024;

/// A handle to the state, for reads and commands. Cheap to clone.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
    jobs: Arc<SyncSender<Job>>,
}

/// The owners of the state, the writer and the syncer, with their queues. Each runs on a thread of its own.
struct Owners {
    writer: Writer,
    queue: Receiver<Job>,
    syncer: Arc<Syncer>,
    receiver: SyncQueueReceiver,
}

/// The receiver of the writer's end. The sender is dropped unsent if the writer panicked.
pub type WriterEnd = oneshot::Receiver<Ended>;

impl State {
    /// Load the store and start its writer, which shares `processors` with the readers.
    pub fn start(
        store: impl Into<Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        processors: usize,
    ) -> Result<(Self, WriterEnd), store::Error> {
        match store.into() {
            Store::Sqlite(store) => Self::start_alone(*store, clock, metrics, processors),
            Store::Postgres(store) => Self::start_node(*store, clock, metrics),
        }
    }

    /// Start the only server of a file.
    fn start_alone(
        store: sqlite::Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        processors: usize,
    ) -> Result<(Self, WriterEnd), store::Error> {
        let (state, Owners { writer, queue, syncer, receiver }) = Self::load(store, clock, metrics, processors)?;
        let (end, ended) = oneshot::channel();
        let writer = spawn("writer", move || writer.run(&queue))?;
        spawn("sync", move || {
            if let Some(ended) = syncer.run(&receiver, writer) {
                // The receiver may be dropped already.
                let _ = end.send(ended);
            }
        })?;
        Ok((state, ended))
    }

    /// Start a node of a cluster. Waits until the database can be reached.
    fn start_node(
        mut store: postgres::Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, WriterEnd), store::Error> {
        let snapshot = node::load(&mut store, &*clock)?;
        let log = LogReader::Postgres(Box::new(postgres::LogReader::new(store.target().clone())));
        let (state, queue) = Self::of(snapshot, log, clock, metrics);
        let shared = Arc::clone(&state.shared);
        shared.freshness.saw_all(Instant::now());
        // The bell must not keep the writer running: the writer ends when no handle to the state is left.
        let (jobs, address) = (Arc::downgrade(&state.jobs), store.address().to_owned());
        let node_id = uuid::Uuid::now_v7().to_string();
        let report = move || postgres::NodeReport {
            node_id: node_id.clone(),
            address: address.clone(),
            revision: i64::try_from(shared.published.load().revision().sequence.0).unwrap_or(i64::MAX),
            stale_ms: i64::try_from(shared.freshness.stale_for().as_millis()).unwrap_or(i64::MAX),
        };
        let rung = move || {
            // If the queue is full, the writer is about to read the history's end.
            let _ = jobs.upgrade().map(|jobs| jobs.try_send(Job::News));
        };
        let bell = postgres::Bell::start(store.target().clone(), Arc::new(report), rung)?;
        let node = node::Node::new(store, Arc::clone(&state.shared), bell);
        let (end, ended) = oneshot::channel();
        spawn("writer", move || {
            let node_ended = node.run(&queue);
            // The receiver may be dropped already.
            let _ = end.send(Ended::of_writer(node_ended));
        })?;
        Ok((state, ended))
    }

    /// Load a file, and create its owners.
    fn load(
        mut store: sqlite::Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        processors: usize,
    ) -> Result<(Self, Owners), store::Error> {
        let snapshot = store.load()?;
        let (state, queue) = Self::of(snapshot, LogReader::Sqlite(store.log_reader()?), clock, metrics);
        let shared = &state.shared;
        let syncer = Arc::new(Syncer::new(store.defer_sync()?, Arc::clone(shared)));
        let (sync_queue, receiver) = sync::sync_queue();
        let (throttle, own) = (Throttle::new(processors), Arc::clone(shared));
        let writer = Writer::new(store, own, throttle, (Arc::clone(&syncer), sync_queue));
        Ok((state, Owners { writer, queue, syncer, receiver }))
    }

    /// Return a handle to a loaded state, and the queue of its writer.
    fn of(snapshot: Snapshot, log: LogReader, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> (Self, Receiver<Job>) {
        let (jobs, queue) = sync_channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared {
            sequence: watch::Sender::new(snapshot.revision().sequence),
            published: ArcSwap::from_pointee(snapshot),
            changes: broadcast::Sender::new(WATCH_CAPACITY),
            log: Mutex::new(log),
            idle_readers: Mutex::default(),
            page_snapshots: Mutex::default(),
            clock,
            metrics,
            has_reads: AtomicBool::new(false),
            busy: Busy::default(),
            freshness: Freshness::default(),
        });
        (Self { shared, jobs: Arc::new(jobs) }, queue)
    }

    /// Return how long changes of other nodes may have been missed. Zero for the only server of a file.
    pub fn stale_for(&self) -> Duration {
        self.shared.freshness.stale_for()
    }

    /// Return whether other nodes may have written changes that this one hasn't seen.
    pub fn is_node(&self) -> bool {
        self.shared.freshness.is_node()
    }

    /// Return whether the published state may be used: a failover or a restore hasn't lost parts of it.
    pub fn is_usable(&self) -> bool {
        !self.shared.freshness.is_rewritten()
    }

    /// Refuse reads, or allow them again, while the state is stale.
    pub fn refuse_reads(&self, is_refused: bool) {
        self.shared.freshness.set_refused(is_refused);
    }

    /// Return whether reads are refused because the state is stale.
    pub fn refuses_reads(&self) -> bool {
        self.shared.freshness.is_refused()
    }

    /// Return the published snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.published.load_full()
    }

    /// Borrow the published snapshot for a read to which the writer gives way. It is cheaper than [`State::snapshot`],
    /// whose reference count all processors share. Hold it only for a moment.
    pub fn borrow_snapshot(&self) -> Guard<Arc<Snapshot>> {
        // Only the first read writes to the cache line that all processors read.
        if !self.shared.has_reads.load(Ordering::Relaxed) {
            self.shared.has_reads.store(true, Ordering::Relaxed);
        }
        self.shared.published.load()
    }

    /// Return the time now, by the writer's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Wait until the published snapshot includes `sequence`.
    pub async fn reach(&self, sequence: Sequence) {
        let mut published = self.shared.sequence.subscribe();
        // The sender lives as long as `self`, so waiting doesn't fail.
        let _ = published.wait_for(|published| *published >= sequence).await;
    }

    /// Keep a snapshot for the next pages, for ten minutes after its last use. `owner` is the organization, or the
    /// caller who lists organizations.
    pub fn keep_for_pages(&self, owner: &str, snapshot: Snapshot) {
        self.page_snapshots().keep(owner, snapshot, Instant::now());
    }

    /// Return the snapshot at this sequence if it is published or still kept for this owner, or `None`.
    pub fn kept_for_pages(&self, owner: &str, sequence: Sequence) -> Option<Arc<Snapshot>> {
        let now = self.snapshot();
        if now.revision().sequence == sequence {
            return Some(now);
        }
        self.page_snapshots().find(owner, sequence, Instant::now())
    }

    /// Drop page snapshots that are not used any more.
    pub fn sweep_page_snapshots(&self) {
        self.page_snapshots().sweep(Instant::now());
    }

    fn page_snapshots(&self) -> MutexGuard<'_, PageSnapshots> {
        self.shared.page_snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Execute a command durably. With a request id, a repetition within 24 hours returns the first outcome.
    pub async fn execute(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request_id: Option<RequestId>,
    ) -> Result<Done, Error> {
        let request = request_id.map(|id| RequestKey::new(id, &command));
        self.submit(replies, command, caller, request, None)?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Execute a command like [`State::execute`], and update its progress.
    pub async fn execute_with_progress(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request: Option<RequestKey>,
        progress: Arc<Progress>,
    ) -> Result<Done, Error> {
        self.submit(replies, command, caller, request, Some(progress))?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    fn submit(
        &self,
        replies: &ReplyBatches,
        command: Command,
        caller: Caller,
        request: Option<RequestKey>,
        progress: Option<Arc<Progress>>,
    ) -> Result<oneshot::Receiver<Result<Done, Error>>, Error> {
        let (reply_to, answer) = replies.reply_to();
        let submitted = Instant::now();
        let queued = QueuedCommand { command, caller, request, progress, reply_to, submitted };
        let job = Job::Execute(PendingCommand(Some(Box::new(queued))));
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

    /// Subscribe to the changes from now on, in the batches in which they were committed. A batch has all changes of
    /// sessions, and the last change of each organization. A receiver that lags too far behind gets an error, and has
    /// missed some batches.
    pub fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.shared.changes.subscribe()
    }

    /// Return the events of an organization after `after`, and up to `up_to`. Reads the disk: not for an async thread.
    pub fn records_since(
        &self,
        after: Sequence,
        up_to: Sequence,
        organization_id: &OrganizationId,
        most: u32,
    ) -> Result<Vec<Logged>, store::Error> {
        let log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.records_since(after, up_to, organization_id, most)
    }

    /// Open a separate reader of the audit log, for work that takes a while. Reads the disk: not for an async thread.
    pub fn log_reader(&self) -> Result<LogReader, store::Error> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).another()
    }

    /// Read the audit log with an exclusive reader, which stays open for the next call. Reads the disk: not for an
    /// async thread.
    pub fn with_log<T>(&self, read: impl FnOnce(&LogReader) -> T) -> Result<T, store::Error> {
        let idle = || self.shared.idle_readers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle().pop();
        let reader = found.map_or_else(|| self.log_reader(), Ok)?;
        let read = read(&reader);
        let mut idle = idle();
        if idle.len() < MAX_IDLE_READERS {
            idle.push(reader);
        }
        Ok(read)
    }

    /// Return the shared database and its nodes, or `None` for a file. Reads the database: not for an async thread.
    pub fn cluster(&self) -> Result<Option<postgres::ClusterReport>, store::Error> {
        self.with_log(LogReader::cluster)?
    }

    /// Return how long the current batch has been in work. If that is longer than any batch takes, the disk hangs.
    pub fn writer_busy_for(&self) -> Duration {
        self.shared.busy.longest()
    }

    /// Ask the writer to finish the jobs in its queue, and to end. Blocks while the writer's queue is full.
    pub fn stop(&self) {
        // If the writer has ended already, there is nothing to stop.
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
