//! A database with a large state, written without a server.

use std::{fs, path::Path, time::Instant};

use queuegate::{
    domain::{
        change::Event,
        ids::Extension,
        model::{Organization, RoleAssignment},
        settings::Switch,
    },
    store::sqlite::Store,
};
use rusqlite::{Connection, params};

use crate::{harness::report::mebibytes, organization::Plan};

/// Create a database with these organizations.
///
/// Eleven million changes would take hours, so this function writes the rows of imports and sign-ins directly. The
/// audit log is empty, as after an archive and a cut. The store creates the tables. Rows are written in the order of
/// their keys, and synced once at the end.
pub fn prepare(file: &Path, plans: &[Plan]) -> anyhow::Result<()> {
    let start = Instant::now();
    Store::open(file, 1)?.checkpoint()?;
    let connection = Connection::open(file)?;
    connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -2000000; BEGIN")?;
    let create_indexes = drop_indexes(&connection)?;
    for plan in plans {
        for change in plan.changes() {
            write_event(&connection, plan.organization_id.as_str(), change?.event)?;
        }
    }
    for create_index in create_indexes {
        connection.execute_batch(&create_index)?;
    }
    connection.execute_batch("COMMIT")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    drop(connection);
    fs::File::open(file)?.sync_all()?;
    let size = fs::metadata(file)?.len();
    eprintln!("{} organizations written in {:.0?}: {} MiB", plans.len(), start.elapsed(), mebibytes(size));
    Ok(())
}

/// Drop the indexes, and return the SQL that creates them again. That is faster once all rows are written.
fn drop_indexes(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL")?;
    let indexes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let indexes = indexes.collect::<Result<Vec<(String, String)>, _>>()?;
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    Ok(indexes.into_iter().map(|(_, sql)| sql).collect())
}

/// Write the rows of one event.
fn write_event(connection: &Connection, organization_id: &str, event: Event) -> anyhow::Result<()> {
    let write_row = |sql: &str, columns: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(columns)?;
        anyhow::Ok(())
    };
    match event {
        Event::OrganizationCreated { organization: Organization { display_name, .. }, settings, etag } => {
            let unassigned = settings.unassigned_queue_sign_in.as_str();
            let etag = i64::try_from(etag.0)?;
            write_row(
                "INSERT INTO organization VALUES (?, ?, ?, ?)",
                params![organization_id, display_name, unassigned, etag],
            )?;
            for switch in Switch::ALL {
                let is_on = settings.is_on(*switch);
                write_row(
                    "INSERT INTO permission_setting VALUES (?, ?, ?)",
                    params![organization_id, switch.as_str(), is_on],
                )?;
            }
            Ok(())
        }
        Event::QueueCreated { queue } => {
            let extension = queue.extension.map(Extension::digits);
            let (id, kind) = (queue.queue_id.as_str(), queue.kind.as_str());
            write_row(
                "INSERT INTO queue (organization_id, queue_id, display_name, extension, kind) VALUES (?, ?, ?, ?, ?)",
                params![organization_id, id, queue.display_name, extension.as_deref(), kind],
            )
        }
        Event::UserCreated { user } => {
            let extension = user.extension.map(Extension::digits);
            write_row(
                "INSERT INTO user (organization_id, user_id, display_name, extension, contact_center_license, disabled) \
                 VALUES (?, ?, ?, ?, 1, 0)",
                params![organization_id, user.user_id.as_str(), user.display_name.as_str(), extension.as_deref()],
            )
        }
        Event::RoleAssigned { assignment: RoleAssignment { user_id, role, queue_id, penalty: _ } } => {
            let queue_id = queue_id.as_ref().map(|queue_id| queue_id.as_str());
            write_row(
                "INSERT INTO queue_role (organization_id, user_id, queue_id, role) VALUES (?, ?, ?, ?)",
                params![organization_id, user_id.as_str(), queue_id, role.as_str()],
            )
        }
        Event::SessionStarted { session, justification: _ } => write_row(
            "INSERT INTO session (organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
             sign_in_time_ms, expire_time_ms, device) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            params![
                organization_id,
                session.user_id.as_str(),
                session.queue_id.as_str(),
                session.session_id.as_str(),
                session.channel.as_str(),
                session.basis.as_str(),
                session.signed_in_by.as_str(),
                session.sign_in_time.unix_ms(),
                session.device
            ],
        ),
        other => anyhow::bail!("a plan has no such event: {other:?}"),
    }
}
