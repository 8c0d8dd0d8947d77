//! The integrity check of a PostgreSQL database.

use std::{sync::Arc, time::Duration};

use queuegate::rpc::proto::*;
use tokio_postgres::{Client, NoTls};

use super::Postgres;
use crate::support::{ManualClock, TestServer, program, shared_database, sign_in, told};

/// A server with sessions, denials, and a request id.
pub async fn fill(server: &mut TestServer) {
    server.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
    let request = SignInRequest { request_id: "once".into(), ..sign_in("anna", "sales") };
    assert!(server.client.queue_access.sign_in(request).await.unwrap().into_inner().created);
    server.set(UnassignedQueueSignIn::Restricted).await;
    server.sign_in("nobody", "nowhere").await;
    server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(60))).await;
}

/// A node on a database.
pub async fn on_postgres(address: &str, clock: &Arc<ManualClock>) -> TestServer {
    let database = shared_database(address);
    let folder = tempfile::tempdir().unwrap();
    TestServer::start_as(folder, Arc::clone(clock), |config| config.database = database).await
}

/// Run the program, and return both of its outputs and its exit code.
pub async fn run(arguments: &[&str]) -> (String, i32) {
    let mut command = program();
    command.args(arguments);
    let running = tokio::task::spawn_blocking(move || told(command.output().unwrap()));
    let (text, error, code) = running.await.unwrap();
    (format!("{text}{error}"), code)
}

/// The name of a database.
pub fn name_of(address: &str) -> &str {
    address.trim_start_matches("postgres:///").split('?').next().unwrap()
}

/// A connection to a database.
pub async fn connect(postgres: &Postgres, database: &str) -> Client {
    let config = format!("host={} user=queuegate dbname={database}", postgres.folder.display());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_row_that_was_altered() {
    let Some(postgres) = Postgres::start() else { return };
    let address = postgres.database();
    let mut server = on_postgres(&address, &Arc::default()).await;
    fill(&mut server).await;
    let (text, code) = run(&["verify", &address]).await;
    assert!(code == 0 && text.contains("whole"), "while a node uses it: {text}");
    server.stop().await;
    let client = connect(&postgres, name_of(&address)).await;
    for (alter, says) in [
        ("UPDATE audit_log SET entry = replace(entry, 'anna', 'bert') WHERE action = 'SIGN_IN'", "was altered"),
        ("UPDATE audit_log SET time_ms = time_ms + 1 WHERE action = 'SIGN_IN'", "column time_ms was altered"),
        ("DELETE FROM audit_log WHERE revision = (SELECT max(revision) FROM audit_log)", "events after this one"),
        ("DELETE FROM session WHERE user_id = 'anna'", "differ from the replayed audit log"),
        ("UPDATE \"user\" SET disabled = true WHERE user_id = 'anna'", "differ from the replayed audit log"),
        ("UPDATE session SET user_id = 'nobody' WHERE user_id = 'anna'", "can't be loaded"),
        ("UPDATE head SET sequence = sequence + 1", "the audit log ends with event"),
        ("UPDATE store SET store_id = 'x'", "store_id is not 16 hexadecimal digits"),
    ] {
        client.batch_execute("CREATE SCHEMA IF NOT EXISTS saved").await.unwrap();
        for table in ["audit_log", "session", "\"user\"", "head", "store"] {
            let save = format!("CREATE TABLE saved.{table} AS TABLE queuegate.{table}");
            client.batch_execute(&save).await.unwrap();
        }
        client.batch_execute(&format!("SET search_path = queuegate; {alter}")).await.unwrap();
        let (text, code) = run(&["verify", &address]).await;
        assert!(code == 1 && text.contains("broken") && text.contains(says), "{alter}: {text}");
        for table in ["audit_log", "session", "\"user\"", "head", "store"] {
            // Removing a user would remove their roles.
            let restore = format!(
                "SET session_replication_role = replica; DELETE FROM queuegate.{table}; \
                 INSERT INTO queuegate.{table} TABLE saved.{table}; SET session_replication_role = origin"
            );
            client.batch_execute(&restore).await.unwrap();
        }
        client.batch_execute("DROP SCHEMA saved CASCADE").await.unwrap();
    }
    let (text, code) = run(&["verify", &address]).await;
    assert!(code == 0 && text.contains("whole"), "everything is as it was: {text}");
    let (text, code) = run(&["verify", &postgres.database()]).await;
    assert!(code == 2 && text.contains("holds no queuegate database"), "{text}");
}
