//! The node's work that no caller waits for.

use super::turn::Node;
use crate::{
    domain::change::{Event, Record},
    state::{
        housekeeping::{FORGET_EVERY, MAX_FORGOTTEN, MAX_SWEPT},
        writer::REQUEST_LIFE,
    },
};

impl Node {
    pub(super) fn note_cuts(&mut self, records: &[Record]) {
        for record in records {
            if let (Event::AuditLogCut { through, hash: _ }, Some(unswept)) = (&record.change.event, &mut self.unswept)
            {
                unswept.push((record.change.organization_id.clone(), *through));
            }
        }
    }

    /// Forget old request ids, and remove cut audit events, a few at a time. Every node does it; a failure is tried again
    /// at the next time.
    pub(super) fn tidy_up(&mut self) {
        if self.is_blocked || !self.store.is_connected() {
            return;
        }
        let now = self.shared.clock.now();
        if now.since(self.last_forgotten) >= FORGET_EVERY {
            self.last_forgotten = now;
            self.is_forgetting = true;
        }
        if self.is_forgetting {
            let forgotten = self.store.forget_requests(now.minus(REQUEST_LIFE), MAX_FORGOTTEN);
            self.is_forgetting = forgotten.is_ok_and(|forgotten| forgotten == MAX_FORGOTTEN);
        }
        if self.unswept.is_none() {
            self.unswept = self.store.unswept().ok();
        }
        if let Some(unswept) = &mut self.unswept
            && let Some((organization_id, through)) = unswept.last()
            && self.store.sweep(organization_id, *through, MAX_SWEPT).is_ok_and(|swept| swept == 0)
        {
            unswept.pop();
        }
    }
}
