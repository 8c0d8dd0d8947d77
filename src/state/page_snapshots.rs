//! Page snapshots, which let all pages of a list come from one revision.
//!
//! INVARIANT: the snapshots of an owner (an organization, or a caller who lists organizations) displace only its own,
//! unless all owners together keep too many. Then the owner with the most loses its oldest.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::domain::{ids::Sequence, snapshot::Snapshot};

/// How long a snapshot is kept after its last use.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// The most snapshots that are kept for one owner. They share their unchanged parts.
const MAX_OF_OWNER: usize = 16;

/// The most snapshots that are kept in all.
const MAX: usize = 512;

/// The snapshots of each owner, least recently used first, with the time of their last use.
#[derive(Debug, Default)]
pub(super) struct PageSnapshots {
    by_owner: HashMap<String, VecDeque<(Instant, Arc<Snapshot>)>>,
}

impl PageSnapshots {
    /// Keep a snapshot.
    pub(super) fn keep(&mut self, owner: &str, snapshot: Snapshot, now: Instant) {
        self.sweep(now);
        if self.find(owner, snapshot.revision().sequence, now).is_some() {
            return;
        }
        if self.len() >= MAX
            && let Some(largest) = self.by_owner.values_mut().max_by_key(|kept| kept.len())
        {
            largest.pop_front();
        }
        let of_owner = self.by_owner.entry(owner.to_owned()).or_default();
        if of_owner.len() == MAX_OF_OWNER {
            of_owner.pop_front();
        }
        of_owner.push_back((now, Arc::new(snapshot)));
    }

    /// Return this owner's snapshot at this sequence, or `None` if it isn't kept any more.
    pub(super) fn find(&mut self, owner: &str, sequence: Sequence, now: Instant) -> Option<Arc<Snapshot>> {
        self.sweep(now);
        let of_owner = self.by_owner.get_mut(owner)?;
        let index = of_owner.iter().position(|(_, snapshot)| snapshot.revision().sequence == sequence)?;
        let (_, found) = of_owner.remove(index)?;
        of_owner.push_back((now, Arc::clone(&found)));
        Some(found)
    }

    /// Drop the snapshots that were not used for [`LIFE`].
    pub(super) fn sweep(&mut self, now: Instant) {
        self.by_owner.retain(|_, kept| {
            let is_old = |used: Instant| now.saturating_duration_since(used) >= LIFE;
            while kept.pop_front_if(|(used, _)| is_old(*used)).is_some() {}
            !kept.is_empty()
        });
    }

    fn len(&self) -> usize {
        self.by_owner.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Lineage;

    fn at(sequence: u64) -> Snapshot {
        Snapshot::empty(Lineage { store_id: 1, epoch: 1 }).at(Sequence(sequence))
    }

    #[test]
    fn one_owner_expires_no_page_token_of_another() {
        let now = Instant::now();
        let mut kept = PageSnapshots::default();
        kept.keep("quiet", at(1), now);
        for sequence in 2..1_000 {
            kept.keep("busy", at(sequence), now);
        }
        assert!(kept.find("quiet", Sequence(1), now).is_some());
        assert_eq!(kept.len(), 1 + MAX_OF_OWNER);
        assert!(kept.find("busy", Sequence(999), now).is_some());
        assert!(kept.find("busy", Sequence(1), now).is_none() && kept.find("other", Sequence(999), now).is_none());
    }

    #[test]
    fn a_snapshot_is_kept_for_ten_minutes_after_its_last_use_and_no_longer() {
        let now = Instant::now();
        let after = |minutes: u64| now + Duration::from_secs(60 * minutes);
        let mut kept = PageSnapshots::default();
        kept.keep("acme", at(1), now);
        kept.keep("acme", at(2), now);
        assert!(kept.find("acme", Sequence(1), after(9)).is_some());
        kept.sweep(after(10));
        assert!(kept.find("acme", Sequence(2), after(10)).is_none());
        assert!(kept.find("acme", Sequence(1), after(18)).is_some());
        kept.sweep(after(28));
        assert!(kept.by_owner.is_empty(), "an owner without snapshots is forgotten");
    }

    #[test]
    fn the_owner_with_the_most_snapshots_loses_its_oldest_when_all_keep_too_many() {
        let now = Instant::now();
        let mut kept = PageSnapshots::default();
        for sequence in 0..16 {
            kept.keep("busy", at(sequence), now);
        }
        for owner in 0..500 {
            kept.keep(&format!("owner {owner}"), at(1), now);
        }
        assert_eq!(kept.len(), MAX);
        assert!(kept.find("busy", Sequence(0), now).is_none() && kept.find("busy", Sequence(15), now).is_some());
    }
}
