//! The writer: the one thread that changes the state.
//!
//! It takes the queued commands without waiting for more, plans each against a working snapshot, and commits the batch.
//! Then the batch is synced and published, and only then are its replies sent. The writer does this itself if it has no
//! other work; otherwise the sync thread does (`sync.rs`). The throttle decides how many commands it takes, and when it
//! rests. Between commands it sleeps until the next session expires.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::warn;
use uuid::Uuid;

use super::{
    batch::Batch,
    error::{Error, with_causes},
    job::{Job, QueuedCommand, RequestKey},
    replies::{self, Done, Reply},
    shared::Shared,
    sync::{SyncQueue, Syncer, WrittenBatch},
    throttle::{Stopwatch, Throttle},
};
use crate::{
    domain::{
        change::{Inapplicable, Origin},
        command::{Command, Outcome, Rejection},
        ids::{Caller, OrganizationId, RequestId, Revision, Sequence},
        plan::{Context, plan, plan_expirations, plan_refusal},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, RequestRecord, Store},
};

/// The most expired sessions in one commit.
const MAX_EXPIRATIONS: usize = 10_000;

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
        jobs: Vec<QueuedCommand>,
    ) -> Result<Option<WrittenBatch>, store::Error> {
        let working = Snapshot::clone(&self.head);
        let mut batch = Batch {
            now,
            working,
            // Version 7 UUIDs rise with time, so new rows land on few pages.
            new_session: Uuid::now_v7().as_u128(),
            records: Vec::new(),
            requests: Vec::new(),
            named: HashMap::new(),
            replies: Vec::new(),
            progress: Vec::new(),
        };
        let expirations = plan_expirations(&batch.working, now, MAX_EXPIRATIONS);
        batch.accept(expirations, &Origin { caller: Caller::server(), actor: None }).map_err(damaged)?;
        for job in jobs {
            let QueuedCommand { command, caller, request, progress, reply_to } = job;
            if reply_to.has_given_up() {
                // A caller that has given up doesn't expect the change any more.
                continue;
            }
            batch.progress.extend(progress);
            let answer = match self.execute(&mut batch, &command, caller, request) {
                // The store can't tell now whether the request was executed before.
                Err(error) if error.is_temporary() => Err(self.not_writable(&error)),
                answer => answer?,
            };
            batch.replies.push(Reply { reply_to, answer });
        }
        self.commit(batch)
    }

    fn execute(
        &self,
        batch: &mut Batch,
        command: &Command,
        caller: Caller,
        request: Option<RequestKey>,
    ) -> Result<Result<Done, Error>, store::Error> {
        if let Some(request) = &request
            && let Some(first) = self.first_outcome(batch, &command.organization_id, &request.id)?
        {
            return Ok(repeated(&first, request, batch.working.revision()));
        }
        let context = Context { now: batch.now, new_session: batch.new_session };
        let origin = Origin { caller, actor: command.actor.clone() };
        let planned = match plan(&batch.working, command, &context) {
            Ok(planned) => planned,
            Err(rejection) => {
                // An organization that never existed has no log.
                let is_there = batch.working.organization(command.organization_id.as_str()).is_some();
                if let (Rejection::ActorNotPermitted(refusal), true) = (&rejection, is_there) {
                    let changes = plan_refusal(&batch.working, command, refusal, &context);
                    batch.accept(changes, &origin).map_err(damaged)?;
                }
                return Ok(Err(rejection.into()));
            }
        };
        if let Err(error) = batch.accept(planned.changes, &origin) {
            return Ok(Err(Rejection::from(error).into()));
        }
        let done = Done { outcome: planned.outcome, revision: batch.working.revision() };
        if let Some(request) = request {
            batch.remember(&command.organization_id, request, &done)?;
        }
        Ok(Ok(done))
    }

    /// Return the record of the first request with this id, in this batch or an earlier one, or `None`.
    fn first_outcome(
        &self,
        batch: &Batch,
        organization_id: &OrganizationId,
        request_id: &RequestId,
    ) -> Result<Option<RequestRecord>, store::Error> {
        let in_batch = batch.named.get(&(organization_id.clone(), request_id.clone()));
        if let Some(first) = in_batch.and_then(|index| batch.requests.get(*index)) {
            return Ok(Some(first.clone()));
        }
        self.store.request(organization_id, request_id, batch.now.minus(REQUEST_LIFE))
    }

    fn commit(&mut self, batch: Batch) -> Result<Option<WrittenBatch>, store::Error> {
        let Batch { now: _, working, new_session: _, records, requests, named: _, replies, progress } = batch;
        let began = Instant::now();
        if records.is_empty() && requests.is_empty() {
            // These replies may depend on batches that aren't durable yet, so they wait for their turn too.
            return Ok((!replies.is_empty()).then_some(WrittenBatch { state: None, replies, began }));
        }
        let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
        for progress in &progress {
            progress.total.store(total, Ordering::Relaxed);
        }
        let report = |done: usize| {
            for progress in &progress {
                progress.done.store(u64::try_from(done).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        };
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

/// Return the first outcome if the request is the same. Otherwise its id was used for another request.
fn repeated(first: &RequestRecord, request: &RequestKey, now: Revision) -> Result<Done, Error> {
    if first.content_sha256 != request.content_sha256 {
        return Err(Error::RequestIdReused(request.id.clone()));
    }
    match serde_json::from_str::<Outcome>(&first.outcome) {
        Ok(outcome) => Ok(Done { outcome, revision: Revision { sequence: first.sequence, ..now } }),
        Err(error) => Err(Error::Internal(format!(
            "the remembered outcome of request_id `{}` can't be read: {error}",
            request.id
        ))),
    }
}

/// Convert the error of an inapplicable change that the rules themselves made: the state can't be trusted any more.
fn damaged(error: Inapplicable) -> store::Error {
    store::Error::Damaged(error.to_string())
}
