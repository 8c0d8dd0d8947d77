//! One statement that writes rows to many tables: a CTE for each table, each with its rows as arrays.

use std::fmt::Write as _;

use tokio_postgres::types::ToSql;

/// The values of a column, one for each row.
pub(super) struct Column<'r> {
    pub name: &'static str,
    /// The type of a value, such as `text`.
    pub kind: &'static str,
    pub values: Box<dyn ToSql + Sync + Send + 'r>,
}

/// Return a column of texts.
pub(super) fn texts<'r, T: ToSql + Sync + Send + 'r>(name: &'static str, values: Vec<T>) -> Column<'r> {
    Column { name, kind: "text", values: Box::new(values) }
}

/// Return a column of integers.
pub(super) fn integers<'r, T: ToSql + Sync + Send + 'r>(name: &'static str, values: Vec<T>) -> Column<'r> {
    Column { name, kind: "bigint", values: Box::new(values) }
}

/// Return a column of truth values.
pub(super) fn booleans<'r>(name: &'static str, values: Vec<bool>) -> Column<'r> {
    Column { name, kind: "boolean", values: Box::new(values) }
}

/// Return a column of hashes.
pub(super) fn hashes<'r>(name: &'static str, values: Vec<&'r [u8]>) -> Column<'r> {
    Column { name, kind: "bytea", values: Box::new(values) }
}

/// A statement in the making. Its first part updates the head, and all others depend on it, so the head is locked first.
pub(super) struct Writing<'r> {
    sql: String,
    parameters: Vec<Box<dyn ToSql + Sync + Send + 'r>>,
    /// The names of parts that return the rows that they changed.
    counted: Vec<String>,
    /// The number of rows that these parts must change.
    expected: i64,
    parts: usize,
}

/// The head before and after a statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub epoch: i64,
    pub nonce: i64,
    pub before: i64,
    pub after: i64,
}

impl<'r> Writing<'r> {
    /// Begin with the update of the head. Unless the head is exactly at `step`, it would become NULL, and the whole
    /// statement fails.
    pub fn begin(step: Step) -> Self {
        let sql = "WITH head AS (UPDATE head SET sequence = \
                   CASE WHEN epoch = $1 AND nonce = $2 AND sequence = $3 THEN $4::bigint END RETURNING 1)";
        let parameters: Vec<Box<dyn ToSql + Sync + Send>> =
            vec![Box::new(step.epoch), Box::new(step.nonce), Box::new(step.before), Box::new(step.after)];
        Self { sql: sql.to_owned(), parameters, counted: Vec::new(), expected: 0, parts: 0 }
    }

    /// Insert rows. `conflict` is the clause for rows that exist.
    pub fn insert(&mut self, table: &str, columns: Vec<Column<'r>>, conflict: &str) {
        let (names, rows) = self.rows(columns);
        let part = self.part();
        let _ = write!(
            self.sql,
            ", {part} AS (INSERT INTO {table} ({names}) SELECT row.* FROM head, {rows} {conflict})",
            names = names.join(", ")
        );
    }

    /// Update one row for each row of `columns`. The first `keys` columns find it.
    pub fn update(&mut self, table: &str, keys: usize, columns: Vec<Column<'r>>, rows_expected: usize) {
        let (names, rows) = self.rows(columns);
        let part = self.part();
        let (keys, values) = names.split_at(keys.min(names.len()));
        let set = values.iter().map(|name| format!("{name} = row.{name}")).collect::<Vec<_>>().join(", ");
        let _ = write!(
            self.sql,
            ", {part} AS (UPDATE {table} AS old SET {set} FROM head, {rows} WHERE {found} RETURNING 1)",
            found = found_by(keys)
        );
        self.count(part, rows_expected);
    }

    /// Delete one row for each row of `columns`.
    pub fn delete(&mut self, table: &str, columns: Vec<Column<'r>>, rows_expected: usize) {
        let (names, rows) = self.rows(columns);
        let part = self.part();
        let _ = write!(
            self.sql,
            ", {part} AS (DELETE FROM {table} AS old USING head, {rows} WHERE {found} RETURNING 1)",
            found = found_by(&names)
        );
        self.count(part, rows_expected);
    }

    /// Return the statement. It returns the database's time. It fails with a division by zero unless its updates and
    /// deletions found all of their rows.
    pub fn finish(mut self) -> (String, Vec<Box<dyn ToSql + Sync + Send + 'r>>) {
        let clock = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        if self.counted.is_empty() {
            let _ = write!(self.sql, " SELECT {clock} FROM head");
        } else {
            self.parameters.push(Box::new(self.expected));
            let found: Vec<String> = self.counted.iter().map(|part| format!("(SELECT count(*) FROM {part})")).collect();
            let _ = write!(
                self.sql,
                " SELECT {clock} / (CASE WHEN {} = ${} THEN 1 ELSE 0 END) FROM head",
                found.join(" + "),
                self.parameters.len()
            );
        }
        (self.sql, self.parameters)
    }

    fn part(&mut self) -> String {
        self.parts += 1;
        format!("part{}", self.parts)
    }

    fn count(&mut self, part: String, rows: usize) {
        self.counted.push(part);
        self.expected += i64::try_from(rows).unwrap_or(i64::MAX);
    }

    /// Add the columns' values as parameters, and return the columns' names and the rows as a table named `row`.
    fn rows(&mut self, columns: Vec<Column<'r>>) -> (Vec<&'static str>, String) {
        let (mut names, mut arrays) = (Vec::new(), Vec::new());
        for Column { name, kind, values } in columns {
            self.parameters.push(values);
            names.push(name);
            arrays.push(format!("${}::{kind}[]", self.parameters.len()));
        }
        let rows = format!("unnest({}) AS row ({})", arrays.join(", "), names.join(", "));
        (names, rows)
    }
}

fn found_by(keys: &[&str]) -> String {
    keys.iter().map(|name| format!("old.{name} = row.{name}")).collect::<Vec<_>>().join(" AND ")
}
