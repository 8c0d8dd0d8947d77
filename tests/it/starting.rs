//! The start of a server: configurations that it refuses, a stop during the start, and probes beside silent
//! connections.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use queuegate::{
    server::{self, Config, Exposure, Listen},
    state::clock::SystemClock,
};
use tokio::net::TcpStream;

use crate::support::{TestServer, get, program};

/// A named pipe simulates a file system that doesn't respond: a read blocks for ever.
#[test]
fn a_start_that_waits_for_a_file_is_ended_by_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("tokens.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--database"])
        .arg(folder.path().join("the.db"))
        .arg("--tokens")
        .arg(&pipe)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Opening it for writing blocks until the server opens it for reading; the server then waits for the text.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    drop(writer);
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[tokio::test]
async fn silent_connections_keep_no_probe_out() {
    let (server, metrics) = TestServer::measured().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(metrics).await.unwrap());
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let (head, _) = get(metrics, path).await;
        assert!(head.contains("200"), "{path}: {head}");
    }
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_not_bound_beyond_this_machine_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |metrics_exposure| {
        let database = folder.path().join("the.db");
        let clock = std::sync::Arc::new(SystemClock::start());
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), database, clock);
        config.metrics = Some(Listen::At("0.0.0.0:0".parse().unwrap()));
        config.metrics_exposure = metrics_exposure;
        server::start(config).await
    };
    let error = start(Exposure::Refused).await.err().unwrap().to_string();
    assert!(error.contains("metrics and probes") && error.contains("--metrics-insecure"), "{error}");
    let server = start(Exposure::Accepted).await.unwrap();
    server.run(std::future::ready(())).await.unwrap();
}
