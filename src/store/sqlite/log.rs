//! The write side of the audit log: append, cut and sweep.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::values::text;
use crate::{
    domain::{
        chain::{Digest, Link},
        change::{Change, Record},
        ids::{Lineage, OrganizationId, Sequence},
    },
    store::{
        entry::{Columns, encode},
        error::Error,
        numbers::{integer, sequence},
    },
};

/// The last link of each chain.
pub(super) type Heads = HashMap<OrganizationId, Link>;

/// Append a record to its organization's chain.
pub(super) fn append(
    connection: &Connection,
    lineage: Lineage,
    record: &Record,
    previous: Digest,
) -> Result<Link, Error> {
    let Record { sequence, time, origin, change: Change { organization_id, event } } = record;
    let (entry, hash) = encode(lineage, record, previous)?;
    let Columns { action, allowed, actor, user, queue } = Columns::of(event, origin);
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit_log (revision, organization_id, time_ms, action, allowed, actor, user, queue, entry, hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let revision = integer(*sequence)?;
    let time_ms = time.unix_ms();
    let organization_id = organization_id.as_str();
    statement.execute(params![
        revision,
        organization_id,
        time_ms,
        action,
        allowed,
        actor,
        user,
        queue,
        entry,
        hash.bytes()
    ])?;
    Ok(Link { sequence: *sequence, hash })
}

/// Store the new heads of the chains.
pub(super) fn write_heads(connection: &Connection, heads: &Heads) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit_chain (organization_id, cut_revision, cut_hash, head_revision, head_hash) \
         VALUES (?1, 0, zeroblob(32), ?2, ?3) ON CONFLICT DO UPDATE SET head_revision = ?2, head_hash = ?3",
    )?;
    for (organization_id, Link { sequence, hash }) in heads {
        statement.execute(params![organization_id.as_str(), integer(*sequence)?, hash.bytes()])?;
    }
    Ok(())
}

/// Move the beginning of a chain. INVARIANT: events before it are never read; [`sweep`] removes them.
pub(super) fn cut(
    connection: &Connection,
    organization_id: &OrganizationId,
    through: Sequence,
    hash: Digest,
) -> Result<(), Error> {
    connection.execute(
        "UPDATE audit_chain SET cut_revision = ?, cut_hash = ? WHERE organization_id = ?",
        params![integer(through)?, hash.bytes(), organization_id.as_str()],
    )?;
    Ok(())
}

/// Remove up to `most` events of an organization through one that was cut, and return their number.
pub(super) fn sweep(
    connection: &Connection,
    organization_id: &OrganizationId,
    through: Sequence,
    most: usize,
) -> Result<usize, Error> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM audit_log WHERE revision IN \
         (SELECT revision FROM audit_log WHERE organization_id = ? AND revision <= ? LIMIT ?)",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Ok(statement.execute(params![organization_id.as_str(), integer(through)?, most])?)
}

/// Return the cuts whose events are not all removed yet. A cut counts only if an event of the log records it. The table
/// beside the log may have been altered, and no event is removed on its authority.
pub(super) fn unswept(connection: &Connection) -> Result<Vec<(OrganizationId, Sequence)>, Error> {
    let mut statement = connection.prepare(
        "SELECT organization_id, cut_revision FROM audit_chain AS chain WHERE cut_revision > 0 AND EXISTS \
         (SELECT 1 FROM audit_log AS log WHERE log.organization_id = chain.organization_id \
          AND log.revision <= chain.cut_revision)",
    )?;
    let mut newest_cut = connection.prepare(
        "SELECT entry ->> '$.change.through' FROM audit_log WHERE organization_id = ? AND action = 'CUT_AUDIT_LOG' \
         ORDER BY revision DESC LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let organization_id: OrganizationId = text(row, 0)?;
        let cut: i64 = row.get(1)?;
        let recorded: Option<i64> = newest_cut.query_row([organization_id.as_str()], |row| row.get(0)).optional()?;
        if recorded == Some(cut) {
            found.push((organization_id, sequence(cut)?));
        }
    }
    Ok(found)
}

/// Return the head of every chain.
pub(super) fn heads(connection: &Connection) -> Result<Heads, Error> {
    let mut statement = connection.prepare("SELECT organization_id, head_revision, head_hash FROM audit_chain")?;
    let mut rows = statement.query([])?;
    let mut heads = Heads::new();
    while let Some(row) = rows.next()? {
        heads.insert(text(row, 0)?, link(row, 1)?);
    }
    Ok(heads)
}

pub(super) fn link(row: &Row<'_>, column: usize) -> Result<Link, Error> {
    Ok(Link { sequence: sequence(row.get(column)?)?, hash: digest(row, column + 1)? })
}

pub(super) fn digest(row: &Row<'_>, column: usize) -> Result<Digest, Error> {
    let bytes: Vec<u8> = row.get(column)?;
    Digest::from_bytes(&bytes).ok_or_else(|| Error::Damaged(format!("column {column} is not a hash")))
}
