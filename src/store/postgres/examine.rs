//! The integrity check of a PostgreSQL database: its rows and chains, and a comparison of the state with the replayed
//! log.
//!
//! It works while nodes write: it reads everything at one moment, and writes nothing.

use std::ops::ControlFlow;

use super::{
    database::{no_answer, run},
    head::Head,
    history,
    load::Tables,
    log_reader::LogReader,
    schema::{Found, look},
    target::Target,
};
use crate::{
    domain::{
        ids::{Lineage, OrganizationId, Sequence},
        snapshot::Snapshot,
    },
    store::{
        error::Error,
        events::Logged,
        examination::{Examination, Log, ORGANIZATIONS},
        verification::Verification,
    },
};

/// Check the integrity of a database. `progress` repeatedly gets the number of verified events and the total.
pub fn examine(target: &Target, progress: impl Fn(u64, u64)) -> Result<Examination, Error> {
    Examination::of(|examination| {
        let reader = LogReader::new(target.clone());
        reader.at_one_moment(|| {
            reader.require_schema(target)?;
            reader.examine(examination, &progress)
        })
    })
}

impl LogReader {
    /// Refuse a database without queuegate's tables. A database that no node may use can be examined.
    fn require_schema(&self, target: &Target) -> Result<(), Error> {
        let inner = self.inner.borrow();
        let Some((runtime, session)) = inner.as_ref() else { return Err(no_answer()) };
        match run(runtime, look(target, session), &mut |_| ControlFlow::Continue(())).ok_or_else(no_answer)?? {
            Found::Nothing => Err(Error::Missing { path: target.to_string() }),
            Found::Version { .. } => Ok(()),
        }
    }

    fn examine(&self, examination: &mut Examination, progress: &impl Fn(u64, u64)) -> Result<(), Error> {
        let live = match self.state() {
            Ok(live) => {
                examination.revision = Some(live.revision());
                Some(live)
            }
            Err(Error::Damaged(problem)) => {
                examination.problems.push(format!("the state can't be loaded: {problem}"));
                None
            }
            Err(error) => return Err(error),
        };
        examination.problems.extend(self.misplaced_head()?);
        let total = self.query("SELECT count(*) FROM audit_log", &[])?;
        let total: i64 = total.first().map_or(0, |row| row.get(0));
        let organizations = self.query(ORGANIZATIONS, &[])?;
        let organizations: Result<Vec<OrganizationId>, Error> =
            organizations.iter().map(|row| history::id(row, 0)).collect();
        examination.logs(self, &organizations?, live.as_ref(), (u64::try_from(total).unwrap_or(0), progress))
    }

    /// Load the state within the present transaction.
    fn state(&self) -> Result<Snapshot, Error> {
        let rows = self.query("SELECT store_id, epoch, sequence, nonce FROM store, head", &[])?;
        let row = rows.first().ok_or_else(|| Error::Damaged("table store or head is empty".to_owned()))?;
        let head = Head::of(row);
        let lineage = lineage_of(row.get(0), head)?;
        let inner = self.inner.borrow();
        let Some((runtime, session)) = inner.as_ref() else { return Err(no_answer()) };
        let tables = Tables { client: &session.client, progress: &|_| {} };
        let loading = tables.state(lineage, head.sequence()?);
        run(runtime, loading, &mut |_| ControlFlow::Continue(())).ok_or_else(no_answer)?
    }

    /// Return the problem of a head that isn't the end of the log.
    fn misplaced_head(&self) -> Result<Option<String>, Error> {
        let sql = "SELECT sequence, greatest((SELECT max(revision) FROM audit_log), \
                   (SELECT max(head_revision) FROM audit_chain), 0) FROM head";
        let rows = self.query(sql, &[])?;
        let ends = rows.first().map(|row| (row.get(0), row.get(1)));
        Ok(ends
            .filter(|(head, end): &(i64, i64)| head != end)
            .map(|(head, end)| format!("head.sequence is {head}, and the audit log ends with event {end}")))
    }
}

impl Log for LogReader {
    fn walk(&self, organization_id: &OrganizationId, progress: &dyn Fn(u64)) -> Result<Option<Verification>, Error> {
        Self::walk(self, organization_id, None, |events| {
            progress(events);
            ControlFlow::Continue(())
        })
    }

    fn records_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<Logged>, Error> {
        Self::records_since(self, after, up_to, Some(organization_id), most)
    }
}

/// Read a lineage from its columns.
pub(super) fn lineage_of(store_id: &str, head: Head) -> Result<Lineage, Error> {
    let store_id = u64::from_str_radix(store_id, 16);
    head.lineage(store_id.map_err(|_| Error::Damaged("store.store_id is not 16 hexadecimal digits".to_owned()))?)
}
