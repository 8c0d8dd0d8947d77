//! The writer of a cluster's node: the one thread of the process that reads and writes the shared database.
//!
//! It plans a batch on the state that it knows and commits it, which the database refuses if another node was faster. Then
//! it locks the history's end, takes in the other nodes' changes, and plans again. Between batches it takes in the other
//! nodes' changes when they ring, and at intervals.
//!
//! INVARIANT: a reply is sent only after the database confirmed the state that it rests on: by the batch's commit, or by
//! a read of the history's end.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    domain::{
        ids::{OrganizationId, Sequence},
        snapshot::Snapshot,
        time::Timestamp,
    },
    state::{
        error::{Error, with_causes},
        job::{Job, QueuedCommand},
        replies::{self, Reply},
        shared::Shared,
    },
    store::{
        self,
        postgres::{Bell, Store},
    },
};

/// The most commands of a batch.
const MAX_COMMANDS: usize = 256;

/// The longest time between two reads of the history's end.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long a command waits for a database that doesn't answer, if its caller waits so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long the database may be silent before its connection counts as lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(5);

/// The pause before the next attempt to reach the database.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// The writer of a node.
pub(crate) struct Node {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) bell: Bell,
    /// The state that includes all changes that this node knows.
    pub(super) head: Arc<Snapshot>,
    /// The number of batches that are still committed with the lock.
    pub(super) locked_batches: u32,
    /// The number of records of the batch that was refused last, which is planned again with the lock.
    pub(super) expected_records: usize,
    pub(super) is_blocked: bool,
    /// Commands that were taken from the queue and not executed yet.
    backlog: VecDeque<QueuedCommand>,
    pub(super) is_stopping: bool,
    pub(super) last_forgotten: Timestamp,
    pub(super) is_forgetting: bool,
    /// Audit logs that were cut, with the last event to remove; `None` before the first look.
    pub(super) unswept: Option<Vec<(OrganizationId, Sequence)>>,
}

/// The result of one attempt at a batch.
pub(super) enum Attempt {
    /// All of its commands are answered.
    Answered,
    /// Another node was faster, or the outcome was unknown and is known now. The commands are planned again.
    Again(Vec<QueuedCommand>),
}

impl Node {
    pub(crate) fn new(store: Store, shared: Arc<Shared>, bell: Bell) -> Self {
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
    pub(crate) fn run(mut self, queue: &Receiver<Job>) -> Result<(), store::Error> {
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
                Err((error, left)) if may_pass(&error) => {
                    self.blocked(&error);
                    jobs = self.refuse_old(left, &error);
                    self.refuse_backlog(queue, &error);
                    if is_poll && jobs.is_empty() {
                        return Ok(());
                    }
                    thread::sleep(PAUSE);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Refuse the commands in the queue and the backlog that have waited for too long.
    pub(super) fn refuse_backlog(&mut self, queue: &Receiver<Job>, error: &store::Error) {
        self.take_waiting(queue);
        let backlog = std::mem::take(&mut self.backlog);
        self.backlog = self.refuse_old(backlog.into(), error).into();
    }

    /// Refuse the commands that have waited for too long, and return the others. None of them happened.
    fn refuse_old(&self, jobs: Vec<QueuedCommand>, error: &store::Error) -> Vec<QueuedCommand> {
        let (old, waiting): (Vec<QueuedCommand>, Vec<QueuedCommand>) =
            jobs.into_iter().partition(|queued| self.is_stopping || queued.submitted.elapsed() >= PATIENCE);
        // The address of the database is for operators.
        let told = match error {
            store::Error::Unusable { .. } => "PostgreSQL refuses this server".to_owned(),
            error => error.to_string(),
        };
        let refused =
            |queued: QueuedCommand| Reply { reply_to: queued.reply_to, answer: Err(Error::NotWritable(told.clone())) };
        replies::send(old.into_iter().map(refused));
        waiting
    }

    pub(super) fn blocked(&mut self, error: &store::Error) {
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
}

/// Return whether a node goes on after an error, and tries again. A node that has decided once doesn't end because
/// PostgreSQL refuses it now, for example after a change of its password.
pub(super) fn may_pass(error: &store::Error) -> bool {
    error.is_temporary() || matches!(error, store::Error::Unusable { .. })
}

/// Return a wait that ends after this time.
pub(super) fn lost_after(longest: Duration) -> impl FnMut(Duration) -> ControlFlow<()> {
    move |waited| if waited < longest { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
