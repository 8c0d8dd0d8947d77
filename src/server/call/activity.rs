//! The calls of one connection: is it idle, and does its peer take its answers?

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// What goes on on a connection.
pub struct Activity {
    began: Instant,
    calls: AtomicUsize,
    /// When the last call ended, in milliseconds after `began`.
    last_ended_ms: AtomicU64,
    /// Answers with something to send that was not asked for yet.
    untaken: AtomicUsize,
    /// Counts pieces of answers that were taken.
    taken: AtomicUsize,
}

impl Activity {
    /// A call began.
    pub fn call_began(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended.
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

    /// How long there has been no call, or `None` while there is one.
    pub fn idle_for(&self) -> Option<Duration> {
        let last_ended = Duration::from_millis(self.last_ended_ms.load(Ordering::Relaxed));
        (self.calls.load(Ordering::Relaxed) == 0).then(|| self.began.elapsed().saturating_sub(last_ended))
    }

    /// An answer has something to send. A connection is served by one thread, so nothing else counts meanwhile.
    pub fn offered(&self) {
        self.untaken.store(self.untaken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Something that an answer offered was taken.
    pub fn taken(&self) {
        self.untaken.store(self.untaken.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
        self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How many pieces of answers were taken so far, while others wait; `None` if no answer waits for its reader.
    pub fn taken_while_answers_wait(&self) -> Option<usize> {
        (self.untaken.load(Ordering::Relaxed) > 0).then(|| self.taken.load(Ordering::Relaxed))
    }
}
