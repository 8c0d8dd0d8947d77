//! The writer's work between batches: forget old request ids, sweep cut audit logs, checkpoint the write-ahead log.

use std::time::Duration;

use tracing::{info, warn};

use super::{
    error::{Error, with_causes},
    writer::{REQUEST_LIFE, Writer},
};
use crate::{
    domain::{
        change::{Event, Record},
        time::Timestamp,
    },
    store,
};

/// The most cut audit events that one sweep removes.
pub(super) const MAX_SWEPT: usize = 1_000;

/// The interval at which the writer starts to forget old request ids.
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(10 * 60);

/// The most request ids that one step forgets. It is more than any batch adds, so the work ends under any load.
pub(super) const MAX_FORGOTTEN: usize = 256;

impl Writer {
    /// Do the work that no caller waits for.
    pub(super) fn tidy_up(&mut self, now: Timestamp) -> Result<(), store::Error> {
        self.forget(now)?;
        self.sweep()?;
        self.checkpoint()
    }

    /// Retry a checkpoint that failed for lack of space. INVARIANT: no batch is written to a log that is long because a
    /// checkpoint failed. So the log doesn't grow without bound while space comes and goes.
    pub(super) fn shorten_log(&mut self) -> Result<(), store::Error> {
        if self.is_log_long {
            self.store.checkpoint_if_due()?;
            self.is_log_long = false;
        }
        Ok(())
    }

    /// Checkpoint the write-ahead log if it is long. No caller waits for it: the batch's replies are sent already.
    pub(super) fn checkpoint(&mut self) -> Result<(), store::Error> {
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

    /// Log once that the database isn't writable now, and return the caller's error.
    pub(super) fn not_writable(&mut self, error: &store::Error) -> Error {
        if !self.is_blocked {
            warn!(error = %with_causes(error), "database isn't writable; changes are refused, decisions go on");
        }
        self.set_blocked(true);
        Error::NotWritable(error.to_string())
    }

    pub(super) fn unblocked(&mut self) {
        if self.is_blocked {
            info!("database is writable again");
        }
        self.set_blocked(false);
    }

    pub(super) fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
        self.shared.metrics.store_writable.set(i64::from(!is_blocked));
    }

    /// Forget some of the request ids older than [`REQUEST_LIFE`]. Every [`FORGET_EVERY`], it starts to forget all of
    /// them, step by step.
    pub(super) fn forget(&mut self, now: Timestamp) -> Result<(), store::Error> {
        if self.is_blocked {
            return Ok(());
        }
        if now.since(self.last_forgotten) >= FORGET_EVERY {
            self.last_forgotten = now;
            self.is_forgetting = true;
        }
        if self.is_forgetting {
            let forgotten = match self.store.forget_requests(now.minus(REQUEST_LIFE), MAX_FORGOTTEN) {
                // They stay until the next time.
                Err(error) if error.is_temporary() => 0,
                forgotten => forgotten?,
            };
            self.is_forgetting = forgotten == MAX_FORGOTTEN;
        }
        Ok(())
    }

    pub(super) fn note_cuts(&mut self, records: &[Record]) {
        for record in records {
            if let (Event::AuditLogCut { through, hash: _ }, Some(unswept)) = (&record.change.event, &mut self.unswept)
            {
                unswept.push((record.change.organization_id.clone(), *through));
            }
        }
    }

    /// Remove some of the cut audit events: a few at a time, so that no caller waits for long.
    pub(super) fn sweep(&mut self) -> Result<(), store::Error> {
        if self.is_blocked {
            return Ok(());
        }
        match self.sweep_some() {
            // The sweep goes on when the database is writable again.
            Err(error) if error.is_temporary() => {
                self.not_writable(&error);
                Ok(())
            }
            swept => swept,
        }
    }

    pub(super) fn sweep_some(&mut self) -> Result<(), store::Error> {
        let Some(unswept) = &mut self.unswept else {
            self.unswept = Some(self.store.unswept()?);
            return Ok(());
        };
        if let Some((organization_id, through)) = unswept.last()
            && self.store.sweep(organization_id, *through, MAX_SWEPT)? == 0
        {
            unswept.pop();
        }
        Ok(())
    }
}
