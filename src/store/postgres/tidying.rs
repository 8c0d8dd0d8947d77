//! The removal of rows that nothing needs any more: old request ids, and audit events that were cut.

use super::{
    database::{Store, patient},
    history,
    session::Session,
};
use crate::{
    domain::{
        ids::{OrganizationId, Sequence},
        time::Timestamp,
    },
    store::{
        error::Error,
        numbers::{integer, sequence},
    },
};

impl Store {
    /// Forget up to `most` requests carried out before `before`, and return their number.
    pub fn forget_requests(&mut self, before: Timestamp, most: usize) -> Result<usize, Error> {
        let (before, most) = (before.unix_ms(), i64::try_from(most).unwrap_or(i64::MAX));
        let sql = "DELETE FROM request WHERE ctid = ANY (ARRAY( \
                   SELECT ctid FROM request WHERE time_ms < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.tidy(async |session| {
            let statement = session.prepare(sql).await?;
            session.client.execute(&statement, &[&before, &most]).await
        })
    }

    /// Return the organizations whose audit logs were cut and not swept yet, each with the last event to sweep.
    pub fn unswept(&mut self) -> Result<Vec<(OrganizationId, Sequence)>, Error> {
        let rows = self.ask(&mut patient(), async |session| {
            // A cut counts only if an event of the log records it.
            let sql = "SELECT organization_id, cut_revision FROM audit_chain AS chain WHERE cut_revision > 0 \
                       AND EXISTS (SELECT FROM audit_log WHERE organization_id = chain.organization_id \
                                   AND revision <= chain.cut_revision) \
                       AND cut_revision = (SELECT (entry::json #>> '{change,through}')::bigint FROM audit_log \
                                           WHERE organization_id = chain.organization_id \
                                           AND action = 'CUT_AUDIT_LOG' ORDER BY revision DESC LIMIT 1)";
            session.client.query(sql, &[]).await
        })?;
        rows.iter().map(|row| Ok((history::id(row, 0)?, sequence(row.get(1))?))).collect()
    }

    /// Remove up to `most` events of an organization through one that was cut, and return their number: 0 if none is
    /// left.
    pub fn sweep(&mut self, organization_id: &OrganizationId, through: Sequence, most: usize) -> Result<usize, Error> {
        let (through, most) = (integer(through)?, i64::try_from(most).unwrap_or(i64::MAX));
        let sql = "DELETE FROM audit_log WHERE revision = ANY (ARRAY( \
                   SELECT revision FROM audit_log WHERE organization_id = $1 AND revision <= $2 LIMIT $3))";
        let organization = organization_id.as_str();
        self.tidy(async |session| {
            let statement = session.prepare(sql).await?;
            session.client.execute(&statement, &[&organization, &through, &most]).await
        })
    }

    fn tidy(
        &mut self,
        ask: impl AsyncFnOnce(&mut Session) -> Result<u64, tokio_postgres::Error>,
    ) -> Result<usize, Error> {
        Ok(usize::try_from(self.ask(&mut patient(), ask)?).unwrap_or(usize::MAX))
    }
}
