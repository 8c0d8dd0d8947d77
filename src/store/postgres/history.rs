//! The changes of all nodes, as a node reads them from the log.

use std::{fmt::Display, str::FromStr};

use tokio_postgres::Row;

use super::rows::Heads;
use crate::{
    domain::{
        chain::{Digest, Link},
        change::Record,
        epochs::EpochStarts,
        ids::Lineage,
    },
    store::{entry::decode, error::Error, numbers::sequence},
};

/// The changes of other nodes.
#[derive(Debug)]
pub struct News {
    /// The changes, which continue the node's history.
    pub records: Vec<Record>,
    /// The new lineage and its epochs, if a new epoch has begun.
    pub epoch: Option<(Lineage, EpochStarts)>,
    /// Whether there are more changes than one read returns.
    pub is_partial: bool,
}

pub(super) const EPOCHS: &str = "SELECT epoch, start_sequence FROM epoch ORDER BY epoch";

/// Read the rows of [`EPOCHS`].
pub(super) fn epoch_starts(rows: &[Row]) -> Result<EpochStarts, Error> {
    let out_of_range = |_| Error::Damaged("an epoch is out of range".to_owned());
    let start = |row: &Row| Ok((u32::try_from(row.get::<_, i64>(0)).map_err(out_of_range)?, sequence(row.get(1))?));
    Ok(EpochStarts::new(rows.iter().map(start).collect::<Result<Vec<_>, Error>>()?))
}

/// The head, and the log after a sequence, at one moment.
pub(super) const NEWS: &str = "SELECT head.epoch, head.sequence, head.nonce, \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, log.revision, log.entry, log.hash \
     FROM head LEFT JOIN LATERAL (SELECT revision, entry, hash FROM audit_log WHERE revision > $1 \
     ORDER BY revision LIMIT $2) AS log ON true ORDER BY log.revision";

/// Records that were read, and the last of them.
pub(super) struct Read {
    pub records: Vec<Record>,
    pub last: Option<Link>,
}

/// Read the records after `after`, and verify that each continues its chain.
pub(super) fn records(rows: &[Row], after: i64, before: &Heads, heads: &mut Heads) -> Result<Read, Error> {
    let mut read = Read { records: Vec::new(), last: None };
    for (row, expected) in rows.iter().zip(after + 1..) {
        let Some(revision) = row.get::<_, Option<i64>>("revision") else { break };
        if revision != expected {
            return Err(Error::Rewritten(format!("change {expected} is missing")));
        }
        let entry: &str = row.get("entry");
        let hash = digest(row, "hash")?;
        let logged = decode(revision, entry, hash)?;
        let organization_id = &logged.record.change.organization_id;
        let previous = heads.get(organization_id).or_else(|| before.get(organization_id));
        if Digest::chained(previous.map_or(Digest::GENESIS, |link| link.hash), entry) != hash {
            return Err(Error::Rewritten(format!("change {revision} doesn't continue its organization's chain")));
        }
        let link = Link { sequence: logged.record.sequence, hash };
        heads.insert(organization_id.clone(), link);
        read.last = Some(link);
        read.records.push(logged.record);
    }
    Ok(read)
}

/// Read a hash.
pub(super) fn digest(row: &Row, column: &str) -> Result<Digest, Error> {
    let bytes: &[u8] = row.get(column);
    Digest::from_bytes(bytes).ok_or_else(|| Error::Damaged(format!("column {column} is not a hash")))
}

/// Read a value that parses itself.
pub(super) fn id<T: FromStr<Err: Display>>(row: &Row, column: usize) -> Result<T, Error> {
    let text: &str = row.get(column);
    text.parse().map_err(|error| Error::Damaged(format!("column {column} {error}")))
}
