//! One attempt at a batch: plan it, commit it, and answer its commands.

use std::{
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use super::turn::{Attempt, LOST_AFTER, Node, lost_after};
use crate::{
    domain::{
        change::Record,
        ids::{OrganizationId, RequestId},
        time::Timestamp,
    },
    state::{
        batch::{Batch, FirstOutcome, answered},
        error::Error,
        job::{Job, QueuedCommand},
        publish::publish,
        replies::{self, Done},
        writer::REQUEST_LIFE,
    },
    store::{
        self, RequestRecord,
        postgres::{Commit, Locking},
    },
};

/// The additional time for each record of a batch.
const PER_RECORD: Duration = Duration::from_millis(1);

/// The number of batches that are committed with the lock after another node was faster.
const LOCKED_BATCHES: u32 = 8;

impl Node {
    /// Try once to execute a batch. An error returns the commands, none of which happened.
    pub(super) fn attempt(
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
    pub(super) fn conclude(&mut self, batch: Batch, records: Vec<Record>, jobs: Vec<QueuedCommand>, began: Instant) {
        self.note_cuts(&records);
        self.head = Arc::new(batch.working);
        self.shared.metrics.committed(jobs.len(), began.elapsed());
        publish(&self.shared, Arc::clone(&self.head), records);
        self.shared.freshness.saw_all(Instant::now());
        let (_, replies) = answered(jobs, batch.answers);
        replies::send(replies);
        self.bell.ring();
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
