//! `queuegate top` against the metrics of a server.

use serde_json::Value;

use crate::support::{TestServer, program, told};

async fn top(arguments: Vec<String>) -> (String, String, i32) {
    let running = move || program().arg("top").args(["--interval", "1ms"]).args(arguments).output().unwrap();
    told(tokio::task::spawn_blocking(running).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reading_has_the_calls_refusals_and_sessions() {
    let (mut server, metrics) = TestServer::measured().await;
    server.sign_in("anna", "sales").await;
    server.check("nobody", "sales").await;
    server.check("anna", "sales").await;
    let metrics = ["--metrics".to_owned(), metrics.to_string()].to_vec();
    // Without a terminal it is the same with and without `--once`.
    for arguments in [metrics.clone(), [metrics.clone(), vec!["--once".to_owned()]].concat()] {
        let (out, err, code) = top(arguments).await;
        assert_eq!(code, 0, "{err}");
        assert!(out.starts_with("ready, writable\nsessions 1  users 6  queues 5  organizations 1"), "{out}");
        let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        for expected in [
            ["CheckQueueAccess", "0.0", "0.0", "-", "2"].as_slice(),
            ["SignIn", "0.0", "0.0", "-", "1"].as_slice(),
            ["denied", "UNKNOWN_USER", "0.0", "1"].as_slice(),
        ] {
            assert!(rows.iter().any(|row| row == expected), "{expected:?}: {out}");
        }
        assert!(!out.contains("ASSIGNED") && !out.contains('\u{1b}'), "{out}");
    }
    let (out, _, code) = top([metrics, vec!["--json".to_owned()]].concat()).await;
    let reading: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &reading["ready"], &reading["gauges"]["sessions"]), (0, &true.into(), &1.0.into()));
    assert_eq!(reading["refusals"][0]["reason"], "UNKNOWN_USER");
    assert_eq!(reading["calls"][0]["method"], "all");
    let calls = reading["calls"].as_array().unwrap().iter().find(|calls| calls["method"] == "CheckQueueAccess");
    assert_eq!(calls.unwrap()["total"], 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_metrics_is_reported() {
    let (server, _) = TestServer::measured().await;
    for address in ["127.0.0.1:1".to_owned(), server.address.to_string()] {
        let (out, err, code) = top(vec!["--metrics".to_owned(), address]).await;
        assert_eq!((code, out.as_str()), (3, ""), "{err}");
        assert!(err.contains("can't read metrics at") && err.contains("--metrics-listen"), "{err}");
    }
}
