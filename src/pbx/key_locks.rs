//! A lock for each member: a phone in a queue of the PBX.
//!
//! INVARIANT: a task that changes a session or its member holds the member's lock. A task that compares the two learns
//! from the lock whether another task has changed them since. So no stale comparison reverts a caller's change.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedMutexGuard;

/// The number of locks above which unused ones are removed.
const MAX_UNUSED: usize = 10_000;

/// A member by the PBX's names, in lower case, because Asterisk ignores case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MemberKey {
    /// The queue.
    pub queue: String,
    /// The interface.
    pub interface: String,
}

impl MemberKey {
    /// Return the key of an interface in a queue.
    pub(super) fn new(queue: &str, interface: &str) -> Self {
        Self { queue: queue.to_ascii_lowercase(), interface: interface.to_ascii_lowercase() }
    }
}

/// A point in the order of changes, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogicalTime(u64);

/// The locks of all members.
#[derive(Debug, Default)]
pub(super) struct KeyLocks {
    clock: AtomicU64,
    locks: Mutex<LockMap>,
}

#[derive(Debug, Default)]
struct LockMap {
    by_key: HashMap<MemberKey, Arc<KeyLock>>,
    /// The latest change among the locks that were removed.
    removed_changed_at: u64,
}

#[derive(Debug, Default)]
struct KeyLock {
    mutex: Arc<tokio::sync::Mutex<()>>,
    changed_at: AtomicU64,
}

/// A lock that is held. Dropping it records a change, unless [`KeyLockGuard::release_unchanged`] is called.
#[derive(Debug)]
pub(super) struct KeyLockGuard {
    locks: Arc<KeyLocks>,
    lock: Arc<KeyLock>,
    is_changed: bool,
    _guard: OwnedMutexGuard<()>,
}

impl KeyLocks {
    /// Wait for the lock of a member.
    pub(super) async fn lock(self: &Arc<Self>, key: &MemberKey) -> KeyLockGuard {
        let lock = self.of(key);
        let guard = Arc::clone(&lock.mutex).lock_owned().await;
        KeyLockGuard { locks: Arc::clone(self), lock, is_changed: true, _guard: guard }
    }

    /// Return the present logical time.
    pub(super) fn now(&self) -> LogicalTime {
        LogicalTime(self.clock.load(Ordering::SeqCst))
    }

    fn of(&self, key: &MemberKey) -> Arc<KeyLock> {
        let mut locks = self.map();
        if locks.by_key.len() >= MAX_UNUSED {
            let LockMap { by_key, removed_changed_at } = &mut *locks;
            by_key.retain(|_, lock| {
                // INVARIANT: a task gets a lock only from this function, under the mutex of the map.
                let is_used = Arc::strong_count(lock) > 1;
                if !is_used {
                    *removed_changed_at = lock.changed_at.load(Ordering::SeqCst).max(*removed_changed_at);
                }
                is_used
            });
        }
        let changed_at = locks.removed_changed_at;
        let new = || Arc::new(KeyLock { changed_at: AtomicU64::new(changed_at), ..KeyLock::default() });
        Arc::clone(locks.by_key.entry(key.clone()).or_insert_with(new))
    }

    fn map(&self) -> MutexGuard<'_, LockMap> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyLockGuard {
    /// Return whether the member or its session may have changed after a time.
    pub(super) fn is_changed_since(&self, time: LogicalTime) -> bool {
        self.lock.changed_at.load(Ordering::SeqCst) > time.0
    }

    /// Release the lock without recording a change.
    pub(super) fn release_unchanged(mut self) {
        self.is_changed = false;
    }
}

impl Drop for KeyLockGuard {
    fn drop(&mut self) {
        if self.is_changed {
            let time = self.locks.clock.fetch_add(1, Ordering::SeqCst) + 1;
            self.lock.changed_at.fetch_max(time, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_since_every_earlier_time() {
        let locks = Arc::new(KeyLocks::default());
        let (key, other) = (MemberKey::new("801", "PJSIP/101"), MemberKey::new("801", "PJSIP/102"));
        let before = locks.now();
        drop(locks.lock(&key).await);
        let after = locks.now();
        let guard = locks.lock(&MemberKey::new("801", "pjsip/101")).await;
        assert!(guard.is_changed_since(before) && !guard.is_changed_since(after));
        guard.release_unchanged();
        assert!(!locks.lock(&key).await.is_changed_since(after));
        assert!(!locks.lock(&other).await.is_changed_since(before));
    }

    #[tokio::test]
    async fn a_removed_lock_counts_as_changed() {
        let locks = Arc::new(KeyLocks::default());
        let before = locks.now();
        for number in 0..MAX_UNUSED {
            drop(locks.lock(&MemberKey::new("801", &number.to_string())).await);
        }
        let guard = locks.lock(&MemberKey::new("802", "PJSIP/101")).await;
        assert!(guard.is_changed_since(before));
        assert!(locks.map().by_key.len() < 10);
    }
}
