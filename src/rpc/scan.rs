//! Lists and batches: their cost grows with an organization, so background threads compute them. These threads give way
//! to the threads that answer checks.
//!
//! INVARIANT: an owner (an organization, or a caller who lists organizations) has as many permits as there are background
//! threads. So at most that many lists of another owner go before an owner's next one.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use tokio::sync::Semaphore;

use super::{background::blocking, error::Error};
use crate::telemetry::metrics::{Metrics, Shed};

/// The most waiting calls of one owner.
const MAX_WAITING: usize = 256;

/// The queue of calls that wait for the background threads.
#[derive(Clone)]
pub(super) struct Scans(Arc<WorkQueue>);

struct WorkQueue {
    threads: usize,
    permits: Arc<Semaphore>,
    owners: Mutex<HashMap<String, Arc<Owner>>>,
}

struct Owner {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A waiting call.
struct Waiting<'o>(&'o Owner);

impl Scans {
    pub(super) fn new() -> Self {
        // Leave one processor to checks: the system lets even a thread of low priority run for some milliseconds before
        // another.
        let threads = available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
        Self(Arc::new(WorkQueue { threads, permits: Arc::new(Semaphore::new(threads)), owners: Mutex::default() }))
    }

    /// Return the permits of all owners. Long answers take one for each of their pieces.
    pub(super) fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.permits)
    }

    fn owner(&self, name: &str) -> Arc<Owner> {
        let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = owners.get(name) {
            return Arc::clone(found);
        }
        // Forget owners without calls.
        owners.retain(|_, owner| Arc::strong_count(owner) > 1);
        let new =
            || Arc::new(Owner { permits: Arc::new(Semaphore::new(self.0.threads)), waiting: AtomicUsize::new(0) });
        Arc::clone(owners.entry(name.to_owned()).or_insert_with(new))
    }
}

impl<'o> Waiting<'o> {
    fn new(owner: &'o Owner, metrics: &Metrics) -> Result<Self, Error> {
        let waiting = Self(owner);
        if owner.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            metrics.shed(Shed::Scans);
            return Err(Error::TooManyScans);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Scans {
    /// Run work on a background thread, when it is the turn of its owner.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        owner: &str,
        metrics: &Metrics,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let owner = self.owner(owner);
        let waiting = Waiting::new(&owner, metrics)?;
        let closed = |_| Error::Internal("the queue of lists and batches was closed".to_owned());
        let own = Arc::clone(&owner.permits).acquire_owned().await.map_err(closed)?;
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(closed)?;
        drop(waiting);
        blocking(move || {
            let done = work();
            drop((own, permit));
            done
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::CallLabels;

    #[test]
    fn an_owner_with_too_many_waiting_calls_is_refused_and_others_are_not() {
        let (scans, metrics) = (Scans::new(), Metrics::new(CallLabels::default()));
        let (busy, other) = (scans.owner("busy"), scans.owner("other"));
        let wait = |owner| Waiting::new(owner, &metrics);
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| wait(&*busy).unwrap()).collect();
        assert!(matches!(wait(&busy), Err(Error::TooManyScans)));
        assert!(wait(&other).is_ok());
        drop(waiting);
        assert!(wait(&busy).is_ok());
    }

    #[test]
    fn an_owner_without_calls_is_forgotten() {
        let scans = Scans::new();
        for number in 0..100 {
            scans.owner(&format!("o{number}"));
        }
        assert_eq!(scans.0.owners.lock().unwrap().len(), 1);
    }
}
