//! How the writer shares the processors with reads.
//!
//! The writer limits the commands per commit: a larger commit makes none of them faster, and each waits for the last
//! one. While reads come, the limit is lower, because a commit's replies come all at once and delay other calls. If
//! more commands wait then, the writer rests after each commit. So it leaves a processor to others for three quarters
//! of the time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The most commands in one commit, per processor.
const MAX: usize = 16;

/// The most commands in one commit while reads come, per processor.
const MAX_BESIDE_READS: usize = 6;

/// How long after a read the writer expects more reads.
const RECENT: Duration = Duration::from_millis(50);

/// The longest rest. It matters after a command that takes long by itself.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// The number of commands to take up at once, and the rest after them.
pub(super) struct Throttle {
    processors: usize,
    last_read: Option<Instant>,
}

impl Throttle {
    /// Create a throttle for this number of processors.
    pub(super) fn new(processors: usize) -> Self {
        Self { processors, last_read: None }
    }

    /// Note that a read came.
    pub(super) fn note_read(&mut self, now: Instant) {
        self.last_read = Some(now);
    }

    /// Return the most commands to take up now.
    pub(super) fn most(&self, now: Instant) -> usize {
        let for_each = if self.reads_are_recent(now) { MAX_BESIDE_READS } else { MAX };
        for_each * self.processors
    }

    /// Return how long to rest after a full batch, by the time and the processor time that it took.
    pub(super) fn rest(&self, now: Instant, Effort { passed, worked }: Effort) -> Duration {
        if !self.reads_are_recent(now) {
            return Duration::ZERO;
        }
        (worked * 4).saturating_sub(passed).min(LONGEST_REST)
    }

    fn reads_are_recent(&self, now: Instant) -> bool {
        self.last_read.is_some_and(|read| now.saturating_duration_since(read) < RECENT)
    }
}

/// The time that some work took.
pub(super) struct Effort {
    /// The elapsed time.
    pub passed: Duration,
    /// The part of it during which this thread had a processor.
    pub worked: Duration,
}

/// A measurement of an [`Effort`], on the thread that begins it.
pub(super) struct Stopwatch {
    began: Instant,
    worked: Duration,
}

impl Stopwatch {
    pub(super) fn start(now: Instant) -> Self {
        Self { began: now, worked: worked() }
    }

    pub(super) fn stop(&self, now: Instant) -> Effort {
        Effort { passed: now.saturating_duration_since(self.began), worked: worked().saturating_sub(self.worked) }
    }
}

/// Return this thread's processor time.
fn worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn commits_are_small_until_no_read_has_come_for_50_ms() {
        let began = Instant::now();
        for (processors, few, most) in [(1, 6, 16), (2, 12, 32), (16, 96, 256)] {
            let mut throttle = Throttle::new(processors);
            assert_eq!(throttle.most(began), most);
            throttle.note_read(began);
            assert_eq!([0, 49, 50].map(|passed| throttle.most(began + ms(passed))), [few, few, most]);
        }
    }

    #[test]
    fn while_reads_come_the_writer_rests_three_times_as_long_as_it_worked_and_a_wait_for_the_disk_counts_as_rest() {
        let mut throttle = Throttle::new(2);
        let now = Instant::now();
        let rest =
            |throttle: &Throttle, passed, worked| throttle.rest(now, Effort { passed: ms(passed), worked: ms(worked) });
        assert_eq!(rest(&throttle, 3, 3), Duration::ZERO, "no reads");
        throttle.note_read(now);
        let efforts = [(3, 3), (4, 3), (9, 3), (20, 3), (5_000, 5_000)];
        assert_eq!(efforts.map(|(passed, worked)| rest(&throttle, passed, worked)), [9, 8, 3, 0, 10].map(ms));
    }

    #[test]
    fn a_stopwatch_tells_work_from_waiting() {
        let watch = Stopwatch::start(Instant::now());
        let waited = std::thread::spawn(|| (0..1_000_000_u64).map(std::hint::black_box).sum::<u64>()).join();
        let waiting = watch.stop(Instant::now());
        assert!(waited.is_ok() && waiting.worked < waiting.passed);
        let watch = Stopwatch::start(Instant::now());
        let worked = (0..1_000_000_u64).map(std::hint::black_box).sum::<u64>();
        assert!(worked > 0 && watch.stop(Instant::now()).worked > Duration::ZERO);
    }
}
