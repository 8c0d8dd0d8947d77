//! Migrations between a file and a PostgreSQL database.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use queuegate::{rpc::proto::*, store::sqlite::Store};
use tempfile::TempDir;
use tokio_postgres::Client;

use super::{
    Postgres,
    examine::{connect, fill, name_of, on_postgres, run},
};
use crate::support::{ManualClock, Shell, TestServer, program, sign_in};

/// How long a program may take to reach a point.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answers of a server, which a migration must not change.
#[derive(Debug, PartialEq)]
struct Seen {
    export: String,
    sessions: Vec<Session>,
    repeated: SignInResponse,
    audit_head: String,
    audit_log: String,
}

impl Seen {
    async fn of(server: &mut TestServer) -> Self {
        let repeated = SignInRequest { request_id: "once".into(), ..sign_in("anna", "sales") };
        let repeated = server.client.queue_access.sign_in(repeated).await.unwrap().into_inner();
        let shell = Shell::new(server);
        let output = async |line: &str| {
            let (text, error, code) = shell.run(line).await;
            assert_eq!(code, 0, "{error}");
            text
        };
        Self {
            export: output("export").await,
            repeated,
            audit_head: output("audit head").await,
            audit_log: output("audit list --json").await,
            sessions: server.sessions().await,
        }
    }
}

/// A file whose server has stopped.
async fn file() -> (TempDir, Arc<ManualClock>, PathBuf, Seen) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
    let path = folder.path().join("file.db");
    let mut server = on_file(&path, &clock).await;
    fill(&mut server).await;
    let seen = Seen::of(&mut server).await;
    server.stop().await;
    (folder, clock, path, seen)
}

async fn on_file(path: &Path, clock: &Arc<ManualClock>) -> TestServer {
    let path = path.to_owned();
    let folder = tempfile::tempdir().unwrap();
    TestServer::start_as(folder, Arc::clone(clock), |config| config.database = path.into()).await
}

async fn migrate(from: &str, to: &str) -> (String, i32) {
    run(&["migrate", "--from", from, "--to", to]).await
}

async fn serve(database: &str) -> (String, i32) {
    run(&["serve", "--listen", "127.0.0.1:0", "--database", database]).await
}

/// Start a migration, and kill it while it waits for a lock.
async fn kill_while_it_waits(observer: &Client, from: &str, to: &str) {
    let mut command: Command = program();
    let mut running = command.args(["migrate", "--from", from, "--to", to]).spawn().unwrap();
    let began = Instant::now();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'queuegate migrate' \
                   AND wait_event_type = 'Lock'";
    while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(began.elapsed() < PATIENCE && running.try_wait().unwrap().is_none(), "the migration doesn't wait");
        tokio::task::yield_now().await;
    }
    running.kill().unwrap();
    running.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_to_postgresql_and_back_with_everything() {
    let Some(postgres) = Postgres::start() else { return };
    let (folder, clock, path, seen) = file().await;
    let (old, address) = (path.to_str().unwrap(), postgres.database());

    let (text, code) = migrate(old, &address).await;
    assert!(code == 0 && text.contains("was moved to") && text.contains("whole"), "{text}");
    let (text, code) = serve(old).await;
    assert!(code == 2 && text.contains("it was moved to `postgres:///"), "{text}");
    let mut server = on_postgres(&address, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);

    // It goes on, and nothing moves while a node uses it.
    assert!(server.sign_out("anna", "sales").await.revision > seen.repeated.revision);
    let seen = Seen::of(&mut server).await;
    let new = folder.path().join("new.db");
    let (text, code) = migrate(&address, new.to_str().unwrap()).await;
    assert!(code == 2 && text.contains("running nodes use it (1)") && !new.exists(), "{text}");
    server.stop().await;

    let (text, code) = migrate(&address, old).await;
    assert!(code == 2 && text.contains("is not overwritten"), "{text}");
    let (text, code) = migrate(&address, new.to_str().unwrap()).await;
    assert!(code == 0, "{text}");
    let (text, code) = serve(&address).await;
    assert!(code == 2 && text.contains("it was moved to `/") && text.contains("new.db"), "{text}");
    let mut server = on_file(&new, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);
    let (text, code) = migrate(new.to_str().unwrap(), &address).await;
    assert!(code == 2 && text.contains("it was moved to"), "{text}");
    let (text, code) = migrate(new.to_str().unwrap(), &postgres.database()).await;
    assert!(code == 2 && text.contains("in use by another queuegate process"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn both_kinds_of_store_have_the_same_columns() {
    let Some(postgres) = Postgres::start() else { return };
    let address = postgres.database();
    let (text, code) = run(&["migrate", "--schema-only", "--to", &address]).await;
    assert_eq!(code, 0, "{text}");
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("file.db");
    drop(Store::open(&path, 1).unwrap());
    let columns = "SELECT tables.name || '.' || columns.name FROM sqlite_schema AS tables, \
                   pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' AND tables.name <> 'store'";
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut statement = connection.prepare(columns).unwrap();
    let of_file: BTreeSet<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let columns = "SELECT table_name || '.' || column_name FROM information_schema.columns \
                   WHERE table_schema = 'queuegate' AND table_name NOT IN ('store', 'head', 'epoch', 'node')";
    let of_postgres = postgres.sql_in(name_of(&address), columns);
    assert_eq!(of_postgres.lines().map(str::to_owned).collect::<BTreeSet<_>>(), of_file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_was_moved_is_reopened_in_a_new_epoch() {
    let Some(postgres) = Postgres::start() else { return };
    let (folder, clock, path, seen) = file().await;
    let (old, address) = (path.to_str().unwrap(), postgres.database());
    let (text, code) = run(&["migrate", "--reopen", old]).await;
    assert!(code == 2 && text.contains("it was not moved"), "{text}");
    assert_eq!(migrate(old, &address).await.1, 0);
    let (text, code) = run(&["migrate", "--reopen", old]).await;
    assert!(code == 0 && text.contains("it continues at"), "{text}");
    let mut server = on_file(&path, &clock).await;
    let reopened = Seen::of(&mut server).await;
    assert_eq!((&reopened.export, &reopened.sessions), (&seen.export, &seen.sessions));
    assert_ne!(reopened.repeated.revision, seen.repeated.revision);
    server.stop().await;

    let new = folder.path().join("new.db");
    assert_eq!(migrate(&address, new.to_str().unwrap()).await.1, 0);
    let (text, code) = run(&["migrate", "--reopen", &address]).await;
    assert!(code == 0 && text.contains("it continues at"), "{text}");
    let (text, code) = run(&["epoch", "new", "--database", &address]).await;
    assert!(code == 0 && text.contains("it continues at"), "{text}");
    let mut server = on_postgres(&address, &clock).await;
    let reopened = Seen::of(&mut server).await;
    assert_eq!((&reopened.export, &reopened.sessions), (&seen.export, &seen.sessions));
    assert_ne!(reopened.repeated.revision, seen.repeated.revision);
    assert!(server.sign_in("bo", "support").await.decision.is_some());
    server.stop().await;
}

/// A failover may have lost changes whose revisions were given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_on_another_timeline_is_moved_only_in_a_new_epoch() {
    let Some(postgres) = Postgres::start() else { return };
    let (folder, _, path, _) = file().await;
    let address = postgres.database();
    assert_eq!(migrate(path.to_str().unwrap(), &address).await.1, 0);
    postgres.sql_in(name_of(&address), "UPDATE queuegate.head SET timeline = 99");
    let new = folder.path().join("new.db");
    let (text, code) = migrate(&address, new.to_str().unwrap()).await;
    assert!(code == 2 && text.contains("run `queuegate epoch new` first") && !new.exists(), "{text}");
    assert_eq!(run(&["epoch", "new", "--database", &address]).await.1, 0);
    let (text, code) = migrate(&address, new.to_str().unwrap()).await;
    assert_eq!(code, 0, "{text}");
}

/// A constraint keeps a node that was stopped in the middle of a write from writing to a database that was moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_moved_refuses_every_write() {
    let Some(postgres) = Postgres::start() else { return };
    let (folder, _, path, _) = file().await;
    let address = postgres.database();
    assert_eq!(migrate(path.to_str().unwrap(), &address).await.1, 0);
    let client = connect(&postgres, name_of(&address)).await;
    let write = "UPDATE queuegate.head SET sequence = sequence + 1";
    client.batch_execute(&format!("BEGIN; {write}; ROLLBACK")).await.unwrap();
    assert_eq!(migrate(&address, folder.path().join("new.db").to_str().unwrap()).await.1, 0);
    let error = client.batch_execute(write).await.unwrap_err();
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::CHECK_VIOLATION));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_to_postgresql_leaves_the_source_usable_and_the_target_refused() {
    let Some(postgres) = Postgres::start() else { return };
    let (_folder, clock, path, seen) = file().await;
    let (old, address) = (path.to_str().unwrap(), postgres.database());
    let (text, code) = run(&["migrate", "--schema-only", "--to", &address]).await;
    assert_eq!(code, 0, "{text}");
    let client = connect(&postgres, name_of(&address)).await;
    let observer = connect(&postgres, "postgres").await;
    client
        .batch_execute(
            "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN new; END $$; \
             CREATE TRIGGER wait BEFORE INSERT ON queuegate.audit_chain EXECUTE FUNCTION public.wait(); \
             SELECT pg_advisory_lock(7)",
        )
        .await
        .unwrap();
    kill_while_it_waits(&observer, old, &address).await;
    client.batch_execute("SELECT pg_advisory_unlock(7); DROP TRIGGER wait ON queuegate.audit_chain").await.unwrap();

    let (text, code) = serve(&address).await;
    assert!(code == 2 && text.contains("a migration to it was not completed"), "{text}");
    let (text, code) = run(&["migrate", "--reopen", &address]).await;
    assert!(code == 2 && text.contains("a migration to it was not completed"), "{text}");
    let mut server = on_file(&path, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);
    server.sign_out("anna", "sales").await;
    let seen = Seen::of(&mut server).await;
    server.stop().await;
    let (text, code) = migrate(old, &address).await;
    assert_eq!(code, 0, "{text}");
    let mut server = on_postgres(&address, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_to_a_file_leaves_the_source_usable_and_no_target() {
    let Some(postgres) = Postgres::start() else { return };
    let (folder, clock, path, seen) = file().await;
    let address = postgres.database();
    assert_eq!(migrate(path.to_str().unwrap(), &address).await.1, 0);
    let client = connect(&postgres, name_of(&address)).await;
    let observer = connect(&postgres, "postgres").await;
    // The integrity check doesn't read this table; the copy does.
    client.batch_execute("BEGIN; LOCK TABLE queuegate.request IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let new = folder.path().join("new.db");
    kill_while_it_waits(&observer, &address, new.to_str().unwrap()).await;
    client.batch_execute("ROLLBACK").await.unwrap();

    let (text, code) = run(&["verify", new.to_str().unwrap()]).await;
    assert!(code == 2 && text.contains("holds no queuegate database"), "{text}");
    let mut server = on_postgres(&address, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);
    server.stop().await;
    let (text, code) = migrate(&address, new.to_str().unwrap()).await;
    assert_eq!(code, 0, "{text}");
    let mut server = on_file(&new, &clock).await;
    assert_eq!(Seen::of(&mut server).await, seen);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_source_is_not_moved() {
    let Some(postgres) = Postgres::start() else { return };
    let (_folder, clock, path, _) = file().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM session WHERE user_id = 'anna'", []).unwrap();
    drop(connection);
    let address = postgres.database();
    let (text, code) = migrate(path.to_str().unwrap(), &address).await;
    assert!(code == 2 && text.contains("is damaged") && text.contains("replayed audit log"), "{text}");
    on_file(&path, &clock).await.stop().await;
}
