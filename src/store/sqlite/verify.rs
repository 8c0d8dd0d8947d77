//! Verification of the audit log's chain: it finds events that were altered, removed or swapped.
//!
//! The verification trusts no data. Each value is compared and not only parsed, and an unreadable value is a fault of
//! the row, not an error of the verification.

use std::ops::ControlFlow;

use rusqlite::{OptionalExtension, Row, params, types::ValueRef};

use super::log_reader::LogReader;
use crate::{
    domain::{
        chain::Link,
        ids::{OrganizationId, Sequence},
    },
    store::{
        error::Error,
        numbers::integer,
        verification::{COLUMNS, Fault, Value, Values, Verification, Walk},
    },
};

/// The number of events between two progress reports.
const PROGRESS_EVENTS: u64 = 1_000;

impl LogReader {
    /// Verify an organization's chain, and compare it with an earlier noted link, if given. `progress` repeatedly gets
    /// the number of verified events, and may stop the verification. Return `None` if it does, or if the organization
    /// never had a chain.
    pub fn verify(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        // Read in one transaction, so that each concurrent change is seen completely or not at all.
        let _transaction = self.connection.unchecked_transaction()?;
        let walked = self.walk(organization_id, expected, progress)?;
        self.settle()?;
        Ok(walked)
    }

    /// Verify a chain as [`Self::verify`] does, within an existing transaction.
    pub(super) fn walk(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        let (cut, head) = match self.chain(organization_id) {
            Ok(Some(ends)) => ends,
            Ok(None) => return Ok(None),
            Err(Error::Damaged(problem)) => return Ok(Some(Verification::without_ends(&problem))),
            Err(error) => return Err(error),
        };
        let mut walk = Walk::begin(cut, expected);
        let mut fault = None;
        let mut numbers = self.connection.prepare_cached(
            "SELECT revision FROM audit_log WHERE organization_id = ? AND revision > ? ORDER BY revision",
        )?;
        // Read each row by itself. In a query with the index, SQLite would read values from the index that must be
        // verified in the row.
        let mut row = self.connection.prepare_cached(
            "SELECT revision, organization_id, time_ms, action, allowed, actor, user, queue, entry, hash \
             FROM audit_log WHERE revision = ?",
        )?;
        let mut numbers = numbers.query(params![organization_id.as_str(), integer(cut.sequence)?])?;
        while fault.is_none() {
            let read = numbers.next().and_then(|number| {
                let Some(number) = number else { return Ok(None) };
                let number: i64 = number.get(0)?;
                Ok(Some((number, row.query_row([number], |row| Ok(values(row))).optional()?)))
            });
            fault = match read {
                Ok(None) => break,
                Ok(Some((_, Some(row)))) => walk.step(&row).err(),
                Ok(Some((number, None))) => {
                    let number = Sequence(u64::try_from(number).unwrap_or(0));
                    Some(Fault::new(number, "this event was removed, but its index entry was not"))
                }
                Err(error) => {
                    let text = format!("the database can't be read beyond this event: {error}");
                    Some(Fault::new(walk.last.sequence, text))
                }
            };
            if walk.events.is_multiple_of(PROGRESS_EVENTS) && progress(walk.events).is_break() {
                return Ok(None);
            }
        }
        let fault = fault.or_else(|| walk.end(cut, head).err());
        Ok(Some(Verification { events: walk.events, cut, head, fault }))
    }

    /// Estimate the number of events of an organization's chain.
    pub fn count_events(&self, organization_id: &OrganizationId) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM audit_log WHERE organization_id = ?1 AND revision > \
                   coalesce((SELECT cut_revision FROM audit_chain WHERE organization_id = ?1), 0)";
        let count: i64 = self.connection.query_row(sql, [organization_id.as_str()], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn values(row: &Row<'_>) -> Values {
    COLUMNS.iter().enumerate().map(|(index, column)| (*column, value(row, index))).collect()
}

/// Read a value of any kind.
pub(super) fn value(row: &Row<'_>, index: usize) -> Value {
    match row.get_ref(index) {
        Ok(ValueRef::Null) => Value::Null,
        Ok(ValueRef::Integer(integer)) => Value::Integer(integer),
        Ok(ValueRef::Text(bytes)) => String::from_utf8(bytes.to_vec()).map_or(Value::Other, Value::Text),
        Ok(ValueRef::Blob(bytes)) => Value::Bytes(bytes.to_vec()),
        Ok(ValueRef::Real(_)) | Err(_) => Value::Other,
    }
}
