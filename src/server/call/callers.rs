//! The calls in flight and the unread answers of each caller, on all processors.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{domain::ids::Caller, rpc::methods::Work};

/// The callers with calls in flight, on all processors.
#[derive(Debug, Default)]
pub struct Callers {
    in_flight: Mutex<HashMap<Caller, Arc<InFlight>>>,
    /// The bytes of large answers that wait for their readers.
    held: Arc<AtomicUsize>,
}

/// The calls in flight and the unread bytes of one caller.
#[derive(Debug, Default)]
pub struct InFlight {
    probes: AtomicUsize,
    checks: AtomicUsize,
    scans: AtomicUsize,
    writes: AtomicUsize,
    streams: AtomicUsize,
    /// The bytes of large answers that wait for this caller.
    held: AtomicUsize,
    held_for_all: Arc<AtomicUsize>,
}

/// The calls in flight of a connection's caller. Each connection has its own reference count, so that processors don't
/// contend for one.
#[derive(Debug)]
pub struct ConnectionCalls(Arc<InFlight>);

impl ConnectionCalls {
    pub fn new(in_flight: Arc<InFlight>) -> Self {
        Self(in_flight)
    }
}

impl Callers {
    /// Return the counts of one caller.
    pub fn of(&self, caller: &Caller) -> Arc<InFlight> {
        let mut callers = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = callers.get(caller) {
            return Arc::clone(found);
        }
        // Forget callers without connections and calls.
        callers.retain(|_, in_flight| Arc::strong_count(in_flight) > 1);
        let new = InFlight { held_for_all: Arc::clone(&self.held), ..InFlight::default() };
        Arc::clone(callers.entry(caller.clone()).or_insert_with(|| Arc::new(new)))
    }

    /// Return the number of remembered callers.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The bytes of large answers that wait for their readers.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Return the calls in flight of all callers.
    pub fn in_flight(&self, work: Work) -> usize {
        let callers = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        callers.values().map(|in_flight| in_flight.count(work).load(Ordering::Relaxed)).sum()
    }
}

impl InFlight {
    fn count(&self, work: Work) -> &AtomicUsize {
        match work {
            Work::Probe => &self.probes,
            Work::Check => &self.checks,
            Work::Scan => &self.scans,
            Work::Write => &self.writes,
            Work::Stream | Work::Import => &self.streams,
        }
    }

    /// Return the number of calls in flight that share a limit with `work`.
    fn together(&self, work: Work) -> usize {
        match work {
            // Not limited.
            Work::Probe => 0,
            Work::Check | Work::Scan | Work::Write => {
                [&self.checks, &self.scans, &self.writes].iter().map(|count| count.load(Ordering::Relaxed)).sum()
            }
            Work::Stream | Work::Import => self.streams.load(Ordering::Relaxed),
        }
    }
}

/// An admitted call, counted until it is dropped.
pub struct CallPermit {
    caller: Arc<ConnectionCalls>,
    work: Work,
}

impl CallPermit {
    /// Count a call of a caller.
    pub fn begin(caller: &Arc<ConnectionCalls>, work: Work) -> Self {
        caller.0.count(work).fetch_add(1, Ordering::Relaxed);
        Self { caller: Arc::clone(caller), work }
    }

    /// Return the caller's calls in flight that share a limit with this one.
    pub fn calls_together(&self) -> usize {
        self.caller.0.together(self.work)
    }

    /// Count the bytes of a large answer to this call.
    pub fn hold(&self, bytes: usize) -> HeldBytes {
        let InFlight { held, held_for_all, .. } = &*self.caller.0;
        let of_caller = held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_all = held_for_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        HeldBytes { caller: Arc::clone(&self.caller), bytes, of_caller, of_all }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.caller.0.count(self.work).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bytes of a large answer that waits for its reader, counted until it is dropped.
pub struct HeldBytes {
    caller: Arc<ConnectionCalls>,
    bytes: usize,
    /// The bytes held for the caller when this was counted, these included.
    pub of_caller: usize,
    /// The bytes held for all callers when this was counted, these included.
    pub of_all: usize,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let InFlight { held, held_for_all, .. } = &*self.caller.0;
        held.fetch_sub(self.bytes, Ordering::Relaxed);
        held_for_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
