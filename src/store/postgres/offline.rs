//! Commands that work on a PostgreSQL database without a node: its schema and its epoch, and the connection of a
//! migration.

use std::{ops::ControlFlow, time::Duration};

use tokio::runtime::Runtime;
use tokio_postgres::{Row, error::SqlState, types::ToSql};

use super::{
    database::{no_answer, patient, run},
    error::{described, of_statement, refused},
    examine::lineage_of,
    head::Head,
    schema::{Found, TIMELINE, look, migrate},
    session::Session,
    target::Target,
};
use crate::{
    domain::{ids::Revision, time::Timestamp},
    store::error::Error,
};

/// Create or update the schema.
pub fn make_schema(target: &Target, now: Timestamp) -> Result<(), Error> {
    let mut connected = Connected::connect(target)?;
    connected.migrate(now)
}

/// Begin a new epoch, after a restore. Return the end of the history in it.
pub fn new_epoch(target: &Target) -> Result<Revision, Error> {
    let mut connected = Connected::connect(target)?;
    match connected.look()? {
        Found::Nothing => return Err(Error::Missing { path: target.to_string() }),
        Found::Version { version: _, unusable: Some(reason) } => return Err(refused(&target.to_string(), &reason)),
        Found::Version { version: _, unusable: None } => {}
    }
    connected.execute("BEGIN")?;
    let revision = begin_epoch(&mut connected)?;
    connected.commit()?;
    Ok(revision)
}

/// A connection of a command.
#[derive(Debug)]
pub(super) struct Connected {
    pub runtime: Runtime,
    pub session: Session,
    pub target: Target,
}

impl Connected {
    /// Connect to a database that no node uses.
    pub fn open(target: &Target) -> Result<Self, Error> {
        let mut connected = Self::connect(target)?;
        connected.refuse_nodes()?;
        Ok(connected)
    }

    fn connect(target: &Target) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refused(&target.to_string(), &error))?;
        let connecting = Session::connect(target, "migrate");
        let session = run(&runtime, connecting, &mut patient()).ok_or_else(no_answer)??;
        Ok(Self { runtime, session, target: target.clone() })
    }

    /// Refuse a database that nodes use.
    pub fn refuse_nodes(&mut self) -> Result<(), Error> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'queuegate writer'";
        let nodes: i64 = self.query_one(sql, &[])?.get(0);
        if nodes > 0 {
            let problem = format!("running nodes use it ({nodes}); stop every `queuegate serve` of this database");
            return Err(refused(&self.target.to_string(), &problem));
        }
        Ok(())
    }

    pub fn look(&mut self) -> Result<Found, Error> {
        run(&self.runtime, look(&self.target, &self.session), &mut patient()).ok_or_else(no_answer)?
    }

    pub fn migrate(&mut self, now: Timestamp) -> Result<(), Error> {
        let (new_store_id, _) = uuid::Uuid::new_v4().as_u64_pair();
        let migrating = migrate(&self.target, &self.session, new_store_id, now.unix_ms());
        run(&self.runtime, migrating, &mut patient()).ok_or_else(no_answer)?
    }

    pub fn execute(&mut self, sql: &str) -> Result<(), Error> {
        let executed = run(&self.runtime, self.session.client.batch_execute(sql), &mut forever);
        executed.ok_or_else(no_answer)?.map_err(|error| self.failed(&error))
    }

    pub fn query_one(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        let queried = run(&self.runtime, self.session.client.query_one(sql, parameters), &mut forever);
        queried.ok_or_else(no_answer)?.map_err(|error| self.failed(&error))
    }

    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        let queried = run(&self.runtime, self.session.client.query(sql, &[]), &mut forever);
        queried.ok_or_else(no_answer)?.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &tokio_postgres::Error) -> Error {
        match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                let problem = format!("{}; connect as the owner of the schema queuegate", described(error));
                refused(&self.target.to_string(), &problem)
            }
            _ => of_statement(error),
        }
    }

    /// Commit. A warning means that the commit may not be replicated.
    pub fn commit(&mut self) -> Result<(), Error> {
        let warnings = self.session.warnings();
        self.execute("COMMIT")?;
        if self.session.warnings() != warnings {
            return Err(Error::Unreachable("the commit may not be replicated; check the standby".to_owned()));
        }
        Ok(())
    }
}

/// Begin an epoch within a transaction, and return the end of the history in it. Its number is the present second, so
/// that two copies of one history differ.
pub(super) fn begin_epoch(connected: &mut Connected) -> Result<Revision, Error> {
    let sql = format!(
        "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms), \
         head AS (UPDATE head SET epoch = greatest(epoch + 1, now_ms / 1000), timeline = {TIMELINE}, nonce = ~nonce \
                  FROM clock RETURNING epoch, sequence, nonce, timeline), \
         started AS (INSERT INTO epoch SELECT epoch, sequence, timeline, now_ms FROM head, clock) \
         SELECT store_id, epoch, sequence, nonce FROM store, head"
    );
    let row = connected.query_one(&sql, &[])?;
    let head = Head::of(&row);
    Ok(Revision { lineage: lineage_of(row.get(0), head)?, sequence: head.sequence()? })
}

/// A wait that never ends.
pub(super) fn forever(_: Duration) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
