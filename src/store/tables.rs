//! The tables of a store with their columns. Both kinds of store have the same ones, and a migration copies rows
//! between them.

use super::{error::Error, verification::Value};

/// A row, with the values of a table's columns.
pub(super) type Row = Vec<Value>;

/// Rows of a table, a few at a time.
pub(super) type Rows<'r> = &'r mut dyn Iterator<Item = Result<Row, Error>>;

/// A store from which rows are copied.
pub(super) trait Source {
    /// Return the number of a table's rows.
    fn count(&mut self, table: &Table) -> Result<u64, Error>;

    /// Read all rows of a table. `take` returns the number of rows that it took.
    fn read(&mut self, table: &Table, take: &mut dyn FnMut(Rows<'_>) -> Result<u64, Error>) -> Result<u64, Error>;
}

/// A store to which rows are copied.
pub(super) trait Destination {
    /// Add rows to a table, and return the number of its rows.
    fn fill(&mut self, table: &Table, rows: Rows<'_>) -> Result<u64, Error>;
}

/// The kind of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Bytes,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name, quoted where SQL needs it.
    pub name: &'static str,
    /// Its columns, quoted where SQL needs it.
    pub columns: &'static [(&'static str, Kind)],
}

impl Table {
    /// Return the names of the columns, separated by commas.
    pub fn column_names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// All tables except those of the store's identity and its end. A table comes after those that it refers to.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "organization",
        columns: &[
            ("organization_id", Kind::Text),
            ("display_name", Kind::Text),
            ("unassigned_queue_sign_in", Kind::Text),
            ("settings_etag", Kind::Integer),
        ],
    },
    Table {
        name: "permission_setting",
        columns: &[("organization_id", Kind::Text), ("setting", Kind::Text), ("is_on", Kind::Boolean)],
    },
    Table {
        name: "\"user\"",
        columns: &[
            ("organization_id", Kind::Text),
            ("user_id", Kind::Text),
            ("display_name", Kind::Text),
            ("extension", Kind::Text),
            ("contact_center_license", Kind::Boolean),
            ("disabled", Kind::Boolean),
            ("login", Kind::Text),
        ],
    },
    Table {
        name: "queue",
        columns: &[
            ("organization_id", Kind::Text),
            ("queue_id", Kind::Text),
            ("display_name", Kind::Text),
            ("extension", Kind::Text),
            ("kind", Kind::Text),
        ],
    },
    Table {
        name: "organization_role",
        columns: &[("organization_id", Kind::Text), ("user_id", Kind::Text), ("role", Kind::Text)],
    },
    Table {
        name: "queue_role",
        columns: &[
            ("organization_id", Kind::Text),
            ("user_id", Kind::Text),
            ("queue_id", Kind::Text),
            ("role", Kind::Text),
            ("penalty", Kind::Integer),
        ],
    },
    Table {
        name: "user_pin",
        columns: &[
            ("organization_id", Kind::Text),
            ("user_id", Kind::Text),
            ("hash", Kind::Text),
            ("etag", Kind::Integer),
            ("failures", Kind::Integer),
            ("locked_until_ms", Kind::Integer),
        ],
    },
    Table {
        name: "session",
        columns: &[
            ("session_id", Kind::Text),
            ("organization_id", Kind::Text),
            ("user_id", Kind::Text),
            ("queue_id", Kind::Text),
            ("channel", Kind::Text),
            ("basis", Kind::Text),
            ("signed_in_by", Kind::Text),
            ("sign_in_time_ms", Kind::Integer),
            ("expire_time_ms", Kind::Integer),
            ("device", Kind::Text),
        ],
    },
    Table {
        name: "request",
        columns: &[
            ("organization_id", Kind::Text),
            ("request_id", Kind::Text),
            ("content_sha256", Kind::Text),
            ("outcome", Kind::Text),
            ("revision", Kind::Integer),
            ("time_ms", Kind::Integer),
        ],
    },
    Table {
        name: "audit_log",
        columns: &[
            ("revision", Kind::Integer),
            ("organization_id", Kind::Text),
            ("time_ms", Kind::Integer),
            ("action", Kind::Text),
            ("allowed", Kind::Boolean),
            ("actor", Kind::Text),
            ("\"user\"", Kind::Text),
            ("queue", Kind::Text),
            ("entry", Kind::Text),
            ("hash", Kind::Bytes),
        ],
    },
    Table {
        name: "audit_chain",
        columns: &[
            ("organization_id", Kind::Text),
            ("cut_revision", Kind::Integer),
            ("cut_hash", Kind::Bytes),
            ("head_revision", Kind::Integer),
            ("head_hash", Kind::Bytes),
        ],
    },
];

/// The problem of a store that can't be reopened.
pub(super) const NOT_MOVED: &str = "it was not moved, so it can't be reopened; `queuegate serve` uses it as it is";
