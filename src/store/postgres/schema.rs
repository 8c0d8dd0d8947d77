//! The schema of a cluster's database, and the migrations that bring it up to date.
//!
//! Each migration only adds, so that nodes of the version before go on working with the new schema.

use tokio_postgres::error::SqlState;

use super::{
    error::{described, of_statement, refused},
    session::Session,
    target::Target,
};
use crate::store::error::Error;

/// The migrations, oldest first. Append only: a released migration is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_schema.sql"),
    include_str!("migrations/2_penalty.sql"),
    include_str!("migrations/3_user_pin.sql"),
];

/// The schema that this version reads and writes.
const KNOWN: i32 = 3;

/// The oldest schema version that a node must know to work with the schema of this version.
const MIN_READER: i32 = 1;

/// The key of the advisory lock under which one node migrates: "QGAT".
const MIGRATION_LOCK: i64 = 0x5147_4154;

/// The schema's state.
pub(super) enum Found {
    /// There is no schema of this name.
    Nothing,
    /// It is ours.
    Version {
        /// Its version.
        version: i32,
        /// The reason for which no node may use it, if there is one.
        unusable: Option<String>,
    },
}

/// Check the schema, and bring it up to date. A foreign schema, or one that this version doesn't know, is refused and
/// not changed.
pub(super) async fn migrate(target: &Target, session: &Session, new_store_id: u64, now_ms: i64) -> Result<(), Error> {
    require_server(target, session).await?;
    if refuse_unusable(target, look(target, session).await?)? >= KNOWN {
        return Ok(());
    }
    let failed = |error: tokio_postgres::Error| match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            let problem = format!(
                "{}; start once as a user that may create schema queuegate, or let an administrator run \
                 `queuegate migrate --schema-only --to {target}`",
                described(&error)
            );
            refused(&target.to_string(), &problem)
        }
        _ => of_statement(&error),
    };
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    session.client.batch_execute(&begin).await.map_err(failed)?;
    // Another node may have migrated meanwhile.
    let done = refuse_unusable(target, look(target, session).await?)?;
    if done == 0 {
        session.client.batch_execute("CREATE SCHEMA queuegate").await.map_err(failed)?;
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > done) {
        session.client.batch_execute(sql).await.map_err(failed)?;
        let update = if version == 1 {
            format!(
                "INSERT INTO store VALUES (true, 'queuegate', 1, {MIN_READER}, '{new_store_id:016x}'); \
                 INSERT INTO head VALUES (true, 1, 0, 0, {TIMELINE}); \
                 INSERT INTO epoch SELECT 1, 0, timeline, {now_ms} FROM head"
            )
        } else {
            format!("UPDATE store SET schema_version = {version}, min_reader = {MIN_READER}")
        };
        session.client.batch_execute(&update).await.map_err(failed)?;
    }
    session.client.batch_execute("COMMIT").await.map_err(failed)
}

/// The expression for PostgreSQL's present timeline.
pub(super) const TIMELINE: &str =
    "('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint";

/// Return the schema's version, 0 for none, unless no node may use it.
fn refuse_unusable(target: &Target, found: Found) -> Result<i32, Error> {
    match found {
        Found::Nothing => Ok(0),
        Found::Version { version, unusable: None } => Ok(version),
        Found::Version { version: _, unusable: Some(reason) } => Err(refused(&target.to_string(), &reason)),
    }
}

async fn require_server(target: &Target, session: &Session) -> Result<(), Error> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let row = session.client.query_one(sql, &[]).await.map_err(|error| of_statement(&error))?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < 140_000 {
        let problem = format!("PostgreSQL {}.{} is too old; 14 or later is needed", version / 10_000, version % 10_000);
        return Err(refused(&target.to_string(), &problem));
    }
    if encoding != "UTF8" {
        let problem = format!("its encoding is {encoding}; create the database with ENCODING 'UTF8'");
        return Err(refused(&target.to_string(), &problem));
    }
    Ok(())
}

/// Look at the schema. A foreign one, or one that this version doesn't know, is refused.
pub(super) async fn look(target: &Target, session: &Session) -> Result<Found, Error> {
    let failed = |error: tokio_postgres::Error| match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            let problem = format!("{}; grant the user the rights that docs/cluster.md lists", described(&error));
            refused(&target.to_string(), &problem)
        }
        _ => of_statement(&error),
    };
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'queuegate'), \
               EXISTS (SELECT FROM pg_tables WHERE schemaname = 'queuegate'), \
               EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('queuegate.store') \
                       AND attname = 'min_reader')";
    let row = session.client.query_one(sql, &[]).await.map_err(failed)?;
    let (has_schema, has_tables, is_ours): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !has_schema {
        return Ok(Found::Nothing);
    }
    if !is_ours {
        let problem = if has_tables {
            "its schema queuegate has tables of another program; it was left as it is. Give another database"
        } else {
            "its schema queuegate is empty; drop the schema, so that a node can create it, or give another database"
        };
        return Err(refused(&target.to_string(), &problem));
    }
    let sql = "SELECT schema_version, min_reader, unusable FROM store";
    let row = session.client.query_one(sql, &[]).await.map_err(failed)?;
    let (version, min_reader): (i32, i32) = (row.get(0), row.get(1));
    if min_reader > KNOWN {
        let problem = format!(
            "its schema {version} needs a queuegate that knows schema {min_reader}, and this one knows {KNOWN}; it was \
             left as it is. Use a newer queuegate"
        );
        return Err(refused(&target.to_string(), &problem));
    }
    Ok(Found::Version { version, unusable: row.get(2) })
}
