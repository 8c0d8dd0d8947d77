//! The writer: the one thread that changes the state.
//!
//! It takes the queued commands without waiting for more, plans each against a working snapshot, and commits the batch.
//! Then the batch is synced and published, and only then are its replies sent. The writer does this itself if it has no
//! other work; otherwise the sync thread does (`sync.rs`). The throttle decides how many commands it takes, and when it
//! rests. Between commands it sleeps until the next session expires.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    batch::{Batch, FirstOutcome, answered},
    error::with_causes,
    job::{Job, QueuedCommand},
    replies::{self, Reply},
    shared::Shared,
    sync::{SyncQueue, Syncer, WrittenBatch},
    throttle::{Stopwatch, Throttle},
};
use crate::{
    domain::{
        ids::{OrganizationId, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, sqlite::Store},
};

/// The longest sleep while a session is going to expire. The server's clock doesn't measure a sleep, and a sleep
/// doesn't count the time that the machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How long a request id is remembered.
pub(super) const REQUEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) throttle: Throttle,
    pub(super) syncer: Arc<Syncer>,
    pub(super) sync_queue: SyncQueue,
    /// The state after the last commit. It is published once it is durable.
    pub(super) head: Arc<Snapshot>,
    pub(super) last_forgotten: Timestamp,
    /// Whether there may be more old request ids to forget.
    pub(super) is_forgetting: bool,
    pub(super) is_blocked: bool,
    /// Whether the write-ahead log is long, and there was no space for a checkpoint.
    pub(super) is_log_long: bool,
    /// Audit logs that were cut, with the last event to remove; `None` before the first look.
    pub(super) unswept: Option<Vec<(OrganizationId, Sequence)>>,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        shared: Arc<Shared>,
        throttle: Throttle,
        (syncer, sync_queue): (Arc<Syncer>, SyncQueue),
    ) -> Self {
        let last_forgotten = Timestamp::from_unix_ms(0);
        shared.metrics.store_writable.set(1);
        let head = shared.published.load_full();
        Self {
            store,
            shared,
            throttle,
            syncer,
            sync_queue,
            head,
            last_forgotten,
            is_forgetting: false,
            is_blocked: false,
            is_log_long: false,
            unswept: None,
        }
    }

    /// Run until [`Job::Stop`]. Then all jobs before it are in the log.
    pub(super) fn run(mut self, queue: &Receiver<Job>) -> Result<(), store::Error> {
        let mut next = None;
        loop {
            let first = match next.take().map_or_else(|| self.sleep(queue), Ok) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            };
            let began = Instant::now();
            if self.shared.has_reads.swap(false, Ordering::Relaxed) {
                self.throttle.note_read(began);
            }
            let (watch, most) = (Stopwatch::start(began), self.throttle.most(began));
            let mut stop = false;
            let mut jobs = Vec::new();
            for job in first.into_iter().chain(queue.try_iter()).take(most) {
                match job {
                    Job::Execute(pending) => {
                        self.shared.metrics.writer_queue.dec();
                        jobs.extend(pending.take_up().map(|queued| *queued));
                    }
                    // A file has one writer.
                    Job::News => {}
                    Job::Stop => {
                        stop = true;
                        break;
                    }
                }
            }
            let is_full = jobs.len() == most;
            self.shared.busy.writing(Some(began));
            let now = self.shared.clock.now();
            let written = self.run_batch(now, jobs)?;
            next = queue.try_recv().ok();
            if let Some(written) = written {
                // A command without others behind it need not wait until another thread wakes.
                if next.is_none() && self.sync_queue.is_empty() {
                    self.syncer.conclude(vec![written])?;
                } else if self.sync_queue.hand(written).is_err() {
                    // The log could not be synced. The sync thread reports the error.
                    return Ok(());
                }
            }
            self.tidy_up(now)?;
            self.shared.busy.writing(None);
            if stop {
                return self.finish();
            }
            // A rest begins only if a command waits already, so a single command never waits for its end.
            if is_full && next.is_some() {
                let now = Instant::now();
                thread::sleep(self.throttle.rest(now, watch.stop(now)));
            }
        }
    }

    /// Wait for a job, or until a session expires. Don't wait while there is something to sweep.
    fn sleep(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let is_sweeping = self.is_forgetting || self.unswept.as_ref().is_none_or(|unswept| !unswept.is_empty());
        if !self.is_blocked && is_sweeping {
            return queue.recv_timeout(Duration::ZERO);
        }
        let Some(next) = self.head.next_expiration() else {
            return queue.recv().map_err(|_| RecvTimeoutError::Disconnected);
        };
        // While the database isn't writable, expirations wait a little between tries.
        let until_next = if self.is_blocked { LONGEST_SLEEP } else { next.since(self.shared.clock.now()) };
        queue.recv_timeout(until_next.min(LONGEST_SLEEP))
    }

    /// Plan a batch and write it to the log. Return `None` if nothing is left to do for it.
    pub(super) fn run_batch(
        &mut self,
        now: Timestamp,
        mut jobs: Vec<QueuedCommand>,
    ) -> Result<Option<WrittenBatch>, store::Error> {
        // A caller that has given up doesn't expect the change any more.
        jobs.retain(|queued| !queued.reply_to.has_given_up());
        let mut trouble = None;
        let batch = Batch::plan(&self.head, now, &jobs, |organization_id, request_id| {
            match self.store.request(organization_id, request_id, now.minus(REQUEST_LIFE)) {
                // The store can't tell now whether the request was executed before.
                Err(error) if error.is_temporary() => {
                    let told = error.to_string();
                    trouble = Some(error);
                    Ok(FirstOutcome::Hidden(told))
                }
                found => Ok(found?.map_or(FirstOutcome::None, FirstOutcome::Found)),
            }
        })?;
        if let Some(error) = trouble {
            self.not_writable(&error);
        }
        self.commit(batch, jobs)
    }

    fn commit(&mut self, batch: Batch, jobs: Vec<QueuedCommand>) -> Result<Option<WrittenBatch>, store::Error> {
        let Batch { working, records, requests, answers, .. } = batch;
        let (progress, replies) = answered(jobs, answers);
        let began = Instant::now();
        if records.is_empty() && requests.is_empty() {
            // These replies may depend on batches that aren't durable yet, so they wait for their turn too.
            return Ok((!replies.is_empty()).then_some(WrittenBatch { state: None, replies, began }));
        }
        progress.iter().for_each(|progress| progress.expect(records.len()));
        let report = |done: usize| progress.iter().for_each(|progress| progress.reach(done));
        let written = self.shorten_log().and_then(|()| self.store.commit(&records, &requests, report));
        match written {
            Ok(()) => {
                self.unblocked();
                self.note_cuts(&records);
                self.head = Arc::new(working);
                Ok(Some(WrittenBatch { state: Some((Arc::clone(&self.head), records)), replies, began }))
            }
            Err(error) if error.is_temporary() => {
                // Nothing of the batch happened. Rejections are withheld too: they may depend on changes that didn't
                // happen.
                let refused = |reply| Reply { answer: Err(self.not_writable(&error)), ..reply };
                replies::send(replies.into_iter().map(refused));
                self.not_writable(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), store::Error> {
        // Nothing depends on it: changes that aren't in the database file yet are in the write-ahead log.
        if let Err(error) = self.store.checkpoint() {
            warn!(error = %with_causes(&error), "the write-ahead log could not be emptied");
        }
        Ok(())
    }
}
