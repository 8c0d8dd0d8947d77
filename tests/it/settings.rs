//! Every setting works as a flag, an environment variable, and in the file with its natural TOML type.

use std::{fs, process::Command};

use serde_json::{Map, Value};

use crate::support::program;

/// The output of `queuegate config --json`: all settings by clap's own list.
fn settings(mut program: Command) -> Map<String, Value> {
    let output = program.args(["config", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A value other than the default, in TOML. A new setting without a default needs a line here.
fn sample(key: &str, default: &Value) -> String {
    match (key, default.as_str()) {
        ("trace-share", _) => "0.5".to_owned(),
        ("log-format", _) => "\"json\"".to_owned(),
        ("log", _) => "\"queuegate=debug,h2=warn\"".to_owned(),
        ("stale-after", _) => "\"2s\"".to_owned(),
        ("listen" | "metrics-listen" | "console-listen" | "node-address", _) => "\"127.0.0.1:7\"".to_owned(),
        ("console-origin", _) => "\"https://pbx.example.com/queuegate\"".to_owned(),
        ("otlp-endpoint", _) => "\"http://127.0.0.1:4317\"".to_owned(),
        ("tokens" | "tls-certificate" | "tls-key" | "tls-client-ca" | "database" | "database-password-file", _) => {
            format!("\"/there/{key}\"")
        }
        (_, Some("true")) => "false".to_owned(),
        (_, Some("false")) => "true".to_owned(),
        (_, Some(number)) if number.parse::<u64>().is_ok() => "7".to_owned(),
        (_, Some(duration)) if duration.starts_with(|first: char| first.is_ascii_digit()) => "\"2s\"".to_owned(),
        _ => panic!("give a sample of `{key}`"),
    }
}

#[test]
fn every_setting_is_the_same_by_flag_environment_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queuegate.toml");
    let mut defaults = settings(program());
    defaults.remove("config");
    assert!(defaults.len() > 20, "{defaults:?}");
    let (mut flags, mut environment) = (program(), program());
    // The flags follow the command.
    flags.arg("config");
    let mut text = String::new();
    for (key, setting) in &defaults {
        let toml = sample(key, &setting["value"]);
        let plain = toml.trim_matches('"');
        flags.arg(format!("--{key}={plain}"));
        environment.env(format!("QUEUEGATE_{}", key.to_uppercase().replace('-', "_")), plain);
        text.push_str(&format!("{key} = {toml}\n"));
    }
    fs::write(&file, text).unwrap();
    let output = flags.arg("--json").output().unwrap();
    let by_flag: Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    let by_environment = settings(environment);
    let mut with_file = program();
    with_file.env("QUEUEGATE_CONFIG", &file);
    let by_file = settings(with_file);
    for (key, setting) in &defaults {
        let expected = Value::from(sample(key, &setting["value"]).trim_matches('"'));
        assert_ne!(setting["value"], expected, "{key}: the sample is the default");
        for (given, source) in [
            (&by_flag, format!("--{key}")),
            (&by_environment, format!("QUEUEGATE_{}", key.to_uppercase().replace('-', "_"))),
            (&by_file, file.display().to_string()),
        ] {
            assert_eq!((&given[key]["value"], given[key]["source"].as_str()), (&expected, Some(&*source)), "{key}");
        }
    }
}

#[test]
fn a_database_is_a_path_and_nothing_that_sqlite_takes_for_something_else() {
    let folder = tempfile::tempdir().unwrap();
    for database in [":memory:", "", "file:x.db?mode=memory", "FILE:x.db"] {
        for arguments in [&["serve"][..], &["config"], &["backup", "copy.db"], &["restore", "copy.db"]] {
            let mut program = program();
            program.current_dir(folder.path()).args(arguments).arg(format!("--database={database}"));
            let output = program.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?} {database}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
