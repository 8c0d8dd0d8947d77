//! The README and the reference documents are complete, and the README's examples run.

use std::{path::PathBuf, process::Command};

use queuegate::domain::vocabulary::Reason;

use crate::support::{TestServer, program, program_path};

const README: &str = include_str!("../../README.md");
const SEMANTICS: &str = include_str!("../../docs/semantics.md");
const COMMANDS: &str = include_str!("../../docs/commands.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const ERRORS: &str = include_str!("../../docs/errors.md");

/// The number of bytes that the README may have.
const LONGEST_README: usize = 10 * 1024;

fn help(arguments: &[&str]) -> String {
    let output = program().args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the commands in an overview, without `help`.
fn commands(overview: &str) -> Vec<&str> {
    let lines = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that goes on in the next line is indented further.
    let lines = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

/// A setting, as a command's `--help` prints it.
#[derive(Default)]
struct Setting<'h> {
    flag: &'h str,
    variable: Option<&'h str>,
    default: Option<&'h str>,
}

fn settings(help: &str) -> Vec<Setting<'_>> {
    let mut found: Vec<Setting<'_>> = Vec::new();
    for line in help.lines() {
        // A description is indented further than a flag.
        let is_flag = line.starts_with("      --") || line.starts_with("  -");
        if let Some(flag) = line.split([' ', '[', ',']).find(|word| word.starts_with("--")).filter(|_| is_flag) {
            found.push(Setting { flag, ..Setting::default() });
        }
        let Some(setting) = found.last_mut() else { continue };
        if let Some((_, rest)) = line.split_once("[env: ") {
            setting.variable = rest.split(['=', ']']).next();
        }
        if let Some((_, rest)) = line.split_once("[default: ") {
            setting.default = rest.split(']').next();
        }
    }
    found.retain(|setting| !["--help", "--version", "--json"].contains(&setting.flag));
    found
}

#[test]
fn the_readme_is_short() {
    assert!(README.len() <= LONGEST_README, "{} bytes", README.len());
}

#[test]
fn every_reason_has_its_row_with_the_right_answer() {
    for reason in Reason::ALL {
        let allowed = if reason.is_allowed() { "yes" } else { "no" };
        assert!(SEMANTICS.contains(&format!("\n| `{reason}` | {allowed} |")), "{reason}");
    }
}

#[test]
fn every_command_has_its_row() {
    let mut found = 0;
    let overview = help(&["help"]);
    for command in commands(&overview) {
        let below = help(&["help", command]);
        // Some commands also work without one of the commands below them.
        let is_command = commands(&below).is_empty() || below.contains("[COMMAND]");
        let below = commands(&below).into_iter().map(|inner| format!("{command} {inner}"));
        for name in is_command.then(|| command.to_owned()).into_iter().chain(below) {
            assert!(COMMANDS.contains(&format!("\n| `queuegate {name}` | ")), "{name}");
            found += 1;
        }
    }
    let rows = COMMANDS.lines().filter(|line| line.starts_with("| `queuegate ")).count();
    assert_eq!(found, rows, "there is a row of a command that is gone");
}

#[test]
fn every_setting_has_its_row_with_variable_and_default() {
    for command in ["serve", "agi", "esl"] {
        let help = help(&[command, "--help"]);
        let settings = settings(&help);
        assert!(settings.len() > 20, "{command}: {}", settings.len());
        for Setting { flag, variable, default } in settings {
            let row = |row: &&str| {
                let cells: Vec<_> = row.split(" | ").collect();
                let [name, source, value, _] = cells[..] else { return false };
                let name = name.trim_start_matches("| `").split([' ', '[', '`']).next();
                name == Some(flag)
                    && variable.is_none_or(|variable| source == format!("`{variable}`"))
                    && default.map_or_else(|| value == "–", |default| value == format!("`{default}`"))
            };
            assert!(CONFIGURATION.lines().any(|line| row(&line)), "{command} {flag}: {variable:?}, {default:?}");
        }
    }
}

#[test]
fn every_error_reason_has_its_row() {
    let statuses = include_str!("../../src/rpc/status.rs");
    let words = statuses
        .split('"')
        .filter(|text| text.len() > 6 && text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'));
    let mut found = 0;
    for word in words {
        assert!(ERRORS.contains(&format!(" | `{word}` | ")), "{word}");
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
