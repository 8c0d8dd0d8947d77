//! Asks in a closed loop, where each caller waits for its answer, or in an open loop, where calls come at their own times.

use std::{
    cell::{Cell, RefCell},
    os::fd::OwnedFd,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
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
    call::CheckCall,
    crew::{Crew, Share},
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

/// Which part of a turn it is, for all threads.
#[derive(Clone, Default)]
pub struct Turn(Arc<AtomicU8>);

impl Turn {
    const MEASURED: u8 = 1;
    const OVER: u8 = 2;

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::MEASURED
    }

    /// Lets the turn begin, measures it, and ends it. Says how many seconds it was, and the server's processor time.
    async fn measure(&self, server: &Process, seconds: f64) -> anyhow::Result<(f64, Duration)> {
        tokio::time::sleep(Duration::from_secs_f64(seconds * WARM_UP)).await;
        self.0.store(Self::MEASURED, Ordering::Relaxed);
        let (began, before) = (Instant::now(), server.cpu()?);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        self.0.store(Self::OVER, Ordering::Relaxed);
        Ok((began.elapsed().as_secs_f64(), server.cpu()?.saturating_sub(before)))
    }
}

/// What the callers of one thread write down.
pub struct Notes {
    turn: Turn,
    answered: Cell<u64>,
    refused: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

/// The same, once they are done.
type Noted = (u64, u64, Histogram<u64>);

impl Notes {
    fn new(turn: Turn) -> anyhow::Result<Rc<Self>> {
        let latencies = RefCell::new(Histogram::new_with_bounds(1, 60_000_000_000, 3)?);
        Ok(Rc::new(Self { turn, answered: 0.into(), refused: 0.into(), latencies }))
    }

    /// Notes an answer that has just come, if now is measured.
    pub fn note(&self, code: Code, took: Duration) {
        if !self.turn.is_measured() {
            return;
        }
        if code == Code::Ok {
            self.answered.set(self.answered.get() + 1);
            self.latencies.borrow_mut().saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        } else {
            self.refused.set(self.refused.get() + 1);
        }
    }

    fn taken(self: Rc<Self>) -> anyhow::Result<Noted> {
        let Self { turn: _, answered, refused, latencies } = Rc::into_inner(self).context("somebody still calls")?;
        Ok((answered.get(), refused.get(), latencies.into_inner()))
    }
}

/// Has every thread do something with its connections for a turn, and measures what it notes.
pub async fn turn<F>(
    server: &Process,
    crew: &Crew,
    seconds: f64,
    work: impl FnOnce(Share, Turn, Rc<Notes>) -> F + Clone + Send + 'static,
) -> anyhow::Result<Measured>
where
    F: Future<Output = anyhow::Result<()>> + 'static,
{
    let turn = Turn::default();
    let of_crew = turn.clone();
    let working = crew.all(|share| async move {
        let notes = Notes::new(of_crew.clone())?;
        work(share, of_crew, Rc::clone(&notes)).await?;
        notes.taken()
    });
    let (measured, noted) = tokio::join!(turn.measure(server, seconds), working);
    let ((seconds, cpu), mut noted) = (measured?, noted?.into_iter());
    let (mut answered, mut refused, mut latencies) = noted.next().context("nobody called")?;
    for (more_answered, more_refused, more_latencies) in noted {
        answered += more_answered;
        refused += more_refused;
        latencies.add(more_latencies)?;
    }
    Ok(Measured { seconds, answered, refused, cpu, latencies })
}

/// As many calls as there can be while each caller waits for its answer: so many callers on each connection, each of whom
/// has questions that no other has, and asks them again and again.
pub async fn closed(
    server: &Process,
    crew: &Crew,
    callers: usize,
    questions: &Arc<[CheckCall]>,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let questions = Arc::clone(questions);
    let call = move |Share { thread, threads, lines }, turn: Turn, notes: Rc<Notes>| async move {
        let mut calling = JoinSet::new();
        let own = lines.len() * callers;
        for (number, line) in lines.iter().cycle().take(own).enumerate() {
            let (line, questions, notes, turn) =
                (line.clone(), Arc::clone(&questions), Rc::clone(&notes), turn.clone());
            let each = questions.len() / (threads * own) / 2 * 2;
            anyhow::ensure!(each > 0, "more callers than questions");
            let first = (thread * own + number) * each;
            calling.spawn_local(async move {
                for question in questions.iter().skip(first).take(each).cycle() {
                    let began = Instant::now();
                    let code = line.call(question, |_| {}).await?;
                    notes.note(code, began.elapsed());
                    if turn.is_over() {
                        break;
                    }
                }
                anyhow::Ok(())
            });
        }
        all(calling).await
    };
    turn(server, crew, seconds, call).await
}

/// Questions that are asked one after another, by whichever thread is next, and on from there in the next turn.
#[derive(Clone)]
pub struct Deck {
    questions: Arc<[CheckCall]>,
    next: Arc<AtomicUsize>,
}

impl Deck {
    pub fn new(questions: Arc<[CheckCall]>) -> Self {
        Self { questions, next: Arc::default() }
    }

    fn next(&self) -> anyhow::Result<CheckCall> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.questions.len().max(1);
        Ok(self.questions.get(next).context("no questions")?.clone())
    }
}

/// So many calls a second, whether earlier ones are answered or not. An answer took as long as since its call was to
/// begin, so that calls which a slow server holds up count as slow (no coordinated omission).
pub async fn open(
    server: &Process,
    crew: &Crew,
    (rate, arrivals): (f64, Arrivals),
    deck: &Deck,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let deck = deck.clone();
    let call = move |Share { thread, threads, lines }, turn: Turn, notes: Rc<Notes>| async move {
        let mut random = SmallRng::seed_from_u64(thread as u64);
        let mut calling = JoinSet::new();
        let alarm = Alarm::new()?;
        let mut due = Instant::now();
        for line in lines.iter().cycle() {
            let wait = match arrivals {
                Arrivals::Fixed => 1.0,
                Arrivals::Exponential => -f64::ln(1.0 - random.random::<f64>()),
            };
            due += Duration::from_secs_f64(wait * threads as f64 / rate);
            alarm.wait_until(due).await?;
            if turn.is_over() {
                break;
            }
            let (line, question, notes) = (line.clone(), deck.next()?, Rc::clone(&notes));
            calling.spawn_local(async move {
                let code = line.call(&question, |_| {}).await?;
                notes.note(code, due.elapsed());
                anyhow::Ok(())
            });
            while let Some(called) = calling.try_join_next() {
                called??;
            }
        }
        all(calling).await
    };
    turn(server, crew, seconds, call).await
}

/// Waits for all of them.
pub async fn all(mut calling: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(called) = calling.join_next().await {
        called??;
    }
    Ok(())
}

/// Waits until a moment to the microsecond, where tokio's own timers know milliseconds.
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    #[expect(deprecated, reason = "what replaces it is unsafe code, and an OwnedFd is what it asks for")]
    pub fn new() -> anyhow::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Returns at once if the moment is past, so that whoever is late catches up.
    pub async fn wait_until(&self, due: Instant) -> anyhow::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
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
