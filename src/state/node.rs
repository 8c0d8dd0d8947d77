//! The writer of a cluster's node: the one thread of the process that reads and writes the shared database.
//!
//! It plans a batch on the state that it knows and commits it, which the database refuses if another node was faster. Then
//! it locks the history's end, takes in the other nodes' changes, and plans again. Between batches it takes in the other
//! nodes' changes when they ring, and at intervals.
//!
//! INVARIANT: a reply is sent only after the database confirmed the state that it rests on: by the batch's commit, or by
//! a read of the history's end.

use std::{
    cell::Cell,
    collections::VecDeque,
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::{
    batch::{Batch, FirstOutcome, answered},
    clock::Clock,
    error::{Error, with_causes},
    housekeeping::{FORGET_EVERY, MAX_FORGOTTEN, MAX_SWEPT},
    job::{Job, QueuedCommand},
    publish::{publish, publish_anew},
    replies::{self, Done, Reply},
    shared::Shared,
    writer::REQUEST_LIFE,
};
use crate::{
    domain::{
        change::{Event, Record},
        ids::{OrganizationId, RequestId, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{
        self, RequestRecord,
        postgres::{Bell, Commit, Locking, News, Store},
    },
};

/// The most commands of a batch.
const MAX_COMMANDS: usize = 256;

/// The longest time between two reads of the history's end.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long a command waits for a database that doesn't answer, if its caller waits so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the database may be silent before its connection counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// The additional time for each record of a batch.
const PER_RECORD: Duration = Duration::from_millis(1);

/// The pause before the next attempt to reach the database.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of batches that are committed with the lock after another node was faster.
const LOCKED_BATCHES: u32 = 8;

/// The difference between the node's clock and the database's above which nothing is written.
const LARGEST_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// The writer of a node.
pub(super) struct Node {
    store: Store,
    shared: Arc<Shared>,
    bell: Bell,
    /// The state that includes all changes that this node knows.
    head: Arc<Snapshot>,
    /// The number of batches that are still committed with the lock.
    locked_batches: u32,
    /// The number of records of the batch that was refused last, which is planned again with the lock.
    expected_records: usize,
    is_blocked: bool,
    /// Commands that were taken from the queue and not executed yet.
    backlog: VecDeque<QueuedCommand>,
    is_stopping: bool,
    last_forgotten: Timestamp,
    is_forgetting: bool,
    /// Audit logs that were cut, with the last event to remove; `None` before the first look.
    unswept: Option<Vec<(OrganizationId, Sequence)>>,
}

/// The result of one attempt at a batch.
enum Attempt {
    /// All of its commands are answered.
    Answered,
    /// Another node was faster, or the outcome was unknown and is known now. The commands are planned again.
    Again(Vec<QueuedCommand>),
}

impl Node {
    pub(super) fn new(store: Store, shared: Arc<Shared>, bell: Bell) -> Self {
        shared.metrics.store_writable.set(1);
        let head = shared.published.load_full();
        Self {
            store,
            shared,
            bell,
            head,
            locked_batches: 0,
            expected_records: 0,
            is_blocked: false,
            backlog: VecDeque::new(),
            is_stopping: false,
            last_forgotten: Timestamp::from_unix_ms(0),
            is_forgetting: false,
            unswept: None,
        }
    }

    /// Run until [`Job::Stop`].
    pub(super) fn run(mut self, queue: &Receiver<Job>) -> Result<(), store::Error> {
        loop {
            if self.backlog.is_empty() {
                let first = match queue.recv_timeout(self.until_next()) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                };
                first.into_iter().for_each(|job| self.take(job));
            }
            self.take_waiting(queue);
            let most = self.backlog.len().min(MAX_COMMANDS);
            let jobs: Vec<QueuedCommand> = self.backlog.drain(..most).collect();
            self.shared.busy.writing(Some(Instant::now()));
            self.execute(queue, jobs)?;
            self.shared.busy.writing(None);
            if self.is_stopping && self.backlog.is_empty() {
                return Ok(());
            }
            self.tidy_up();
        }
    }

    /// Return how long to sleep: until the next read of the history's end, or until a session expires.
    fn until_next(&self) -> Duration {
        if self.is_forgetting || self.unswept.as_ref().is_some_and(|unswept| !unswept.is_empty()) {
            return Duration::ZERO;
        }
        let next = self.head.next_expiration().map_or(POLL_EVERY, |next| next.since(self.shared.clock.now()));
        if self.is_blocked { PAUSE } else { next.clamp(Duration::from_millis(1), POLL_EVERY) }
    }

    fn take(&mut self, job: Job) {
        match job {
            // Commands after the stop are refused when they are dropped.
            Job::Execute(pending) if self.is_stopping => drop(pending),
            Job::Execute(pending) => {
                self.shared.metrics.writer_queue.dec();
                self.backlog.extend(pending.take_up().map(|queued| *queued));
            }
            Job::News => {}
            Job::Stop => self.is_stopping = true,
        }
    }

    fn take_waiting(&mut self, queue: &Receiver<Job>) {
        for job in queue.try_iter() {
            self.take(job);
        }
    }

    /// Execute a batch to its end: until each of its commands is answered. Without commands, take in the other nodes'
    /// changes, and end expired sessions.
    fn execute(&mut self, queue: &Receiver<Job>, mut jobs: Vec<QueuedCommand>) -> Result<(), store::Error> {
        let is_poll = jobs.is_empty();
        loop {
            jobs.retain(|queued| !queued.reply_to.has_given_up());
            if jobs.is_empty() && !is_poll {
                return Ok(());
            }
            match self.attempt(queue, jobs) {
                Ok(Attempt::Answered) => {
                    self.unblocked();
                    return Ok(());
                }
                Ok(Attempt::Again(left)) => jobs = left,
                Err((store::Error::Rewritten(problem), left)) => {
                    self.load_anew(queue, &problem)?;
                    jobs = left;
                }
                Err((error, left)) if error.is_temporary() => {
                    self.blocked(&error);
                    jobs = self.refuse_old(left, &error);
                    self.take_waiting(queue);
                    let backlog = std::mem::take(&mut self.backlog);
                    self.backlog = self.refuse_old(backlog.into(), &error).into();
                    if is_poll && jobs.is_empty() {
                        return Ok(());
                    }
                    thread::sleep(PAUSE);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Refuse the commands that have waited for too long, and return the others. None of them happened.
    fn refuse_old(&self, jobs: Vec<QueuedCommand>, error: &store::Error) -> Vec<QueuedCommand> {
        let (old, waiting): (Vec<QueuedCommand>, Vec<QueuedCommand>) =
            jobs.into_iter().partition(|queued| self.is_stopping || queued.submitted.elapsed() >= PATIENCE);
        let refused = |queued: QueuedCommand| Reply {
            reply_to: queued.reply_to,
            answer: Err(Error::NotWritable(error.to_string())),
        };
        replies::send(old.into_iter().map(refused));
        waiting
    }

    /// Try once to execute a batch. An error returns the commands, none of which happened.
    fn attempt(
        &mut self,
        queue: &Receiver<Job>,
        jobs: Vec<QueuedCommand>,
    ) -> Result<Attempt, (store::Error, Vec<QueuedCommand>)> {
        let began = Instant::now();
        if jobs.is_empty() {
            if let Err(error) = self.catch_up() {
                return Err((error, jobs));
            }
        } else if !self.store.is_connected()
            && let Err(error) = self.catch_up()
        {
            return Err((error, jobs));
        }
        if let Err(error) = self.check_clock() {
            return Err((error, jobs));
        }
        let locking = if self.locked_batches > 0 && !jobs.is_empty() { Locking::Held } else { Locking::None };
        let mut known = Vec::new();
        if locking == Locking::Held {
            match self.lock(&jobs) {
                Ok(Some(found)) => known = found,
                Ok(None) => return Ok(Attempt::Again(jobs)),
                Err(error) => return Err((error, jobs)),
            }
        }
        let now = self.shared.clock.now().max(self.store.last_time());
        let planned = Batch::plan(&self.head, now, &jobs, |organization_id, request_id| {
            Ok(remembered(&known, organization_id, request_id, now))
        });
        let mut batch = match planned {
            Ok(batch) => batch,
            Err(error) => return Err((error, jobs)),
        };
        let may_be_repeated =
            |(queued, answer): (&QueuedCommand, &Result<Done, Error>)| queued.request.is_some() && answer.is_err();
        if locking == Locking::None && jobs.iter().zip(&batch.answers).any(may_be_repeated) {
            // Only a look with the lock tells whether a rejected request was carried out before.
            self.locked_batches = self.locked_batches.max(1);
            return Ok(Attempt::Again(jobs));
        }
        if batch.is_empty() {
            return self.answer_without_change(jobs, batch, locking);
        }
        for progress in jobs.iter().filter_map(|queued| queued.progress.as_ref()) {
            progress.expect(batch.records.len());
        }
        let report = |done: usize| {
            for progress in jobs.iter().filter_map(|queued| queued.progress.as_ref()) {
                progress.reach(done);
            }
        };
        let written = (batch.records.as_slice(), batch.requests.as_slice());
        // PostgreSQL works at a large import for longer than a lost connection is waited for.
        let longest = LOST_AFTER + PER_RECORD.saturating_mul(u32::try_from(batch.records.len()).unwrap_or(u32::MAX));
        let committed = self.store.commit(written, locking, report, &mut lost_after(longest));
        match committed {
            Ok(Commit::Done) => {
                self.locked_batches = self.locked_batches.saturating_sub(1);
                self.expected_records = 0;
                let records = std::mem::take(&mut batch.records);
                self.conclude(batch, records, jobs, began);
                Ok(Attempt::Answered)
            }
            Ok(Commit::Behind) => {
                self.shared.metrics.commit_conflicts.inc();
                self.locked_batches = LOCKED_BATCHES;
                self.expected_records = batch.records.len();
                if jobs.is_empty() { Ok(Attempt::Answered) } else { Ok(Attempt::Again(jobs)) }
            }
            Ok(Commit::Unknown) => self.settle(queue, batch, jobs, began),
            Err(error) => Err((error, jobs)),
        }
    }

    /// Answer a batch that changes nothing, if the history's end is still the one on which it was planned.
    fn answer_without_change(
        &mut self,
        jobs: Vec<QueuedCommand>,
        batch: Batch,
        locking: Locking,
    ) -> Result<Attempt, (store::Error, Vec<QueuedCommand>)> {
        let before = self.head.revision();
        let confirmed = match locking {
            Locking::Held => self.store.unlock(&mut lost_after(LOST_AFTER)),
            Locking::None if jobs.is_empty() => Ok(()),
            Locking::None => self.catch_up(),
        };
        if let Err(error) = confirmed {
            return Err((error, jobs));
        }
        if self.head.revision() != before {
            return Ok(Attempt::Again(jobs));
        }
        self.shared.freshness.saw_all(Instant::now());
        let (_, replies) = answered(jobs, batch.answers);
        replies::send(replies);
        Ok(Attempt::Answered)
    }

    /// Publish a batch that is durable, and send its replies.
    fn conclude(&mut self, batch: Batch, records: Vec<Record>, jobs: Vec<QueuedCommand>, began: Instant) {
        self.note_cuts(&records);
        self.head = Arc::new(batch.working);
        self.shared.metrics.committed(jobs.len(), began.elapsed());
        publish(&self.shared, Arc::clone(&self.head), records);
        self.shared.freshness.saw_all(Instant::now());
        let (_, replies) = answered(jobs, batch.answers);
        replies::send(replies);
        self.bell.ring();
    }

    /// Find out whether a batch with an unknown outcome happened. Callers who wait for too long are told that its outcome
    /// is unknown.
    fn settle(
        &mut self,
        queue: &Receiver<Job>,
        mut batch: Batch,
        jobs: Vec<QueuedCommand>,
        began: Instant,
    ) -> Result<Attempt, (store::Error, Vec<QueuedCommand>)> {
        warn!("the outcome of a commit is unknown; the node asks the database");
        self.shared.metrics.unknown_outcomes.inc();
        let mut waiting: Vec<(QueuedCommand, Result<Done, Error>)> =
            jobs.into_iter().zip(std::mem::take(&mut batch.answers)).collect();
        loop {
            let (old, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(queued, _)| self.is_stopping || queued.submitted.elapsed() >= PATIENCE + LOST_AFTER);
            let unknown =
                |queued: QueuedCommand| Reply { reply_to: queued.reply_to, answer: Err(Error::OutcomeUnknown) };
            replies::send(old.into_iter().map(|(queued, _)| unknown(queued)));
            waiting = rest;
            if waiting.is_empty() {
                // The log will show whether it happened.
                self.store.abandon();
                return Ok(Attempt::Again(Vec::new()));
            }
            match self.store.settle(&mut lost_after(PATIENCE)) {
                Ok(true) => {
                    info!("the commit with the unknown outcome happened");
                    let (jobs, answers) = waiting.into_iter().unzip();
                    batch.answers = answers;
                    let records = std::mem::take(&mut batch.records);
                    self.conclude(batch, records, jobs, began);
                    return Ok(Attempt::Answered);
                }
                Ok(false) => {
                    info!("the commit with the unknown outcome didn't happen, and is repeated");
                    let left = waiting.into_iter().map(|(queued, _)| queued).collect();
                    return match self.catch_up() {
                        Ok(()) => Ok(Attempt::Again(left)),
                        Err(error) => Err((error, left)),
                    };
                }
                Err(store::Error::Rewritten(problem)) => {
                    // The batch is part of the lost history, or of none.
                    let left = waiting.into_iter().map(|(queued, _)| queued).collect();
                    self.store.abandon();
                    return Err((store::Error::Rewritten(problem), left));
                }
                Err(error) if error.is_temporary() => {
                    self.blocked(&error);
                    self.take_waiting(queue);
                    let backlog = std::mem::take(&mut self.backlog);
                    self.backlog = self.refuse_old(backlog.into(), &error).into();
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err((error, Vec::new())),
            }
        }
    }

    /// Take in all changes of other nodes.
    fn catch_up(&mut self) -> Result<(), store::Error> {
        loop {
            let asked = Instant::now();
            let news = self.store.news(&mut lost_after(LOST_AFTER))?;
            let is_partial = news.is_partial;
            self.take_in(news)?;
            if !is_partial {
                self.shared.freshness.saw_all(asked);
                return Ok(());
            }
        }
    }

    /// Lock the history's end and return the first outcomes of the commands' requests, or `None` if there was too much
    /// to take in for the time of a lock.
    fn lock(&mut self, jobs: &[QueuedCommand]) -> Result<Option<Vec<RequestRecord>>, store::Error> {
        let id = |queued: &QueuedCommand| {
            queued.request.as_ref().map(|request| (queued.command.organization_id.clone(), request.id.clone()))
        };
        let ids: Vec<(OrganizationId, RequestId)> = jobs.iter().filter_map(id).collect();
        let began = Instant::now();
        let (news, known) = self.store.lock(&ids, self.expected_records, &mut lost_after(LOST_AFTER))?;
        self.shared.metrics.lock_duration.observe(began.elapsed().as_secs_f64());
        let is_partial = news.is_partial;
        self.take_in(news)?;
        if is_partial {
            self.catch_up()?;
            return Ok(None);
        }
        Ok(Some(known))
    }

    /// Apply the changes of other nodes, and publish them.
    fn take_in(&mut self, News { records, epoch, is_partial: _ }: News) -> Result<(), store::Error> {
        if records.is_empty() && epoch.is_none() {
            return Ok(());
        }
        let mut state = Snapshot::clone(&self.head);
        for record in &records {
            let applied = state.apply(&record.change);
            applied.map_err(|error| store::Error::Rewritten(error.to_string()))?;
        }
        if let Some((lineage, epochs)) = epoch {
            info!(epoch = lineage.epoch, "a new epoch of the history has begun");
            state = state.in_epoch(lineage, epochs);
        }
        self.note_cuts(&records);
        self.head = Arc::new(state);
        publish(&self.shared, Arc::clone(&self.head), records);
        Ok(())
    }

    /// Load the state anew, because the database's history doesn't include the changes that this node has seen. Until
    /// then, the node answers nothing.
    fn load_anew(&mut self, queue: &Receiver<Job>, problem: &str) -> Result<(), store::Error> {
        error!(
            problem,
            "the database's history was rewritten: acknowledged changes may be lost; the node answers nothing until it \
             has loaded the state anew"
        );
        self.shared.metrics.rewritten_histories.inc();
        self.shared.freshness.set_rewritten(true);
        loop {
            match self.store.load(|_| {}, &mut |_| ControlFlow::Continue(())) {
                Ok(state) => {
                    self.head = Arc::new(state);
                    publish_anew(&self.shared, Arc::clone(&self.head));
                    self.shared.freshness.set_rewritten(false);
                    self.unswept = None;
                    info!(revision = %self.head.revision(), "the state is loaded anew");
                    return Ok(());
                }
                Err(error) if error.is_temporary() => {
                    self.blocked(&error);
                    self.take_waiting(queue);
                    let backlog = std::mem::take(&mut self.backlog);
                    self.backlog = self.refuse_old(backlog.into(), &error).into();
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
            if self.is_stopping {
                return Ok(());
            }
        }
    }

    /// Follow the database's clock. While the two differ by too much, nothing is written.
    fn check_clock(&self) -> Result<(), store::Error> {
        let difference = self.shared.clock.follow_reference(self.store.clock().ahead_ms());
        if difference <= LARGEST_CLOCK_DIFFERENCE {
            return Ok(());
        }
        Err(store::Error::Refused(format!(
            "the clocks of this node and of PostgreSQL differ by {} s; set the clocks right, and restart the node if its \
             own was wrong",
            difference.as_secs()
        )))
    }

    fn blocked(&mut self, error: &store::Error) {
        if !self.is_blocked {
            warn!(error = %with_causes(error), "database isn't writable; changes are refused, decisions go on");
        }
        self.is_blocked = true;
        self.shared.metrics.store_writable.set(0);
    }

    fn unblocked(&mut self) {
        if self.is_blocked {
            info!("database is writable again");
        }
        self.is_blocked = false;
        self.shared.metrics.store_writable.set(1);
    }

    fn note_cuts(&mut self, records: &[Record]) {
        for record in records {
            if let (Event::AuditLogCut { through, hash: _ }, Some(unswept)) = (&record.change.event, &mut self.unswept)
            {
                unswept.push((record.change.organization_id.clone(), *through));
            }
        }
    }

    /// Forget old request ids, and remove cut audit events, a few at a time. Every node does it; a failure is tried again
    /// at the next time.
    fn tidy_up(&mut self) {
        if self.is_blocked || !self.store.is_connected() {
            return;
        }
        let now = self.shared.clock.now();
        if now.since(self.last_forgotten) >= FORGET_EVERY {
            self.last_forgotten = now;
            self.is_forgetting = true;
        }
        if self.is_forgetting {
            let forgotten = self.store.forget_requests(now.minus(REQUEST_LIFE), MAX_FORGOTTEN);
            self.is_forgetting = forgotten.is_ok_and(|forgotten| forgotten == MAX_FORGOTTEN);
        }
        if self.unswept.is_none() {
            self.unswept = self.store.unswept().ok();
        }
        if let Some(unswept) = &mut self.unswept
            && let Some((organization_id, through)) = unswept.last()
            && self.store.sweep(organization_id, *through, MAX_SWEPT).is_ok_and(|swept| swept == 0)
        {
            unswept.pop();
        }
    }
}

/// How often a start reports that the database can't be reached.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Load the state at start. Waits until the database can be reached, and says so. The clock starts at the database's
/// time.
pub(super) fn load(store: &mut Store, clock: &dyn Clock) -> Result<Snapshot, store::Error> {
    let (began, mut reported) = (Instant::now(), None::<Instant>);
    let rows = Cell::new(0);
    loop {
        let report = |more: u64| {
            rows.set(rows.get() + more);
            info!(rows = rows.get(), "loading the database");
        };
        match store.load(report, &mut |_| ControlFlow::Continue(())) {
            Ok(snapshot) => {
                clock.follow_reference(store.clock().ahead_ms());
                return Ok(snapshot);
            }
            Err(error) if error.is_temporary() => {
                if reported.is_none_or(|reported| reported.elapsed() >= REPORT_EVERY) {
                    reported = Some(Instant::now());
                    warn!(error = %with_causes(&error), waited = ?began.elapsed(), "waiting for the database");
                }
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Return the first outcome of a request, if it was carried out less than [`REQUEST_LIFE`] ago. Without the lock, none is
/// known, and the database refuses a request id that exists.
fn remembered(
    known: &[RequestRecord],
    organization_id: &OrganizationId,
    request_id: &RequestId,
    now: Timestamp,
) -> FirstOutcome {
    let since = now.minus(REQUEST_LIFE);
    let is_it = |record: &&RequestRecord| {
        record.organization_id == *organization_id && record.request_id == *request_id && record.time >= since
    };
    known.iter().find(is_it).cloned().map_or(FirstOutcome::None, FirstOutcome::Found)
}

/// Return a wait that ends after this time.
fn lost_after(longest: Duration) -> impl FnMut(Duration) -> ControlFlow<()> {
    move |waited| if waited < longest { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
