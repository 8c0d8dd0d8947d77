//! The shipped files refer only to metrics and settings that the program has.

use std::collections::BTreeSet;

use crate::support::program;

const ALERTS: &str = include_str!("../../packaging/prometheus/alerts.yaml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/queuegate.json");

/// Every metric that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("queuegate_"));
    // A histogram has more series than its name.
    names
        .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum").to_owned())
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_there_are() {
    let documented = metrics(include_str!("../../docs/metrics.md"));
    let (alerts, dashboard) = (metrics(ALERTS), metrics(DASHBOARD));
    assert!(alerts.len() > 5 && dashboard.is_subset(&documented), "{:?}", dashboard.difference(&documented));
    assert!(alerts.is_subset(&documented), "{:?}", alerts.difference(&documented));
    // The dashboard shows every metric.
    assert_eq!(documented.difference(&dashboard).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        assert!(!panel["title"].as_str().unwrap().is_empty() && !panel["description"].as_str().unwrap().is_empty());
        assert!(panel["targets"].as_array().unwrap().iter().all(|target| target["expr"].is_string()));
    }
    assert!(ids.len() > 10);
}

/// The program accepts the example file, and also each setting in its comments.
#[test]
fn the_settings_of_the_service_are_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let settings = include_str!("../../packaging/systemd/queuegate.toml");
    let is_setting = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(" = ");
    let all = settings.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
    let all: String = all.map(|line| format!("{line}\n")).collect();
    assert_ne!(all, settings);
    for text in [settings, &all] {
        let file = folder.path().join("queuegate.toml");
        std::fs::write(&file, text).unwrap();
        let output = program().args(["config", "--json", "--config"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let holds: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(holds["database"]["value"], "/var/lib/queuegate/queuegate.db");
    }
}
