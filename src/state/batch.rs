//! A batch of commands as the writer plans it.

use std::{collections::HashMap, sync::Arc};

use super::{
    job::{Progress, Request},
    replies::{Done, Reply},
};
use crate::{
    domain::{
        change::{Inapplicable, Origin, Record},
        ids::{OrganizationId, RequestId},
        plan::Changes,
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, RequestRecord},
};

/// A batch as it is being put together.
pub(super) struct Batch {
    pub(super) now: Timestamp,
    pub(super) working: Snapshot,
    /// The bits of the next session's id. They count up from what is drawn for the batch.
    pub(super) new_session: u128,
    pub(super) records: Vec<Record>,
    pub(super) requests: Vec<RequestRecord>,
    /// Requests of this batch, which the store doesn't have yet.
    pub(super) named: HashMap<(OrganizationId, RequestId), usize>,
    /// Held back until the batch is durable.
    pub(super) replies: Vec<Reply>,
    pub(super) progress: Vec<Arc<Progress>>,
}

impl Batch {
    /// Makes changes part of the batch, or none of them if one doesn't fit.
    pub(super) fn accept(&mut self, changes: Changes, origin: &Origin) -> Result<(), Inapplicable> {
        let mut sequence = self.working.revision().sequence;
        for change in changes.apply_to(&mut self.working)? {
            sequence = sequence.next();
            self.records.push(Record { sequence, time: self.now, origin: origin.clone(), change });
        }
        Ok(())
    }

    pub(super) fn remember(
        &mut self,
        organization_id: &OrganizationId,
        request: Request,
        done: &Done,
    ) -> Result<(), store::Error> {
        let outcome = serde_json::to_string(&done.outcome).map_err(|error| store::Error::Damaged(error.to_string()))?;
        self.named.insert((organization_id.clone(), request.id.clone()), self.requests.len());
        self.requests.push(RequestRecord {
            organization_id: organization_id.clone(),
            request_id: request.id,
            content_sha256: request.content_sha256,
            outcome,
            sequence: done.revision.sequence,
            time: self.now,
        });
        Ok(())
    }
}
