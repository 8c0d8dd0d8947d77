//! Changes: many at once, next to SQLite alone with the same rows in the same batches, and next to a server that does nothing
//! but store them so; one at a time, next to one commit and a call to a server that does nothing; and checks while
//! changes come as fast as they can.

use std::{path::Path, sync::Arc};

use serde_json::json;

use crate::{
    Options,
    call::{CheckCall, Line},
    contest::{Contestant, contestants},
    crew::{Callee, Crew},
    drive::{self, Deck, Measured},
    floor::{Layout, Nothing},
    process::Process,
    raw::{Log, Raw},
    report::{Ratio, Rounds, median, table},
    setup::{self, Setup},
    storing::Order,
};

/// Changes under way at once while they come as fast as they can: on each of four connections.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 4;

/// The rate of checks beside them, unless another is given.
const CHECKS_PER_SECOND: f64 = 2_000.0;

/// The most rows that are written again by SQLite alone in a round.
const MOST_ROWS: usize = 200_000;

/// One round of many changes at once.
struct Many {
    ours: Measured,
    changes: f64,
    batch: f64,
    raw: f64,
    storing: Measured,
}

/// One round of changes one at a time.
struct Alone {
    ours: Measured,
    nothing: Measured,
    commit_us: f64,
}

/// Checks of one server, without changes and while they come to ours as fast as they can.
#[derive(Default)]
struct Beside {
    quiet: Rounds,
    busy: Rounds,
    changes: Rounds,
}

impl Beside {
    fn p99_us(checks: &Measured) -> f64 {
        checks.percentile_us(99.0)
    }

    fn ratio(&self) -> Ratio {
        self.busy.ratio(&self.quiet, Self::p99_us)
    }

    fn cells(&self) -> [String; 4] {
        let Self { quiet, busy, changes } = self;
        let [quiet, busy] = [quiet, busy].map(|checks| format!("{:.0}", checks.median(Self::p99_us)));
        [quiet, busy, self.ratio().to_string(), format!("{:.0}", changes.median(Measured::rate))]
    }

    fn json(&self) -> serde_json::Value {
        let Self { quiet, busy, changes } = self;
        json!({
            "p99_us_quiet": quiet.median(Self::p99_us),
            "p99_us_busy": busy.median(Self::p99_us),
            "ratio": self.ratio().json(),
            "changes_per_second": changes.median(Measured::rate),
        })
    }
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("writes.db", &plan)?;
    server.stop()?;
    let database = setup.folder.path().join("writes.db");
    let mut raw = Raw::copy(&database, &setup.folder.path().join("raw.db"))?;
    let stored = setup.folder.path().join("stored.db");
    Raw::copy(&database, &stored)?;
    let server = Process::queuegate(&setup, &database)?;
    let checks: Arc<[CheckCall]> = setup::check_questions(std::slice::from_ref(&plan))?.into();
    let changes: Arc<[CheckCall]> = setup::changes(&plan, plan.users)?.into();
    let [nothing, _, ours] = &mut contestants(&setup, options, server, &checks).await?;
    let callee = Callee::new(&setup, &ours.server);
    let writers = Crew::connect(&callee, options.threads, CONNECTIONS).await?;
    let (one, one_to_nothing) =
        (Crew::connect(&callee, 1, 1).await?, Crew::connect(&Callee::new(&setup, &nothing.server), 1, 1).await?);
    let deck = Deck::new(Arc::clone(&checks));
    let log = Log::open(&database)?;
    let answers = setup.folder.path().join("answers to changes");
    let line = Line::connect(&callee).await?;
    // What every user was left in is written to the copies as well, so that they stay the same.
    let mut written = log.last()?;
    for change in changes.iter().take(2) {
        Nothing::write(&answers, change, &line.ask(change).await?)?;
    }
    let (mut many, mut alone) = (Vec::new(), Vec::new());
    let mut beside = [Beside::default(), Beside::default()];
    let rate = options.rate.unwrap_or(CHECKS_PER_SECOND);
    for _ in 0..options.rounds {
        let before = (
            ours.server.metric("queuegate_batch_commands_sum")?,
            ours.server.metric("queuegate_batch_commands_count")?,
        );
        let first = log.last()?;
        let measured = drive::closed(&ours.server, &writers, CALLERS, &changes, options.seconds).await?;
        let after = (
            ours.server.metric("queuegate_batch_commands_sum")?,
            ours.server.metric("queuegate_batch_commands_count")?,
        );
        let batch = (after.0 - before.0) / (after.1 - before.1);
        let last = log.last()?;
        let rows = log.rows(written, last, MOST_ROWS)?;
        anyhow::ensure!(
            rows.len() as i64 == last - written,
            "more than {MOST_ROWS} changes; measure for fewer seconds"
        );
        let (took, _) = raw.write(&rows, batch.round() as usize)?;
        // Calls that changed nothing are none, and those before and after the measured time don't count.
        let share = (last - first) as f64 / (after.0 - before.0);
        let changes_per_second = measured.rate() * share;
        let order = Order {
            database: database.clone(),
            after: written,
            up_to: last,
            copy: stored.clone(),
            most: batch.round() as usize,
        };
        let storing = storing(&setup, options, (&order, &answers), &log, &changes).await?;
        many.push(Many {
            changes: changes_per_second,
            storing,
            batch,
            raw: rows.len() as f64 / took.as_secs_f64(),
            ours: measured,
        });

        let own = drive::closed(&ours.server, &one, 1, &changes, options.seconds).await?;
        let nothing_done = drive::closed(&nothing.server, &one_to_nothing, 1, &checks, options.seconds).await?;
        let end = log.last()?;
        let rows = log.rows(last, end, MOST_ROWS)?;
        let (_, commits) = raw.write(&rows, 1)?;
        let commits: Vec<f64> = commits.iter().map(|took| took.as_secs_f64() * 1e6).collect();
        alone.push(Alone { ours: own, nothing: nothing_done, commit_us: median(&commits) });
        written = end;

        for (Contestant { server, crew, .. }, beside) in [&*nothing, &*ours].into_iter().zip(&mut beside) {
            let load = (rate, options.arrivals);
            beside.quiet.0.push(drive::open(server, crew, load, &deck, options.seconds).await?);
            // Whoever writes, writes to our server; what the floor's checks suffer from it is the machine's.
            let (checks, changes) = tokio::join!(
                drive::open(server, crew, load, &deck, options.seconds),
                drive::closed(&ours.server, &writers, CALLERS, &changes, options.seconds)
            );
            beside.busy.0.push(checks?);
            beside.changes.0.push(changes?);
        }
        let last = log.last()?;
        raw.write(&log.rows(written, last, usize::MAX >> 1)?, 256)?;
        written = last;
    }
    report(options, &many, &alone, &beside, rate)
}

/// Measures a server that does nothing but store the changes of a round. Half as long, so that there are enough of them.
async fn storing(
    setup: &Setup,
    options: &Options,
    (order, answers): (&Order, &Path),
    log: &Log,
    changes: &Arc<[CheckCall]>,
) -> anyhow::Result<Measured> {
    let stored = Log::open(&order.copy)?.last()?;
    Raw::open(&order.copy)?.write(&log.rows(stored, order.after, usize::MAX >> 1)?, 256)?;
    order.write(answers)?;
    let server = Process::floor(setup, Layout::Storing, answers)?;
    let crew = Crew::connect(&Callee::new(setup, &server), options.threads, CONNECTIONS).await?;
    let measured = drive::closed(&server, &crew, CALLERS, changes, options.seconds / 2.0).await?;
    anyhow::ensure!(
        measured.refused == 0,
        "the server that only stores stored no more: it had nothing left, or says why above"
    );
    Ok(measured)
}

fn report(options: &Options, many: &[Many], alone: &[Alone], beside: &[Beside; 2], rate: f64) -> anyhow::Result<()> {
    let each = |figure: fn(&Many) -> f64| many.iter().map(figure).collect::<Vec<_>>();
    let to_raw = Ratio::of(each(|round| round.changes), each(|round| round.raw));
    let storing_to_raw = Ratio::of(each(|round| round.storing.rate()), each(|round| round.raw));
    let to_storing = Ratio::of(each(|round| round.changes), each(|round| round.storing.rate()));
    let p50 = |measured: &Measured| measured.percentile_us(50.0);
    let floor = |round: &Alone| round.commit_us + p50(&round.nothing);
    let alone_ratio = Ratio::of(alone.iter().map(|round| p50(&round.ours)), alone.iter().map(floor));
    let [of_nothing, of_ours] = beside;
    let of = |figure: fn(&Alone) -> f64| median(&alone.iter().map(figure).collect::<Vec<_>>());
    if options.json {
        println!(
            "{:#}",
            json!({
                "many": {
                    "in_flight": CALLERS * CONNECTIONS,
                    "changes_per_second": median(&each(|round| round.changes)),
                    "batch": median(&each(|round| round.batch)),
                    "raw_changes_per_second": median(&each(|round| round.raw)),
                    "to_raw": to_raw.json(),
                    "to_storing": to_storing.json(),
                    "p99_us": median(&each(|round| round.ours.percentile_us(99.0))),
                    "cpu_ms_per_1000_calls": median(&each(|round| round.ours.cpu_us())),
                    "storing": {
                        "changes_per_second": median(&each(|round| round.storing.rate())),
                        "to_raw": storing_to_raw.json(),
                        "p99_us": median(&each(|round| round.storing.percentile_us(99.0))),
                        "cpu_ms_per_1000_calls": median(&each(|round| round.storing.cpu_us())),
                    },
                },
                "alone": {
                    "p50_us": of(|round| round.ours.percentile_us(50.0)),
                    "raw_commit_us": of(|round| round.commit_us),
                    "floor_p50_us": of(|round| round.nothing.percentile_us(50.0)),
                    "to_floor": alone_ratio.json(),
                },
                "checks_beside": { "rate": rate, "floor": of_nothing.json(), "queuegate": of_ours.json() },
            })
        );
        return Ok(());
    }
    let title = format!("SignIn and SignOut, {} in flight, each a change", CALLERS * CONNECTIONS);
    let row = |name: &str, rate: f64, to_raw: Ratio, of: fn(&Many) -> &Measured| {
        let each =
            |figure: fn(&Measured) -> f64| median(&many.iter().map(|round| figure(of(round))).collect::<Vec<_>>());
        vec![
            name.to_owned(),
            format!("{rate:.0}"),
            to_raw.to_string(),
            format!("{:.0}", each(|measured| measured.percentile_us(99.0))),
            format!("{:.1}", each(Measured::cpu_us)),
        ]
    };
    let rows = [
        row("floor-storing", median(&each(|round| round.storing.rate())), storing_to_raw, |round| &round.storing),
        row("queuegate", median(&each(|round| round.changes)), to_raw, |round| &round.ours),
    ];
    println!("{}", table(&title, ["server", "changes/s", "to SQLite alone", "p99 us", "CPU ms/1,000"], rows));
    println!(
        "queuegate to floor-storing: {to_storing}. Changes in a commit: {:.1}; with as many SQLite alone does {:.0} changes/s.\n",
        median(&each(|round| round.batch)),
        median(&each(|round| round.raw)),
    );
    let row = [
        format!("{:.0}", of(|round| round.ours.percentile_us(50.0))),
        format!("{:.0}", of(|round| round.commit_us)),
        format!("{:.0}", of(|round| round.nothing.percentile_us(50.0))),
        alone_ratio.to_string(),
    ];
    let columns = ["p50 us", "SQLite's commit, p50 us", "floor-per-core's check, p50 us", "ratio to both"];
    println!("{}", table("One change at a time", columns, [row.to_vec()]));
    let rows = [("floor-per-core", of_nothing), ("queuegate", of_ours)].map(|(name, beside)| {
        let mut row = vec![name.to_owned()];
        row.extend(beside.cells());
        row
    });
    let title = format!("Checks, {rate:.0}/s, while changes come to queuegate as fast as they can");
    println!("{}", table(&title, ["server", "p99 us, quiet", "p99 us, busy", "ratio", "changes/s meanwhile"], rows));
    Ok(())
}
