//! Changes under three kinds of load.
//!
//! - Many changes in flight, next to SQLite alone and `floor-storing`. They write the same rows in commits of the same
//!   size.
//! - One change at a time, next to one commit of SQLite and one call of a server that does nothing.
//! - Checks on a schedule, while many changes are in flight.

mod report;

use std::{path::PathBuf, sync::Arc};

use report::{ChecksBeside, ManyRound, Results, SingleRound};

use crate::{
    harness::{
        connection::Connection,
        loops::{self, RequestSequence},
        measurement::Measurement,
        pacing::Schedule,
        request::EncodedRequest,
        rounds::median,
        workers::Workers,
    },
    options::Options,
    scenarios::{
        comparison::{ComparedServer, with_floors},
        requests,
    },
    servers::{
        environment::Environment,
        floor::Layout,
        floor_service::save_answer,
        import::start_with_organization,
        process::Process,
        sqlite::{AuditLog, DatabaseCopy},
        storing::StoringConfig,
    },
};

/// Connections with many changes.
const CONNECTIONS: usize = 4;

/// Changes in flight per connection.
const CALLERS: usize = 64;

/// The default rate of checks beside changes.
const CHECKS_PER_SECOND: f64 = 2_000.0;

/// The largest number of changes that SQLite alone repeats in a round.
const CHANGES_LIMIT: usize = 200_000;

/// The size of commits that only bring a copy up to date.
const CATCH_UP_BATCH: usize = 256;

/// Run the scenario.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let environment = Environment::new(options)?;
    let plan = requests::plan(options.users)?;
    start_with_organization(&environment, "writes.db", &plan)?.stop()?;
    let database = environment.path("writes.db");
    let copy = DatabaseCopy::create(&database, &environment.path("raw.db"))?;
    let storing_database = environment.path("stored.db");
    DatabaseCopy::create(&database, &storing_database)?;
    let process = Process::queuegate(&environment, &database)?;
    let checks: Arc<[EncodedRequest]> = requests::checks(std::slice::from_ref(&plan))?.into();
    let changes: Arc<[EncodedRequest]> = requests::changes(&plan, plan.users)?.into();
    let [floor, _, queuegate] = with_floors(&environment, options, process, &checks).await?;
    let target = queuegate.process.target(&environment);
    let log = AuditLog::open(&database)?;
    let copied = log.last()?;
    let answers = environment.path("answers to changes");
    let connection = Connection::open(&target).await?;
    for change in changes.iter().take(2) {
        save_answer(&answers, change, &connection.response(change).await?)?;
    }
    let mut scenario = Writes {
        options,
        many: Workers::connect(&target, options.threads, CONNECTIONS).await?,
        single: Workers::connect(&target, 1, 1).await?,
        single_floor: Workers::connect(&floor.process.target(&environment), 1, 1).await?,
        floor,
        queuegate,
        checks,
        changes,
        log,
        copy,
        copied,
        storing_database,
        database,
        answers,
        environment,
    };
    let rate = options.rate.unwrap_or(CHECKS_PER_SECOND);
    let schedule = Schedule { calls_per_second: rate, arrivals: options.arrivals };
    let sequence = RequestSequence::new(Arc::clone(&scenario.checks));
    let mut results = Results {
        in_flight: CALLERS * CONNECTIONS,
        many: Vec::new(),
        single: Vec::new(),
        checks_per_second: rate,
        beside_floor: ChecksBeside::default(),
        beside_queuegate: ChecksBeside::default(),
    };
    for _ in 0..options.rounds {
        results.many.push(scenario.measure_many().await?);
        results.single.push(scenario.measure_single().await?);
        scenario.measure_checks(&scenario.floor, schedule, &sequence, &mut results.beside_floor).await?;
        scenario.measure_checks(&scenario.queuegate, schedule, &sequence, &mut results.beside_queuegate).await?;
        scenario.catch_up()?;
    }
    results.print(options.json);
    Ok(())
}

/// The servers, the databases, and the workers of the scenario.
struct Writes<'o> {
    options: &'o Options,
    /// Workers with many changes in flight on queuegate.
    many: Workers,
    /// One connection to queuegate.
    single: Workers,
    /// One connection to the floor.
    single_floor: Workers,
    floor: ComparedServer,
    queuegate: ComparedServer,
    checks: Arc<[EncodedRequest]>,
    changes: Arc<[EncodedRequest]>,
    log: AuditLog,
    /// The database of SQLite alone.
    ///
    /// INVARIANT: between rounds it has the rows of all revisions up to `copied`.
    copy: DatabaseCopy,
    copied: i64,
    /// The database of `floor-storing`.
    storing_database: PathBuf,
    database: PathBuf,
    /// The folder of the answers of `floor-storing`.
    answers: PathBuf,
    /// The last field, so that the servers end before their folder is removed.
    environment: Environment,
}

impl Writes<'_> {
    /// Measure many changes in flight, and repeat them with SQLite alone and with `floor-storing`.
    async fn measure_many(&mut self) -> anyhow::Result<ManyRound> {
        let seconds = self.options.seconds;
        let before = self.batch_metrics()?;
        let first = self.log.last()?;
        let queuegate = loops::closed(&self.many, CALLERS, &self.changes, seconds).await?;
        let after = self.batch_metrics()?;
        let (commands, batches) = (after.0 - before.0, after.1 - before.1);
        let batch = commands / batches;
        let batch_limit = batch.round() as usize;
        let last = self.log.last()?;
        let rows = self.log.rows(self.copied, last, CHANGES_LIMIT)?;
        anyhow::ensure!(
            rows.len() as i64 == last - self.copied,
            "more than {CHANGES_LIMIT} changes; measure for fewer seconds"
        );
        let (sqlite_time, _) = self.copy.write(&rows, batch_limit)?;
        // Calls without an effect are not changes. Commands and revisions include those of the warm-up, so the measured
        // rate of calls is multiplied by the revisions per command.
        let changes_per_second = queuegate.rate() * (last - first) as f64 / commands;
        let config = StoringConfig {
            database: self.database.clone(),
            after: self.copied,
            up_to: last,
            copy: self.storing_database.clone(),
            batch_limit,
        };
        self.copied = last;
        Ok(ManyRound {
            queuegate,
            changes_per_second,
            batch,
            sqlite_changes_per_second: rows.len() as f64 / sqlite_time.as_secs_f64(),
            storing: self.measure_storing(&config).await?,
        })
    }

    /// Measure `floor-storing` with the changes of a round, for half the time, so that there are enough of them.
    async fn measure_storing(&self, config: &StoringConfig) -> anyhow::Result<Measurement> {
        let stored = AuditLog::open(&config.copy)?.last()?;
        let missing = self.log.rows(stored, config.after, usize::MAX >> 1)?;
        DatabaseCopy::open(&config.copy)?.write(&missing, CATCH_UP_BATCH)?;
        config.write(&self.answers)?;
        let server = Process::floor(&self.environment, Layout::Storing, &self.answers)?;
        let target = server.target(&self.environment);
        let workers = Workers::connect(&target, self.options.threads, CONNECTIONS).await?;
        let measurement = loops::closed(&workers, CALLERS, &self.changes, self.options.seconds / 2.0).await?;
        anyhow::ensure!(
            measurement.counts.refused == 0,
            "floor-storing stopped: it has stored all rows, or it printed an error above"
        );
        Ok(measurement)
    }

    /// Measure one change at a time, one check of the floor at a time, and one commit per change of SQLite alone.
    async fn measure_single(&mut self) -> anyhow::Result<SingleRound> {
        let seconds = self.options.seconds;
        let queuegate = loops::closed(&self.single, 1, &self.changes, seconds).await?;
        let floor = loops::closed(&self.single_floor, 1, &self.checks, seconds).await?;
        let last = self.log.last()?;
        let rows = self.log.rows(self.copied, last, CHANGES_LIMIT)?;
        let (_, commits) = self.copy.write(&rows, 1)?;
        let commits_us: Vec<f64> = commits.iter().map(|commit| commit.as_secs_f64() * 1e6).collect();
        self.copied = last;
        Ok(SingleRound { queuegate, floor, commit_us: median(&commits_us) })
    }

    /// Measure the checks of a server without changes, and then with many changes in flight.
    ///
    /// The changes always go to queuegate. The slower checks of the floor show the effect of busy processors alone.
    async fn measure_checks(
        &self,
        server: &ComparedServer,
        schedule: Schedule,
        checks: &RequestSequence,
        beside: &mut ChecksBeside,
    ) -> anyhow::Result<()> {
        let seconds = self.options.seconds;
        beside.quiet.0.push(loops::open(&server.workers, schedule, checks, seconds).await?);
        let (busy, changes) = tokio::join!(
            loops::open(&server.workers, schedule, checks, seconds),
            loops::closed(&self.many, CALLERS, &self.changes, seconds)
        );
        beside.busy.0.push(busy?);
        beside.changes.0.push(changes?);
        Ok(())
    }

    /// Write the rows of all new revisions to the copy.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        let last = self.log.last()?;
        self.copy.write(&self.log.rows(self.copied, last, usize::MAX >> 1)?, CATCH_UP_BATCH)?;
        self.copied = last;
        Ok(())
    }

    /// Return the number of commands in batches, and the number of batches.
    fn batch_metrics(&self) -> anyhow::Result<(f64, f64)> {
        let metric = |name| self.queuegate.process.metric(name);
        Ok((metric("queuegate_batch_commands_sum")?, metric("queuegate_batch_commands_count")?))
    }
}
