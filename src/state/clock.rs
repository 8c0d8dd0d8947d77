//! The server's clock.
//!
//! A session of eight hours lasts eight hours, even if an operator sets the wall clock meanwhile. A steady clock, which
//! can't be set, measures the elapsed time. The server takes its start time from the wall clock, and then follows the
//! wall clock slowly.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use crate::domain::time::Timestamp;

/// A source of the time.
pub trait Clock: Send + Sync {
    /// Return the time now.
    fn now(&self) -> Timestamp;

    /// Follow a reference, which is this far ahead of the machine's wall clock, and return the difference of this clock
    /// from it. A clock that follows no reference returns zero.
    fn follow_reference(&self, _ahead_ms: i64) -> Duration {
        Duration::ZERO
    }
}

/// The two clocks of a machine, in milliseconds.
pub trait Clocks: Send + Sync {
    /// Return the wall clock's time since 1970. It may be set, and so may jump.
    fn wall_ms(&self) -> i64;

    /// Return the steady clock's time since some moment in the past. It runs evenly and can't be set.
    fn steady_ms(&self) -> i64;
}

/// The machine's own clocks. The steady one counts the time that the machine was suspended, where the system has such a
/// clock.
#[derive(Debug, Clone, Copy)]
pub struct MachineClocks;

impl Clocks for MachineClocks {
    fn wall_ms(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady_ms(&self) -> i64 {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const STEADY: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const STEADY: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(STEADY);
        time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
    }
}

/// How slowly the server follows the wall clock: by a 200th of the elapsed time. So eight hours are off by 2.4 minutes
/// at most, and a correction of a minute takes three and a half hours at most.
const FOLLOW: i64 = 200;

/// The most elapsed time for which one step follows the wall clock.
const LONGEST_STEP_MS: i64 = 60_000;

/// The difference of the wall clock from the server's time that is logged.
const WORTH_A_WARNING_MS: i64 = 10_000;

/// The server's time. It starts at the wall clock's time and then runs evenly, and approaches the wall clock by a 200th
/// of the elapsed time. INVARIANT: it never runs backwards.
#[derive(Debug)]
pub struct SystemClock<C = MachineClocks> {
    clocks: C,
    /// The server's time minus the steady clock's.
    ahead_ms: AtomicI64,
    /// The latest time that `now` returned.
    last_ms: AtomicI64,
    /// How far the reference is ahead of the wall clock: 0 without a reference.
    reference_ahead_ms: AtomicI64,
    has_reference: AtomicBool,
    following: Mutex<Following>,
}

#[derive(Debug)]
struct Following {
    /// The steady clock's time of the last step towards the wall clock.
    steady_ms: i64,
    has_warned: bool,
}

impl SystemClock {
    /// Start a clock at the wall clock's time.
    pub fn start() -> Self {
        Self::of(MachineClocks)
    }
}

impl<C: Clocks> SystemClock<C> {
    /// Start a clock on these clocks, at the time of their wall clock.
    pub fn of(clocks: C) -> Self {
        let (wall_ms, steady_ms) = (clocks.wall_ms(), clocks.steady_ms());
        Self {
            clocks,
            ahead_ms: AtomicI64::new(wall_ms.saturating_sub(steady_ms)),
            last_ms: AtomicI64::new(i64::MIN),
            reference_ahead_ms: AtomicI64::new(0),
            has_reference: AtomicBool::new(false),
            following: Mutex::new(Following { steady_ms, has_warned: false }),
        }
    }

    /// Return the time to follow: the reference's, or without one the wall clock's.
    fn reference_ms(&self) -> i64 {
        self.clocks.wall_ms().saturating_add(self.reference_ahead_ms.load(Ordering::Relaxed))
    }

    /// Approach the reference or the wall clock by as much as the elapsed time allows.
    fn follow(&self, following: &mut Following, steady_ms: i64) {
        // A long time without calls counts as one step at most: the wall clock may have been set only just now.
        following.steady_ms = following.steady_ms.max(steady_ms.saturating_sub(LONGEST_STEP_MS));
        let allowed = steady_ms.saturating_sub(following.steady_ms) / FOLLOW;
        if allowed <= 0 {
            return;
        }
        following.steady_ms += allowed * FOLLOW;
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let off_ms = self.reference_ms().saturating_sub(steady_ms.saturating_add(ahead_ms));
        let left_ms = off_ms.saturating_abs();
        self.ahead_ms.store(ahead_ms + off_ms.clamp(-allowed, allowed), Ordering::Relaxed);
        if left_ms >= WORTH_A_WARNING_MS && !following.has_warned {
            following.has_warned = true;
            warn!(
                wall_clock_ahead_ms = off_ms,
                "wall clock was set; the server follows it slowly, so that sessions last as long as they should; \
                 a restart takes it over at once"
            );
        } else if left_ms < WORTH_A_WARNING_MS && following.has_warned {
            following.has_warned = false;
            info!("wall clock and server agree again");
        }
    }
}

impl<C: Clocks> Clock for SystemClock<C> {
    fn now(&self) -> Timestamp {
        let steady_ms = self.clocks.steady_ms();
        let now_ms = steady_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        if now_ms <= last_ms {
            // Most calls come within the same millisecond. They only read, so they don't wait for each other's writes.
            return Timestamp::from_unix_ms(last_ms);
        }
        // No thread waits for the lock: a thread that doesn't get it uses the other thread's correction.
        if let Ok(mut following) = self.following.try_lock() {
            self.follow(&mut following, steady_ms);
        }
        let now_ms = steady_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        Timestamp::from_unix_ms(self.last_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms))
    }

    fn follow_reference(&self, ahead_ms: i64) -> Duration {
        self.reference_ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let (reference_ms, steady_ms) = (self.reference_ms(), self.clocks.steady_ms());
        if !self.has_reference.swap(true, Ordering::Relaxed) {
            // Nothing was decided by this clock yet, so it may start at the reference's time.
            self.ahead_ms.store(reference_ms.saturating_sub(steady_ms), Ordering::Relaxed);
        }
        let own_ms = steady_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed));
        Duration::from_millis(reference_ms.abs_diff(own_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HOUR: i64 = 3_600_000;

    /// A pair of clocks that a test moves.
    #[derive(Default)]
    struct Moved {
        wall_ms: AtomicI64,
        steady_ms: AtomicI64,
    }

    impl Clocks for Arc<Moved> {
        fn wall_ms(&self) -> i64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn steady_ms(&self) -> i64 {
            self.steady_ms.load(Ordering::Relaxed)
        }
    }

    impl Moved {
        fn pass(&self, ms: i64) {
            self.wall_ms.fetch_add(ms, Ordering::Relaxed);
            self.steady_ms.fetch_add(ms, Ordering::Relaxed);
        }

        fn jump(&self, ms: i64) {
            self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    fn clock() -> (Arc<Moved>, SystemClock<Arc<Moved>>) {
        let moved = Arc::new(Moved::default());
        moved.jump(1_800_000_000_000);
        moved.steady_ms.store(77, Ordering::Relaxed);
        let clock = SystemClock::of(Arc::clone(&moved));
        (moved, clock)
    }

    #[test]
    fn a_wall_clock_that_is_not_set_is_followed_to_the_millisecond() {
        let (moved, clock) = clock();
        for _ in 0..1_000 {
            moved.pass(777);
            assert_eq!(clock.now().unix_ms(), moved.wall_ms.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_jump_that_is_soon_undone_leaves_the_time_right() {
        for jump in [HOUR, -HOUR] {
            let (moved, clock) = clock();
            let before = clock.now().unix_ms();
            moved.jump(jump);
            moved.pass(60_000);
            assert!((clock.now().unix_ms() - before - 60_000).abs() <= 300);
            moved.jump(-jump);
            moved.pass(60_000);
            assert_eq!(clock.now().unix_ms(), moved.wall_ms.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_jump_after_12_hours_without_calls_is_followed_as_slowly() {
        let (moved, clock) = clock();
        moved.pass(12 * HOUR);
        moved.jump(HOUR);
        let before = moved.wall_ms.load(Ordering::Relaxed) - HOUR;
        assert_eq!(clock.now().unix_ms() - before, 300);
    }

    #[test]
    fn a_time_to_live_is_exact_within_a_200th_however_the_wall_clock_jumps() {
        for jump in [HOUR, -HOUR, 20 * 365 * 24 * HOUR, -20 * 365 * 24 * HOUR] {
            let (moved, clock) = clock();
            let before = clock.now().unix_ms();
            moved.jump(jump);
            for minute in 1..=8 * 60 {
                moved.pass(60_000);
                // Jump and jump back every seven minutes.
                if minute % 7 == 0 {
                    moved.jump(if minute % 2 == 0 { jump } else { -jump });
                }
                let elapsed = clock.now().unix_ms() - before;
                assert!((elapsed - minute * 60_000).abs() <= minute * 300, "{jump}: {elapsed} after {minute} minutes");
            }
        }
    }

    #[test]
    fn a_wall_clock_that_was_set_is_reached_in_the_end_and_time_never_runs_backwards() {
        for jump in [HOUR, -HOUR] {
            let (moved, clock) = clock();
            moved.jump(jump);
            let mut last = clock.now();
            for _ in 0..200 * 3_600 + 1 {
                moved.pass(1_000);
                let now = clock.now();
                assert!(now > last);
                last = now;
            }
            assert_eq!(last.unix_ms(), moved.wall_ms.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_reference_is_taken_over_at_first_and_then_followed_slowly() {
        let (moved, clock) = clock();
        assert_eq!(clock.follow_reference(HOUR), Duration::ZERO);
        assert_eq!(clock.now().unix_ms(), moved.wall_ms.load(Ordering::Relaxed) + HOUR);
        // The machine's wall clock is set, and the reference is not.
        moved.jump(-HOUR);
        assert_eq!(clock.follow_reference(2 * HOUR), Duration::ZERO);
        // The reference is set.
        let before = clock.now().unix_ms();
        assert_eq!(clock.follow_reference(3 * HOUR), Duration::from_secs(3_600));
        moved.pass(60_000);
        assert_eq!(clock.now().unix_ms() - before, 60_300);
    }

    #[test]
    fn the_machine_has_both_clocks() {
        assert!(MachineClocks.wall_ms() > 1_700_000_000_000);
        assert!(MachineClocks.steady_ms() > 0);
        let clock = SystemClock::start();
        let before = clock.now();
        assert!(clock.now() >= before);
    }
}
