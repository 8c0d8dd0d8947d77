//! A large state, and none: how long a start takes, how much memory it holds, and what checks and changes cost.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use queuegate::{
    domain::{
        change::Event,
        ids::Extension,
        model::{Organization, RoleAssignment},
        settings::Switch,
    },
    store::Store,
};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::{
    Options,
    call::CheckCall,
    contest::{contestants, measure},
    crew::{Callee, Crew},
    drive::{self, Measured},
    process::Process,
    report::{Rounds, mebibytes, median, table},
    setup::{self, Setup, organization::Plan},
};

/// Users of the organization to whose changes those of the large one are compared.
const SMALL: usize = 1_000;

/// How often an empty server is started, and for how long it is left alone.
const STARTS: usize = 10;
const IDLE: Duration = Duration::from_secs(10);

/// So many users, ten queues for each of them, and a session for each, spread over so many organizations.
fn plans(users: usize, organizations: usize) -> anyhow::Result<Vec<Plan>> {
    let users = users / organizations;
    // One organization of a million users has 20,000 queues; a hundred users of their own still have ten.
    let queues = (users / 50).max(setup::ASSIGNMENTS);
    let plan = |number| {
        let organization_id = format!("organization-{number:05}").parse()?;
        Ok(Plan { organization_id, users, queues, assignments: setup::ASSIGNMENTS, sessions: users })
    };
    (0..organizations).map(plan).collect()
}

/// Writes what an import and sign-ins would have left in the tables, but for the audit log, which begins empty, as after it
/// was archived and cut: eleven million changes one by one would take hours of the disk. The tables are the server's own,
/// made by it, and the rows are written in the order of their keys with nothing synced until the end.
fn prepare(file: &Path, plans: &[Plan]) -> anyhow::Result<()> {
    let began = Instant::now();
    Store::open(file, 1)?.checkpoint()?;
    let connection = Connection::open(file)?;
    connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -2000000; BEGIN")?;
    let indexes = set_indexes_aside(&connection)?;
    for plan in plans {
        for change in plan.changes() {
            write(&connection, plan.organization_id.as_str(), change?.event)?;
        }
    }
    for index in indexes {
        connection.execute_batch(&index)?;
    }
    connection.execute_batch("COMMIT")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    drop(connection);
    fs::File::open(file)?.sync_all()?;
    let size = fs::metadata(file)?.len();
    eprintln!("{} organizations written in {:.0?}: {} MiB", plans.len(), began.elapsed(), mebibytes(size));
    Ok(())
}

/// Indexes are made faster when all rows are there.
fn set_indexes_aside(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL")?;
    let named = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let named = named.collect::<Result<Vec<(String, String)>, _>>()?;
    for (name, _) in &named {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    Ok(named.into_iter().map(|(_, sql)| sql).collect())
}

fn write(connection: &Connection, organization_id: &str, event: Event) -> anyhow::Result<()> {
    let row = |sql: &str, columns: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(columns)?;
        anyhow::Ok(())
    };
    match event {
        Event::OrganizationCreated { organization: Organization { display_name, .. }, settings, etag } => {
            let unassigned = settings.unassigned_queue_sign_in.as_str();
            let etag = i64::try_from(etag.0)?;
            row(
                "INSERT INTO organization VALUES (?, ?, ?, ?)",
                params![organization_id, display_name, unassigned, etag],
            )?;
            for switch in Switch::ALL {
                let is_on = settings.is_on(*switch);
                row(
                    "INSERT INTO permission_setting VALUES (?, ?, ?)",
                    params![organization_id, switch.as_str(), is_on],
                )?;
            }
            Ok(())
        }
        Event::QueueCreated { queue } => {
            let extension = queue.extension.map(Extension::digits);
            let (id, kind) = (queue.queue_id.as_str(), queue.kind.as_str());
            row(
                "INSERT INTO queue (organization_id, queue_id, display_name, extension, kind) VALUES (?, ?, ?, ?, ?)",
                params![organization_id, id, queue.display_name, extension.as_deref(), kind],
            )
        }
        Event::UserCreated { user } => {
            let extension = user.extension.map(Extension::digits);
            row(
                "INSERT INTO user (organization_id, user_id, display_name, extension, contact_center_license, disabled) \
                 VALUES (?, ?, ?, ?, 1, 0)",
                params![organization_id, user.user_id.as_str(), user.display_name.as_str(), extension.as_deref()],
            )
        }
        Event::RoleAssigned { assignment: RoleAssignment { user_id, role, queue_id } } => {
            let queue_id = queue_id.as_ref().map(|queue_id| queue_id.as_str());
            row(
                "INSERT INTO queue_role (organization_id, user_id, queue_id, role) VALUES (?, ?, ?, ?)",
                params![organization_id, user_id.as_str(), queue_id, role.as_str()],
            )
        }
        Event::SessionStarted { session, justification: _ } => row(
            "INSERT INTO session (organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
             sign_in_time_ms, expire_time_ms, device) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            params![
                organization_id,
                session.user_id.as_str(),
                session.queue_id.as_str(),
                session.session_id.as_str(),
                session.channel.as_str(),
                session.basis.as_str(),
                session.signed_in_by.as_str(),
                session.sign_in_time.unix_ms(),
                session.device
            ],
        ),
        other => anyhow::bail!("not part of a plan: {other:?}"),
    }
}

/// Sign-outs, and then sign-ins again, of users who are all signed in.
fn changes(plans: &[Plan]) -> anyhow::Result<Vec<CheckCall>> {
    let mut all = Vec::new();
    for plan in plans.iter().take(100) {
        let mut of_plan = setup::changes(plan, (SMALL / plans.len().min(100)).min(plan.users))?;
        for pair in of_plan.chunks_mut(2).filter(|_| plan.sessions > 0) {
            pair.reverse();
        }
        all.append(&mut of_plan);
    }
    Ok(all)
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let plans = plans(options.users, options.organizations)?;
    let database = match &options.prepared {
        Some(file) => file.clone(),
        None => setup.folder.path().join("size.db"),
    };
    if !database.exists() {
        prepare(&database, &plans)?;
    }
    // Not the first start, so that reading the file from the disk isn't part of it, as it isn't after a restart.
    Process::queuegate(&setup, &database)?.stop()?;
    let large = Process::queuegate(&setup, &database)?;
    let (start_to_ready, memory) = (large.start_to_ready, large.memory()?);
    let checks: Arc<[CheckCall]> = setup::check_questions(&plans)?.into();
    let mut all = contestants(&setup, options, large, &checks).await?;
    measure(&mut all, options, &checks).await?;

    // One change at a time, there and in a small organization.
    let plan = setup::plan(SMALL)?;
    let small = setup.queuegate("small.db", &plan)?;
    let (of_large, of_small): (Arc<[_]>, Arc<[_]>) = (changes(&plans)?.into(), setup::changes(&plan, SMALL)?.into());
    let [per_core, stock, ours] = &all;
    let crew = async |server: &Process| Crew::connect(&Callee::new(&setup, server), 1, 1).await;
    let (to_large, to_small) = (crew(&ours.server).await?, crew(&small).await?);
    let (mut writes_of_large, mut writes_of_small) = (Rounds::default(), Rounds::default());
    for _ in 0..options.rounds {
        writes_of_large.0.push(drive::closed(&ours.server, &to_large, 1, &of_large, options.seconds).await?);
        writes_of_small.0.push(drive::closed(&small, &to_small, 1, &of_small, options.seconds).await?);
    }

    let [cpu_to_per_core, cpu_to_stock] =
        [per_core, stock].map(|floor| ours.closed.ratio(&floor.closed, Measured::cpu_us));
    let p99 = |round: &Measured| round.percentile_us(99.0);
    let p50 = |round: &Measured| round.percentile_us(50.0);
    let cpu_at_half_load = ours.open.ratio(&per_core.open, Measured::cpu_us);
    let p99_at_half_load = ours.open.ratio(&per_core.open, p99);
    let writes =
        (writes_of_large.ratio(&writes_of_small, p50), writes_of_large.ratio(&writes_of_small, Measured::cpu_us));
    let file = fs::metadata(&database)?.len();
    let peak = ours.server.peak_memory()?;
    let told: Vec<(&str, String, Value)> = vec![
        ("organizations", options.organizations.to_string(), json!(options.organizations)),
        ("users", options.users.to_string(), json!(options.users)),
        ("queues", plans.iter().map(|plan| plan.queues).sum::<usize>().to_string(), Value::Null),
        ("database, MiB", mebibytes(file), json!(file)),
        ("start to ready, s", format!("{:.2}", start_to_ready.as_secs_f64()), json!(start_to_ready.as_secs_f64())),
        ("resident when ready, MiB", mebibytes(memory), json!(memory)),
        ("peak, MiB", mebibytes(peak), json!(peak)),
        ("a check's CPU, us", format!("{:.2}", ours.closed.median(Measured::cpu_us)), ours.closed.json()),
        ("to floor-per-core", cpu_to_per_core.to_string(), cpu_to_per_core.json()),
        ("to floor-stock", cpu_to_stock.to_string(), cpu_to_stock.json()),
        ("a check's CPU at half load to floor-per-core", cpu_at_half_load.to_string(), cpu_at_half_load.json()),
        ("a check's p99 at half load to floor-per-core", p99_at_half_load.to_string(), p99_at_half_load.json()),
        ("a change's p50, us", format!("{:.0}", writes_of_large.median(p50)), writes_of_large.json()),
        ("to 1,000 users'", writes.0.to_string(), writes.0.json()),
        ("a change's CPU, us", format!("{:.1}", writes_of_large.median(Measured::cpu_us)), Value::Null),
        ("to 1,000 users'", writes.1.to_string(), writes.1.json()),
    ];
    tell(options, "A large state", told)
}

/// A server with nothing in it.
pub async fn empty(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let database = setup.folder.path().join("empty.db");
    Process::queuegate(&setup, &database)?.stop()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let server = Process::queuegate(&setup, &database)?;
        starts.push(server.start_to_ready.as_secs_f64() * 1e3);
        server.stop()?;
    }
    let server = Process::queuegate(&setup, &database)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = server.cpu()?;
    let idle = if options.smoke { IDLE / 20 } else { IDLE };
    tokio::time::sleep(idle).await;
    let cpu = (server.cpu()?.saturating_sub(before)).as_secs_f64() * 1e3;
    let memory = server.memory()?;
    let size = fs::metadata(&options.program)?.len();
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    let told = vec![
        ("start to ready, ms, median", format!("{:.1}", median(&starts)), json!(median(&starts))),
        ("start to ready, ms, slowest", format!("{slowest:.1}"), json!(slowest)),
        ("resident, MiB", mebibytes(memory), json!(memory)),
        ("CPU, ms in 10 s without a call", format!("{cpu:.2}"), json!(cpu)),
        ("the program, MiB", mebibytes(size), json!(size)),
    ];
    tell(options, "An empty server", told)
}

fn tell(options: &Options, title: &str, told: Vec<(&str, String, Value)>) -> anyhow::Result<()> {
    if options.json {
        let told: Vec<Value> =
            told.into_iter().map(|(name, text, value)| json!({ "of": name, "text": text, "value": value })).collect();
        println!("{:#}", Value::from(told));
    } else {
        println!(
            "{}",
            table(title, ["", "figure"], told.into_iter().map(|(name, text, _)| vec![name.to_owned(), text]))
        );
    }
    Ok(())
}
