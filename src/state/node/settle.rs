//! The decision of an unknown outcome.

use std::{sync::mpsc::Receiver, thread, time::Instant};

use tracing::{info, warn};

use super::turn::{Attempt, LOST_AFTER, Node, PATIENCE, PAUSE, lost_after, may_pass};
use crate::{
    state::{
        batch::Batch,
        error::Error,
        job::{Job, QueuedCommand},
        replies::{self, Done, Reply},
    },
    store,
};

impl Node {
    /// Find out whether a batch with an unknown outcome happened. Callers who wait for too long are told that its outcome
    /// is unknown.
    pub(super) fn settle(
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
                Err(error) if may_pass(&error) => {
                    self.blocked(&error);
                    self.refuse_backlog(queue, &error);
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err((error, Vec::new())),
            }
        }
    }
}
