//! `queuegate status`, the page behind it, and the reason of a node that isn't ready.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use queuegate::server::{Database, Listen, Status};
use rustix::process::Signal;

use crate::{
    cluster::postgres::Postgres,
    support::{ManualClock, TestServer, get, program, shared_database, told},
};

async fn status(arguments: &[&str], metrics: SocketAddr) -> (String, String, i32) {
    let mut command = program();
    command.arg("status").args(arguments).args(["--metrics", &metrics.to_string()]);
    told(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}

/// A node with metrics.
async fn node(database: &Database) -> (TestServer, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = listener.local_addr().unwrap();
    let change = |config: &mut queuegate::server::Config| {
        config.metrics = Some(Listen::Inherited(listener));
        config.database = database.clone();
    };
    let clock = Arc::new(ManualClock::default());
    (TestServer::start_as(tempfile::tempdir().unwrap(), clock, change).await, metrics)
}

/// Read pages until one fits.
async fn until(metrics: SocketAddr, path: &str, fits: impl Fn(&str) -> bool) -> String {
    let found = async {
        loop {
            let (_, page) = get(metrics, path).await;
            if fits(&page) {
                break page;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_file_has_a_status() {
    let (server, metrics) = TestServer::measured().await;
    let (out, err, code) = status(&[], metrics).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("ready\nstore ") && out.contains("epoch 1  revision "), "{out}");
    assert!(out.contains(&format!("file {}", server.database.display())) && !out.contains("PostgreSQL"), "{out}");
    let (out, _, _) = status(&["--json"], metrics).await;
    let found: Status = serde_json::from_str(&out).unwrap();
    assert!(found.ready && found.database.is_none() && found.store.is_some_and(|store| store.sequence > 0), "{out}");

    let (out, err, code) = status(&[], server.address).await;
    assert_eq!((out.as_str(), code, err.contains("can't read status at")), ("", 3, true), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_a_node_names_the_database_and_all_nodes() {
    let Some(postgres) = Postgres::start() else { return };
    let database = shared_database(&postgres.database());
    let ((mut first, metrics), (second, _)) = (node(&database).await, node(&database).await);
    first.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    let both = |page: &str| serde_json::from_str::<Status>(page).unwrap().database.unwrap().nodes.len() == 2;
    let found: Status = serde_json::from_str(&until(metrics, "/status", both).await).unwrap();
    let report = found.database.unwrap();
    let served = found.store.unwrap();
    assert_eq!((report.timeline, report.epoch, served.epoch), (1, 1, 1));
    assert_eq!(u64::try_from(report.sequence).unwrap(), served.sequence);
    let mut addresses: Vec<String> = report.nodes.iter().map(|node| node.address.clone()).collect();
    addresses.sort_unstable();
    let mut expected = [first.address.to_string(), second.address.to_string()];
    expected.sort_unstable();
    assert_eq!(addresses, expected);
    assert!(report.nodes.iter().all(|node| node.version == env!("CARGO_PKG_VERSION") && node.silent_ms < 60_000));

    let (out, err, code) = status(&[], metrics).await;
    assert_eq!(code, 0, "{err}");
    for text in ["ready", "timeline 1", "no synchronous standby", &first.address.to_string()] {
        assert!(out.contains(text), "{text}: {out}");
    }

    // A node that stops withdraws its announcement.
    let one = |page: &str| serde_json::from_str::<Status>(page).unwrap().database.unwrap().nodes.len() == 1;
    second.stop().await;
    until(metrics, "/status", one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_node_says_why_it_is_not_ready() {
    let Some(mut postgres) = Postgres::start() else { return };
    let mut database = shared_database(&postgres.database());
    if let Database::Shared(shared) = &mut database {
        shared.stale_after = Duration::from_millis(500);
    }
    let (_server, metrics) = node(&database).await;
    postgres.stop(Signal::QUIT);
    until(metrics, "/readyz", |page| page.starts_with("stale: the database has been out of reach for ")).await;
    let (out, err, code) = status(&[], metrics).await;
    assert_eq!(code, 1, "{err}");
    assert!(out.starts_with("not ready  stale: ") && out.contains("\ndatabase  "), "{out}");
    postgres.restart();
    until(metrics, "/readyz", |page| page == "ready\n").await;
}
