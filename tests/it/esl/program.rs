//! The command: its settings, its refusals, and a call.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use super::{Call, Center, PASSWORD};
use crate::support::program;

const EXAMPLE: &str = include_str!("../../../packaging/freeswitch/esl.toml");

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All settings of the example are valid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_signs_in_by_the_example_configuration() {
    let mut center = Center::open().await;
    center.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("password"), format!("{PASSWORD}\n")).unwrap();
    let is_setting = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(" = ");
    let lines = EXAMPLE.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
    // The settings with files and addresses are given as arguments.
    let elsewhere = [
        "server",
        "ca",
        "token-file",
        "journal",
        "event-socket",
        "event-socket-password-file",
        "listen",
        "endpoint",
        "prompt",
    ];
    let lines = lines.filter(|line| !elsewhere.contains(&line.split(" = ").next().unwrap()));
    std::fs::write(path("esl.toml"), lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let mut command = program();
    command.args(["esl", "--listen", "127.0.0.1:0", "--log-format", "json", "--config", &path("esl.toml")]);
    command.args(["--server", &center.server.address.to_string(), "--journal", &path("journal")]);
    command.args([
        "--event-socket",
        &center.manager().address.to_string(),
        "--event-socket-password-file",
        &path("password"),
    ]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let _running = Running(child);
    let listening = tokio::task::spawn_blocking(move || {
        let address = lines.find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            entry["address"].as_str().map(|address| address.parse::<SocketAddr>().unwrap())
        });
        // The rest of the log must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        address.unwrap()
    });
    let address = listening.await.unwrap();
    let ended = Call::from("101", "sign-in?queue=801").run(&center.switch, address).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "ivr/ivr-you_are_now_logged_in.wav"));
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.switch.until_members(&[("801", "101"), ("801", "103")]).await;
    center.switch.until_presence("queuegate+103-801@pbx.example.com", "confirmed").await;
}

#[test]
fn invalid_settings_are_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password").to_str().unwrap().to_owned();
    std::fs::write(&password, PASSWORD).unwrap();
    let journal = folder.path().join("journal").to_str().unwrap().to_owned();
    for (arguments, says) in [
        ("", "give --domain"),
        ("--domain a,b", "--domain:"),
        ("--domain d --listen 0.0.0.0:0", "give --allow with the addresses of your PBX"),
        ("--domain d --event-socket 127.0.0.1:8021", "--event-socket-password-file"),
        ("--domain d --event-socket 192.0.2.1:8021 --event-socket-password-file FILE", "--event-socket-insecure"),
        (
            "--domain d --event-socket 127.0.0.1:8021 --event-socket-password-file FILE",
            "--event-socket needs --organization",
        ),
        ("--domain d --agent x", "--agent: `x` must have {endpoint} or {extension} in it"),
        ("--domain d --contact user/x", "--contact:"),
        ("--domain d --lamp x", "--lamp:"),
        ("--domain d --journal Cargo.toml", "is not a journal of queuegate"),
    ] {
        let arguments = arguments.replace("FILE", &password);
        let mut command = program();
        command.arg("esl").args(arguments.split_whitespace());
        if !arguments.contains("--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !arguments.contains("--journal") {
            command.args(["--journal", &journal]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{arguments}: {said}");
    }
}
