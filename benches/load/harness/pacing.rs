//! When calls start in an open loop.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rand::{RngExt, rngs::SmallRng};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// The distribution of the intervals between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Random intervals, as from independent callers.
    Exponential,
    /// Equal intervals.
    Fixed,
}

/// The rate and the arrivals of an open loop.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub calls_per_second: f64,
    pub arrivals: Arrivals,
}

impl Schedule {
    /// Return the time until the next call of one thread, which makes its part of the calls.
    pub fn interval(&self, threads: usize, random: &mut SmallRng) -> Duration {
        let intervals = match self.arrivals {
            Arrivals::Fixed => 1.0,
            Arrivals::Exponential => -f64::ln(1.0 - random.random::<f64>()),
        };
        Duration::from_secs_f64(intervals * threads as f64 / self.calls_per_second)
    }
}

/// A timer of microseconds. Tokio's own timers have a resolution of one millisecond.
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(deprecated, reason = "its replacement is unsafe, and AsyncFd needs an OwnedFd")]
    pub fn new() -> anyhow::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Wait until a moment. If it is past, return without waiting, so that a late thread catches up.
    pub async fn wait_until(&self, due: Instant) -> anyhow::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: Timespec::default(), it_value: Timespec::try_from(left)? };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut expired = self.0.readable().await?;
            match expired.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?)) {
                Ok(read) => return Ok(read.map(drop)?),
                Err(_would_block) => {}
            }
        }
    }
}
