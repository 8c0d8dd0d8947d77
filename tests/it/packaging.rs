//! The shipped files refer only to metrics and settings that the program has.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser};

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

/// Every event of a YAML text, which is well-formed.
fn yaml_events(text: &str) -> Vec<Event<'_>> {
    Parser::new_from_str(text).map(|event| event.unwrap().0).collect()
}

/// The lists named `args` in a YAML text.
fn arguments<'y>(events: &'y [Event<'_>]) -> Vec<Vec<&'y str>> {
    let text = |event: &'y Event<'_>| match event {
        Event::Scalar(text, ..) => Some(text.as_ref()),
        _ => None,
    };
    let lists = events
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| text(&pair[0]) == Some("args") && matches!(pair[1], Event::SequenceStart(..)));
    lists.map(|(at, _)| events[at + 2..].iter().map_while(text).collect()).collect()
}

#[test]
fn the_alerts_are_yaml() {
    assert!(yaml_events(ALERTS).len() > 100);
}

/// The program accepts the arguments of the Kubernetes manifests.
#[test]
fn the_settings_of_the_manifests_are_those_of_the_program() {
    for (manifest, database) in [
        (include_str!("../../packaging/kubernetes/nodes.yaml"), "postgres://queuegate@db1,db2/queuegate"),
        (include_str!("../../packaging/kubernetes/file.yaml"), "/var/lib/queuegate/queuegate.db"),
    ] {
        let events = yaml_events(manifest);
        let lists = arguments(&events);
        let [list] = &lists[..] else { panic!("{lists:?}") };
        let (command, settings) = list.split_first().unwrap();
        assert_eq!(*command, "serve");
        assert!(settings.len() > 7, "{settings:?}");
        let output = program().args(["config", "--json"]).args(settings).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let holds: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = holds["database"]["value"].as_str().unwrap();
        assert_eq!(found.split('?').next(), Some(database));
    }
}

/// The image starts the server by its name, which the manifests give arguments.
#[test]
fn the_image_runs_the_program_as_another_user_than_root() {
    let file = include_str!("../../packaging/container/Containerfile");
    for line in ["ENTRYPOINT [\"/usr/bin/queuegate\"]", "USER 65532:65532", "VOLUME /var/lib/queuegate"] {
        assert!(file.lines().any(|found| found == line), "{line}");
    }
    let manifests =
        [include_str!("../../packaging/kubernetes/nodes.yaml"), include_str!("../../packaging/kubernetes/file.yaml")];
    for manifest in manifests {
        assert!(manifest.contains("runAsUser: 65532") && manifest.contains("readOnlyRootFilesystem: true"));
    }
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
