//! The README is complete, and its examples run.

use std::{path::PathBuf, process::Command};

use queuegate::domain::decide::Reason;

use crate::support::{TestServer, program, program_path};

const README: &str = include_str!("../../README.md");

#[test]
fn every_reason_has_its_row_with_the_right_answer() {
    for reason in Reason::ALL {
        let allowed = if reason.is_allowed() { "yes" } else { "no" };
        assert!(README.contains(&format!("\n| `{reason}` | {allowed} |")), "{reason}");
    }
}

#[test]
fn every_command_and_flag_is_in_it() {
    let help = |arguments: &[&str]| {
        let output = program().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&["help"]);
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        assert!(README.contains(&format!("`{command}")), "{command}");
    }
    let serve = help(&["serve", "--help"]);
    let flags = serve.split_whitespace().filter(|word| word.starts_with("--"));
    for flag in flags.filter_map(|word| word.split('[').next()) {
        assert!(["--help", "--version"].contains(&flag) || README.contains(flag), "{flag}");
    }
}

#[test]
fn every_error_reason_is_in_it() {
    let statuses = include_str!("../../src/rpc/status.rs");
    let words = statuses
        .split('"')
        .filter(|text| text.len() > 6 && text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'));
    let mut found = 0;
    for word in words {
        assert!(README.contains(&format!("`{word}`")), "{word}");
        found += 1;
    }
    assert!(found > 15, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_client_runs() {
    let server = TestServer::acme().await;
    let example: PathBuf = program_path().parent().unwrap().join("examples/sign_in");
    let address = format!("http://{}", server.address);
    let running = move || Command::new(example).args([&address, "acme", "101", "801"]).output().unwrap();
    let output = tokio::task::spawn_blocking(running).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "true REASON_ASSIGNED: Anna Berg (101) is assigned to Sales (801).\n");
}
