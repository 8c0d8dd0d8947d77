//! The revisions that callers send.

use super::error::Error;
use crate::domain::{ids::Revision, snapshot::Snapshot};

/// Read a revision of this store's history: of its present epoch, or of an earlier one that is known to lead to it.
pub(super) fn own_revision(field: &'static str, text: &str, snapshot: &Snapshot) -> Result<Revision, Error> {
    let revision: Revision = text.parse().map_err(|error| Error::invalid(field, &error))?;
    if snapshot.is_of_history(revision) {
        Ok(revision)
    } else {
        Err(Error::invalid(field, &format_args!("is a revision of another store: `{revision}`")))
    }
}

/// Read a revision of this store's history, of this epoch or one before a backup was restored. It identifies an event
/// only together with the event's hash: events recorded after the backup are lost, and their numbers are used again.
pub(super) fn revision_of_history(field: &'static str, text: &str, snapshot: &Snapshot) -> Result<Revision, Error> {
    let revision: Revision = text.parse().map_err(|error| Error::invalid(field, &error))?;
    let (of, own) = (revision.lineage, snapshot.revision().lineage);
    if of.store_id == own.store_id && of.epoch <= own.epoch {
        Ok(revision)
    } else {
        Err(Error::invalid(field, &format_args!("is a revision of another store: `{revision}`")))
    }
}
