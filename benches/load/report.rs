//! What was measured, as tables for people or JSON for machines.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::drive::Measured;

/// How one thing compares to another, round by round.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Ratio {
    /// Of values that were measured in the same rounds.
    pub fn of(ours: impl IntoIterator<Item = f64>, floor: impl IntoIterator<Item = f64>) -> Self {
        let mut ratios: Vec<f64> = ours.into_iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
        Self { median: median(&ratios), least: at(0), most: at(ratios.len().saturating_sub(1)) }
    }

    pub fn json(self) -> Value {
        let Self { median, least, most } = self;
        json!({ "median": median, "least": least, "most": most })
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, least, most } = self;
        write!(f, "{median:.2} ({least:.2} to {most:.2})")
    }
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 { at(values.len() / 2) } else { (at(values.len() / 2 - 1) + at(values.len() / 2)) / 2.0 }
}

/// The rounds of one server under one kind of load.
#[derive(Default)]
pub struct Rounds(pub Vec<Measured>);

impl Rounds {
    /// A figure of each round.
    pub fn each(&self, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.0.iter().map(figure).collect()
    }

    /// The median of a figure over the rounds.
    pub fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(&self.each(figure))
    }

    /// How a figure compares to the same figure of another server.
    pub fn ratio(&self, floor: &Self, figure: impl Fn(&Measured) -> f64 + Copy) -> Ratio {
        Ratio::of(self.each(figure), floor.each(figure))
    }

    fn refused(&self) -> u64 {
        self.0.iter().map(|round| round.refused).sum()
    }

    /// The figures that are told of every load.
    pub fn cells(&self) -> Vec<String> {
        let percentiles = [50.0, 90.0, 99.0, 99.9].map(|percent| self.median(|round| round.percentile_us(percent)));
        let mut cells =
            vec![format!("{:.0}", self.median(Measured::rate)), format!("{:.2}", self.median(Measured::cpu_us))];
        cells.extend(percentiles.map(|percentile| format!("{percentile:.0}")));
        cells.push(self.refused().to_string());
        cells
    }

    /// The same, for machines.
    pub fn json(&self) -> Value {
        let percentile = |percent| self.median(|round: &Measured| round.percentile_us(percent));
        json!({
            "calls_per_second": self.median(Measured::rate),
            "cpu_ms_per_1000_calls": self.median(Measured::cpu_us),
            "p50_us": percentile(50.0),
            "p90_us": percentile(90.0),
            "p99_us": percentile(99.0),
            "p99_9_us": percentile(99.9),
            "refused": self.refused(),
        })
    }
}

/// The columns of [`Rounds::cells`].
pub const COLUMNS: [&str; 7] = ["calls/s", "CPU ms/1,000", "p50 us", "p90 us", "p99 us", "p99.9 us", "refused"];

/// A table in Markdown, whose first column has names and the others figures.
pub fn table<'a>(
    title: &str,
    columns: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(columns);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{title}\n\n{table}\n")
}

/// Bytes as mebibytes.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
