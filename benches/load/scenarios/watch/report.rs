//! The results of the scenario, and their output.

use serde_json::{Value, json};

use crate::harness::{
    measurement::Measurement,
    report::{mebibytes, table},
    rounds::{Ratio, median},
};

/// One round.
pub struct Round {
    /// Checks of the floor, without changes.
    pub floor_quiet: Measurement,
    /// Checks of the floor, beside changes of queuegate.
    pub floor_busy: Measurement,
    /// Checks of queuegate, without changes.
    pub queuegate_quiet: Measurement,
    /// Checks of queuegate, beside changes.
    pub queuegate_busy: Measurement,
    /// Changes without checks.
    pub changes: Measurement,
}

/// The memory of queuegate, in bytes.
pub struct Memory {
    pub without: u64,
    pub with: u64,
    pub peak: u64,
}

/// The results of all rounds.
pub struct Results {
    pub rounds: Vec<Round>,
    pub watches: usize,
    /// The number of watches that got every change.
    pub complete_watches: usize,
    /// The number of changes in all rounds.
    pub changes: u64,
    pub memory_bytes: Memory,
    /// The scheduled checks per second.
    pub checks_per_second: f64,
}

/// The p99 of one server's checks.
struct CheckLatency {
    quiet_us: f64,
    busy_us: f64,
    busy_to_quiet: Ratio,
}

impl Results {
    /// Print the results.
    pub fn print(&self, as_json: bool) {
        let floor = self.check_latency(|round| &round.floor_quiet, |round| &round.floor_busy);
        let queuegate = self.check_latency(|round| &round.queuegate_quiet, |round| &round.queuegate_busy);
        if as_json {
            println!("{:#}", self.json(&floor, &queuegate));
        } else {
            self.print_watches();
            self.print_checks(&floor, &queuegate);
        }
    }

    fn json(&self, floor: &CheckLatency, queuegate: &CheckLatency) -> Value {
        let Self { rounds: _, watches, complete_watches, changes, memory_bytes, checks_per_second } = self;
        let Memory { without, with, peak } = memory_bytes;
        json!({
            "watches": watches,
            "changes_made": changes,
            "watches_that_got_all": complete_watches,
            "changes_per_second": self.change_rate(),
            "server_processors": self.processors(),
            "cpu_ns_per_delivery": self.delivery_ns(),
            "change_p99_us": self.change_p99_us(),
            "memory_bytes": { "without": without, "with": with, "peak": peak },
            "checks_beside": {
                "rate": checks_per_second,
                "floor": floor.json(),
                "queuegate": queuegate.json(),
            },
        })
    }

    fn print_watches(&self) {
        let Self { rounds: _, watches, complete_watches, changes, memory_bytes, checks_per_second: _ } = self;
        let Memory { without, with, peak } = memory_bytes;
        let row = vec![
            format!("{complete_watches} of {watches}"),
            changes.to_string(),
            format!("{:.0}", self.change_rate()),
            format!("{:.2}", self.processors()),
            format!("{:.0}", self.delivery_ns()),
            format!("{:.0}", self.change_p99_us()),
            mebibytes(*without),
            mebibytes(*with),
            mebibytes(*peak),
        ];
        let columns = [
            "complete watches",
            "changes",
            "changes/s",
            "processors",
            "CPU ns per change and watch",
            "a change's p99 us",
            "MiB without watches",
            "MiB with",
            "peak MiB",
        ];
        println!("{}", table("Watches during changes", columns, [row]));
    }

    fn print_checks(&self, floor: &CheckLatency, queuegate: &CheckLatency) {
        let rows = [floor.row("floor-per-core"), queuegate.row("queuegate")];
        let title = format!("Checks, {:.0}/s, beside changes and watches of queuegate", self.checks_per_second);
        println!("{}", table(&title, ["server", "p99 us, quiet", "p99 us, busy", "ratio"], rows));
    }

    fn check_latency(&self, quiet: fn(&Round) -> &Measurement, busy: fn(&Round) -> &Measurement) -> CheckLatency {
        let [quiet, busy] =
            [quiet, busy].map(|checks| self.rounds.iter().map(|round| checks(round).p99_us()).collect::<Vec<_>>());
        CheckLatency { quiet_us: median(&quiet), busy_us: median(&busy), busy_to_quiet: Ratio::of(busy, quiet) }
    }

    fn change_rate(&self) -> f64 {
        self.changes_median(Measurement::rate)
    }

    fn change_p99_us(&self) -> f64 {
        self.changes_median(Measurement::p99_us)
    }

    /// Return the number of processors that queuegate uses during changes.
    fn processors(&self) -> f64 {
        self.changes_median(|changes| changes.cpu.as_secs_f64() / changes.seconds)
    }

    /// Return the processor time of one change to one watch.
    fn delivery_ns(&self) -> f64 {
        self.processors() * 1e9 / (self.change_rate() * self.watches as f64)
    }

    fn changes_median(&self, figure: fn(&Measurement) -> f64) -> f64 {
        median(&self.rounds.iter().map(|round| figure(&round.changes)).collect::<Vec<_>>())
    }
}

impl CheckLatency {
    fn row(&self, name: &str) -> Vec<String> {
        let Self { quiet_us, busy_us, busy_to_quiet } = self;
        vec![name.to_owned(), format!("{quiet_us:.0}"), format!("{busy_us:.0}"), busy_to_quiet.to_string()]
    }

    fn json(&self) -> Value {
        let Self { quiet_us, busy_us, busy_to_quiet } = self;
        json!({ "p99_us_quiet": quiet_us, "p99_us_busy": busy_us, "ratio": busy_to_quiet.json() })
    }
}
