//! A batch of commands as the writer plans it.

use std::{collections::HashMap, sync::Arc};

use super::{
    job::{Progress, RequestKey},
    replies::{Done, Reply},
};
use crate::{
    domain::{
        change::{Event, Inapplicable, Origin, Record},
        ids::{OrganizationId, RequestId},
        plan::Changes,
        snapshot::Snapshot,
        time::Timestamp,
    },
    store::{self, RequestRecord},
};

/// A batch while the writer plans it.
pub(super) struct Batch {
    pub(super) now: Timestamp,
    pub(super) working: Snapshot,
    /// The bits of the next session's id. They count up from a number drawn for the batch.
    pub(super) new_session: u128,
    pub(super) records: Vec<Record>,
    pub(super) requests: Vec<RequestRecord>,
    /// The indexes in `requests` of this batch's requests. The store doesn't have them yet.
    pub(super) named: HashMap<(OrganizationId, RequestId), usize>,
    /// Held back until the batch is durable.
    pub(super) replies: Vec<Reply>,
    pub(super) progress: Vec<Arc<Progress>>,
}

impl Batch {
    /// Add all changes to the batch. If one is inapplicable, add none.
    pub(super) fn accept(&mut self, changes: Changes, origin: &Origin) -> Result<(), Inapplicable> {
        let mut sequence = self.working.revision().sequence;
        for change in changes.apply_to(&mut self.working)? {
            sequence = sequence.next();
            if matches!(change.event, Event::SessionStarted { .. }) {
                self.new_session += 1;
            }
            self.records.push(Record { sequence, time: self.now, origin: origin.clone(), change });
        }
        Ok(())
    }

    pub(super) fn remember(
        &mut self,
        organization_id: &OrganizationId,
        request: RequestKey,
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
