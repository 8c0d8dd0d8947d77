//! The epochs of a store's history. A failover or a restore begins a new one.

use std::sync::Arc;

use super::ids::{Lineage, Revision, Sequence};

/// The epochs of a history, and the change after which each began. Empty if that isn't known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochStarts(Arc<[(u32, Sequence)]>);

impl EpochStarts {
    /// Return these starts.
    pub fn new(starts: impl IntoIterator<Item = (u32, Sequence)>) -> Self {
        Self(starts.into_iter().collect())
    }

    /// Return whether the history of `present` includes this revision: it is of the same epoch, or of an earlier one
    /// and not after the start of any later one.
    pub fn include(&self, present: Lineage, Revision { lineage, sequence }: Revision) -> bool {
        let Self(starts) = self;
        let is_known = || starts.iter().any(|(epoch, _)| *epoch == present.epoch);
        let is_kept = || starts.iter().all(|(epoch, start)| *epoch <= lineage.epoch || sequence <= *start);
        lineage == present
            || (lineage.store_id == present.store_id && lineage.epoch < present.epoch && is_known() && is_kept())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_of_an_earlier_epoch_is_included_up_to_the_start_of_the_next() {
        let lineage = |epoch| Lineage { store_id: 7, epoch };
        let revision = |epoch, sequence| Revision { lineage: lineage(epoch), sequence: Sequence(sequence) };
        let starts = EpochStarts::new([(1, Sequence(0)), (2, Sequence(100)), (3, Sequence(90))]);
        let included = |of, sequence| starts.include(lineage(3), revision(of, sequence));
        assert!(included(3, 1_000) && included(1, 90) && included(2, 90));
        assert!(!included(1, 91) && !included(2, 91) && !included(4, 1));
        let other = Revision { lineage: Lineage { store_id: 8, epoch: 3 }, sequence: Sequence(1) };
        assert!(!starts.include(lineage(3), other));
        let unknown = EpochStarts::default();
        assert!(unknown.include(lineage(3), revision(3, 5)) && !unknown.include(lineage(3), revision(2, 0)));
    }
}
