//! The head: the end of the history, which decides the order of all nodes' changes.

use tokio_postgres::Row;

use crate::{
    domain::ids::{Lineage, Sequence},
    store::{error::Error, numbers::sequence},
};

/// The head as a node knows it. A commit succeeds only if it is still so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub epoch: i64,
    pub sequence: i64,
    pub nonce: i64,
}

impl Head {
    /// Read the columns `epoch`, `sequence` and `nonce`.
    pub fn of(row: &Row) -> Self {
        Self { epoch: row.get("epoch"), sequence: row.get("sequence"), nonce: row.get("nonce") }
    }

    pub fn sequence(self) -> Result<Sequence, Error> {
        sequence(self.sequence)
    }

    pub fn lineage(self, store_id: u64) -> Result<Lineage, Error> {
        let epoch = u32::try_from(self.epoch);
        let epoch =
            epoch.map_err(|_| Error::Damaged(format!("head.epoch is {}, which is out of range", self.epoch)))?;
        Ok(Lineage { store_id, epoch })
    }
}

/// Draw a nonce.
pub(super) fn new_nonce() -> i64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    i64::from_ne_bytes(high.to_ne_bytes())
}
