//! The interfaces for operators: metrics, probes, systemd, traces, configuration.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::Arc,
};

use queuegate::{server::Config, telemetry::traces::Traces};
use tokio::{net::TcpListener, sync::mpsc};

use crate::support::{ManualClock, TestServer, get, program};

#[tokio::test]
async fn metrics_and_probes_are_served_beside_the_api() {
    let (mut server, address) = TestServer::measured().await;
    server.sign_in("anna", "sales").await;
    server.check("cleo", "sales").await;
    let mut watch = server.watch("").await;
    watch.message().await.unwrap();
    let (head, body) = get(address, "/metrics").await;
    assert!(head.ends_with("200 OK"), "{head}");
    for line in [
        "queuegate_decisions_total{reason=\"ASSIGNED\"} 1",
        "queuegate_decisions_total{reason=\"UNASSIGNED_ALLOWED\"} 1",
        "queuegate_grpc_calls_total{method=\"/queuegate.v1.QueueAccessService/SignIn\",code=\"OK\"} 1",
        "queuegate_state_size{of=\"organizations\"} 1",
        "queuegate_state_size{of=\"sessions\"} 1",
        "queuegate_watchers 1",
        "queuegate_grpc_calls_under_way{work=\"stream\"} 1",
        "queuegate_store_writable 1",
        "queuegate_ready 1",
        "# EOF",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    assert!(!body.contains("anna") && !body.contains("acme"), "people and organizations are no labels");
    for (path, status, says) in
        [("/livez", "200 OK", "alive"), ("/readyz", "200 OK", "ready"), ("/other", "404 Not Found", "try /metrics")]
    {
        let (head, body) = get(address, path).await;
        assert!(head.ends_with(status) && body.contains(says), "{path}: {head} {body}");
    }
}

#[tokio::test]
async fn liveness_is_a_health_question_of_its_own() {
    let server = TestServer::start().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(endpoint.connect().await.unwrap());
    let request = tonic_health::pb::HealthCheckRequest { service: "liveness".to_owned() };
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_told_when_the_server_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    // A dead process sends no notifications.
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let telling = tokio::task::spawn_blocking(move || {
        let mut serving = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--database"])
            .arg(folder.path().join("test.db"))
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", "300000")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut hear = |until: &str| {
            while !told.contains(until) {
                let mut buffer = [0; 512];
                let length = socket.recv(&mut buffer).unwrap();
                told.push_str(&String::from_utf8_lossy(&buffer[..length]));
                told.push('\n');
            }
        };
        hear("READY=1");
        // SIGHUP reloads nothing and doesn't end the process.
        assert!(Command::new("kill").args(["-HUP", &serving.id().to_string()]).status().unwrap().success());
        hear("WATCHDOG=1");
        assert!(Command::new("kill").arg(serving.id().to_string()).status().unwrap().success());
        hear("STOPPING=1");
        assert!(serving.wait().unwrap().success());
    });
    telling.await.unwrap();
}

#[test]
fn the_log_level_changes_with_a_signal_and_back_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--database"])
        .arg(folder.path().join("test.db"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |words: &str| lines.find(|line| line.contains(words)).unwrap();
    let listening = until("listening");
    let address = listening.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    until("database loaded");
    let signal =
        |name: &str, id: u32| assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
    // A peer that doesn't speak HTTP/2 is worth a line for those who look closely.
    let stranger = || {
        let mut stranger = std::net::TcpStream::connect(&address).unwrap();
        stranger.write_all(&[b'x'; 64]).unwrap();
        // The server closes the connection when it has noted it.
        let _ = stranger.read_to_end(&mut Vec::new());
    };
    signal("-USR1", serving.id());
    assert!(until("log level changed").contains("queuegate=debug"));
    stranger();
    until("connection refused");
    signal("-USR1", serving.id());
    assert!(until("log level changed").contains("info"));
    stranger();
    signal("-TERM", serving.id());
    assert!(!lines.any(|line| line.contains("connection refused")));
    assert!(serving.wait().unwrap().success());
}

/// A collector that accepts every export, and keeps the spans.
async fn collector() -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (found, collected) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let found = found.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(connection).await.unwrap();
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    let found = found.clone();
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut bytes = Vec::new();
                        while let Some(Ok(data)) = body.data().await {
                            body.flow_control().release_capacity(data.len()).unwrap();
                            bytes.extend_from_slice(&data);
                        }
                        let head =
                            http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                        let mut sending = answer.send_response(head, false).unwrap();
                        sending.send_data(vec![0; 5].into(), false).unwrap();
                        let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
                        sending.send_trailers(http::HeaderMap::from_iter(trailers)).unwrap();
                        // The test may have ended.
                        let _ = found.send(bytes);
                    });
                }
            });
        }
    });
    (endpoint, collected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_traced_as_a_part_of_its_callers_trace() {
    let (endpoint, mut collected) = collector().await;
    let traces = Traces::start(&endpoint, 0.0).unwrap();
    let change = |config: &mut Config| config.traces = Some(traces);
    let clock = Arc::new(ManualClock::default());
    let mut server = TestServer::start_as(tempfile::tempdir().unwrap(), clock, change).await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (method, flags) in [(1, "01"), (2, "00")] {
        let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-{flags}");
        if method == 1 {
            let mut request = tonic::Request::new(queuegate::rpc::proto::ListPermissionsRequest {});
            request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
            server.client.permission.list_permissions(request).await.unwrap();
        } else {
            let mut request = tonic::Request::new(queuegate::rpc::proto::ListOrganizationsRequest::default());
            request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
            server.client.directory.list_organizations(request).await.unwrap();
        }
    }
    // The server exports the remaining spans when it stops.
    server.stop().await;
    let exported = collected.recv().await.unwrap();
    let has = |part: &[u8]| exported.windows(part.len()).any(|window| window == part);
    assert!(has(b"queuegate.v1.PermissionService/ListPermissions"));
    assert!(!has(b"ListOrganizations"), "its trace context has sampling off");
    let trace_id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&trace_id[2 * at..2 * at + 2], 16).unwrap()).collect();
    assert!(has(&trace_id), "the span is the caller's trace's");
}

#[test]
fn flags_come_before_the_environment_that_before_the_file_and_the_file_before_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queuegate.toml");
    fs::write(&file, "drain-deadline = \"3s\"\nmax-connections = 7\nlog = \"warn\"\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).arg("--config").arg(&file);
        let output = command.env("QUEUEGATE_LOG", "debug").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    };
    let (out, err, code) = run(&["config", "--max-connections", "9", "--json"]);
    assert_eq!(code, 0, "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let path = file.to_str().unwrap();
    for (key, value, source) in [
        ("max-connections", "9", "--max-connections"),
        ("log", "debug", "QUEUEGATE_LOG"),
        ("drain-deadline", "3s", path),
        ("listen", "127.0.0.1:50051", "default"),
    ] {
        assert_eq!((&found[key]["value"], &found[key]["source"]), (&value.into(), &source.into()), "{key}");
    }
    assert!(found["tokens"]["value"].is_null());
    for (text, says) in [
        ("drain_deadline = \"3s\"", "did you mean `drain-deadline`?"),
        ("drain-deadline = \"soon\"", "invalid value 'soon' for '--drain-deadline"),
        ("listen = ", "line 1"),
    ] {
        fs::write(&file, text).unwrap();
        let (_, err, code) = run(&["serve"]);
        assert!(code == 2 && err.contains(says) && err.contains("queuegate.toml"), "{text}: {err}");
    }
    // Two settings that require each other may come from two sources.
    fs::write(&file, "tls-key = \"key.pem\"\n").unwrap();
    let (out, err, code) = run(&["config", "--tls-certificate", "certificate.pem", "--json"]);
    assert_eq!(code, 0, "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!([&found["tls-certificate"]["value"], &found["tls-key"]["value"]], ["certificate.pem", "key.pem"]);
    fs::write(&file, "log = \"warn\"\n").unwrap();
    let (_, err, code) = run(&["config", "--tls-certificate", "certificate.pem"]);
    assert!(code == 2 && err.contains("--tls-key"), "{err}");
    let missing = program().args(["config", "--config", "no-such-file"]).output().unwrap();
    assert!(missing.status.code() == Some(2) && String::from_utf8(missing.stderr).unwrap().contains("can't be read"));
}
