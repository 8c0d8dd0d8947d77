//! The handler's knowledge of the PBX's queues. It survives a break of the connection to the PBX.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::pbx::{
    connection::{Member, MemberState},
    key_locks::MemberKey,
};

/// The number of queues, and of interfaces with a logged warning, that are kept.
const MAX_KNOWN: usize = 10_000;

/// The number of members that are kept for each purpose.
const MAX_SEEN: usize = 100_000;

/// The queues of queuegate on the PBX, and their members.
#[derive(Debug, Default)]
pub(crate) struct KnownQueues(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The queues that queuegate has or had, in lower case, because Asterisk ignores case.
    names: BTreeSet<String>,
    /// The known queues that were reported as missing on the PBX.
    reported_missing: BTreeSet<String>,
    /// The interfaces that were reported as missing on the PBX.
    reported_invalid: BTreeSet<String>,
    /// The members without a session that were reported instead of removed.
    reported_left: BTreeSet<MemberKey>,
    /// The members whose session the handler has seen.
    had_session: BTreeSet<MemberKey>,
    /// The last known state of members.
    members: HashMap<MemberKey, MemberState>,
}

impl KnownQueues {
    /// Remember a queue of queuegate.
    pub(crate) fn add(&self, pbx_queue: &str) {
        let mut known = self.known();
        if known.names.len() >= MAX_KNOWN {
            known.names.clear();
        }
        known.names.insert(pbx_queue.to_ascii_lowercase());
    }

    /// Return whether queuegate has or had this queue.
    pub(crate) fn contains(&self, pbx_queue: &str) -> bool {
        self.known().names.contains(&pbx_queue.to_ascii_lowercase())
    }

    /// Return the known queues that the PBX lacks, without those that were returned before.
    pub(crate) fn newly_missing(&self, is_on_pbx: impl Fn(&str) -> bool) -> Vec<String> {
        let Known { names, reported_missing, .. } = &mut *self.known();
        reported_missing.retain(|queue| !is_on_pbx(queue));
        let missing: Vec<String> = names.iter().filter(|queue| !is_on_pbx(queue)).cloned().collect();
        missing.into_iter().filter(|queue| reported_missing.insert(queue.clone())).collect()
    }

    /// Return whether a phone that the PBX lacks wasn't reported before, and remember the report.
    pub(crate) fn is_newly_invalid(&self, interface: &str) -> bool {
        let mut known = self.known();
        known.reported_invalid.len() < MAX_KNOWN && known.reported_invalid.insert(interface.to_owned())
    }

    /// Remember the members of a queue that have a session.
    pub(crate) fn saw_sessions<'k>(&self, keys: impl Iterator<Item = &'k MemberKey>) {
        let mut known = self.known();
        for key in keys {
            known.reported_left.remove(key);
            if known.had_session.len() >= MAX_SEEN {
                known.had_session.clear();
            }
            known.had_session.insert(key.clone());
        }
    }

    /// Return whether the handler has seen a session of a member.
    pub(crate) fn had_session(&self, key: &MemberKey) -> bool {
        self.known().had_session.contains(key)
    }

    /// Return whether a member without a session wasn't reported before, and remember the report.
    pub(crate) fn is_newly_left(&self, key: &MemberKey) -> bool {
        let mut known = self.known();
        known.reported_left.len() < MAX_SEEN && known.reported_left.insert(key.clone())
    }

    /// Remember the state of members, so that a member that is added again gets it back.
    pub(crate) fn remember_members(&self, pbx_queue: &str, members: &[Member]) {
        let mut known = self.known();
        for member in members {
            known.members.insert(MemberKey::new(pbx_queue, &member.interface), member.state.clone());
        }
    }

    /// Return the last known state of a member, or the initial state.
    pub(crate) fn member_state(&self, key: &MemberKey) -> MemberState {
        self.known().members.get(key).cloned().unwrap_or_default()
    }

    /// Forget the state of a queue's members without a session. Their next sign-in starts with the initial state.
    pub(crate) fn forget_members(&self, pbx_queue: &str, has_session: impl Fn(&MemberKey) -> bool) {
        let queue = pbx_queue.to_ascii_lowercase();
        self.known().members.retain(|key, _| key.queue != queue || has_session(key));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
