//! A file as the source or the target of a migration to or from PostgreSQL.
//!
//! INVARIANT: every version refuses a file that was moved, because it has a schema number that no version knows.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use super::{
    backup::{Copy, begin_epoch, make_database},
    connection::{connect, prepare},
    examine::{examine, open_to_read},
    lock::Lock,
    paths::real_path,
    schema::{MOVED, migrate, read_lineage},
    verify::value,
};
use crate::{
    domain::{
        ids::{Lineage, Revision, Sequence},
        time::Timestamp,
    },
    store::{
        error::Error,
        examination::Examination,
        tables::{self, Row, Rows, Table},
        verification::Value,
    },
};

/// A file that is moved. No server can use it meanwhile.
#[derive(Debug)]
pub(in crate::store) struct Source {
    connection: Connection,
    /// INVARIANT: dropped after the connection.
    _lock: Lock,
}

impl Source {
    /// Open the file, and keep servers away from it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Refuse a missing file, which would be created.
        drop(open_to_read(path)?);
        let path = real_path(path)?;
        let lock = Lock::take(&path)?;
        let opened = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
            prepare(&path, &connection)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Self { connection, _lock: lock }),
            Err(error) => {
                lock.withdraw();
                Err(error.of_file(&path))
            }
        }
    }

    /// Make every version refuse the file, for a reason.
    pub fn close(mut self, reason: &str) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch("CREATE TABLE moved (reason TEXT NOT NULL, user_version INTEGER NOT NULL) STRICT")?;
        transaction.execute("INSERT INTO moved SELECT ?, user_version FROM pragma_user_version", [reason])?;
        transaction.pragma_update(None, "user_version", MOVED)?;
        transaction.commit()?;
        checkpoint(&self.connection)
    }
}

impl tables::Source for Source {
    fn count(&mut self, table: &Table) -> Result<u64, Error> {
        count(&self.connection, table)
    }

    fn read(&mut self, table: &Table, take: &mut dyn FnMut(Rows<'_>) -> Result<u64, Error>) -> Result<u64, Error> {
        let sql = format!("SELECT {} FROM {}", table.column_names(), table.name);
        let mut statement = self.connection.prepare(&sql)?;
        let values = |row: &rusqlite::Row<'_>| Ok((0..table.columns.len()).map(|at| value(row, at)).collect::<Row>());
        let rows = statement.query_map([], values)?;
        take(&mut rows.map(|row| Ok(row?)))
    }
}

/// Take a file that was moved back into use. Its history goes on in a new epoch, because the other store may have gone
/// on too. Return its end.
pub(in crate::store) fn reopen(path: &Path, now: Timestamp) -> Result<Revision, Error> {
    match open_to_read(path) {
        Ok(_) => return Err(not_moved(path)),
        Err(Error::Unusable { .. }) => {}
        Err(error) => return Err(error),
    }
    let path = &real_path(path)?;
    let _lock = Lock::take(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare(path, &connection)?;
    let transaction = connection.transaction()?;
    let version: i64 = transaction.query_row("SELECT user_version FROM moved", [], |row| row.get(0))?;
    transaction.execute_batch("DROP TABLE moved")?;
    transaction.pragma_update(None, "user_version", version)?;
    begin_epoch(&transaction, now)?;
    transaction.commit()?;
    checkpoint(&connection)?;
    let lineage = read_lineage(&connection)?;
    let last = "SELECT coalesce(max(head_revision), 0) FROM audit_chain";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    Ok(Revision { lineage, sequence: Sequence(u64::try_from(last).unwrap_or(0)) })
}

/// A new file in progress. It has another name until it is finished.
pub(in crate::store) struct NewFile(Copy);

/// Make a new file. An existing file is not changed, and no server can use its name meanwhile.
pub(in crate::store) fn make<T>(path: &Path, make: impl FnOnce(NewFile) -> Result<T, Error>) -> Result<T, Error> {
    make_database(path, |copy| make(NewFile(copy)))
}

impl NewFile {
    /// Return the path of the finished file.
    pub fn path(&self) -> &Path {
        &self.0.file
    }

    /// Begin to fill the file.
    pub fn begin(&self, lineage: Lineage) -> Result<Destination, Error> {
        let partial = self.0.partial.clone();
        let mut connection = connect(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        migrate(&mut connection)?;
        // The file counts only once it is synced completely, at the end.
        connection.execute_batch("PRAGMA synchronous = OFF; BEGIN")?;
        connection.execute(
            "INSERT INTO store (only_row, store_id, epoch) VALUES (1, ?, ?)",
            params![format!("{:016x}", lineage.store_id), lineage.epoch],
        )?;
        Ok(Destination { connection, partial })
    }

    /// Give the file its name.
    pub fn finish(self) -> Result<(), Error> {
        self.0.finish()
    }
}

/// The tables of a new file.
#[derive(Debug)]
pub(in crate::store) struct Destination {
    connection: Connection,
    partial: PathBuf,
}

impl Destination {
    /// End the filling, and examine the file.
    pub fn commit(self, progress: &impl Fn(u64, u64)) -> Result<Examination, Error> {
        self.connection.execute_batch("COMMIT")?;
        self.connection.close().map_err(|(_, error)| error)?;
        let unwritable = |problem| Error::Unwritable { path: self.partial.display().to_string(), problem };
        File::open(&self.partial).and_then(|file| file.sync_all()).map_err(unwritable)?;
        examine(&self.partial, progress)
    }
}

impl tables::Destination for Destination {
    fn fill(&mut self, table: &Table, rows: Rows<'_>) -> Result<u64, Error> {
        let places = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, table.column_names());
        let mut statement = self.connection.prepare(&sql)?;
        for row in rows {
            let values: Result<Vec<_>, Error> = row?.into_iter().map(sql_value).collect();
            statement.execute(params_from_iter(values?))?;
        }
        count(&self.connection, table)
    }
}

fn sql_value(value: Value) -> Result<rusqlite::types::Value, Error> {
    use rusqlite::types::Value as Sql;
    Ok(match value {
        Value::Null => Sql::Null,
        Value::Integer(integer) => Sql::Integer(integer),
        Value::Text(text) => Sql::Text(text),
        Value::Bytes(bytes) => Sql::Blob(bytes),
        Value::Other => return Err(Error::Damaged("a value is neither text, nor a number, nor bytes".to_owned())),
    })
}

fn count(connection: &Connection, table: &Table) -> Result<u64, Error> {
    let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Move everything from the write-ahead log into the file, so that its header shows the change.
fn checkpoint(connection: &Connection) -> Result<(), Error> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn not_moved(path: &Path) -> Error {
    Error::Unusable { database: path.display().to_string(), problem: tables::NOT_MOVED.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::tables::TABLES;

    #[test]
    fn every_column_is_copied() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let columns = "SELECT tables.name, columns.name FROM sqlite_schema AS tables, \
                       pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' AND tables.name <> 'store'";
        let mut statement = connection.prepare(columns).unwrap();
        let stored = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let stored: BTreeSet<(String, String)> = stored.map(Result::unwrap).collect();
        let plain = |name: &str| name.trim_matches('"').to_owned();
        let copied = TABLES.iter().flat_map(|table| table.columns.iter().map(|(name, _)| (table.name, *name)));
        let copied: BTreeSet<(String, String)> = copied.map(|(table, name)| (plain(table), plain(name))).collect();
        assert_eq!(copied, stored);
    }
}
