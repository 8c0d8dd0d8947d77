//! The clock of HTTP/2. Several times per call, HTTP/2 notes the time of a connection's last frame, to ping the
//! connection after a long silence. The kernel's last tick, a few milliseconds ago, is precise enough for that, and
//! costs a quarter of the exact time.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use rustix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::MonotonicCoarse;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A timer that sleeps as tokio does, and whose time is that of the last tick.
#[derive(Debug, Clone)]
pub struct TickTimer {
    sleeps: TokioTimer,
    began: Instant,
    began_at: Duration,
}

impl TickTimer {
    pub fn start() -> Self {
        Self { sleeps: TokioTimer::new(), began: Instant::now(), began_at: last_tick() }
    }
}

impl Timer for TickTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleeps.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleeps.sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        self.sleeps.reset(sleep, new_deadline);
    }

    fn now(&self) -> Instant {
        self.began + last_tick().saturating_sub(self.began_at)
    }
}

/// Return the time of the last tick, since some moment in the past.
fn last_tick() -> Duration {
    clock_gettime(CLOCK).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_last_tick_runs_and_is_about_now() {
        let timer = TickTimer::start();
        let mut last = timer.now();
        for _ in 0..5 {
            let next = std::iter::repeat_with(|| timer.now()).find(|now| *now != last).unwrap();
            assert!(next > last);
            last = next;
        }
        // A tick is a hundredth of a second at most, while the machine runs.
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(last + second >= now && last <= now + second);
    }
}
