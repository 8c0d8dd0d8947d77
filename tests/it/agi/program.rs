//! The command: its settings, its refusals, and a call.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
};

use super::{Call, Center, manager::SECRET};
use crate::support::program;

const EXAMPLE: &str = include_str!("../../../packaging/asterisk/agi.toml");

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Start the program, and wait until it logs its address.
fn start(config: &Path, arguments: &[String]) -> (Running, SocketAddr) {
    let mut child = program()
        .args(["agi", "--listen", "127.0.0.1:0", "--log-format", "json", "--config"])
        .arg(config)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let running = Running(child);
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        entry["address"].as_str().map(|address| address.parse().unwrap())
    });
    // The rest of the log must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (running, address.unwrap())
}

/// All settings of the example are valid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_signs_in_by_the_example_configuration() {
    let mut center = Center::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
    let is_setting = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(" = ");
    let lines = EXAMPLE.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
    // The settings with files and addresses are given as arguments.
    let elsewhere = [
        "server",
        "metrics-listen",
        "ca",
        "token-file",
        "journal",
        "ami",
        "ami-secret-file",
        "listen",
        "state-interface",
    ];
    let lines = lines.filter(|line| !elsewhere.contains(&line.split(" = ").next().unwrap()));
    let config = folder.path().join("agi.toml");
    std::fs::write(&config, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let arguments = [
        ("--server", center.server.address.to_string()),
        ("--journal", path("journal")),
        ("--ami", center.manager.address.to_string()),
        ("--ami-secret-file", path("secret")),
    ];
    let arguments: Vec<String> = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let (_running, address) = tokio::task::spawn_blocking(move || start(&config, &arguments)).await.unwrap();
    let ended = Call::from("101", "sign-in?queue=801").run(&center.pbx, address).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/103")]).await;
}

#[test]
fn invalid_settings_are_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal").to_str().unwrap().to_owned();
    let secret = folder.path().join("secret").to_str().unwrap().to_owned();
    std::fs::write(&secret, SECRET).unwrap();
    for (arguments, says) in [
        ("--listen 0.0.0.0:0", "give --allow with the addresses of your PBX"),
        ("--ami 192.0.2.1:5038 --ami-user q --ami-secret-file SECRET", "--ami-insecure"),
        ("--metrics-listen 0.0.0.0:0", "--metrics-insecure"),
        ("--ami 127.0.0.1:5038", "--ami-user"),
        ("--ami 192.0.2.1:5039 --ami-user q --ami-secret-file SECRET --ami-ca ca.pem", "need --ami-tls"),
        (
            "--ami 192.0.2.1:5039 --ami-user q --ami-secret-file SECRET --organization a --ami-tls --ami-ca ca.pem",
            "`ca.pem`",
        ),
        ("--ami 127.0.0.1:5038 --ami-user q --ami-secret-file SECRET", "--ami needs --organization"),
        ("--ami 127.0.0.1:5038 --ami-user q --ami-secret-file SECRET --organizations a,b", "{organization}"),
        ("--queue-name sales", "must have {extension} or {id} in it"),
        ("--interface PJSIP/${EXTEN}", "must have {endpoint} or {extension} in it"),
        ("--prompt sign-in=beep", "must be one of signed-in"),
        ("--allow pbx.example.com", "192.0.2.0/24"),
        ("--endpoint anna", "ENDPOINT=EXTENSION"),
        ("--deadline 1h", "from 50ms to 1m"),
        ("--journal Cargo.toml", "is not a journal of queuegate"),
    ] {
        let arguments: Vec<&str> =
            arguments.split_whitespace().map(|word| if word == "SECRET" { &secret } else { word }).collect();
        let journal = if arguments.contains(&"--journal") { vec![] } else { vec!["--journal", &journal] };
        let output = program().arg("agi").args(&arguments).args(journal).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// The file has members that are assigned, that can be, and that can't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_members_become_assignments() {
    let mut center = Center::open().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queues.conf").to_str().unwrap().to_owned();
    let text = "[801]\nmember => PJSIP/101\nmember => PJSIP/102,1,Bo\nmember => PJSIP/103\n\
                member => PJSIP/999\nmember => PJSIP/anna-desk\n[support]\nmember => PJSIP/101\n[899]\nmember => PJSIP/101\n";
    std::fs::write(&file, text).unwrap();
    let address = center.server.address.to_string();
    let import = async |more: &[&str]| {
        let mut command = program();
        command.args(["import", "--from", "asterisk-queues", &file, "--organization", "acme", "--server", &address]);
        command.args(more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (text, output.status.code().unwrap())
    };
    let (said, code) = import(&["--validate-only"]).await;
    assert!(code == 1 && said.contains("3 of the members can be assigned; 4 left out"), "{said}");
    assert_eq!(center.server.check("bo", "sales").await.reason().as_str_name(), "REASON_UNASSIGNED_ALLOWED");
    let (said, code) = import(&[]).await;
    assert!(code == 1 && said.contains("2 assigned, 1 assigned before; 4 left out"), "{said}");
    for line in [
        "line 4: [801] member => PJSIP/103",
        "line 5: [801] member => PJSIP/999",
        "`PJSIP/anna-desk` doesn't say which extension it is",
        "line 10: [899] member => PJSIP/101",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    for (user, queue) in [("bo", "sales"), ("anna", "support")] {
        assert_eq!(center.server.check(user, queue).await.reason().as_str_name(), "REASON_ASSIGNED");
    }
    let (said, _) = import(&["--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["assigned_before"], report["left_out"].as_array().unwrap().len()), (&3.into(), 4));
}

/// The names in the file are those of another PBX, and a part is in another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_members_are_named_as_on_their_pbx() {
    let mut center = Center::open().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queues.conf").to_str().unwrap().to_owned();
    std::fs::write(&file, "#include queues_*.conf\n").unwrap();
    let included = "[q-Sales]\nmember => PJSIP/anna-desk\nmember => PJSIP/phone-102,7,Bo\nmember => Zap/3\n[801]\nmember => SIP/7\n";
    std::fs::write(folder.path().join("queues_additional.conf"), included).unwrap();
    let address = center.server.address.to_string();
    let names = ["--queue-name", "q-{id}", "--endpoint-prefix", "phone-", "--endpoint", "anna-desk=101,Zap/3=101"];
    let import = async |more: &[&str]| {
        let mut command = program();
        command.args(["import", "--from", "asterisk-queues", &file, "--organization", "acme", "--server", &address]);
        command.args(names).args(more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (text, output.status.code().unwrap())
    };
    let (said, code) = import(&[]).await;
    for line in [
        "[q-Sales] is taken as the queue `sales`",
        "queues_additional.conf line 6: [801] member => SIP/7",
        "`801` doesn't fit the template q-{id}",
        "1 assigned, 2 assigned before; 1 left out",
    ] {
        assert!(code == 1 && said.contains(line), "{line}: {said}");
    }
    assert_eq!(center.server.sign_in("bo", "sales").await.session.unwrap().penalty, 7);
    let (said, _) = import(&["--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["members"][1]["penalty"], 7);
    assert_eq!(report["made_ids"], serde_json::json!([{ "pbx_queue": "q-Sales", "queue_id": "sales" }]));
    std::fs::write(&file, "[801]\nmember => PJSIP/102\n#include missing.conf\n").unwrap();
    let (said, code) = import(&[]).await;
    assert!(code == 2 && said.contains("line 3: #include missing.conf") && said.contains("no file"), "{said}");
}
