//! The metrics in docs/metrics.md, for tests that compare them with the program's.

use std::collections::BTreeSet;

/// Return the names and labels of the metrics in a text for Prometheus.
pub(super) fn series(text: &str) -> BTreeSet<String> {
    let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split('=').next());
        let labels: Vec<&str> = labels.filter(|label| !["", "le"].contains(label)).collect();
        format!("{name} {}", labels.join(" "))
    });
    series.collect()
}

/// Return the documented names and labels of all metrics of the server, or of a handler's, which begin with
/// `queuegate_pbx_`.
pub(super) fn documented(prefix: &str) -> BTreeSet<String> {
    let rows = include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `queuegate_"));
    let documented = rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        format!("{} {}", cells[1].replace('`', ""), cells[3].replace(['`', ','], ""))
    });
    let is_handlers = |name: &String| name.starts_with("queuegate_pbx_");
    documented.filter(|name| is_handlers(name) == (prefix == "queuegate_pbx_")).collect()
}
