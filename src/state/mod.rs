//! The live state: one owner writes, everyone reads.
//!
//! The writer plans and writes, and is not held up by the disk: what it wrote is synced and published beside it.
//!
//! INVARIANT: a snapshot is published after its changes are durable and before any of their callers is answered, so
//! nothing is acknowledged or visible that a crash could take back, and whoever was answered is seen by every later read.

pub mod clock;
mod mailbox;
mod pace;
mod page_snapshots;
mod sync;
mod writer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::{broadcast, oneshot, watch};

pub use self::mailbox::Mailbox;
use self::{
    clock::Clock,
    mailbox::{Asker, Reply},
    pace::Pace,
    page_snapshots::PageSnapshots,
    sync::{Handed, Syncer},
    writer::Writer,
};
use crate::{
    domain::{
        change::Record,
        command::{Command, Outcome, Rejection},
        ids::{Caller, OrganizationId, RequestId, Revision, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, LogReader, Logged, Store},
    telemetry::metrics::{Metrics, Shed},
};

/// How many commands may wait for the writer before more are refused.
const QUEUE_CAPACITY: usize = 4_096;

/// How many readers of the audit log are kept open for the next call.
const MOST_IDLE_READERS: usize = 4;

/// How many batches of changes a watcher may be behind before it is cut off.
const WATCH_CAPACITY: usize = 1_024;

/// The state, for everybody who reads it or asks for changes. Cheap to clone.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
}

struct Shared {
    published: ArcSwap<Snapshot>,
    sequence: watch::Sender<Sequence>,
    changes: broadcast::Sender<Arc<[Committed]>>,
    log: Mutex<LogReader>,
    /// Readers of the log that nobody uses at the moment.
    idle_readers: Mutex<Vec<LogReader>>,
    page_snapshots: Mutex<PageSnapshots>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Whether anybody has asked since the writer last looked.
    asked: AtomicBool,
    busy: Busy,
}

/// What the disk is waited for, if it is: so one that doesn't answer is noticed.
#[derive(Default)]
struct Busy {
    /// Since when the writer has been at one batch.
    writing: Mutex<Option<Instant>>,
    /// Since when a batch is being synced beside it.
    syncing: Mutex<Option<Instant>>,
}

impl Busy {
    fn writing(&self, since: Option<Instant>) {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn syncing(&self, since: Option<Instant>) {
        *self.syncing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn longest(&self) -> Duration {
        let since = |busy: &Mutex<Option<Instant>>| *busy.lock().unwrap_or_else(PoisonError::into_inner);
        [&self.writing, &self.syncing]
            .into_iter()
            .filter_map(since)
            .min()
            .map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Who changes the state, and what they work on: each runs on a thread of its own.
struct Owners {
    writer: Writer,
    queue: Receiver<Job>,
    syncer: Arc<Syncer>,
    handed: Handed,
}

/// A change that was committed, for everybody who follows.
#[derive(Debug)]
pub struct Committed {
    /// The change.
    pub record: Record,
    message: OnceLock<Arc<[u8]>>,
}

impl Committed {
    fn new(record: Record) -> Self {
        Self { record, message: OnceLock::new() }
    }

    /// The change as it is told. Made once, by the first who tells of it, however many are told.
    pub fn message(&self, make: impl FnOnce() -> Arc<[u8]>) -> Arc<[u8]> {
        Arc::clone(self.message.get_or_init(make))
    }
}

/// What the writer is asked to do.
enum Job {
    Execute(Queued),
    /// Finish: what was asked before this is done, what comes after is refused.
    Stop,
}

/// A command that waits for the writer. Dropped before the writer takes it up, it answers that nothing was done; a command that
/// was taken up and is dropped without an answer has an unknown outcome.
struct Queued(Option<Box<Execute>>);

impl Queued {
    fn take_up(mut self) -> Option<Box<Execute>> {
        self.0.take()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(execute) = self.0.take() {
            mailbox::send([Reply { asker: execute.asker, answer: Err(Error::Stopped) }]);
        }
    }
}

struct Execute {
    command: Command,
    caller: Caller,
    request: Option<Request>,
    progress: Option<Arc<Progress>>,
    asker: Asker,
}

/// A request that its caller named.
#[derive(Debug)]
pub struct Request {
    id: RequestId,
    content_sha256: String,
}

impl Request {
    /// The request that asks for this command. Reads all of the command, which takes a while if it imports a large directory.
    pub fn new(id: RequestId, command: &Command) -> Self {
        Self { id, content_sha256: content_sha256(command) }
    }
}

/// A command that was carried out.
#[derive(Debug, Clone)]
pub struct Done {
    /// What came of it.
    pub outcome: Outcome,
    /// The revision at which it is part of the state.
    pub revision: Revision,
}

/// How far the storing of a large command is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Changes written so far.
    pub done: AtomicU64,
    /// Changes to write; 0 while that isn't known.
    pub total: AtomicU64,
}

/// Why a command wasn't carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules or the request's own content forbid it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request id was used within 24 hours for something else.
    #[error("request_id `{0}` was used within the last 24 hours for another request; choose a new one")]
    RequestIdReused(RequestId),
    /// Too many commands are waiting. Nothing changed.
    #[error("the server has too many changes waiting; try again in a moment")]
    Overloaded,
    /// The database can't be written to now: there is no space, or another program has locked it. Nothing changed.
    #[error("nothing can be changed now: {0}; decisions go on, try again in a moment")]
    NotWritable(String),
    /// The server is stopping. Nothing changed.
    #[error("the server is stopping and takes no more changes; nothing was done, try again when it is back")]
    Stopped,
    /// The store failed while the change was being stored. It may have happened or not.
    #[error("the store failed, and the change may have been made; repeat the request with the same request_id")]
    OutcomeUnknown,
    /// What the store says makes no sense. Nothing changed.
    #[error("{0}")]
    Internal(String),
}

/// How the writer ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to, and everything is on disk.
    Stopped,
    /// The store failed. The outcome of the last commit is unknown.
    Failed(store::Error),
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
        let (state, Owners { writer, queue, syncer, handed }) = Self::load(store, clock, metrics, processors)?;
        let (end, ended) = oneshot::channel();
        let writer = spawn("writer", move || writer.run(&queue))?;
        spawn("sync", move || {
            if let Some(told) = syncer.run(&handed, writer) {
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
        let (handover, handed) = sync::handover();
        let (pace, own) = (Pace::new(processors), Arc::clone(&shared));
        let writer = Writer::new(store, own, pace, (Arc::clone(&syncer), handover));
        Ok((Self { shared, jobs }, Owners { writer, queue, syncer, handed }))
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
        mailbox: &Mailbox,
        command: Command,
        caller: Caller,
        request_id: Option<RequestId>,
    ) -> Result<Done, Error> {
        let request = request_id.map(|id| Request::new(id, &command));
        self.submit(mailbox, command, caller, request, None)?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Like [`State::execute`], and tells how far it is.
    pub async fn execute_with_progress(
        &self,
        mailbox: &Mailbox,
        command: Command,
        caller: Caller,
        request: Option<Request>,
        progress: Arc<Progress>,
    ) -> Result<Done, Error> {
        self.submit(mailbox, command, caller, request, Some(progress))?.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    fn submit(
        &self,
        mailbox: &Mailbox,
        command: Command,
        caller: Caller,
        request: Option<Request>,
        progress: Option<Arc<Progress>>,
    ) -> Result<oneshot::Receiver<Result<Done, Error>>, Error> {
        let (asker, answer) = mailbox.asker();
        let execute = Execute { command, caller, request, progress, asker };
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

impl Progress {
    /// Changes written, and changes to write.
    pub fn get(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, store::Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| store::Error::Damaged(format!("can't start the {name} thread: {error}")))
}

/// An error with everything that led to it, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn content_sha256(command: &Command) -> String {
    let mut hash = Sha256::new();
    // A command is plain data, which always serializes.
    let _ = serde_json::to_writer(HashWriter(&mut hash), command);
    HEXLOWER.encode(&hash.finalize())
}

struct HashWriter<'h>(&'h mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_is_noticed_wherever_it_is_waited_for() {
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
