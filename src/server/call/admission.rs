//! How much work is taken on: so many calls of each caller, and no more in all than is done in time.
//!
//! Whether work is done in time is measured: now and then a task is put in queue behind what there is to do, and says how
//! long it stood there. A moment's rush may wait. But where most of those tasks waited too long, more is asked than can be
//! done, and a queue makes everybody wait for nothing: then it may only be as long as keeps the processors busy, whoever has
//! waited too long is refused when their turn comes, and it may be twice as long, and again, as soon as few are refused or
//! most hardly wait.
//! What can wait is refused first: long answers and lists, then changes, then checks. Probes are never refused.

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

/// How long a queue is looked at before anything is made of it.
const WINDOW: Duration = Duration::from_millis(50);

/// Whoever waits for less than this part of what is too long hardly waits.
const HARDLY: u32 = 32;

/// Of how many calls one has a task put in queue behind it.
const MEASURED: usize = 16;

/// How many calls may stand in queue if nobody has to wait too long.
const LONGEST_QUEUE: usize = 1_024;

/// What is left of that however long the wait: enough that the processor isn't idle.
const SHORTEST_QUEUE: usize = 1;

/// What is let in on one processor.
pub struct Admission {
    limits: Limits,
    metrics: Arc<Metrics>,
    /// How many calls may stand in queue.
    longest_queue: AtomicUsize,
    /// How many calls were let in and not begun yet.
    queue: AtomicUsize,
    /// Counts calls, so that of so many one is measured.
    turn: AtomicUsize,
    refused: AtomicUsize,
    window: Mutex<Window>,
}

/// What was measured of late.
#[derive(Debug)]
struct Window {
    began: Instant,
    waits: u32,
    long_waits: u32,
    short_waits: u32,
    /// How many calls there had been before, and how many had been refused.
    turn: usize,
    refused: usize,
}

/// A call that stands in queue, until it is begun.
pub struct QueuedCall {
    admission: Arc<Admission>,
    since: Instant,
}

impl QueuedCall {
    /// It is this call's turn; if it still makes sense to do it.
    pub fn begin(self) -> Result<(), Error> {
        let Admission { limits, longest_queue, .. } = &*self.admission;
        // Its caller is better served elsewhere, and the others by its not being done.
        if longest_queue.load(Ordering::Relaxed) < LONGEST_QUEUE && self.since.elapsed() > limits.shed_delay {
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
            longest_queue: AtomicUsize::new(LONGEST_QUEUE),
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

    /// Lets a call in, or says why not.
    pub fn enter(&self, caller: &Arc<ConnectionCalls>, work: Work) -> Result<CallPermit, Error> {
        self.turn.fetch_add(1, Ordering::Relaxed);
        if self.queue.load(Ordering::Relaxed) >= self.longest_queue_of(work) {
            return Err(self.overloaded());
        }
        let most = if work.is_unary() { self.limits.calls_per_caller } else { self.limits.streams_per_caller };
        // Dropped again, if there are too many.
        let permit = CallPermit::begin(caller, work);
        if permit.calls_together() > most {
            self.metrics.shed(Shed::CallerLimit);
            return Err(Error::CallerLimit { most });
        }
        Ok(permit)
    }

    /// Counts a large answer against what its caller, and all callers together, may begin unread.
    pub fn hold(&self, permit: &CallPermit, bytes: usize) -> Result<HeldBytes, Error> {
        // Dropped again if it is too much.
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

    /// How often the queue was halved.
    pub fn shedding(&self) -> u32 {
        (LONGEST_QUEUE / self.longest_queue.load(Ordering::Relaxed)).ilog2()
    }

    /// Puts a call in queue, until it is begun.
    pub fn enqueue(self: &Arc<Self>, since: Instant) -> QueuedCall {
        self.queue.fetch_add(1, Ordering::Relaxed);
        QueuedCall { admission: Arc::clone(self), since }
    }

    /// Measures the queue now and then. Called for each call, on the runtime and before the call's own task is spawned, which
    /// so comes to stand before the one that measures: the latest task is the first to run, and the others are run in turn.
    pub fn measure(self: &Arc<Self>) {
        if !self.turn.load(Ordering::Relaxed).is_multiple_of(MEASURED) {
            return;
        }
        let (admission, began) = (Arc::clone(self), Instant::now());
        tokio::spawn(async move { admission.note(began.elapsed(), Instant::now()) });
    }

    /// Takes note of how long a task stood in queue.
    fn note(&self, waited: Duration, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(window.began).as_millis() / WINDOW.as_millis();
        if let passed @ 1.. = u32::try_from(passed).unwrap_or(u32::MAX) {
            let (turn, refused) = (self.turn.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
            let (calls, lately_refused) = (turn.wrapping_sub(window.turn), refused.wrapping_sub(window.refused));
            let mut longest = self.longest_queue.load(Ordering::Relaxed);
            // In the windows after the first nobody stood in queue.
            let mut quiet = passed - 1;
            if window.long_waits * 2 > window.waits {
                longest = SHORTEST_QUEUE;
            } else if lately_refused * 3 <= calls || window.short_waits * 2 > window.waits {
                // Many may be refused although there is time for all, if they come several at once.
                quiet += 1;
            }
            let longest = (longest << quiet.min(LONGEST_QUEUE.ilog2())).min(LONGEST_QUEUE);
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

    /// How many of `calls` get in queue at once.
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
    fn a_caller_has_so_many_calls_at_once_and_others_have_theirs() {
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
        assert!(writing.is_ok(), "one is done");
        let in_flight = || [Work::Check, Work::Write, Work::Stream].map(|work| callers.in_flight(work));
        assert_eq!(in_flight(), [2, 1, 2]);
        drop((permits, writing, pbx, other, streams));
        assert_eq!(in_flight(), [0, 0, 0]);
        someone("third");
        assert_eq!(callers.len(), 1, "a caller without calls is forgotten");
    }

    #[test]
    fn a_rush_waits_and_long_waits_leave_a_short_line_that_grows_again_while_few_are_refused() {
        let admission = admission();
        assert_eq!(Limits::default().shed_delay, short());
        let mut now = Instant::now();
        let mut wait = |waited: Duration| {
            now += WINDOW;
            admission.note(waited, now);
        };
        // The first window had nothing in it.
        wait(long());
        assert_eq!([1_500, 1_000].map(|calls| rush(&admission, Work::Check, calls)), [1_024, 1_000]);
        wait(long());
        assert_eq!([Work::Check, Work::Write, Work::Stream].map(|work| rush(&admission, work, 10)), [1, 0, 0]);
        wait(short());
        for _ in 0..3 {
            assert_eq!(rush(&admission, Work::Check, 10), 1, "as long as too much is asked");
            wait(short());
        }
        for longest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_024] {
            assert_eq!([0, 0, 1].map(|more| rush(&admission, Work::Check, longest + more)), [longest; 3]);
            wait(short());
        }
    }

    /// Otherwise a server that stood still for a moment would refuse a part of what it has time for, for as long as it is asked.
    #[test]
    fn the_line_grows_again_however_many_are_refused_if_most_hardly_wait() {
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
    fn a_probe_is_let_in_however_much_is_refused() {
        let admission = admission();
        admission.longest_queue.store(SHORTEST_QUEUE, Ordering::Relaxed);
        assert_eq!([Work::Check, Work::Probe].map(|work| rush(&admission, work, 3_000)), [1, 3_000]);
    }

    #[test]
    fn half_of_the_line_is_closed_to_writes_and_three_quarters_to_streams() {
        let admission = admission();
        assert_eq!(
            [Work::Check, Work::Write, Work::Stream, Work::Scan].map(|work| rush(&admission, work, 2_000)),
            [1_024, 512, 256, 256]
        );
        assert_eq!(admission.queue.load(Ordering::Relaxed), 0, "whoever is given up leaves");
    }

    #[test]
    fn whoever_has_waited_too_long_is_refused_in_their_turn_only_while_there_is_too_much_to_do() {
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
    fn one_long_wait_among_short_ones_is_no_long_line_and_a_pause_ends_one() {
        let admission = admission();
        let mut now = Instant::now() + WINDOW;
        for _ in 0..10 {
            admission.note(long(), now);
            admission.note(short(), now);
            now += WINDOW;
        }
        assert_eq!(rush(&admission, Work::Check, 1_000), 1_000, "half of them is not most");
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
