//! The floor of writes: the same rows in the same tables of a copy of the server's file, by SQLite alone.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, params, params_from_iter, types::Value};

/// Which rows a change writes.
pub enum Row {
    /// Somebody signed in: the session's columns, and the event's.
    Started(Vec<Value>, Vec<Value>),
    /// Somebody signed out: the session's key, and the event's columns.
    Ended([Value; 2], Vec<Value>),
}

/// The server's file, read beside it.
pub struct Log(Connection);

impl Log {
    pub fn open(database: &Path) -> anyhow::Result<Self> {
        Ok(Self(Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?))
    }

    /// The number of the last change.
    pub fn last(&self) -> anyhow::Result<i64> {
        Ok(self.0.query_row("SELECT max(revision) FROM audit_log", [], |row| row.get(0))?)
    }

    /// What was written for the changes after one and up to another, up to `most`.
    pub fn rows(&self, after: i64, up_to: i64, most: usize) -> anyhow::Result<Vec<Row>> {
        let sql =
            "SELECT action, entry, * FROM audit_log WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?";
        let mut statement = self.0.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params![after, up_to, i64::try_from(most)?])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (action, entry): (String, String) = (row.get(0)?, row.get(1)?);
            let event = (2..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()?;
            let entry: serde_json::Value = serde_json::from_str(&entry)?;
            let text = |value: Option<&serde_json::Value>| {
                anyhow::Ok(Value::Text(value.and_then(|value| value.as_str()).context("no text")?.to_owned()))
            };
            let session = entry.pointer("/change/session").context("no session")?;
            let of_session = |name: &str| text(session.get(name));
            let organization = text(entry.get("organization_id"))?;
            if action == "SIGN_OUT" {
                let which = [of_session("session_id")?, organization];
                found.push(Row::Ended(which, event));
                continue;
            }
            let mut columns = vec![organization];
            for name in ["user_id", "queue_id", "session_id", "channel", "basis", "signed_in_by"] {
                columns.push(of_session(name)?);
            }
            let began = session.get("sign_in_time").and_then(serde_json::Value::as_i64).context("no time")?;
            columns.extend([Value::Integer(began), Value::Null, Value::Text(String::new())]);
            found.push(Row::Started(columns, event));
        }
        Ok(found)
    }
}

/// A file of the same schema and content, opened as the server opens its own.
pub struct Raw(Connection);

impl Raw {
    /// Copies the file of a server that isn't running.
    pub fn copy(database: &Path, to: &Path) -> anyhow::Result<Self> {
        fs::copy(database, to)?;
        Self::open(to)
    }

    /// Opens a copy.
    pub fn open(copy: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(copy)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF")?;
        Ok(Self(connection))
    }

    /// Writes rows, so many changes in a commit, and says how long it took; and each commit.
    pub fn write(&mut self, rows: &[Row], batch: usize) -> anyhow::Result<(Duration, Vec<Duration>)> {
        let mut commits = Vec::new();
        let began = Instant::now();
        for batch in rows.chunks(batch.max(1)) {
            let began = Instant::now();
            let transaction = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for row in batch {
                write(&transaction, row)?;
            }
            if let Some(Row::Started(_, event) | Row::Ended(_, event)) = batch.last() {
                let mut heads = transaction.prepare_cached(
                    "INSERT INTO audit_chain (organization_id, cut_revision, cut_hash, head_revision, head_hash) \
                     VALUES (?1, 0, zeroblob(32), ?2, ?3) ON CONFLICT DO UPDATE SET head_revision = ?2, head_hash = ?3",
                )?;
                let (organization, revision, hash) = (event.get(1), event.first(), event.last());
                heads.execute(params![organization, revision, hash])?;
            }
            transaction.commit()?;
            commits.push(began.elapsed());
        }
        Ok((began.elapsed(), commits))
    }
}

fn write(connection: &Connection, row: &Row) -> anyhow::Result<()> {
    let all = |sql: &str, columns: &[Value]| {
        let written = connection.prepare_cached(sql)?.execute(params_from_iter(columns))?;
        anyhow::ensure!(written == 1, "{written} rows instead of one were written by {sql}");
        Ok(())
    };
    let event = match row {
        Row::Started(session, event) => {
            all(
                "INSERT INTO session (organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
                 sign_in_time_ms, expire_time_ms, device) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                session,
            )?;
            event
        }
        Row::Ended(which, event) => {
            all("DELETE FROM session WHERE session_id = ? AND organization_id = ?", which)?;
            event
        }
    };
    let places = vec!["?"; event.len()].join(", ");
    all(&format!("INSERT INTO audit_log VALUES ({places})"), event)
}
