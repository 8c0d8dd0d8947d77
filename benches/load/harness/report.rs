//! Tables for people, and JSON for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// Format a table in Markdown. The first column has names, and the others have figures.
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

/// Format bytes as mebibytes.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// One named figure.
pub struct Figure {
    pub name: &'static str,
    pub text: String,
    /// The figure in JSON, or null if another figure has the same data.
    pub json: Value,
}

/// Print figures as a table or as JSON.
pub fn print_figures(as_json: bool, title: &str, figures: Vec<Figure>) {
    if as_json {
        let figures = figures
            .into_iter()
            .map(|Figure { name, text, json }| json!({ "of": name, "text": text, "value": json }))
            .collect::<Vec<_>>();
        println!("{:#}", Value::from(figures));
    } else {
        let rows = figures.into_iter().map(|Figure { name, text, json: _ }| vec![name.to_owned(), text]);
        println!("{}", table(title, ["", "figure"], rows));
    }
}
