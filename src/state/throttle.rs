//! How the writer shares the processors with whoever only asks.
//!
//! It takes up some changes at once: more in a commit are not done sooner, and each waits for the last of them. While somebody
//! asks, it takes up a few, because their answers come all at once, and others stand in line behind them; and if that is
//! not all there is to do, it rests after each commit, so that it leaves a processor to others for three quarters of the
//! time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How many commands go into one commit at most for each processor.
const MOST: usize = 16;

/// How many while somebody asks.
const BESIDE_QUESTIONS: usize = 6;

/// For how long somebody who asked is thought to ask again.
const MEMORY: Duration = Duration::from_millis(50);

/// The longest rest, after a command that takes long by itself.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// How many commands to take up at once, and how long to rest after them.
pub(super) struct Throttle {
    processors: usize,
    last_asked: Option<Instant>,
}

impl Throttle {
    /// On so many processors.
    pub(super) fn new(processors: usize) -> Self {
        Self { processors, last_asked: None }
    }

    /// Notes that somebody asked.
    pub(super) fn asked(&mut self, now: Instant) {
        self.last_asked = Some(now);
    }

    /// How many commands to take up now, at most.
    pub(super) fn most(&self, now: Instant) -> usize {
        let for_each = if self.somebody_asks(now) { BESIDE_QUESTIONS } else { MOST };
        for_each * self.processors
    }

    /// How long to rest after as many commands as were to be taken up, which took so long, and so much of a processor.
    pub(super) fn rest(&self, now: Instant, Effort { passed, worked }: Effort) -> Duration {
        if !self.somebody_asks(now) {
            return Duration::ZERO;
        }
        (worked * 4).saturating_sub(passed).min(LONGEST_REST)
    }

    fn somebody_asks(&self, now: Instant) -> bool {
        self.last_asked.is_some_and(|asked| now.saturating_duration_since(asked) < MEMORY)
    }
}

/// What something took.
pub(super) struct Effort {
    /// How long.
    pub passed: Duration,
    /// For how much of that this thread had a processor.
    pub worked: Duration,
}

/// Measures an [`Effort`] of the thread that begins it.
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

/// How long this thread has had a processor since it began.
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
    fn beside_questions_a_commit_takes_up_a_few_for_each_processor_until_nobody_has_asked_for_a_while() {
        let began = Instant::now();
        for (processors, few, most) in [(1, 6, 16), (2, 12, 32), (16, 96, 256)] {
            let mut throttle = Throttle::new(processors);
            assert_eq!(throttle.most(began), most);
            throttle.asked(began);
            assert_eq!([0, 49, 50].map(|passed| throttle.most(began + ms(passed))), [few, few, most]);
        }
    }

    #[test]
    fn beside_questions_the_writer_rests_for_three_times_as_long_as_it_worked_and_the_disk_is_a_rest() {
        let mut throttle = Throttle::new(2);
        let now = Instant::now();
        let rest =
            |throttle: &Throttle, passed, worked| throttle.rest(now, Effort { passed: ms(passed), worked: ms(worked) });
        assert_eq!(rest(&throttle, 3, 3), Duration::ZERO, "nobody asks");
        throttle.asked(now);
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
