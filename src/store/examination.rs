//! The integrity check of a store, of either kind: its chains, and a comparison of the state with the replayed log.

use crate::{
    domain::{
        chain::Link,
        ids::{OrganizationId, Revision, Sequence},
        snapshot::Snapshot,
    },
    store::{error::Error, events::Logged, verification::Verification},
};

/// The largest number of problems of a kind that are reported.
pub(super) const MAX_PROBLEMS: usize = 10;

/// The organizations that have a state, a log or a chain.
pub(super) const ORGANIZATIONS: &str = "SELECT organization_id FROM audit_chain UNION SELECT organization_id \
                                        FROM audit_log UNION SELECT organization_id FROM organization ORDER BY 1";

/// The number of events that are replayed at a time.
const CHUNK: u32 = 1_000;

/// The result of an integrity check.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The end of the history, or `None` if the rows can't be read.
    pub revision: Option<Revision>,
    /// The number of events in the audit logs, all of which were verified.
    pub events: u64,
    /// Each organization with an audit log, and its head.
    pub heads: Vec<(OrganizationId, Link)>,
    /// The number of organizations whose state was replayed from the log and compared. That is impossible after a cut.
    pub replayed: usize,
    /// The problems. Without any, the store is whole.
    pub problems: Vec<String>,
}

/// The log of a store, read at one moment.
pub(super) trait Log {
    /// Verify an organization's chain. Return `None` if it never had one.
    fn walk(&self, organization_id: &OrganizationId, progress: &dyn Fn(u64)) -> Result<Option<Verification>, Error>;

    /// Return up to `most` records of an organization after `after`, and up to `up_to`, in order.
    fn records_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<Logged>, Error>;
}

impl Examination {
    /// Return whether there are no problems.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Examine a store. Damage that ends the examination is one of its problems.
    pub(super) fn of(examine: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<Self, Error> {
        let mut examination = Self { revision: None, events: 0, heads: Vec::new(), replayed: 0, problems: Vec::new() };
        match examine(&mut examination) {
            Ok(()) => Ok(examination),
            Err(Error::Damaged(problem) | Error::DamagedFile { path: _, problem }) => {
                examination.problems.push(problem);
                Ok(examination)
            }
            Err(error) => Err(error),
        }
    }

    /// Verify the chain of every organization, and compare the state with its replay. `progress` repeatedly gets the
    /// number of verified events and the total.
    pub(super) fn logs(
        &mut self,
        log: &impl Log,
        organizations: &[OrganizationId],
        live: Option<&Snapshot>,
        (total, progress): (u64, &impl Fn(u64, u64)),
    ) -> Result<(), Error> {
        for organization_id in organizations {
            let before = self.events;
            let walked = log.walk(organization_id, &|events| progress(before + events, total))?;
            let Some(walked) = walked else {
                self.problems.push(format!("{organization_id}: it has no audit log"));
                continue;
            };
            self.events += walked.events;
            self.heads.push((organization_id.clone(), walked.head));
            if let Some(fault) = walked.fault {
                self.problems.push(format!("{organization_id}: event {}: {}", fault.sequence.0, fault.description));
                continue;
            }
            let Some(live) = live else { continue };
            if walked.cut.sequence == Sequence(0) {
                self.replay(log, live, organization_id)?;
            }
        }
        progress(total, total);
        Ok(())
    }

    /// Replay an organization's log, and compare the result with the live state.
    fn replay(&mut self, log: &impl Log, live: &Snapshot, organization_id: &OrganizationId) -> Result<(), Error> {
        let mut replayed = Snapshot::empty(live.revision().lineage);
        let mut last = Sequence(0);
        loop {
            let records = log.records_since(organization_id, last, live.revision().sequence, CHUNK)?;
            let Some(newest) = records.last() else { break };
            last = newest.record.sequence;
            for logged in &records {
                if let Err(error) = replayed.apply(&logged.record.change) {
                    let number = logged.record.sequence.0;
                    self.problems.push(format!("{organization_id}: event {number} doesn't follow: {error}"));
                    return Ok(());
                }
            }
        }
        let id = organization_id.as_str();
        if replayed.organization(id) != live.organization(id) {
            self.problems.push(format!(
                "{organization_id}: the tables of the state differ from the replayed audit log; one of them was altered"
            ));
        }
        self.replayed += 1;
        Ok(())
    }
}
