//! Lines of comma-separated values (RFC 4180).

/// Return a line with these values. A value that a spreadsheet would take for a formula begins with an apostrophe.
pub fn line(values: &[&str]) -> String {
    let cells: Vec<String> = values.iter().map(|value| cell(value)).collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(value: &str) -> String {
    let formula = if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{formula}{}\"", value.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_no_formula_is_left() {
        let values = ["plain", "with \"quotes\", and a comma", "=HYPERLINK(\"x\")", "-1", "two\nlines", ""];
        let expected =
            "\"plain\",\"with \"\"quotes\"\", and a comma\",\"'=HYPERLINK(\"\"x\"\")\",\"'-1\",\"two\nlines\",\"\"\r\n";
        assert_eq!(line(&values), expected);
    }
}
