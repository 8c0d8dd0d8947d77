//! The one thread that changes the state.
//!
//! It takes what is queued without waiting for more, plans it command by command against a working snapshot, and commits the
//! batch. Then the batch is synced, published, and only then answered: by the writer itself if nothing else is to be done,
//! and otherwise beside it (`sync.rs`). How much it takes, and when it rests, says its pace. Between commands it sleeps until
//! the next session expires.

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

use tracing::{info, warn};
use uuid::Uuid;

use super::{
    Done, Error, Execute, Job, Progress, Request, Shared, chain,
    mailbox::{self, Reply},
    pace::{Pace, Stopwatch},
    sync::{Handover, Syncer, Written},
};
use crate::{
    domain::{
        change::{Event, Inapplicable, Origin, Record},
        command::{Command, Outcome, Rejection},
        ids::{Caller, OrganizationId, RequestId, Revision, Sequence},
        plan::{Changes, Context, plan, plan_expirations, plan_refusal},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, RequestRecord, Store},
};

/// How many expired sessions go into one commit at most.
const MOST_EXPIRATIONS: usize = 10_000;

/// How many audit events that were cut off are removed in one go.
const MOST_SWEPT: usize = 1_000;

/// The longest sleep while a session is going to expire: a sleep is not measured by the server's clock, and doesn't count
/// the time that a machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How long a request id is remembered.
const REQUEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the writer begins to forget old request ids.
const FORGET_EVERY: Duration = Duration::from_secs(10 * 60);

/// How many it forgets in one step. No batch brings as many, so it comes to the end however much is asked.
const MOST_FORGOTTEN: usize = 256;

pub(super) struct Writer {
    store: Store,
    shared: Arc<Shared>,
    pace: Pace,
    syncer: Arc<Syncer>,
    handover: Handover,
    /// The state after the last commit. What is published comes after it, once that is durable.
    head: Arc<Snapshot>,
    last_forgotten: Timestamp,
    /// Whether there may be more old request ids to forget.
    is_forgetting: bool,
    is_blocked: bool,
    /// Whether the write-ahead log is long, and there was no space to move it into the file.
    is_log_long: bool,
    /// Audit logs that were cut, with the last event to remove; none is known before they are looked for.
    unswept: Option<Vec<(OrganizationId, Sequence)>>,
}

/// A batch as it is being put together.
struct Batch {
    now: Timestamp,
    working: Snapshot,
    /// The bits of the next session's id. They count up from what is drawn for the batch.
    new_session: u128,
    records: Vec<Record>,
    requests: Vec<RequestRecord>,
    /// Requests of this batch, which the store doesn't have yet.
    named: HashMap<(OrganizationId, RequestId), usize>,
    /// Held back until the batch is durable.
    replies: Vec<Reply>,
    progress: Vec<Arc<Progress>>,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        shared: Arc<Shared>,
        pace: Pace,
        (syncer, handover): (Arc<Syncer>, Handover),
    ) -> Self {
        let last_forgotten = Timestamp::from_unix_ms(0);
        shared.metrics.store_writable.set(1);
        let head = shared.published.load_full();
        Self {
            store,
            shared,
            pace,
            syncer,
            handover,
            head,
            last_forgotten,
            is_forgetting: false,
            is_blocked: false,
            is_log_long: false,
            unswept: None,
        }
    }

    /// Runs until it is to stop, and everything that was asked before is in the log.
    pub(super) fn run(mut self, queue: &Receiver<Job>) -> Result<(), store::Error> {
        let mut next = None;
        loop {
            let first = match next.take().map_or_else(|| self.sleep(queue), Ok) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            };
            let began = Instant::now();
            if self.shared.asked.swap(false, Ordering::Relaxed) {
                self.pace.asked(began);
            }
            let (watch, most) = (Stopwatch::start(began), self.pace.most(began));
            let mut stop = false;
            let mut jobs = Vec::new();
            for job in first.into_iter().chain(queue.try_iter()).take(most) {
                match job {
                    Job::Execute(execute) => {
                        self.shared.metrics.writer_queue.dec();
                        jobs.extend(execute.take_up().map(|execute| *execute));
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
                // Whoever comes alone need not wait until another thread is awake.
                if next.is_none() && self.handover.is_empty() {
                    self.syncer.conclude(vec![written])?;
                } else if self.handover.hand(written).is_err() {
                    // The log could not be synced. Whoever tried says so.
                    return Ok(());
                }
            }
            self.tidy_up(now)?;
            self.shared.busy.writing(None);
            if stop {
                return self.finish();
            }
            // A rest begins only if somebody waits already, so whoever comes alone doesn't wait for its end.
            if is_full && next.is_some() {
                let now = Instant::now();
                thread::sleep(self.pace.rest(now, watch.stop(now)));
            }
        }
    }

    /// Waits for a job, or until a session expires; not at all while there is something to sweep.
    fn sleep(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let is_sweeping = self.is_forgetting || self.unswept.as_ref().is_none_or(|unswept| !unswept.is_empty());
        if !self.is_blocked && is_sweeping {
            return queue.recv_timeout(Duration::ZERO);
        }
        let Some(next) = self.head.next_expiration() else {
            return queue.recv().map_err(|_| RecvTimeoutError::Disconnected);
        };
        // While nothing can be written, expirations wait a little rather than being tried again and again.
        let until_next = if self.is_blocked { LONGEST_SLEEP } else { next.since(self.shared.clock.now()) };
        queue.recv_timeout(until_next.min(LONGEST_SLEEP))
    }

    /// Carries out a batch as far as the log. None if nothing is left to be done for it.
    fn run_batch(&mut self, now: Timestamp, jobs: Vec<Execute>) -> Result<Option<Written>, store::Error> {
        let working = Snapshot::clone(&self.head);
        let mut batch = Batch {
            now,
            working,
            // Version 7 rises with time, so new rows land on few pages.
            new_session: Uuid::now_v7().as_u128(),
            records: Vec::new(),
            requests: Vec::new(),
            named: HashMap::new(),
            replies: Vec::new(),
            progress: Vec::new(),
        };
        let expirations = plan_expirations(&batch.working, now, MOST_EXPIRATIONS);
        batch.accept(expirations, &Origin { caller: Caller::server(), actor: None }).map_err(damaged)?;
        for job in jobs {
            let Execute { command, caller, request, progress, asker } = job;
            if asker.has_given_up() {
                // They will not expect it to happen now.
                continue;
            }
            batch.progress.extend(progress);
            let answer = match self.execute(&mut batch, &command, caller, request) {
                // Whether it was carried out before can't be known now.
                Err(error) if error.is_temporary() => Err(self.not_writable(&error)),
                answer => answer?,
            };
            batch.replies.push(Reply { asker, answer });
        }
        self.commit(batch)
    }

    fn execute(
        &self,
        batch: &mut Batch,
        command: &Command,
        caller: Caller,
        request: Option<Request>,
    ) -> Result<Result<Done, Error>, store::Error> {
        if let Some(request) = &request
            && let Some(first) = self.first_outcome(batch, &command.organization_id, &request.id)?
        {
            return Ok(repeated(&first, request, batch.working.revision()));
        }
        let context = Context { now: batch.now, new_session: batch.new_session };
        batch.new_session += 1;
        let origin = Origin { caller, actor: command.actor.clone() };
        let planned = match plan(&batch.working, command, &context) {
            Ok(planned) => planned,
            Err(rejection) => {
                // An organization that never was has no log.
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

    /// What came of the request of this name before, in this batch or an earlier one.
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

    fn commit(&mut self, batch: Batch) -> Result<Option<Written>, store::Error> {
        let Batch { now: _, working, new_session: _, records, requests, named: _, replies, progress } = batch;
        let began = Instant::now();
        if records.is_empty() && requests.is_empty() {
            // Answers may rest on what is not durable yet, so they too come in their turn.
            return Ok((!replies.is_empty()).then_some(Written { state: None, replies, began }));
        }
        let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
        for progress in &progress {
            progress.total.store(total, Ordering::Relaxed);
        }
        let told = |done: usize| {
            for progress in &progress {
                progress.done.store(u64::try_from(done).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        };
        let written = self.shorten_log().and_then(|()| self.store.commit(&records, &requests, told));
        match written {
            Ok(()) => {
                self.unblocked();
                self.note_cuts(&records);
                self.head = Arc::new(working);
                Ok(Some(Written { state: Some((Arc::clone(&self.head), records)), replies, began }))
            }
            Err(error) if error.is_temporary() => {
                // Nothing of the batch happened. Rejections are withheld too: they may rest on what didn't happen.
                let refused = |reply| Reply { answer: Err(self.not_writable(&error)), ..reply };
                mailbox::send(replies.into_iter().map(refused));
                self.not_writable(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What nobody waits for.
    fn tidy_up(&mut self, now: Timestamp) -> Result<(), store::Error> {
        self.forget(now)?;
        self.sweep()?;
        self.checkpoint()
    }

    /// Moves the write-ahead log into the file where it could not be moved before. INVARIANT: nothing more is written to a
    /// log that is long for lack of space; so it doesn't grow without bound while space comes and goes.
    fn shorten_log(&mut self) -> Result<(), store::Error> {
        if self.is_log_long {
            self.store.checkpoint_if_due()?;
            self.is_log_long = false;
        }
        Ok(())
    }

    /// Moves the write-ahead log into the file if it is long. Nobody waits for it: whoever asked has been answered.
    fn checkpoint(&mut self) -> Result<(), store::Error> {
        if self.is_blocked {
            return Ok(());
        }
        match self.store.checkpoint_if_due() {
            Err(error) if error.is_temporary() => {
                self.is_log_long = true;
                self.not_writable(&error);
                Ok(())
            }
            checkpointed => checkpointed,
        }
    }

    /// Notes that the database can't be written to now, once, and gives the error for whoever asked for it.
    fn not_writable(&mut self, error: &store::Error) -> Error {
        if !self.is_blocked {
            warn!(error = %chain(error), "database can't be written to; changes are refused, decisions go on");
        }
        self.set_blocked(true);
        Error::NotWritable(error.to_string())
    }

    fn unblocked(&mut self) {
        if self.is_blocked {
            info!("database can be written to again");
        }
        self.set_blocked(false);
    }

    fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
        self.shared.metrics.store_writable.set(i64::from(!is_blocked));
    }

    /// Forgets some of the request ids that are older than their life: a few at a time, and now and then all of them.
    fn forget(&mut self, now: Timestamp) -> Result<(), store::Error> {
        if self.is_blocked {
            return Ok(());
        }
        if now.since(self.last_forgotten) >= FORGET_EVERY {
            self.last_forgotten = now;
            self.is_forgetting = true;
        }
        if self.is_forgetting {
            let forgotten = match self.store.forget_requests(now.minus(REQUEST_LIFE), MOST_FORGOTTEN) {
                // They stay until the next time.
                Err(error) if error.is_temporary() => 0,
                forgotten => forgotten?,
            };
            self.is_forgetting = forgotten == MOST_FORGOTTEN;
        }
        Ok(())
    }

    fn note_cuts(&mut self, records: &[Record]) {
        for record in records {
            if let (Event::AuditLogCut { through, hash: _ }, Some(unswept)) = (&record.change.event, &mut self.unswept)
            {
                unswept.push((record.change.organization_id.clone(), *through));
            }
        }
    }

    /// Removes some of the audit events that were cut off: a few at a time, so that no caller waits for long.
    fn sweep(&mut self) -> Result<(), store::Error> {
        if self.is_blocked {
            return Ok(());
        }
        match self.sweep_some() {
            // It goes on once something could be written again.
            Err(error) if error.is_temporary() => {
                self.not_writable(&error);
                Ok(())
            }
            swept => swept,
        }
    }

    fn sweep_some(&mut self) -> Result<(), store::Error> {
        let Some(unswept) = &mut self.unswept else {
            self.unswept = Some(self.store.unswept()?);
            return Ok(());
        };
        if let Some((organization_id, through)) = unswept.last()
            && self.store.sweep(organization_id, *through, MOST_SWEPT)? == 0
        {
            unswept.pop();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), store::Error> {
        // Nothing depends on it: what isn't in the file yet is in the log beside it.
        if let Err(error) = self.store.checkpoint() {
            warn!(error = %chain(&error), "the write-ahead log could not be emptied");
        }
        Ok(())
    }
}

impl Batch {
    /// Makes changes part of the batch, or none of them if one doesn't fit.
    fn accept(&mut self, changes: Changes, origin: &Origin) -> Result<(), Inapplicable> {
        let mut sequence = self.working.revision().sequence;
        for change in changes.apply_to(&mut self.working)? {
            sequence = sequence.next();
            self.records.push(Record { sequence, time: self.now, origin: origin.clone(), change });
        }
        Ok(())
    }

    fn remember(
        &mut self,
        organization_id: &OrganizationId,
        request: Request,
        done: &Done,
    ) -> Result<(), store::Error> {
        let outcome = serde_json::to_string(&done.outcome).map_err(|error| store::Error::Damaged(error.to_string()))?;
        self.named.insert((organization_id.clone(), request.id.clone()), self.requests.len());
        self.requests.push(RequestRecord {
            organization_id: organization_id.clone(),
            request_id: request.id,
            content_sha256: request.content_sha256,
            outcome,
            sequence: done.revision.sequence,
            time: self.now,
        });
        Ok(())
    }
}

/// The first outcome, if the request is the same; otherwise its id was used for something else.
fn repeated(first: &RequestRecord, request: &Request, now: Revision) -> Result<Done, Error> {
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

/// A change of the server's own that the rules made and that doesn't fit: nothing more can be relied on.
fn damaged(error: Inapplicable) -> store::Error {
    store::Error::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{self, Sender},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{
            command::Action,
            ids::{QueueRef, UserRef},
            model::{Queue, QueueKind, SignInChannel, User},
            settings::UnassignedQueueSignIn,
        },
        state::{
            Ended, Mailbox, Owners, State,
            clock::{Clock, SystemClock},
        },
        telemetry::metrics::{CallLabels, Metrics},
    };

    /// Whoever asks it for the time says so, and waits until they are told.
    struct Doorkeeper {
        came: Sender<()>,
        told: Mutex<Receiver<()>>,
    }

    impl Clock for Doorkeeper {
        fn now(&self) -> Timestamp {
            self.came.send(()).unwrap();
            self.told.lock().unwrap().recv().unwrap();
            Timestamp::from_unix_ms(0)
        }
    }

    fn create(organization_id: &str) -> Command {
        let unassigned_queue_sign_in = UnassignedQueueSignIn::Restricted;
        let action = Action::CreateOrganization { display_name: "Acme".to_owned(), unassigned_queue_sign_in };
        Command { organization_id: organization_id.parse().unwrap(), action, actor: None }
    }

    fn store(folder: &TempDir) -> Store {
        Store::open(&folder.path().join("queuegate.db"), 7).unwrap()
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(CallLabels::default()))
    }

    #[tokio::test]
    async fn commits_are_small_while_somebody_asks() {
        for (asked, most) in [(false, 32), (true, 12)] {
            let folder = tempfile::tempdir().unwrap();
            let ((came, writer_came), (tell, told)) = (mpsc::channel(), mpsc::channel());
            let clock = Arc::new(Doorkeeper { came, told: Mutex::new(told) });
            let (state, _ended) = State::start(store(&folder), clock, metrics(), 2).unwrap();
            let mailbox = Mailbox::open();
            let submit = |number: usize| {
                state.submit(&mailbox, create(&format!("o{number}")), Caller::server(), None, None).unwrap()
            };
            // It looks for something to sweep first, and then sleeps until somebody comes.
            let mut first = submit(0);
            while first.try_recv().is_err() {
                if writer_came.try_recv().is_ok() {
                    tell.send(()).unwrap();
                }
                tokio::task::yield_now().await;
            }
            // While the writer is at one, the others come.
            let mut commits = state.subscribe();
            let mut waiting = vec![submit(1)];
            writer_came.recv().unwrap();
            waiting.extend((2..=41).map(submit));
            if asked {
                state.glance();
            }
            for _ in 1..=41 {
                tell.send(()).unwrap();
            }
            for answer in waiting {
                answer.await.unwrap().unwrap();
            }
            let sizes = [commits.recv().await.unwrap().len(), commits.recv().await.unwrap().len()];
            assert_eq!(sizes, [1, most], "asked: {asked}");
        }
    }

    #[tokio::test]
    async fn nothing_is_seen_or_answered_before_it_and_what_it_rests_on_are_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
        let Owners { mut writer, queue, syncer, handed } = owners;
        let mailbox = Mailbox::open();
        // The second repeats the first, so there is nothing to write for it.
        let submit = |id: &str| {
            let command = create("acme");
            let request = Some(Request::new(id.parse().unwrap(), &command));
            state.submit(&mailbox, command, Caller::server(), request, None).unwrap()
        };
        let mut answers = [submit("one"), submit("one"), submit("other")];
        let mut write = || {
            let Ok(Job::Execute(job)) = queue.recv() else { panic!("nobody asked") };
            writer.run_batch(state.now(), vec![*job.take_up().unwrap()]).unwrap().unwrap()
        };
        let written = [write(), write(), write()];
        assert_eq!(written.each_ref().map(|written| written.state.is_some()), [true, false, false]);
        assert!(writer.handover.is_empty());
        for written in written {
            assert!(writer.handover.hand(written).is_ok());
        }
        tokio::task::yield_now().await;
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
        assert!(state.snapshot().organization("acme").is_none() && !writer.handover.is_empty());
        // A writer that ends leaves what it handed over to be concluded.
        let told = syncer.run(&handed, thread::spawn(move || writer.finish()));
        assert!(matches!(told, Some(Ended::Stopped)) && state.snapshot().organization("acme").is_some());
        let [first, again, other] = answers;
        let [first, again] = [first.await.unwrap().unwrap(), again.await.unwrap().unwrap()];
        assert_eq!(first.revision, again.revision);
        assert!(matches!(other.await.unwrap(), Err(Error::Rejected(_))));
    }

    #[tokio::test]
    async fn a_change_that_was_never_taken_up_did_not_happen_and_of_others_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
        let Owners { writer, queue, .. } = owners;
        let asked = ["taken", "waiting", "late"].map(|id| {
            let state = state.clone();
            tokio::spawn(async move { state.execute(&Mailbox::open(), create(id), Caller::server(), None).await })
        });
        while state.shared.metrics.writer_queue.get() < 3 {
            tokio::task::yield_now().await;
        }
        let Ok(Job::Execute(first)) = queue.recv() else { panic!("nobody asked") };
        let id = first.0.as_ref().unwrap().command.organization_id.clone();
        // The writer dies with one change in its hands.
        drop((first.take_up(), queue, writer));
        let mut said = Vec::new();
        for asked in asked {
            said.push(asked.await.unwrap().unwrap_err());
        }
        let unknown = said.iter().filter(|error| matches!(error, Error::OutcomeUnknown)).count();
        let stopped = said.iter().filter(|error| matches!(error, Error::Stopped)).count();
        assert_eq!((unknown, stopped), (1, 2), "{id}: {said:?}");
        let error = state.execute(&Mailbox::open(), create("after"), Caller::server(), None).await.unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error:?}");
    }

    #[tokio::test]
    async fn every_request_id_is_forgotten_after_a_day_however_many_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
        let Owners { mut writer, queue, .. } = owners;
        let mailbox = Mailbox::open();
        let now = state.now();
        let answers: Vec<_> = (0..MOST_FORGOTTEN * 2 + 1)
            .map(|number| {
                let command = create(&format!("o{number}"));
                let request = Some(Request::new(format!("r{number}").parse().unwrap(), &command));
                state.submit(&mailbox, command, Caller::server(), request, None).unwrap()
            })
            .collect();
        let jobs = queue.try_iter().map(|job| match job {
            Job::Execute(job) => *job.take_up().unwrap(),
            Job::Stop => panic!("nobody asked for it"),
        });
        writer.run_batch(now, jobs.collect()).unwrap().unwrap();
        let known = |writer: &Writer, number: usize| {
            let (organization_id, request_id) =
                (format!("o{number}").parse().unwrap(), format!("r{number}").parse().unwrap());
            writer.store.request(&organization_id, &request_id, Timestamp::from_unix_ms(0)).unwrap().is_some()
        };
        let count = |writer: &Writer| (0..answers.len()).filter(|number| known(writer, *number)).count();
        writer.forget(now.plus(REQUEST_LIFE)).unwrap();
        assert_eq!(count(&writer), answers.len(), "a day old, and not older");
        let later = now.plus(REQUEST_LIFE + FORGET_EVERY);
        let mut left = Vec::new();
        loop {
            writer.forget(later).unwrap();
            left.push(count(&writer));
            if !writer.is_forgetting {
                break;
            }
        }
        assert_eq!(left, [MOST_FORGOTTEN + 1, 1, 0]);
    }

    #[tokio::test]
    async fn sessions_of_one_commit_have_ids_that_rise() {
        let folder = tempfile::tempdir().unwrap();
        let (state, owners) = State::load(store(&folder), Arc::new(SystemClock::start()), metrics(), 2).unwrap();
        let Owners { mut writer, queue, .. } = owners;
        let (mailbox, queue_id) = (Mailbox::open(), || "sales".parse().unwrap());
        let create_user = |user_id: &str| Action::CreateUser {
            user: User {
                user_id: user_id.parse().unwrap(),
                display_name: user_id.into(),
                extension: None,
                contact_center_license: true,
                disabled: false,
            },
        };
        let sign_in = |user_id: &str| Action::SignIn {
            user: UserRef::Id(user_id.parse().unwrap()),
            queue: QueueRef::Id(queue_id()),
            channel: SignInChannel::FeatureCode,
            device: String::new(),
        };
        let (display_name, extension, kind) = ("Sales".to_owned(), None, QueueKind::CallQueue);
        let new_queue = Queue { queue_id: queue_id(), display_name, extension, kind };
        let unassigned_queue_sign_in = UnassignedQueueSignIn::Allowed;
        let actions = [
            Action::CreateOrganization { display_name: "Acme".to_owned(), unassigned_queue_sign_in },
            Action::CreateQueue { queue: new_queue },
            create_user("ann"),
            create_user("bob"),
            sign_in("bob"),
            sign_in("ann"),
        ];
        let submit = |action| {
            let command = Command { organization_id: "acme".parse().unwrap(), action, actor: None };
            state.submit(&mailbox, command, Caller::server(), None, None).unwrap()
        };
        // Nothing is done for whoever has given up.
        let _answers = actions.map(submit);
        let jobs = queue.try_iter().map(|job| match job {
            Job::Execute(job) => *job.take_up().unwrap(),
            Job::Stop => panic!("nobody asked for it"),
        });
        let written = writer.run_batch(state.now(), jobs.collect()).unwrap().unwrap();
        let (_, records) = written.state.unwrap();
        let started = |record: &Record| match &record.change.event {
            Event::SessionStarted { session, justification: _ } => Some(session.session_id.clone()),
            _ => None,
        };
        let ids: Vec<_> = records.iter().filter_map(started).collect();
        assert!(ids.len() == 2 && ids[0] < ids[1], "{ids:?}");
    }
}
