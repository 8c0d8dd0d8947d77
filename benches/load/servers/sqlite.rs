//! SQLite alone, the floor of changes: the same rows in the same tables of a copy of queuegate's database.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, params, params_from_iter, types::Value};

/// The rows that one change writes.
pub enum ChangeRows {
    /// The columns of the new session, and those of the audit event.
    SignIn { session: Vec<Value>, event: Vec<Value> },
    /// The key of the ended session, and the columns of the audit event.
    SignOut { key: [Value; 2], event: Vec<Value> },
}

impl ChangeRows {
    fn event(&self) -> &[Value] {
        match self {
            Self::SignIn { session: _, event } | Self::SignOut { key: _, event } => event,
        }
    }
}

/// The audit log of a running server, opened for reading.
pub struct AuditLog(Connection);

impl AuditLog {
    pub fn open(database: &Path) -> anyhow::Result<Self> {
        Ok(Self(Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?))
    }

    /// Return the number of the last revision.
    pub fn last(&self) -> anyhow::Result<i64> {
        Ok(self.0.query_row("SELECT max(revision) FROM audit_log", [], |row| row.get(0))?)
    }

    /// Return the rows of the revisions after one and up to another, `limit` revisions at most.
    pub fn rows(&self, after: i64, up_to: i64, limit: usize) -> anyhow::Result<Vec<ChangeRows>> {
        let sql =
            "SELECT action, entry, * FROM audit_log WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?";
        let mut statement = self.0.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params![after, up_to, i64::try_from(limit)?])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (action, entry): (String, String) = (row.get(0)?, row.get(1)?);
            let event = (2..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()?;
            found.push(change_rows(&action, &serde_json::from_str(&entry)?, event)?);
        }
        Ok(found)
    }
}

/// Derive the rows of a change from its audit event.
fn change_rows(action: &str, entry: &serde_json::Value, event: Vec<Value>) -> anyhow::Result<ChangeRows> {
    let text = |value: Option<&serde_json::Value>| {
        anyhow::Ok(Value::Text(value.and_then(|value| value.as_str()).context("no text")?.to_owned()))
    };
    let session = entry.pointer("/change/session").context("no session")?;
    let organization = text(entry.get("organization_id"))?;
    if action == "SIGN_OUT" {
        let key = [text(session.get("session_id"))?, organization];
        return Ok(ChangeRows::SignOut { key, event });
    }
    let mut columns = vec![organization];
    for name in ["user_id", "queue_id", "session_id", "channel", "basis", "signed_in_by"] {
        columns.push(text(session.get(name))?);
    }
    let sign_in_time = session.get("sign_in_time").and_then(serde_json::Value::as_i64).context("no time")?;
    columns.extend([Value::Integer(sign_in_time), Value::Null, Value::Text(String::new())]);
    Ok(ChangeRows::SignIn { session: columns, event })
}

/// A copy of the database, opened with queuegate's settings of SQLite.
pub struct DatabaseCopy(Connection);

impl DatabaseCopy {
    /// Copy the database of a server that isn't running.
    pub fn create(database: &Path, copy: &Path) -> anyhow::Result<Self> {
        fs::copy(database, copy)?;
        Self::open(copy)
    }

    /// Open a copy.
    pub fn open(copy: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(copy)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF")?;
        Ok(Self(connection))
    }

    /// Write rows with `batch` changes per commit. Return the total time, and the time of each commit.
    pub fn write(&mut self, rows: &[ChangeRows], batch: usize) -> anyhow::Result<(Duration, Vec<Duration>)> {
        let mut commits = Vec::new();
        let start = Instant::now();
        for batch in rows.chunks(batch.max(1)) {
            let start = Instant::now();
            let transaction = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for rows in batch {
                write_change(&transaction, rows)?;
            }
            if let Some(event) = batch.last().map(ChangeRows::event) {
                let mut heads = transaction.prepare_cached(
                    "INSERT INTO audit_chain (organization_id, cut_revision, cut_hash, head_revision, head_hash) \
                     VALUES (?1, 0, zeroblob(32), ?2, ?3) ON CONFLICT DO UPDATE SET head_revision = ?2, head_hash = ?3",
                )?;
                let (organization, revision, hash) = (event.get(1), event.first(), event.last());
                heads.execute(params![organization, revision, hash])?;
            }
            transaction.commit()?;
            commits.push(start.elapsed());
        }
        Ok((start.elapsed(), commits))
    }
}

fn write_change(connection: &Connection, rows: &ChangeRows) -> anyhow::Result<()> {
    let write_row = |sql: &str, columns: &[Value]| {
        let written = connection.prepare_cached(sql)?.execute(params_from_iter(columns))?;
        anyhow::ensure!(written == 1, "{written} rows instead of one were written by {sql}");
        Ok(())
    };
    match rows {
        ChangeRows::SignIn { session, event: _ } => write_row(
            "INSERT INTO session (organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
             sign_in_time_ms, expire_time_ms, device) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            session,
        )?,
        ChangeRows::SignOut { key, event: _ } => {
            write_row("DELETE FROM session WHERE session_id = ? AND organization_id = ?", key)?;
        }
    }
    let parameters = vec!["?"; rows.event().len()].join(", ");
    write_row(&format!("INSERT INTO audit_log VALUES ({parameters})"), rows.event())
}
