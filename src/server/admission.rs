//! How much work is taken on: so many calls of each caller, and no more in all than is done in time.
//!
//! Whether work is done in time is measured by a probe that stands in line as every connection does: a message to the
//! server's own runtime, every few milliseconds. While even the quickest of the last few took too long, new work is
//! refused, what can wait first: long answers, then changes, then checks, more and more of them until the line is short.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::io::AsyncReadExt;

use crate::{
    domain::ids::Caller,
    rpc::{methods::Work, status::Error},
    server::limits::Limits,
    telemetry::metrics::{Gauge, Metrics, Shed},
};

/// How many steps there are from taking everything to refusing everything.
const STEPS: u32 = 14;

/// From which step on what is refused: streams, writes, and then checks, a tenth more of them with each step. Work that
/// had to wait but once is no reason to refuse any.
const REFUSE_STREAMS: u32 = 3;
const REFUSE_WRITES: u32 = 4;

/// What is let in.
pub(super) struct Admission {
    limits: Limits,
    metrics: Arc<Metrics>,
    checks: Gauge,
    writes: Gauge,
    streams: Gauge,
    callers: Mutex<HashMap<Caller, Arc<UnderWay>>>,
    /// How much is refused, from 0 to [`STEPS`].
    step: AtomicU32,
    /// Counts calls: so that of so many so many are refused, and so that the probe rests while there are none.
    turn: AtomicU64,
    probe: OnceLock<Thread>,
    is_resting: AtomicBool,
}

/// How many calls of one caller are under way.
#[derive(Debug, Default)]
struct UnderWay {
    calls: AtomicUsize,
    streams: AtomicUsize,
}

impl UnderWay {
    fn count(&self, work: Work) -> &AtomicUsize {
        match work {
            Work::Check | Work::Write => &self.calls,
            Work::Stream => &self.streams,
        }
    }
}

/// A call that was let in, for as long as it lasts.
pub(super) struct Place {
    under_way: Arc<UnderWay>,
    work: Work,
    gauge: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.count(self.work).fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // The probe ends too.
        self.wake_probe();
    }
}

impl Admission {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            checks: metrics.calls_under_way("check"),
            writes: metrics.calls_under_way("write"),
            streams: metrics.calls_under_way("stream"),
            metrics,
            callers: Mutex::default(),
            step: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            probe: OnceLock::new(),
            is_resting: AtomicBool::new(false),
        }
    }

    /// Lets a call in, or says why not.
    pub(super) fn enter(&self, caller: &Caller, work: Work) -> Result<Place, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if self.is_resting.load(Ordering::Relaxed) {
            self.wake_probe();
        }
        if self.must_wait(work, turn) {
            self.metrics.shed(Shed::Overloaded);
            return Err(Error::Overloaded);
        }
        let most = match work {
            Work::Check | Work::Write => self.limits.calls_per_caller,
            Work::Stream => self.limits.streams_per_caller,
        };
        let under_way = self.of(caller);
        let before = under_way.count(work).fetch_add(1, Ordering::Relaxed);
        let gauge = match work {
            Work::Check => &self.checks,
            Work::Write => &self.writes,
            Work::Stream => &self.streams,
        };
        gauge.inc();
        // Dropped again, if there are too many.
        let place = Place { under_way, work, gauge: gauge.clone() };
        if before >= most {
            self.metrics.shed(Shed::CallerLimit);
            return Err(Error::CallerLimit { most });
        }
        Ok(place)
    }

    fn of(&self, caller: &Caller) -> Arc<UnderWay> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = callers.get(caller) {
            return Arc::clone(found);
        }
        // Those of whom nothing is under way need not be remembered.
        callers.retain(|_, under_way| Arc::strong_count(under_way) > 1);
        Arc::clone(callers.entry(caller.clone()).or_default())
    }

    fn must_wait(&self, work: Work, turn: u64) -> bool {
        let step = self.step.load(Ordering::Relaxed);
        match work {
            _ if step == 0 => false,
            Work::Stream => step >= REFUSE_STREAMS,
            Work::Write => step >= REFUSE_WRITES,
            Work::Check => {
                let refused_of_ten = step.saturating_sub(REFUSE_WRITES);
                turn % 10 < u64::from(refused_of_ten)
            }
        }
    }

    fn wake_probe(&self) {
        self.is_resting.store(false, Ordering::Relaxed);
        if let Some(probe) = self.probe.get() {
            probe.unpark();
        }
    }

    /// Takes note of how long the last few probes waited at least.
    fn note(&self, waited: Duration) {
        let step = self.step.load(Ordering::Relaxed);
        let next = if waited > self.limits.shed_delay { (step + 1).min(STEPS) } else { step.saturating_sub(1) };
        self.step.store(next, Ordering::Relaxed);
        self.metrics.set_shedding(next);
    }
}

/// How often a probe is sent.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// How many probes are looked at together.
const PROBES: usize = 10;

/// After how many probes without a call between them the probe rests.
const REST_AFTER: u32 = 100;

/// Measures how long work waits, for as long as the admission is there. The probes come from a thread of their own, so
/// that they are sent in time whatever the runtime has to do.
pub(super) fn watch(admission: &Arc<Admission>) -> io::Result<()> {
    let (sending, receiving) = std::os::unix::net::UnixStream::pair()?;
    receiving.set_nonblocking(true)?;
    let mut receiving = tokio::net::UnixStream::from_std(receiving)?;
    let began = Instant::now();
    let asked = Arc::downgrade(admission);
    let probe = thread::Builder::new().name("probe".to_owned()).spawn(move || send(&asked, sending, began))?;
    // Set once, here.
    let _ = admission.probe.set(probe.thread().clone());
    let told = Arc::downgrade(admission);
    tokio::spawn(async move {
        loop {
            let mut least = u64::MAX;
            for _ in 0..PROBES {
                let Ok(sent) = receiving.read_u64().await else { return };
                least = least.min(micros(began.elapsed()).saturating_sub(sent));
            }
            let Some(admission) = told.upgrade() else { return };
            admission.note(Duration::from_micros(least));
        }
    });
    Ok(())
}

/// Sends probes while calls come, until nobody reads them any more.
fn send(admission: &Weak<Admission>, mut sending: std::os::unix::net::UnixStream, began: Instant) {
    let (mut last_turn, mut quiet) = (0, 0);
    while sending.write_all(&micros(began.elapsed()).to_be_bytes()).is_ok() {
        thread::sleep(PROBE_EVERY);
        let Some(admission) = admission.upgrade() else { return };
        let turn = admission.turn.load(Ordering::Relaxed);
        quiet = if turn == last_turn { quiet + 1 } else { 0 };
        last_turn = turn;
        if quiet >= REST_AFTER && admission.step.load(Ordering::Relaxed) == 0 {
            quiet = 0;
            admission.is_resting.store(true, Ordering::Relaxed);
            drop(admission);
            thread::park();
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        let limits = Limits { calls_per_caller: 3, streams_per_caller: 2, ..Limits::default() };
        Admission::new(limits, Arc::new(Metrics::default()))
    }

    fn someone(name: &str) -> Caller {
        Caller::named(&name.parse().unwrap())
    }

    #[test]
    fn a_caller_has_so_many_calls_at_once_and_others_have_theirs() {
        let admission = admission();
        let (pbx, other) = (someone("pbx"), someone("other"));
        let mut places: Vec<Place> = (0..3).map(|_| admission.enter(&pbx, Work::Check).unwrap()).collect();
        assert!(matches!(admission.enter(&pbx, Work::Write), Err(Error::CallerLimit { most: 3 })));
        let _streams: Vec<Place> = (0..2).map(|_| admission.enter(&pbx, Work::Stream).unwrap()).collect();
        assert!(matches!(admission.enter(&pbx, Work::Stream), Err(Error::CallerLimit { most: 2 })));
        assert!(admission.enter(&other, Work::Check).is_ok());
        places.pop();
        assert!(admission.enter(&pbx, Work::Write).is_ok(), "one is done");
        assert_eq!(admission.callers.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_long_line_shuts_out_streams_then_writes_then_checks_and_a_short_one_lets_them_in_again() {
        let admission = admission();
        let caller = someone("pbx");
        let share = |work| (0..100).filter(|_| admission.enter(&caller, work).is_ok()).count();
        let long = Limits::default().shed_delay + Duration::from_micros(1);
        assert_eq!([Work::Check, Work::Write, Work::Stream].map(share), [100, 100, 100]);
        for expected in [[100, 100, 100], [100, 100, 100], [100, 100, 0], [100, 0, 0], [90, 0, 0], [80, 0, 0]] {
            admission.note(long);
            assert_eq!([Work::Check, Work::Write, Work::Stream].map(share), expected);
        }
        (0..20).for_each(|_| admission.note(long));
        assert_eq!(share(Work::Check), 0);
        (0..STEPS).for_each(|_| admission.note(Limits::default().shed_delay));
        assert_eq!([Work::Check, Work::Write, Work::Stream].map(share), [100, 100, 100]);
    }
}
