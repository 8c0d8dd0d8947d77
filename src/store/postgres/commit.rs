//! The statements of a commit.

use tokio_postgres::{error::SqlState, types::ToSql};

use super::{
    head::Head,
    rows::Rows,
    session::Session,
    statement::{Step, Writing},
};

/// Whether a commit happens with the head locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// Without a lock, by one statement.
    None,
    /// After `Store::lock`.
    Held,
}

/// A failed write.
pub(super) enum Failed {
    /// Before anything was written.
    Before(tokio_postgres::Error),
    /// During the write.
    Within(tokio_postgres::Error),
}

/// Write the groups, and return the database's time.
pub(super) async fn write(
    session: &mut Session,
    head: Head,
    groups: &[Rows<'_>],
    locking: Locking,
    progress: impl Fn(usize),
) -> Result<i64, Failed> {
    let again = match locking {
        Locking::None => "",
        // The lock's owner has looked: an id that exists is too old to count.
        Locking::Held => {
            "ON CONFLICT (organization_id, request_id) DO UPDATE SET content_sha256 = excluded.content_sha256, \
             outcome = excluded.outcome, revision = excluded.revision, time_ms = excluded.time_ms"
        }
    };
    let (mut before, mut done, mut now_ms) = (head.sequence, 0, 0);
    for (index, rows) in groups.iter().enumerate() {
        let after = rows.last().unwrap_or(before);
        let mut writing = Writing::begin(Step { epoch: head.epoch, nonce: head.nonce, before, after });
        rows.write(&mut writing, again);
        let (sql, parameters) = writing.finish();
        let statement = session.prepare(&sql).await;
        let statement = statement.map_err(if index == 0 { Failed::Before } else { Failed::Within })?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        let client = &session.client;
        let row = if locking == Locking::Held && index + 1 == groups.len() {
            // PostgreSQL answers the COMMIT of a failed transaction with success. The statement before it shows that.
            let (row, committed) =
                tokio::join!(biased; client.query_one(&statement, &parameters), client.batch_execute("COMMIT"));
            let row = row.map_err(Failed::Within)?;
            committed.map_err(Failed::Within)?;
            row
        } else {
            client.query_one(&statement, &parameters).await.map_err(Failed::Within)?
        };
        now_ms = row.get(0);
        before = after;
        done += rows.len();
        progress(done);
    }
    Ok(now_ms)
}

/// Return whether a statement was refused because the head has moved, or because its request id exists.
pub(super) fn is_behind(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    let is_of = |table: &str| error.table() == Some(table);
    (*error.code() == SqlState::NOT_NULL_VIOLATION && is_of("head"))
        || (*error.code() == SqlState::UNIQUE_VIOLATION && is_of("request"))
}
