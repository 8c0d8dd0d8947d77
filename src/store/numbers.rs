//! Conversions of revisions to the integers of a database.

use super::error::Error;
use crate::domain::ids::Sequence;

pub(super) fn integer(sequence: Sequence) -> Result<i64, Error> {
    i64::try_from(sequence.0).map_err(|_| Error::Damaged(format!("revision {} is out of range", sequence.0)))
}

pub(super) fn sequence(revision: i64) -> Result<Sequence, Error> {
    u64::try_from(revision).map(Sequence).map_err(|_| Error::Damaged(format!("revision {revision} is negative")))
}
