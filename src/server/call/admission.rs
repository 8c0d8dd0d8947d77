//! The admission of calls: a limit for each caller, and load shedding for all.
//!
//! The queueing delay is measured: every [`MEASURED`] calls, a timed task joins the runtime's queue and reports how
//! long it waited. Short bursts may wait. But if most timed tasks of a window waited too long, the server is
//! overloaded, and a queue would only delay all calls. Then the queue is only long enough to keep the processor busy. A
//! call that has waited too long is refused at its turn. The limit doubles with each window in which few calls were
//! refused or most timed tasks hardly waited. Work that can wait is shed first: long answers and lists, then changes,
//! then checks. Health checks are never shed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::callers::{CallPermit, ConnectionCalls, HeldBytes};
use crate::{
    rpc::{error::Error, methods::Work},
    server::limits::Limits,
    telemetry::metrics::{Metrics, Shed},
};

/// The time over which queueing delays are collected before the limit changes.
const WINDOW: Duration = Duration::from_millis(50);

/// A task that waits for less than this part of the limit `shed_delay` hardly waits.
const HARDLY: u32 = 32;

/// The number of calls per measured queueing delay.
const MEASURED: usize = 16;

/// The longest queue of calls while the queueing delay is within the limit.
const QUEUE_LIMIT_NORMAL: usize = 1_024;

/// The longest queue of calls under overload: enough that the processor isn't idle.
const QUEUE_LIMIT_OVERLOADED: usize = 1;

/// The admission of calls on one processor.
pub struct Admission {
    limits: Limits,
    metrics: Arc<Metrics>,
    /// The longest queue of calls at present.
    longest_queue: AtomicUsize,
    /// The number of calls admitted and not begun.
    queue: AtomicUsize,
    /// The number of calls so far. Every [`MEASURED`]th is measured.
    turn: AtomicUsize,
    refused: AtomicUsize,
    window: Mutex<Window>,
}

/// The measurements of the present window.
#[derive(Debug)]
struct Window {
    began: Instant,
    waits: u32,
    long_waits: u32,
    short_waits: u32,
    /// The numbers of calls and of refused calls when the window began.
    turn: usize,
    refused: usize,
}

/// An admitted call that hasn't begun.
pub struct QueuedCall {
    admission: Arc<Admission>,
    since: Instant,
}

impl QueuedCall {
    /// Begin the call at its turn. Fails under overload if it has waited too long.
    pub fn begin(self) -> Result<(), Error> {
        let Admission { limits, longest_queue, .. } = &*self.admission;
        // Its caller is better off with another server, and the other calls get its time.
        if longest_queue.load(Ordering::Relaxed) < QUEUE_LIMIT_NORMAL && self.since.elapsed() > limits.shed_delay {
            return Err(self.admission.overloaded());
        }
        Ok(())
    }
}

impl Drop for QueuedCall {
    fn drop(&mut self) {
        self.admission.queue.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            metrics,
            longest_queue: AtomicUsize::new(QUEUE_LIMIT_NORMAL),
            queue: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            window: Mutex::new(Window {
                began: Instant::now(),
                waits: 0,
                long_waits: 0,
                short_waits: 0,
                turn: 0,
                refused: 0,
            }),
        }
    }

    /// Admit a call, or return the error with which it is refused.
    pub fn enter(&self, caller: &Arc<ConnectionCalls>, work: Work) -> Result<CallPermit, Error> {
        self.turn.fetch_add(1, Ordering::Relaxed);
        if self.queue.load(Ordering::Relaxed) >= self.longest_queue_of(work) {
            return Err(self.overloaded());
        }
        let most = if work.is_unary() { self.limits.calls_per_caller } else { self.limits.streams_per_caller };
        // The drop uncounts the call, if there are too many.
        let permit = CallPermit::begin(caller, work);
        if permit.calls_together() > most {
            self.metrics.shed(Shed::CallerLimit);
            return Err(Error::CallerLimit { most });
        }
        Ok(permit)
    }

    /// Count a large answer against the limits of unread bytes, of its caller and of all callers.
    pub fn hold(&self, permit: &CallPermit, bytes: usize) -> Result<HeldBytes, Error> {
        // The drop uncounts the bytes, if they are too many.
        let held = permit.hold(bytes);
        let (of_caller, of_all) = (held.of_caller, held.of_all);
        // One answer at a time is always allowed.
        if (of_caller > self.limits.unread_bytes_per_caller || of_all > self.limits.unread_bytes) && of_caller > bytes {
            self.metrics.shed(Shed::UnreadAnswers);
            return Err(Error::TooMuchUnread);
        }
        Ok(held)
    }

    fn overloaded(&self) -> Error {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.metrics.shed(Shed::Overloaded);
        Error::Overloaded
    }

    fn longest_queue_of(&self, work: Work) -> usize {
        let longest = self.longest_queue.load(Ordering::Relaxed);
        match work {
            Work::Probe => usize::MAX,
            Work::Check => longest,
            Work::Write => longest / 2,
            Work::Scan | Work::Stream | Work::Import => longest / 4,
        }
    }

    /// Return how many times the longest queue is halved at present.
    pub fn shedding(&self) -> u32 {
        (QUEUE_LIMIT_NORMAL / self.longest_queue.load(Ordering::Relaxed)).ilog2()
    }

    /// Count a call as queued until it begins.
    pub fn enqueue(self: &Arc<Self>, since: Instant) -> QueuedCall {
        self.queue.fetch_add(1, Ordering::Relaxed);
        QueuedCall { admission: Arc::clone(self), since }
    }

    /// Measure the queueing delay at every [`MEASURED`]th call. Called for each call, on the runtime and before the
    /// call's own task is spawned. The latest task runs first and the others in order, so the call's task runs before
    /// the measuring one.
    pub fn measure(self: &Arc<Self>) {
        if !self.turn.load(Ordering::Relaxed).is_multiple_of(MEASURED) {
            return;
        }
        let (admission, began) = (Arc::clone(self), Instant::now());
        tokio::spawn(async move { admission.note(began.elapsed(), Instant::now()) });
    }

    /// Note the queueing delay of a task.
    fn note(&self, waited: Duration, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(window.began).as_millis() / WINDOW.as_millis();
        if let passed @ 1.. = u32::try_from(passed).unwrap_or(u32::MAX) {
            let (turn, refused) = (self.turn.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
            let (calls, lately_refused) = (turn.wrapping_sub(window.turn), refused.wrapping_sub(window.refused));
            let mut longest = self.longest_queue.load(Ordering::Relaxed);
            // Nothing queued in the windows after the first.
            let mut quiet = passed - 1;
            if window.long_waits * 2 > window.waits {
                longest = QUEUE_LIMIT_OVERLOADED;
            } else if lately_refused * 3 <= calls || window.short_waits * 2 > window.waits {
                // If calls come in bursts, many may be refused although there is time for all.
                quiet += 1;
            }
            let longest = (longest << quiet.min(QUEUE_LIMIT_NORMAL.ilog2())).min(QUEUE_LIMIT_NORMAL);
            self.longest_queue.store(longest, Ordering::Relaxed);
            *window = Window { began: now, waits: 0, long_waits: 0, short_waits: 0, turn, refused };
        }
        window.waits += 1;
        window.long_waits += u32::from(waited > self.limits.shed_delay);
        window.short_waits += u32::from(waited < self.limits.shed_delay / HARDLY);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::callers::Callers, *};
    use crate::{domain::ids::Caller, telemetry::metrics::CallLabels};

    fn admission() -> Arc<Admission> {
        let limits = Limits { calls_per_caller: 2_000, streams_per_caller: 2_000, ..Limits::default() };
        Arc::new(Admission::new(limits, Arc::new(Metrics::new(CallLabels::default()))))
    }

    /// Return how many of `calls` that come at once are admitted.
    fn rush(admission: &Arc<Admission>, work: Work, calls: usize) -> usize {
        let caller = Arc::new(ConnectionCalls::new(Arc::default()));
        let enter = |_| admission.enter(&caller, work).ok().map(|_| admission.enqueue(Instant::now()));
        (0..calls).filter_map(enter).collect::<Vec<QueuedCall>>().len()
    }

    const fn long() -> Duration {
        Duration::from_micros(5_001)
    }

    const fn short() -> Duration {
        Duration::from_millis(5)
    }

    #[test]
    fn a_caller_has_a_limit_of_calls_in_flight_and_others_have_their_own() {
        let limits = Limits { calls_per_caller: 3, streams_per_caller: 2, ..Limits::default() };
        let admission = Admission::new(limits, Arc::new(Metrics::new(CallLabels::default())));
        let callers = Callers::default();
        let someone = |name: &str| Arc::new(ConnectionCalls::new(callers.of(&Caller::named(&name.parse().unwrap()))));
        let (pbx, other) = (someone("pbx"), someone("other"));
        let mut permits: Vec<CallPermit> = (0..3).map(|_| admission.enter(&pbx, Work::Check).unwrap()).collect();
        assert!(matches!(admission.enter(&pbx, Work::Write), Err(Error::CallerLimit { most: 3 })));
        let streams: Vec<CallPermit> = (0..2).map(|_| admission.enter(&pbx, Work::Stream).unwrap()).collect();
        assert!(matches!(admission.enter(&pbx, Work::Stream), Err(Error::CallerLimit { most: 2 })));
        assert!(admission.enter(&other, Work::Check).is_ok());
        permits.pop();
        let writing = admission.enter(&someone("pbx"), Work::Write);
        assert!(writing.is_ok(), "one call has ended");
        let in_flight = || [Work::Check, Work::Write, Work::Stream].map(|work| callers.in_flight(work));
        assert_eq!(in_flight(), [2, 1, 2]);
        drop((permits, writing, pbx, other, streams));
        assert_eq!(in_flight(), [0, 0, 0]);
        someone("third");
        assert_eq!(callers.len(), 1, "a caller without calls is forgotten");
    }

    #[test]
    fn a_burst_waits_and_long_waits_leave_a_short_queue_that_grows_again_while_few_are_refused() {
        let admission = admission();
        assert_eq!(Limits::default().shed_delay, short());
        let mut now = Instant::now();
        let mut wait = |waited: Duration| {
            now += WINDOW;
            admission.note(waited, now);
        };
        // The first window was empty.
        wait(long());
        assert_eq!([1_500, 1_000].map(|calls| rush(&admission, Work::Check, calls)), [1_024, 1_000]);
        wait(long());
        assert_eq!([Work::Check, Work::Write, Work::Stream].map(|work| rush(&admission, work, 10)), [1, 0, 0]);
        wait(short());
        for _ in 0..3 {
            assert_eq!(rush(&admission, Work::Check, 10), 1, "while the server is overloaded");
            wait(short());
        }
        for longest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_024] {
            assert_eq!([0, 0, 1].map(|more| rush(&admission, Work::Check, longest + more)), [longest; 3]);
            wait(short());
        }
    }

    /// Otherwise a server that paused for a moment would go on to refuse calls that it has time for, under the same
    /// load.
    #[test]
    fn the_queue_grows_again_however_many_are_refused_if_most_hardly_wait() {
        let admission = admission();
        let mut now = Instant::now();
        let mut wait = |waited: Duration| {
            now += WINDOW;
            admission.note(waited, now);
        };
        wait(long());
        wait(long());
        assert_eq!(rush(&admission, Work::Check, 1_000), 1);
        let hardly = short() / HARDLY - Duration::from_nanos(1);
        wait(hardly);
        for longest in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_024] {
            wait(hardly);
            assert_eq!(rush(&admission, Work::Check, 2_000), longest);
        }
    }

    #[test]
    fn a_health_check_is_admitted_however_many_calls_are_refused() {
        let admission = admission();
        admission.longest_queue.store(QUEUE_LIMIT_OVERLOADED, Ordering::Relaxed);
        assert_eq!([Work::Check, Work::Probe].map(|work| rush(&admission, work, 3_000)), [1, 3_000]);
    }

    #[test]
    fn writes_may_use_half_of_the_queue_and_streams_a_quarter() {
        let admission = admission();
        assert_eq!(
            [Work::Check, Work::Write, Work::Stream, Work::Scan].map(|work| rush(&admission, work, 2_000)),
            [1_024, 512, 256, 256]
        );
        assert_eq!(admission.queue.load(Ordering::Relaxed), 0, "dropped calls leave the queue");
    }

    #[test]
    fn a_call_that_has_waited_too_long_is_refused_at_its_turn_only_under_overload() {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let limits = Limits { shed_delay: HOUR, ..Limits::default() };
        let admission = Arc::new(Admission::new(limits, Arc::new(Metrics::new(CallLabels::default()))));
        let ago = |waited| admission.enqueue(Instant::now() - waited);
        assert!(ago(HOUR * 2).begin().is_ok());
        admission.longest_queue.store(512, Ordering::Relaxed);
        assert!(matches!(ago(HOUR * 2).begin(), Err(Error::Overloaded)));
        assert!(ago(HOUR / 2).begin().is_ok());
        assert_eq!(admission.queue.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_long_wait_among_short_ones_is_no_overload_and_a_pause_ends_one() {
        let admission = admission();
        let mut now = Instant::now() + WINDOW;
        for _ in 0..10 {
            admission.note(long(), now);
            admission.note(short(), now);
            now += WINDOW;
        }
        assert_eq!(rush(&admission, Work::Check, 1_000), 1_000, "half of the waits is not most");
        for _ in 0..2 {
            admission.note(long(), now);
            now += WINDOW;
        }
        assert_eq!(rush(&admission, Work::Check, 10), 1);
        now += WINDOW * 10;
        admission.note(long(), now);
        assert_eq!(rush(&admission, Work::Check, 2_000), 1_024);
    }
}
