//! A PostgreSQL database as the source or the target of a migration from or to a file.
//!
//! INVARIANT: a database that was moved refuses every write, also of a node that was stopped in the middle of one: a
//! constraint of the head fails.
//!
//! INVARIANT: no node uses a target before its source is closed.

use std::{pin::pin, vec};

use tokio_postgres::{
    Row as SqlRow,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    database::{no_answer, run},
    error::{of_statement, refused},
    examine::examine,
    offline::{Connected, begin_epoch, forever},
    schema::{Found, TIMELINE},
    target::Target,
};
use crate::{
    domain::{ids::Revision, time::Timestamp},
    store::{
        error::Error,
        examination::Examination,
        numbers::integer,
        tables::{self, Kind, Row, Rows, TABLES, Table},
        verification::Value,
    },
};

/// The reason for which no node uses a target in progress.
const PENDING: &str = "a migration to it was not completed; run `queuegate migrate` again";

/// The number of rows that are read at a time.
const CHUNK: u32 = 2_000;

/// A database that is moved. No node can write to it meanwhile.
#[derive(Debug)]
pub(in crate::store) struct Source(Connected);

impl Source {
    /// Connect, and keep nodes from writing.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let mut connected = Connected::open(target)?;
        match connected.look()? {
            Found::Nothing => return Err(Error::Missing { path: target.to_string() }),
            Found::Version { version: _, unusable: Some(reason) } => return Err(refused(&target.to_string(), &reason)),
            Found::Version { version: _, unusable: None } => {}
        }
        if connected.query_one(&format!("SELECT timeline <> {TIMELINE} FROM head"), &[])?.get(0) {
            let problem =
                "PostgreSQL failed over or was restored since a node used it; run `queuegate epoch new` first";
            return Err(refused(&target.to_string(), &problem));
        }
        // The snapshot is taken after the lock, so it has every commit.
        connected.execute(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE head IN EXCLUSIVE MODE",
        )?;
        Ok(Self(connected))
    }

    /// Make every node refuse the database, for a reason.
    pub fn close(mut self, reason: &str) -> Result<(), Error> {
        let Self(connected) = &mut self;
        connected.query_one("UPDATE store SET unusable = $1 RETURNING 1", &[&reason])?;
        connected.execute("ALTER TABLE head ADD CONSTRAINT moved CHECK (false) NOT VALID")?;
        connected.commit()
    }
}

impl tables::Source for Source {
    fn count(&mut self, table: &Table) -> Result<u64, Error> {
        count(&mut self.0, table)
    }

    fn read(&mut self, table: &Table, take: &mut dyn FnMut(Rows<'_>) -> Result<u64, Error>) -> Result<u64, Error> {
        let Self(connected) = self;
        let (columns, name) = (table.column_names(), table.name);
        connected
            .execute(&format!("DECLARE reading NO SCROLL CURSOR FOR SELECT {columns} FROM {name} ORDER BY 1, 2"))?;
        let taken = take(&mut Reading { connected, table, chunk: Vec::new().into_iter() })?;
        connected.execute("CLOSE reading")?;
        Ok(taken)
    }
}

/// The rows of a cursor.
struct Reading<'c> {
    connected: &'c mut Connected,
    table: &'c Table,
    chunk: vec::IntoIter<SqlRow>,
}

impl Iterator for Reading<'_> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.len() == 0 {
            match self.connected.query(&format!("FETCH {CHUNK} FROM reading")) {
                Ok(rows) => self.chunk = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        self.chunk.next().map(|row| values(&row, self.table))
    }
}

fn values(row: &SqlRow, table: &Table) -> Result<Row, Error> {
    let read = |(at, (_, kind)): (usize, &(&str, Kind))| match kind {
        Kind::Text => row.try_get::<_, Option<String>>(at).map(|text| text.map(Value::Text)),
        Kind::Integer => row.try_get::<_, Option<i64>>(at).map(|integer| integer.map(Value::Integer)),
        Kind::Boolean => {
            row.try_get::<_, Option<bool>>(at).map(|truth| truth.map(|truth| Value::Integer(i64::from(truth))))
        }
        Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(at).map(|bytes| bytes.map(Value::Bytes)),
    };
    let read = |column| read(column).map(|value| value.unwrap_or(Value::Null)).map_err(|error| of_statement(&error));
    table.columns.iter().enumerate().map(read).collect()
}

/// Take a database that was moved back into use. Its history goes on in a new epoch, because the other store may have
/// gone on too.
pub(in crate::store) fn reopen(target: &Target) -> Result<Revision, Error> {
    let mut connected = Connected::open(target)?;
    match connected.look()? {
        Found::Nothing => return Err(Error::Missing { path: target.to_string() }),
        Found::Version { version: _, unusable: None } => return Err(refused(&target.to_string(), &tables::NOT_MOVED)),
        Found::Version { version: _, unusable: Some(reason) } if reason == PENDING => {
            return Err(refused(&target.to_string(), &reason));
        }
        Found::Version { version: _, unusable: Some(_) } => {}
    }
    connected.execute("BEGIN; ALTER TABLE head DROP CONSTRAINT moved; UPDATE store SET unusable = NULL")?;
    let revision = begin_epoch(&mut connected)?;
    connected.commit()?;
    Ok(revision)
}

/// A database that is filled.
#[derive(Debug)]
pub(in crate::store) struct Destination(Connected);

impl Destination {
    /// Connect to a database without a store, with an empty one, or with one that was not completed.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let mut connected = Connected::open(target)?;
        match connected.look()? {
            Found::Nothing => {}
            Found::Version { version: _, unusable: Some(reason) } if reason == PENDING => {}
            Found::Version { version: _, unusable: Some(reason) } => return Err(refused(&target.to_string(), &reason)),
            Found::Version { version: _, unusable: None } => {
                if connected.query_one("SELECT sequence FROM head", &[])?.get::<_, i64>(0) > 0 {
                    return Err(Error::Exists { path: target.to_string(), hint: "give an empty database" });
                }
            }
        }
        Ok(Self(connected))
    }

    /// Begin to fill the database. From now on no node uses it.
    pub fn begin(&mut self, now: Timestamp) -> Result<(), Error> {
        let Self(connected) = self;
        if !matches!(connected.look()?, Found::Version { version: _, unusable: Some(_) }) {
            connected.migrate(now)?;
        }
        connected.query_one("UPDATE store SET unusable = $1 RETURNING 1", &[&PENDING])?;
        // A node may have started before that.
        connected.refuse_nodes()?;
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        connected.execute(&format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; TRUNCATE {}, epoch, node",
            names.join(", ")
        ))
    }

    /// End the filling: the history ends at `revision`. Then examine the database.
    pub fn commit(&mut self, revision: Revision, progress: &impl Fn(u64, u64)) -> Result<Examination, Error> {
        let Self(connected) = self;
        let Revision { lineage, sequence } = revision;
        let (epoch, sequence) = (i64::from(lineage.epoch), integer(sequence)?);
        let store_id = format!("{:016x}", lineage.store_id);
        connected.query_one("UPDATE store SET store_id = $1 RETURNING 1", &[&store_id])?;
        // Revisions of earlier epochs are refused: the beginning of this one isn't known.
        let sql = format!(
            "WITH head AS (UPDATE head SET epoch = $1, sequence = $2, nonce = ~nonce, timeline = {TIMELINE} \
             RETURNING epoch, timeline) INSERT INTO epoch SELECT epoch, 0, timeline, \
             (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM head RETURNING 1"
        );
        connected.query_one(&sql, &[&epoch, &sequence])?;
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        connected.execute(&format!("ANALYZE {}", names.join(", ")))?;
        connected.commit()?;
        examine(&connected.target, progress)
    }

    /// Let nodes use the database.
    pub fn release(mut self) -> Result<(), Error> {
        let Self(connected) = &mut self;
        connected.execute("BEGIN; UPDATE store SET unusable = NULL")?;
        connected.commit()
    }
}

impl tables::Destination for Destination {
    fn fill(&mut self, table: &Table, rows: Rows<'_>) -> Result<u64, Error> {
        let Self(connected) = self;
        let sql = format!("COPY {} ({}) FROM STDIN BINARY", table.name, table.column_names());
        let types: Vec<Type> = table.columns.iter().map(|(_, kind)| type_of(*kind)).collect();
        let client = &connected.session.client;
        let copying = async {
            let failed = |error: tokio_postgres::Error| of_statement(&error);
            let sink = client.copy_in(&sql).await.map_err(failed)?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
            for row in rows {
                let columns = row?.into_iter().zip(table.columns);
                let values: Result<Vec<_>, Error> = columns.map(|(value, (_, kind))| parameter(value, *kind)).collect();
                writer.as_mut().write_raw(values?).await.map_err(failed)?;
            }
            writer.finish().await.map_err(failed)
        };
        run(&connected.runtime, copying, &mut forever).ok_or_else(no_answer)??;
        count(connected, table)
    }
}

fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Text => Type::TEXT,
        Kind::Integer => Type::INT8,
        Kind::Boolean => Type::BOOL,
        Kind::Bytes => Type::BYTEA,
    }
}

/// Convert a value for its column. SQLite has numbers for truth values.
fn parameter(value: Value, kind: Kind) -> Result<Box<dyn ToSql + Sync>, Error> {
    Ok(match (kind, value) {
        (Kind::Text, Value::Text(text)) => Box::new(text),
        (Kind::Text, Value::Null) => Box::new(None::<String>),
        (Kind::Integer, Value::Integer(integer)) => Box::new(integer),
        (Kind::Integer, Value::Null) => Box::new(None::<i64>),
        (Kind::Boolean, Value::Integer(truth)) => Box::new(truth != 0),
        (Kind::Bytes, Value::Bytes(bytes)) => Box::new(bytes),
        (kind, value) => return Err(Error::Damaged(format!("a column of {kind:?} has the value {value:?}"))),
    })
}

fn count(connected: &mut Connected, table: &Table) -> Result<u64, Error> {
    let count: i64 = connected.query_one(&format!("SELECT count(*) FROM {}", table.name), &[])?.get(0);
    Ok(u64::try_from(count).unwrap_or(0))
}
