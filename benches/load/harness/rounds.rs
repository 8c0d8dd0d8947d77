//! Figures over all rounds: medians and ratios.

use serde_json::{Value, json};

use crate::harness::measurement::Measurement;

/// A figure divided by another of the same round, over all rounds.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Ratio {
    /// Divide figures by those of a floor, round by round.
    pub fn of(figures: impl IntoIterator<Item = f64>, floor: impl IntoIterator<Item = f64>) -> Self {
        let mut ratios: Vec<f64> = figures.into_iter().zip(floor).map(|(figure, floor)| figure / floor).collect();
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

/// Return the median, or NaN without values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 }
}

/// The turns of one server under one kind of load.
#[derive(Default)]
pub struct Rounds(pub Vec<Measurement>);

/// The columns of [`Rounds::cells`].
pub const COLUMNS: [&str; 7] = ["calls/s", "CPU ms/1,000", "p50 us", "p90 us", "p99 us", "p99.9 us", "refused"];

impl Rounds {
    /// Return a figure of each round.
    pub fn each(&self, figure: impl Fn(&Measurement) -> f64) -> Vec<f64> {
        self.0.iter().map(figure).collect()
    }

    /// Return the median of a figure.
    pub fn median(&self, figure: impl Fn(&Measurement) -> f64) -> f64 {
        median(&self.each(figure))
    }

    /// Divide a figure by the same figure of a floor.
    pub fn ratio(&self, floor: &Self, figure: impl Fn(&Measurement) -> f64 + Copy) -> Ratio {
        Ratio::of(self.each(figure), floor.each(figure))
    }

    /// Format the figures that every scenario prints.
    pub fn cells(&self) -> Vec<String> {
        let percentiles = [50.0, 90.0, 99.0, 99.9].map(|percent| self.median(|round| round.percentile_us(percent)));
        let mut cells =
            vec![format!("{:.0}", self.median(Measurement::rate)), format!("{:.2}", self.median(Measurement::cpu_us))];
        cells.extend(percentiles.map(|percentile| format!("{percentile:.0}")));
        cells.push(self.refused().to_string());
        cells
    }

    /// Return the same figures as JSON.
    pub fn json(&self) -> Value {
        let percentile = |percent| self.median(|round: &Measurement| round.percentile_us(percent));
        json!({
            "calls_per_second": self.median(Measurement::rate),
            "cpu_ms_per_1000_calls": self.median(Measurement::cpu_us),
            "p50_us": percentile(50.0),
            "p90_us": percentile(90.0),
            "p99_us": percentile(99.0),
            "p99_9_us": percentile(99.9),
            "refused": self.refused(),
        })
    }

    fn refused(&self) -> u64 {
        self.0.iter().map(|round| round.counts.refused).sum()
    }
}
