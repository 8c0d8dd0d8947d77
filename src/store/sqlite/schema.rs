//! The identity of a file and its schema, and the migrations that bring it up to date.

use std::{fs::File, io::Read, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{
    connection::{MAGIC, connect, has_log},
    error::{is_read_only, unopenable},
    paths::{JOURNAL, beside, refuse_mounted},
};
use crate::{domain::ids::Lineage, store::error::Error};

/// The mark of a queuegate database in a SQLite file: "QGAT".
const APPLICATION_ID: i64 = 0x5147_4154;

/// The migrations, oldest first. Append only: a released migration is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_schema.sql"),
    include_str!("migrations/2_audit_log.sql"),
    include_str!("migrations/3_session_checks.sql"),
    include_str!("migrations/4_session_keys.sql"),
    include_str!("migrations/5_user_login.sql"),
    include_str!("migrations/6_penalty.sql"),
    include_str!("migrations/7_user_pin.sql"),
];

/// Return the schema that this version reads and writes.
pub(super) fn known_schema() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The schema number of a file that was moved to another store. No version knows it, so all of them refuse the file.
pub(super) const MOVED: i64 = i32::MAX as i64;

/// The largest size in bytes of a file whose creation was interrupted.
const NEW_FILE: u64 = 4_096;

/// Check the file before SQLite opens it. When SQLite opens a file, it rolls back an unfinished change of another
/// program.
pub(super) fn look(path: &Path) -> Result<(), Error> {
    let not_ours = || Error::NotOurs { path: path.display().to_string() };
    let unreadable = |error: std::io::Error| unopenable(path, &error);
    let mut header = Vec::with_capacity(100);
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Read::by_ref(&mut file).take(100).read_to_end(&mut header).map_err(unreadable)?;
    // Closed before SQLite opens it: closing it later would release SQLite's own locks.
    drop(file);
    if length == 0 {
        return Ok(());
    }
    // SQLite's file format defines these offsets.
    header.resize(100, 0);
    if has_log(&header) {
        refuse_mounted(path)?;
    }
    let number = |at: usize| header.get(at..at + 4).and_then(|four| four.try_into().ok()).map(i32::from_be_bytes);
    let (Some(user_version), Some(application_id)) = (number(60), number(68)) else { return Err(not_ours()) };
    // After a power failure while SQLite writes its first page, a part of it may exist, with the journal that rolls it
    // back.
    let is_begun = length <= NEW_FILE && application_id == 0 && beside(path, JOURNAL).exists();
    if is_begun {
        return Ok(());
    }
    if !header.starts_with(MAGIC) {
        return Err(not_ours());
    }
    match i64::from(application_id) {
        APPLICATION_ID => refuse_newer(path, user_version.into()),
        // The database may still be completely in the write-ahead log.
        0 => match connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|reader| refuse_foreign(path, &reader)) {
            // Another program left an unfinished change.
            Err(Error::Sqlite(error)) if is_read_only(&error) => Err(not_ours()),
            looked => looked,
        },
        _ => Err(not_ours()),
    }
}

pub(super) fn refuse_foreign(path: &Path, connection: &Connection) -> Result<(), Error> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = match read("SELECT count(*) FROM sqlite_schema") {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(Error::NotOurs { path: path.display().to_string() });
        }
        Err(error) => return Err(error.into()),
    };
    let application_id = read("PRAGMA application_id")?;
    let is_new = tables == 0 && application_id == 0;
    if !is_new && application_id != APPLICATION_ID {
        return Err(Error::NotOurs { path: path.display().to_string() });
    }
    refuse_newer(path, read("PRAGMA user_version")?)
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), Error> {
    if found == MOVED {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let problem = connection.query_row("SELECT reason FROM moved", [], |row| row.get(0))?;
        return Err(Error::Unusable { database: path.display().to_string(), problem });
    }
    let known = known_schema();
    if found > known {
        return Err(Error::NewerSchema { path: path.display().to_string(), found, known });
    }
    Ok(())
}

pub(super) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Read the lineage. Name the store first if it is new.
pub(super) fn lineage(connection: &Connection, new_store_id: u64) -> Result<Lineage, Error> {
    connection.execute(
        "INSERT OR IGNORE INTO store (only_row, store_id, epoch) VALUES (1, ?, 1)",
        [format!("{new_store_id:016x}")],
    )?;
    read_lineage(connection)
}

pub(super) fn read_lineage(connection: &Connection) -> Result<Lineage, Error> {
    let row = connection
        .query_row("SELECT store_id, epoch FROM store", [], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
        .optional()?;
    let (store_id, epoch) = row.ok_or_else(|| Error::Damaged("table store is empty".to_owned()))?;
    let store_id = u64::from_str_radix(&store_id, 16);
    let store_id = store_id.map_err(|_| Error::Damaged("store.store_id is not 16 hexadecimal digits".to_owned()))?;
    Ok(Lineage { store_id, epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables and indexes by name, without comments, quotes and spacing.
    fn described(connection: &Connection) -> Vec<(String, String)> {
        let mut statement =
            connection.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap();
        let plain = |sql: &str| {
            let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
            lines.collect::<String>().replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")
        };
        rows.map(|row| row.unwrap()).map(|(name, sql)| (name, plain(&sql))).collect()
    }

    #[test]
    fn migrations_make_the_documented_schema() {
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated).unwrap();
        let written = Connection::open_in_memory().unwrap();
        written.execute_batch(include_str!("schema.sql")).unwrap();
        assert_eq!(described(&migrated), described(&written));
        assert!(described(&written).len() > 10);
    }
}
