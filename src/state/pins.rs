//! Snapshots that are kept so that the pages of a list come from one revision.

use std::{collections::VecDeque, sync::Arc};

use crate::domain::{ids::Sequence, snapshot::Snapshot};

/// How many are kept. They share what didn't change between them, so each costs about what changed since.
const MOST: usize = 512;

/// The snapshots, least recently used first.
#[derive(Debug, Default)]
pub(super) struct Pins(VecDeque<Arc<Snapshot>>);

impl Pins {
    pub(super) fn keep(&mut self, snapshot: &Arc<Snapshot>) {
        if self.find(snapshot.revision().sequence).is_some() {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(snapshot));
    }

    pub(super) fn find(&mut self, sequence: Sequence) -> Option<Arc<Snapshot>> {
        let index = self.0.iter().position(|snapshot| snapshot.revision().sequence == sequence)?;
        let found = self.0.remove(index)?;
        self.0.push_back(Arc::clone(&found));
        Some(found)
    }
}
