//! The other nodes' changes, and the load of the whole state.

use std::{
    cell::Cell,
    ops::ControlFlow,
    sync::{Arc, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::turn::{LOST_AFTER, Node, PAUSE, lost_after, may_pass};
use crate::{
    domain::{
        ids::{OrganizationId, RequestId},
        snapshot::Snapshot,
    },
    state::{
        clock::Clock,
        error::with_causes,
        job::{Job, QueuedCommand},
        publish::{publish, publish_anew},
    },
    store::{
        self, RequestRecord,
        postgres::{News, Store},
    },
};

/// The difference between the node's clock and the database's above which nothing is written.
const LARGEST_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

impl Node {
    /// Take in all changes of other nodes.
    pub(super) fn catch_up(&mut self) -> Result<(), store::Error> {
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
    pub(super) fn lock(&mut self, jobs: &[QueuedCommand]) -> Result<Option<Vec<RequestRecord>>, store::Error> {
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
    pub(super) fn load_anew(&mut self, queue: &Receiver<Job>, problem: &str) -> Result<(), store::Error> {
        error!(
            problem,
            "the database's history was rewritten: acknowledged changes may be lost; the node answers nothing until it \
             has loaded the state anew"
        );
        self.shared.metrics.rewritten_histories.inc();
        self.shared.freshness.set_rewritten(true);
        // A load takes as long as at a start, and doesn't count as stuck.
        self.shared.busy.writing(None);
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
                Err(error) if may_pass(&error) => {
                    self.blocked(&error);
                    self.refuse_backlog(queue, &error);
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
    pub(super) fn check_clock(&self) -> Result<(), store::Error> {
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
}

/// How often a start reports that the database can't be reached.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Load the state at start. Waits until the database can be reached, and says so. The clock starts at the database's
/// time.
pub(crate) fn load(store: &mut Store, clock: &dyn Clock) -> Result<Snapshot, store::Error> {
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
