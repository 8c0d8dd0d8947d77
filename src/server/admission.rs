//! How much work is taken on: so many calls of each caller, and no more in all than is done in time.
//!
//! Whether work is done in time is measured: now and then a task is put in line behind what there is to do, and says how
//! long it stood there. While most of those waited too long, the line may be half as long with every step, and what can
//! wait is refused first: long answers, then changes, then checks.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    domain::ids::Caller,
    rpc::{methods::Work, status::Error},
    server::limits::Limits,
    telemetry::metrics::{Gauge, Metrics, Shed},
};

/// How long a line is looked at before anything is made of it.
const WINDOW: Duration = Duration::from_millis(50);

/// Of how many calls one has a task put in line behind it.
const MEASURED: u64 = 16;

/// How many steps there are from taking everything to refusing everything.
const STEPS: u32 = 18;

/// How many calls may stand in line; half as many with each step, but never fewer than the second.
const LONGEST_LINE: usize = 1_024;
const SHORTEST_LINE: usize = 8;

/// From which step on what is refused besides: streams, writes, and then checks, a tenth more of them with each step. Work
/// that had to wait but once is no reason to refuse any.
const REFUSE_STREAMS: u32 = 3;
const REFUSE_WRITES: u32 = 4;
const REFUSE_CHECKS: u32 = 9;

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
    /// How many calls were let in and not begun yet.
    line: Arc<AtomicUsize>,
    /// Counts calls, so that of so many so many are refused or measured.
    turn: AtomicU64,
    window: Mutex<Window>,
}

/// What was measured of late.
#[derive(Debug)]
struct Window {
    began: Instant,
    waits: u32,
    long_waits: u32,
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

/// A call that stands in line, until it is begun.
pub(super) struct InLine(Arc<AtomicUsize>);

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.count(self.work).fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
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
            line: Arc::default(),
            turn: AtomicU64::new(0),
            window: Mutex::new(Window { began: Instant::now(), waits: 0, long_waits: 0 }),
        }
    }

    /// Lets a call in, or says why not.
    pub(super) fn enter(&self, caller: &Caller, work: Work) -> Result<Place, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
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
        let longest = (LONGEST_LINE >> step).max(SHORTEST_LINE);
        if self.line.load(Ordering::Relaxed) >= longest {
            return true;
        }
        match work {
            Work::Stream => step >= REFUSE_STREAMS,
            Work::Write => step >= REFUSE_WRITES,
            Work::Check => turn % 10 < u64::from((step + 1).saturating_sub(REFUSE_CHECKS)),
        }
    }

    /// Puts a call in line, until it is begun.
    pub(super) fn stand_in_line(&self) -> InLine {
        self.line.fetch_add(1, Ordering::Relaxed);
        InLine(Arc::clone(&self.line))
    }

    /// Measures the line now and then. Called for each call, on the runtime and before the call's own task is spawned, which
    /// so comes to stand before the one that measures: the latest task is the first to run, and the others are run in turn.
    pub(super) fn measure(self: &Arc<Self>) {
        if !self.turn.load(Ordering::Relaxed).is_multiple_of(MEASURED) {
            return;
        }
        let (admission, began) = (Arc::clone(self), Instant::now());
        tokio::spawn(async move { admission.note(began.elapsed(), Instant::now()) });
    }

    /// Takes note of how long a task stood in line.
    fn note(&self, waited: Duration, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(window.began).as_millis() / WINDOW.as_millis();
        if passed > 0 {
            let step = self.step.load(Ordering::Relaxed);
            let is_long = window.long_waits * 2 > window.waits;
            // In the windows after that one nobody stood in line.
            let quiet = u32::try_from(passed).unwrap_or(STEPS).saturating_sub(u32::from(is_long));
            let next = (step + u32::from(is_long)).min(STEPS).saturating_sub(quiet.min(STEPS));
            self.step.store(next, Ordering::Relaxed);
            self.metrics.set_shedding(next);
            *window = Window { began: now, waits: 0, long_waits: 0 };
        }
        window.waits += 1;
        window.long_waits += u32::from(waited > self.limits.shed_delay);
    }
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
        let shares = || [Work::Check, Work::Write, Work::Stream].map(share);
        let mut now = Instant::now();
        let mut wait = |waited: Duration| {
            now += WINDOW;
            admission.note(waited, now);
        };
        let (long, short) = (Limits::default().shed_delay + Duration::from_micros(1), Limits::default().shed_delay);
        assert_eq!(shares(), [100, 100, 100]);
        // The first window had nothing in it.
        wait(long);
        for expected in [[100, 100, 100], [100, 100, 100], [100, 100, 0], [100, 0, 0], [100, 0, 0]] {
            wait(long);
            assert_eq!(shares(), expected);
        }
        (0..3).for_each(|_| wait(long));
        for expected in [[90, 0, 0], [80, 0, 0]] {
            wait(long);
            assert_eq!(shares(), expected);
        }
        (0..20).for_each(|_| wait(long));
        assert_eq!(share(Work::Check), 0);
        wait(short);
        (0..STEPS).for_each(|_| wait(short));
        assert_eq!(shares(), [100, 100, 100]);
    }

    #[test]
    fn a_line_may_be_half_as_long_with_each_step_and_is_shorter_by_whoever_begins() {
        let admission = admission();
        let caller = someone("pbx");
        for step in 0..=STEPS {
            admission.step.store(step, Ordering::Relaxed);
            let longest = [1_024, 512, 256, 128, 64, 32, 16].get(step as usize).copied().unwrap_or(8);
            let mut line: Vec<InLine> = (1..longest).map(|_| admission.stand_in_line()).collect();
            assert!(step >= REFUSE_CHECKS || admission.enter(&caller, Work::Check).is_ok(), "{step}");
            line.push(admission.stand_in_line());
            assert!(matches!(admission.enter(&caller, Work::Check), Err(Error::Overloaded)), "{step}");
        }
        assert_eq!(admission.line.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_long_wait_among_short_ones_is_no_long_line_and_a_pause_ends_one() {
        let admission = admission();
        let (long, short) = (Limits::default().shed_delay + Duration::from_micros(1), Limits::default().shed_delay);
        let step = || admission.step.load(Ordering::Relaxed);
        let mut now = Instant::now() + WINDOW;
        for _ in 0..10 {
            admission.note(long, now);
            admission.note(short, now);
            now += WINDOW;
        }
        assert_eq!(step(), 0, "half of them is not most");
        for _ in 0..6 {
            admission.note(long, now);
            now += WINDOW;
        }
        assert_eq!(step(), 5);
        now += WINDOW * 10;
        admission.note(long, now);
        assert_eq!(step(), 0);
    }
}
