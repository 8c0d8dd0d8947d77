//! The results of the scenario, and their output.

use serde_json::{Value, json};

use crate::harness::{
    measurement::Measurement,
    report::table,
    rounds::{Ratio, Rounds, median},
};

/// One round of many changes in flight.
pub struct ManyRound {
    /// The calls, some of which may not be changes.
    pub queuegate: Measurement,
    pub changes_per_second: f64,
    /// The mean number of changes in a commit.
    pub batch: f64,
    pub sqlite_changes_per_second: f64,
    pub storing: Measurement,
}

/// One round of one change at a time.
pub struct SingleRound {
    pub queuegate: Measurement,
    /// Calls of a server that does nothing.
    pub floor: Measurement,
    /// The median time of SQLite's commits.
    pub commit_us: f64,
}

impl SingleRound {
    /// Return the time of a commit and a call.
    fn floor_us(&self) -> f64 {
        self.commit_us + self.floor.p50_us()
    }
}

/// The checks of one server, without changes and beside changes of queuegate.
#[derive(Default)]
pub struct ChecksBeside {
    pub quiet: Rounds,
    pub busy: Rounds,
    pub changes: Rounds,
}

impl ChecksBeside {
    fn ratio(&self) -> Ratio {
        self.busy.ratio(&self.quiet, Measurement::p99_us)
    }

    fn row(&self, name: &str) -> Vec<String> {
        let Self { quiet, busy, changes } = self;
        let [quiet, busy] = [quiet, busy].map(|checks| format!("{:.0}", checks.median(Measurement::p99_us)));
        vec![
            name.to_owned(),
            quiet,
            busy,
            self.ratio().to_string(),
            format!("{:.0}", changes.median(Measurement::rate)),
        ]
    }

    fn json(&self) -> Value {
        let Self { quiet, busy, changes } = self;
        json!({
            "p99_us_quiet": quiet.median(Measurement::p99_us),
            "p99_us_busy": busy.median(Measurement::p99_us),
            "ratio": self.ratio().json(),
            "changes_per_second": changes.median(Measurement::rate),
        })
    }
}

/// The results of all rounds.
pub struct Results {
    pub in_flight: usize,
    pub many: Vec<ManyRound>,
    pub single: Vec<SingleRound>,
    /// The scheduled checks per second.
    pub checks_per_second: f64,
    pub beside_floor: ChecksBeside,
    pub beside_queuegate: ChecksBeside,
}

impl Results {
    /// Print the results.
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{:#}", self.json());
        } else {
            self.print_many();
            self.print_single();
            self.print_beside();
        }
    }

    fn json(&self) -> Value {
        let Self { in_flight, many: _, single: _, checks_per_second, beside_floor, beside_queuegate } = self;
        json!({
            "many": {
                "in_flight": in_flight,
                "changes_per_second": self.many(|round| round.changes_per_second),
                "batch": self.many(|round| round.batch),
                "raw_changes_per_second": self.many(|round| round.sqlite_changes_per_second),
                "to_raw": self.to_sqlite().json(),
                "to_storing": self.to_storing().json(),
                "p99_us": self.many(|round| round.queuegate.p99_us()),
                "cpu_ms_per_1000_calls": self.many(|round| round.queuegate.cpu_us()),
                "storing": {
                    "changes_per_second": self.many(|round| round.storing.rate()),
                    "to_raw": self.storing_to_sqlite().json(),
                    "p99_us": self.many(|round| round.storing.p99_us()),
                    "cpu_ms_per_1000_calls": self.many(|round| round.storing.cpu_us()),
                },
            },
            "alone": {
                "p50_us": self.single(|round| round.queuegate.p50_us()),
                "raw_commit_us": self.single(|round| round.commit_us),
                "floor_p50_us": self.single(|round| round.floor.p50_us()),
                "to_floor": self.single_to_floor().json(),
            },
            "checks_beside": {
                "rate": checks_per_second,
                "floor": beside_floor.json(),
                "queuegate": beside_queuegate.json(),
            },
        })
    }

    fn print_many(&self) {
        let row = |name: &str, changes_per_second: f64, to_sqlite: Ratio, p99_us: f64, cpu_us: f64| {
            vec![
                name.to_owned(),
                format!("{changes_per_second:.0}"),
                to_sqlite.to_string(),
                format!("{p99_us:.0}"),
                format!("{cpu_us:.1}"),
            ]
        };
        let rows = [
            row(
                "floor-storing",
                self.many(|round| round.storing.rate()),
                self.storing_to_sqlite(),
                self.many(|round| round.storing.p99_us()),
                self.many(|round| round.storing.cpu_us()),
            ),
            row(
                "queuegate",
                self.many(|round| round.changes_per_second),
                self.to_sqlite(),
                self.many(|round| round.queuegate.p99_us()),
                self.many(|round| round.queuegate.cpu_us()),
            ),
        ];
        let title = format!("SignIn and SignOut, {} in flight, each a change", self.in_flight);
        println!("{}", table(&title, ["server", "changes/s", "to SQLite alone", "p99 us", "CPU ms/1,000"], rows));
        println!(
            "queuegate to floor-storing: {}. Changes in a commit: {:.1}. With commits of this size SQLite alone makes \
             {:.0} changes/s.\n",
            self.to_storing(),
            self.many(|round| round.batch),
            self.many(|round| round.sqlite_changes_per_second),
        );
    }

    fn print_single(&self) {
        let row = vec![
            format!("{:.0}", self.single(|round| round.queuegate.p50_us())),
            format!("{:.0}", self.single(|round| round.commit_us)),
            format!("{:.0}", self.single(|round| round.floor.p50_us())),
            self.single_to_floor().to_string(),
        ];
        let columns = ["p50 us", "SQLite's commit, p50 us", "floor-per-core's check, p50 us", "ratio to both"];
        println!("{}", table("One change at a time", columns, [row]));
    }

    fn print_beside(&self) {
        let rows = [self.beside_floor.row("floor-per-core"), self.beside_queuegate.row("queuegate")];
        let title = format!("Checks, {:.0}/s, while queuegate makes as many changes as it can", self.checks_per_second);
        let columns = ["server", "p99 us, quiet", "p99 us, busy", "ratio", "changes/s meanwhile"];
        println!("{}", table(&title, columns, rows));
    }

    fn many(&self, figure: fn(&ManyRound) -> f64) -> f64 {
        median(&self.many_rounds(figure))
    }

    fn many_rounds(&self, figure: fn(&ManyRound) -> f64) -> Vec<f64> {
        self.many.iter().map(figure).collect()
    }

    fn single(&self, figure: fn(&SingleRound) -> f64) -> f64 {
        median(&self.single.iter().map(figure).collect::<Vec<_>>())
    }

    fn to_sqlite(&self) -> Ratio {
        self.many_ratio(|round| round.changes_per_second, |round| round.sqlite_changes_per_second)
    }

    fn to_storing(&self) -> Ratio {
        self.many_ratio(|round| round.changes_per_second, |round| round.storing.rate())
    }

    fn storing_to_sqlite(&self) -> Ratio {
        self.many_ratio(|round| round.storing.rate(), |round| round.sqlite_changes_per_second)
    }

    fn many_ratio(&self, figure: fn(&ManyRound) -> f64, floor: fn(&ManyRound) -> f64) -> Ratio {
        Ratio::of(self.many_rounds(figure), self.many_rounds(floor))
    }

    fn single_to_floor(&self) -> Ratio {
        Ratio::of(
            self.single.iter().map(|round| round.queuegate.p50_us()),
            self.single.iter().map(SingleRound::floor_us),
        )
    }
}
