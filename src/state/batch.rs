//! A batch of commands as a writer plans it.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{
    error::Error,
    job::{Progress, QueuedCommand, RequestKey},
    replies::{Done, Reply},
};
use crate::{
    domain::{
        change::{Event, Inapplicable, Origin, Record},
        command::{Outcome, Rejection},
        ids::{Caller, OrganizationId, RequestId, Revision},
        plan::{Changes, Context, plan, plan_expirations, plan_refusal},
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, RequestRecord},
};

/// The most expired sessions in one commit.
const MAX_EXPIRATIONS: usize = 10_000;

/// A planned batch.
pub(super) struct Batch {
    now: Timestamp,
    /// The state after the batch.
    pub(super) working: Snapshot,
    /// The bits of the next session's id. They count up from a number drawn for the batch.
    new_session: u128,
    pub(super) records: Vec<Record>,
    pub(super) requests: Vec<RequestRecord>,
    /// The indexes in `requests` of this batch's requests. The store doesn't have them yet.
    named: HashMap<(OrganizationId, RequestId), usize>,
    /// The answers to the commands, in order. They are held back until the batch is durable.
    pub(super) answers: Vec<Result<Done, Error>>,
}

/// The record of an earlier request with the same id.
pub(super) enum FirstOutcome {
    /// There is none.
    None,
    /// It was carried out before.
    Found(RequestRecord),
    /// The store can't tell now, for this reason.
    Hidden(String),
}

impl Batch {
    /// Plan expirations and commands on a state. `first_outcome` looks for earlier requests with the same id.
    pub(super) fn plan(
        head: &Snapshot,
        now: Timestamp,
        jobs: &[QueuedCommand],
        mut first_outcome: impl FnMut(&OrganizationId, &RequestId) -> Result<FirstOutcome, store::Error>,
    ) -> Result<Self, store::Error> {
        let mut batch = Self {
            now,
            working: head.clone(),
            // Version 7 UUIDs rise with time, so new rows land on few pages.
            new_session: Uuid::now_v7().as_u128(),
            records: Vec::new(),
            requests: Vec::new(),
            named: HashMap::new(),
            answers: Vec::with_capacity(jobs.len()),
        };
        let expirations = plan_expirations(&batch.working, now, MAX_EXPIRATIONS);
        batch.accept(expirations, &Origin { caller: Caller::server(), actor: None }).map_err(damaged)?;
        for queued in jobs {
            let answer = batch.execute(queued, &mut first_outcome)?;
            batch.answers.push(answer);
        }
        Ok(batch)
    }

    /// Return whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.requests.is_empty()
    }

    fn execute(
        &mut self,
        QueuedCommand { command, caller, request, .. }: &QueuedCommand,
        first_outcome: &mut impl FnMut(&OrganizationId, &RequestId) -> Result<FirstOutcome, store::Error>,
    ) -> Result<Result<Done, Error>, store::Error> {
        if let Some(request) = request {
            let in_batch = self.named.get(&(command.organization_id.clone(), request.id.clone()));
            if let Some(first) = in_batch.and_then(|index| self.requests.get(*index)) {
                return Ok(repeated(first, request, self.working.revision()));
            }
            match first_outcome(&command.organization_id, &request.id)? {
                FirstOutcome::None => {}
                FirstOutcome::Found(first) => return Ok(repeated(&first, request, self.working.revision())),
                FirstOutcome::Hidden(problem) => return Ok(Err(Error::NotWritable(problem))),
            }
        }
        let context = Context { now: self.now, new_session: self.new_session };
        let origin = Origin { caller: caller.clone(), actor: command.actor.clone() };
        let planned = match plan(&self.working, command, &context) {
            Ok(planned) => planned,
            Err(rejection) => {
                // An organization that never existed has no log.
                let is_there = self.working.organization(command.organization_id.as_str()).is_some();
                if let (Rejection::ActorNotPermitted { refusal, translatable: _ }, true) = (&rejection, is_there) {
                    let changes = plan_refusal(&self.working, command, refusal, &context);
                    self.accept(changes, &origin).map_err(damaged)?;
                }
                return Ok(Err(rejection.into()));
            }
        };
        if let Err(error) = self.accept(planned.changes, &origin) {
            return Ok(Err(Rejection::from(error).into()));
        }
        let done = Done { outcome: planned.outcome, revision: self.working.revision() };
        if let Some(request) = request {
            self.remember(&command.organization_id, request, &done)?;
        }
        Ok(Ok(done))
    }

    /// Add all changes to the batch. If one is inapplicable, add none.
    fn accept(&mut self, changes: Changes, origin: &Origin) -> Result<(), Inapplicable> {
        let mut sequence = self.working.revision().sequence;
        for change in changes.apply_to(&mut self.working)? {
            sequence = sequence.next();
            if matches!(change.event, Event::SessionStarted { .. }) {
                self.new_session += 1;
            }
            self.records.push(Record { sequence, time: self.now, origin: origin.clone(), change });
        }
        Ok(())
    }

    fn remember(
        &mut self,
        organization_id: &OrganizationId,
        request: &RequestKey,
        done: &Done,
    ) -> Result<(), store::Error> {
        let outcome = serde_json::to_string(&done.outcome).map_err(|error| store::Error::Damaged(error.to_string()))?;
        self.named.insert((organization_id.clone(), request.id.clone()), self.requests.len());
        self.requests.push(RequestRecord {
            organization_id: organization_id.clone(),
            request_id: request.id.clone(),
            content_sha256: request.content_sha256.clone(),
            outcome,
            sequence: done.revision.sequence,
            time: self.now,
        });
        Ok(())
    }
}

/// Join commands with their answers, and return the progress that some callers wait for.
pub(super) fn answered(
    jobs: Vec<QueuedCommand>,
    answers: Vec<Result<Done, Error>>,
) -> (Vec<Arc<Progress>>, Vec<Reply>) {
    let (mut progress, mut replies) = (Vec::new(), Vec::with_capacity(jobs.len()));
    for (queued, answer) in jobs.into_iter().zip(answers) {
        progress.extend(queued.progress);
        replies.push(Reply { reply_to: queued.reply_to, answer });
    }
    (progress, replies)
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
