//! The activity of one connection: whether it is idle, and whether its peer reads its answers.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// The activity of a connection.
pub struct Activity {
    began: Instant,
    calls: AtomicUsize,
    /// When the last call ended, in milliseconds after `began`.
    last_ended_ms: AtomicU64,
    /// The number of answers with a piece that HTTP/2 hasn't taken yet.
    untaken: AtomicUsize,
    /// The number of pieces that HTTP/2 has taken.
    taken: AtomicUsize,
}

impl Activity {
    /// Count the start of a call.
    pub fn call_began(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Count the end of a call.
    pub fn call_ended(&self, now: Instant) {
        let ended_ms = now.saturating_duration_since(self.began).as_millis();
        self.last_ended_ms.store(u64::try_from(ended_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            calls: AtomicUsize::new(0),
            last_ended_ms: AtomicU64::new(0),
            untaken: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    /// Return how long there has been no call, or `None` while one is in flight.
    pub fn idle_for(&self) -> Option<Duration> {
        let last_ended = Duration::from_millis(self.last_ended_ms.load(Ordering::Relaxed));
        (self.calls.load(Ordering::Relaxed) == 0).then(|| self.began.elapsed().saturating_sub(last_ended))
    }

    /// Note that an answer has a piece to send. One thread serves a connection, so nothing else counts meanwhile.
    pub fn offered(&self) {
        self.untaken.store(self.untaken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Note that HTTP/2 took an answer's piece.
    pub fn taken(&self) {
        self.untaken.store(self.untaken.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
        self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Return the number of pieces taken so far, or `None` if no answer waits for its reader.
    pub fn taken_while_answers_wait(&self) -> Option<usize> {
        (self.untaken.load(Ordering::Relaxed) > 0).then(|| self.taken.load(Ordering::Relaxed))
    }
}
