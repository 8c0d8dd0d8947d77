//! One thing at a time for each phone on each queue.
//!
//! INVARIANT: whoever changes a session and its member holds their place meanwhile, and whoever compares the two learns
//! whether somebody changed them since. So no stale comparison undoes what a caller has just done.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedMutexGuard;

/// How many places may be remembered that nobody holds.
const MOST_IDLE: usize = 10_000;

/// A phone on a queue, as the PBX names them. Asterisk doesn't tell upper case from lower.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The queue.
    pub queue: String,
    /// The interface.
    pub interface: String,
}

impl Key {
    /// The key of an interface on a queue.
    pub fn new(queue: &str, interface: &str) -> Self {
        Self { queue: queue.to_ascii_lowercase(), interface: interface.to_ascii_lowercase() }
    }
}

/// A moment in the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// All places.
#[derive(Debug, Default)]
pub(super) struct Places {
    clock: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    places: HashMap<Key, Arc<Place>>,
    /// When the last of the places that are forgotten was changed.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Place {
    turn: Arc<tokio::sync::Mutex<()>>,
    changed: AtomicU64,
}

/// A place that is held. Giving it back says that something changed, unless [`Held::unchanged`] did.
#[derive(Debug)]
pub(super) struct Held {
    places: Arc<Places>,
    place: Arc<Place>,
    is_changed: bool,
    _turn: OwnedMutexGuard<()>,
}

impl Places {
    /// Waits for a place.
    pub(super) async fn hold(self: &Arc<Self>, key: &Key) -> Held {
        let place = self.place(key);
        let turn = Arc::clone(&place.turn).lock_owned().await;
        Held { places: Arc::clone(self), place, is_changed: true, _turn: turn }
    }

    /// The moment that it is.
    pub(super) fn now(&self) -> Moment {
        Moment(self.clock.load(Ordering::SeqCst))
    }

    fn place(&self, key: &Key) -> Arc<Place> {
        let mut known = self.known();
        if known.places.len() >= MOST_IDLE {
            let Known { places, forgotten } = &mut *known;
            places.retain(|_, place| {
                // INVARIANT: whoever has a place has it from here, under this lock.
                let is_held = Arc::strong_count(place) > 1;
                if !is_held {
                    *forgotten = place.changed.load(Ordering::SeqCst).max(*forgotten);
                }
                is_held
            });
        }
        let forgotten = known.forgotten;
        let new = || Arc::new(Place { changed: AtomicU64::new(forgotten), ..Place::default() });
        Arc::clone(known.places.entry(key.clone()).or_insert_with(new))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether something changed here after that moment.
    pub(super) fn is_changed_since(&self, moment: Moment) -> bool {
        self.place.changed.load(Ordering::SeqCst) > moment.0
    }

    /// Gives the place back as it was.
    pub(super) fn unchanged(mut self) {
        self.is_changed = false;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_changed {
            let moment = self.places.clock.fetch_add(1, Ordering::SeqCst) + 1;
            self.place.changed.fetch_max(moment, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_by_whoever_looked_before_it() {
        let places = Arc::new(Places::default());
        let (key, other) = (Key::new("801", "PJSIP/101"), Key::new("801", "PJSIP/102"));
        let before = places.now();
        drop(places.hold(&key).await);
        let after = places.now();
        let held = places.hold(&Key::new("801", "pjsip/101")).await;
        assert!(held.is_changed_since(before) && !held.is_changed_since(after));
        held.unchanged();
        assert!(!places.hold(&key).await.is_changed_since(after));
        assert!(!places.hold(&other).await.is_changed_since(before));
    }

    #[tokio::test]
    async fn what_is_forgotten_counts_as_changed() {
        let places = Arc::new(Places::default());
        let before = places.now();
        for number in 0..MOST_IDLE {
            drop(places.hold(&Key::new("801", &number.to_string())).await);
        }
        let held = places.hold(&Key::new("802", "PJSIP/101")).await;
        assert!(held.is_changed_since(before));
        assert!(places.known().places.len() < 10);
    }
}
