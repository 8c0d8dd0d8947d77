//! Asks in a closed loop, where each caller waits for its answer, or in an open loop, where calls come at their own times.

use std::{
    cell::{Cell, RefCell},
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{io::unix::AsyncFd, task::JoinSet};
use tonic::Code;

use crate::{
    call::{Line, Question},
    process::Process,
};

/// Which part of a turn is not measured, because it is the beginning.
const WARM_UP: f64 = 0.15;

/// How calls come in an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// At random, as from callers who know nothing of each other.
    Exponential,
    /// One after another, evenly.
    Fixed,
}

/// What came of a turn.
pub struct Measured {
    pub seconds: f64,
    /// Calls that were answered with OK.
    pub answered: u64,
    /// Calls that were answered with anything else.
    pub refused: u64,
    /// The server's processor time.
    pub cpu: Duration,
    /// How long answers took, in nanoseconds.
    pub latencies: Histogram<u64>,
}

impl Measured {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Microseconds of the server's processor time for a call, which is milliseconds for 1,000.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.answered + self.refused).max(1) as f64
    }

    /// How long the slowest but this share took, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.latencies.value_at_percentile(percent) as f64 / 1e3
    }
}

/// Which part of a turn it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// What all callers of a turn write down.
struct Notes {
    phase: Cell<Phase>,
    answered: Cell<u64>,
    refused: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

impl Notes {
    fn new() -> anyhow::Result<Rc<Self>> {
        let latencies = RefCell::new(Histogram::new_with_bounds(1, 60_000_000_000, 3)?);
        Ok(Rc::new(Self { phase: Cell::new(Phase::WarmUp), answered: 0.into(), refused: 0.into(), latencies }))
    }

    fn note(&self, code: Code, took: Duration) {
        if self.phase.get() != Phase::Measured {
            return;
        }
        if code == Code::Ok {
            self.answered.set(self.answered.get() + 1);
            self.latencies.borrow_mut().saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// Measures so long, while others call.
    async fn measure(&self, server: &Process, seconds: f64) -> anyhow::Result<(f64, Duration)> {
        tokio::time::sleep(Duration::from_secs_f64(seconds * WARM_UP)).await;
        self.phase.set(Phase::Measured);
        let (began, before) = (Instant::now(), server.cpu()?);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        self.phase.set(Phase::Over);
        Ok((began.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(before)))
    }

    fn measured(self: Rc<Self>, (seconds, cpu): (f64, Duration)) -> anyhow::Result<Measured> {
        let notes = Rc::into_inner(self).context("somebody still calls")?;
        let (answered, refused) = (notes.answered.get(), notes.refused.get());
        Ok(Measured { seconds, answered, refused, cpu, latencies: notes.latencies.into_inner() })
    }
}

/// As many calls as there can be while each caller waits for its answer: so many callers on each line.
pub async fn closed(
    server: &Process,
    lines: &[Line],
    callers: usize,
    questions: &Rc<[Question]>,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let notes = Notes::new()?;
    let mut calling = JoinSet::new();
    let all = lines.len() * callers;
    for (number, line) in lines.iter().cycle().take(all).enumerate() {
        let (line, questions, notes) = (line.clone(), Rc::clone(questions), Rc::clone(&notes));
        calling.spawn_local(async move {
            for question in questions.iter().cycle().skip(number * questions.len() / all) {
                let began = Instant::now();
                let code = line.call(question, |_| {}).await?;
                notes.note(code, began.elapsed());
                if notes.phase.get() == Phase::Over {
                    break;
                }
            }
            anyhow::Ok(())
        });
    }
    let measured = notes.measure(server, seconds).await?;
    while let Some(called) = calling.join_next().await {
        called??;
    }
    notes.measured(measured)
}

/// So many calls a second, whether earlier ones are answered or not. An answer took as long as since its call was to
/// begin, so that calls which a slow server holds up count as slow (no coordinated omission).
pub async fn open(
    server: &Process,
    lines: &[Line],
    (rate, arrivals): (f64, Arrivals),
    questions: &Rc<[Question]>,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let notes = Notes::new()?;
    let (asked, alarm) = (Rc::clone(&notes), Alarm::new()?);
    let asking = async {
        let mut random = SmallRng::seed_from_u64(7);
        let mut calling = JoinSet::new();
        let mut due = Instant::now();
        for (line, question) in lines.iter().cycle().zip(questions.iter().cycle()) {
            let wait = match arrivals {
                Arrivals::Fixed => 1.0,
                Arrivals::Exponential => -f64::ln(1.0 - random.random::<f64>()),
            };
            due += Duration::from_secs_f64(wait / rate);
            alarm.wait_until(due).await?;
            if asked.phase.get() == Phase::Over {
                break;
            }
            let (line, question, asked) = (line.clone(), question.clone(), Rc::clone(&asked));
            calling.spawn_local(async move {
                let code = line.call(&question, |_| {}).await?;
                asked.note(code, due.elapsed());
                anyhow::Ok(())
            });
            while let Some(called) = calling.try_join_next() {
                called??;
            }
        }
        while let Some(called) = calling.join_next().await {
            called??;
        }
        anyhow::Ok(())
    };
    let (measured, asked_all) = tokio::join!(notes.measure(server, seconds), asking);
    asked_all?;
    drop(asked);
    notes.measured(measured?)
}

/// Waits until a moment to the microsecond, where tokio's own timers know milliseconds.
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    #[expect(deprecated, reason = "what replaces it is unsafe code, and an OwnedFd is what it asks for")]
    fn new() -> anyhow::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    async fn wait_until(&self, due: Instant) -> anyhow::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Callers of a late one must come to their turn as well.
            return Ok(());
        }
        let once = Itimerspec { it_interval: Timespec::default(), it_value: Timespec::try_from(left)? };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut rang = self.0.readable().await?;
            match rang.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?)) {
                Ok(read) => return Ok(read.map(drop)?),
                Err(_would_block) => {}
            }
        }
    }
}
