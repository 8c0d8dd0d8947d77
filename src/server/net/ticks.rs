//! The time as HTTP/2 goes by it. Several times in each call it notes when it last heard of a connection, to ask after a
//! minute of silence whether anybody is there; for that the kernel's last tick, a few milliseconds ago, is close enough, and
//! is told in a quarter of the time.

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

/// Sleeps as tokio does, and says which time it was at the last tick.
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

/// When the last tick was, since some moment in the past.
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
        // A tick is a hundredth of a second at most, if the machine goes on.
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(last + second >= now && last <= now + second);
    }
}
