//! A node's connection to the cluster's database: it reads the other nodes' changes and commits its own.
//!
//! INVARIANT: a commit continues exactly the history that the node has seen. Otherwise the head refuses it.
//!
//! INVARIANT: a commit counts as done only after PostgreSQL reported it without a warning, or after [`Store::settle`]
//! found it by a write. A statement whose outcome is unknown is never repeated before that.

use std::{
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Row, types::ToSql};

use super::{
    clock::DatabaseTime,
    commit::{Failed, Locking, is_behind, write},
    error::{is_rolled_back, of_statement, refused},
    head::{Head, new_nonce},
    history::{self, News},
    opening::{database_time, identity, raise_epoch_after_failover, refuse_transaction_pooling},
    rows::{Heads, Rows},
    schema::migrate,
    session::Session,
    target::Target,
};
use crate::{
    domain::{
        chain::Link,
        change::Record,
        epochs::EpochStarts,
        ids::{Lineage, OrganizationId, RequestId, Revision},
        time::Timestamp,
    },
    store::{
        error::Error,
        numbers::{integer, sequence},
        request::RequestRecord,
    },
};

/// How often a wait for the database is interrupted for the callers who wait for longer than they want.
const SLICE: Duration = Duration::from_millis(100);

/// The most changes that are committed without the lock.
const MAX_UNLOCKED: usize = 256;

/// The most records that one read of the log returns.
pub(super) const MAX_NEWS: i64 = 5_000;

/// How long the lock on the head may be idle: while a batch is planned and encoded.
const LOCK_IDLE_MS: usize = 1_000;

/// The number of records that are planned and encoded in a millisecond, at least.
const RECORDS_PER_MS: usize = 4;

/// Called repeatedly during a wait, with its duration. It may end the wait.
pub type Wait<'w> = &'w mut dyn FnMut(Duration) -> ControlFlow<()>;

/// A node's connection to the cluster's database. It has one owner.
#[derive(Debug)]
pub struct Store {
    pub(super) runtime: Runtime,
    pub(super) target: Target,
    pub(super) session: Option<Session>,
    address: String,
    new_store_id: u64,
    /// The store's id, once the database was reached.
    pub(super) store_id: Option<u64>,
    /// The head that the node's state includes.
    pub(super) head: Head,
    pub(super) heads: Heads,
    /// The last record, if it is known, to notice a history that was rewritten.
    pub(super) last: Option<Link>,
    /// The time of the last record.
    pub(super) last_time: Timestamp,
    /// A commit whose outcome is not known yet.
    pending: Option<Pending>,
    clock: Arc<DatabaseTime>,
}

/// The end of the history after a commit.
#[derive(Debug)]
struct Pending {
    sequence: i64,
    last: Option<Link>,
    last_time: Timestamp,
    heads: Heads,
}

/// The result of an attempt to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The batch is durable.
    Done,
    /// Nothing was written. The batch was planned on an old state, or needs the lock.
    Behind,
    /// The outcome is unknown; see [`Store::settle`].
    Unknown,
}

impl Store {
    /// Create the connection to a database. A database without a schema gets the id `new_store_id`. The node announces
    /// itself with `address`. Nothing is connected yet: [`Self::connect`] and [`Self::load`] connect.
    pub fn new(target: Target, new_store_id: u64, address: String) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refused(&target.to_string(), &error))?;
        Ok(Self {
            runtime,
            target,
            session: None,
            address,
            new_store_id,
            store_id: None,
            head: Head { epoch: 0, sequence: 0, nonce: 0 },
            heads: Heads::new(),
            last: None,
            last_time: Timestamp::from_unix_ms(0),
            pending: None,
            clock: Arc::default(),
        })
    }

    /// Return the database's address.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Return the address on which the node serves calls.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Return the measured time of the database.
    pub fn clock(&self) -> Arc<DatabaseTime> {
        Arc::clone(&self.clock)
    }

    /// Return the time of the last record, which no later record precedes.
    pub fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// Return whether the node is connected, as far as it knows.
    pub fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.client.is_closed())
    }

    /// Connect to the primary, unless the node is connected. Checks that the database is the same as before, and that
    /// its history includes the node's: otherwise fails with [`Error::Rewritten`].
    pub fn connect(&mut self, wait: Wait<'_>) -> Result<(), Error> {
        if self.is_connected() {
            return Ok(());
        }
        self.session = None;
        let new_store_id = self.new_store_id;
        let (target, clock, is_first) = (self.target.clone(), Arc::clone(&self.clock), self.store_id.is_none());
        let connecting = async {
            let mut session = Session::connect(&target, "writer").await?;
            let asked = Instant::now();
            let now_ms = database_time(&session).await?;
            clock.measure(now_ms, asked.elapsed());
            if is_first {
                refuse_transaction_pooling(&target, &session).await?;
            }
            migrate(&target, &session, new_store_id, now_ms).await?;
            let store_id = identity(&target, &session).await?;
            raise_epoch_after_failover(&mut session).await?;
            Ok((session, store_id))
        };
        let connected = run(&self.runtime, connecting, wait);
        let (session, store_id) = connected.unwrap_or_else(|| Err(no_answer()))?;
        if self.store_id.is_some_and(|known| known != store_id) {
            let problem = "it is another store than before; restart the node to take it over";
            return Err(refused(&self.target.to_string(), &problem));
        }
        self.store_id = Some(store_id);
        self.session = Some(session);
        self.compare(wait)
    }

    /// Check that the database's history includes the node's.
    fn compare(&mut self, wait: Wait<'_>) -> Result<(), Error> {
        let Some(last) = self.last else { return Ok(()) };
        let number = integer(last.sequence)?;
        let read = self.ask(wait, async |session| {
            let sql = "SELECT head.sequence, audit_log.hash FROM head LEFT JOIN audit_log ON revision = $1";
            let statement = session.prepare(sql).await?;
            session.client.query_one(&statement, &[&number]).await
        })?;
        let (sequence, hash): (i64, Option<Vec<u8>>) = (read.get(0), read.get(1));
        if sequence < number {
            return Err(Error::Rewritten(format!("it ends at {sequence}, and this node has seen change {number}")));
        }
        if hash.is_some_and(|hash| hash != last.hash.bytes()) {
            return Err(Error::Rewritten(format!("its change {number} is another one than this node has seen")));
        }
        Ok(())
    }

    /// Read the changes of other nodes since the last one that this node has.
    pub fn news(&mut self, wait: Wait<'_>) -> Result<News, Error> {
        self.connect(wait)?;
        let (after, asked) = (self.head.sequence, Instant::now());
        let rows = self.ask(wait, async |session| {
            let statement = session.prepare(history::NEWS).await?;
            session.client.query(&statement, &[&after, &MAX_NEWS]).await
        })?;
        self.take_in(&rows, asked.elapsed(), wait)
    }

    /// Lock the head, so that no other node writes, and read the changes of other nodes and the first outcomes of
    /// requests. [`Self::commit`] or [`Self::unlock`] ends the lock. If this process stops meanwhile, PostgreSQL ends the
    /// lock after a second, or later if so many records are expected.
    pub fn lock(
        &mut self,
        requests: &[(OrganizationId, RequestId)],
        expected_records: usize,
        wait: Wait<'_>,
    ) -> Result<(News, Vec<RequestRecord>), Error> {
        self.connect(wait)?;
        let (after, asked) = (self.head.sequence, Instant::now());
        let organizations: Vec<&str> = requests.iter().map(|(id, _)| id.as_str()).collect();
        let ids: Vec<&str> = requests.iter().map(|(_, id)| id.as_str()).collect();
        let idle_ms = LOCK_IDLE_MS + expected_records / RECORDS_PER_MS;
        let begin = format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}");
        let locked = self.ask(wait, async |session| {
            let head = session.prepare("SELECT epoch, sequence, nonce FROM head FOR UPDATE").await?;
            let news = session.prepare(history::NEWS).await?;
            let known = session.prepare(REQUESTS).await?;
            let client = &session.client;
            let after: [&(dyn ToSql + Sync); 2] = [&after, &MAX_NEWS];
            let ids: [&(dyn ToSql + Sync); 2] = [&organizations, &ids];
            let (begun, locked, news, known) = tokio::join!(
                biased;
                client.batch_execute(&begin),
                client.query_one(&head, &[]),
                client.query(&news, &after),
                client.query(&known, &ids),
            );
            begun?;
            locked?;
            Ok((news?, known?))
        });
        let (rows, known) = locked?;
        let known = known.iter().map(request).collect::<Result<Vec<_>, Error>>();
        let taken = known.and_then(|known| Ok((self.take_in(&rows, asked.elapsed(), wait)?, known)));
        if taken.as_ref().map_or(true, |(news, _)| news.is_partial) {
            // INVARIANT: the news aren't lost if this fails, because the store has taken them in. The connection is
            // dropped then, which ends the lock too.
            let _ = self.unlock(wait);
        }
        taken
    }

    /// End the lock without a change.
    pub fn unlock(&mut self, wait: Wait<'_>) -> Result<(), Error> {
        self.ask(wait, async |session| session.client.batch_execute("ROLLBACK").await)
    }

    /// Commit a batch completely, or change nothing. With the lock, it ends the lock. `progress` repeatedly gets the
    /// number of written changes.
    pub fn commit(
        &mut self,
        (records, requests): (&[Record], &[RequestRecord]),
        locking: Locking,
        progress: impl Fn(usize),
        wait: Wait<'_>,
    ) -> Result<Commit, Error> {
        let Some(store_id) = self.store_id else { return Ok(Commit::Behind) };
        let lineage = self.head.lineage(store_id)?;
        let mut heads = Heads::new();
        let groups = Rows::of(lineage, records, requests, &self.heads, &mut heads)?;
        if locking == Locking::None && (groups.len() > 1 || records.len() > MAX_UNLOCKED) {
            return Ok(Commit::Behind);
        }
        let last = records.last();
        let pending = Pending {
            sequence: last.map_or(Ok(self.head.sequence), |record| integer(record.sequence))?,
            last: last.and_then(|record| heads.get(&record.change.organization_id).copied()),
            last_time: last.map_or(self.last_time, |record| record.time),
            heads,
        };
        let Self { runtime, session, head, .. } = self;
        let Some(session) = session.as_mut() else { return Ok(Commit::Behind) };
        let warnings = session.warnings();
        let asked = Instant::now();
        let writing = write(session, *head, &groups, locking, progress);
        let written = run(runtime, writing, wait);
        let is_warned = session.warnings() != warnings;
        match written {
            Some(Ok(now_ms)) if !is_warned => {
                self.clock.measure(now_ms, asked.elapsed());
                self.accept(pending);
                Ok(Commit::Done)
            }
            Some(Err(Failed::Before(error))) => {
                self.session = None;
                Err(of_statement(&error))
            }
            Some(Err(Failed::Within(error))) if is_rolled_back(&error) && !is_warned => {
                if locking == Locking::Held {
                    // The COMMIT after the failed statement ended the transaction.
                    self.session = None;
                }
                if is_behind(&error) { Ok(Commit::Behind) } else { Err(of_statement(&error)) }
            }
            // No answer, a lost connection, or a warning.
            None | Some(_) => {
                self.session = None;
                self.pending = Some(pending);
                Ok(Commit::Unknown)
            }
        }
    }

    /// Decide an unknown outcome: return whether the commit happened. It waits for the transaction in flight, by a write
    /// to the head that is replicated after it. From then on, a delayed statement of that commit is refused.
    pub fn settle(&mut self, wait: Wait<'_>) -> Result<bool, Error> {
        let Some(pending) = self.pending.take() else { return Ok(false) };
        match self.find(&pending, wait) {
            Ok(true) => {
                self.accept(pending);
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                self.pending = Some(pending);
                Err(error)
            }
        }
    }

    /// Give up an unknown outcome. The log will show it.
    pub fn abandon(&mut self) {
        self.pending = None;
        self.session = None;
    }

    fn find(&mut self, pending: &Pending, wait: Wait<'_>) -> Result<bool, Error> {
        self.connect(wait)?;
        let nonce = new_nonce();
        let number = pending.sequence;
        let Some(session) = self.session.as_ref() else { return Err(no_answer()) };
        let warnings = session.warnings();
        let row = self.ask(wait, async |session| {
            let fence = session.prepare("UPDATE head SET nonce = $1 RETURNING epoch, sequence, nonce").await?;
            let found = session.prepare("SELECT hash FROM audit_log WHERE revision = $1").await?;
            session.client.query_one(&fence, &[&nonce]).await?;
            session.client.query_opt(&found, &[&number]).await
        })?;
        if self.session.as_ref().is_none_or(|session| session.warnings() != warnings) {
            // The fence itself may not be replicated.
            self.session = None;
            return Err(Error::Unreachable("the write that decides the outcome wasn't replicated".to_owned()));
        }
        self.head.nonce = nonce;
        let hash: Option<Vec<u8>> = row.map(|row| row.get(0));
        Ok(match (hash, pending.last) {
            (Some(hash), Some(last)) => last.hash.bytes() == hash.as_slice(),
            (None, _) | (_, None) => false,
        })
    }

    /// Ask the database something that may be asked again. After a failure, the node connects anew.
    pub(super) fn ask<T>(
        &mut self,
        wait: Wait<'_>,
        ask: impl AsyncFnOnce(&mut Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let Self { runtime, session, .. } = self;
        let Some(connected) = session.as_mut() else { return Err(no_answer()) };
        match run(runtime, ask(connected), wait) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                *session = None;
                Err(of_statement(&error))
            }
            None => {
                *session = None;
                Err(no_answer())
            }
        }
    }

    /// Take in the rows that [`history::news`] read.
    fn take_in(&mut self, rows: &[Row], waited: Duration, wait: Wait<'_>) -> Result<News, Error> {
        let Some(first) = rows.first() else {
            return Err(Error::Damaged("table head is empty".to_owned()));
        };
        let head = Head::of(first);
        self.clock.measure(first.get("now_ms"), waited);
        let mut epoch = None;
        if head.epoch != self.head.epoch {
            let starts = self.epoch_starts(wait)?;
            let lineage = self.lineage_of(head)?;
            let known = Revision { lineage: self.lineage_of(self.head)?, sequence: self.head.sequence()? };
            if !starts.include(lineage, known) {
                let problem = format!("epoch {} doesn't include change {}", head.epoch, self.head.sequence);
                return Err(Error::Rewritten(problem));
            }
            epoch = Some((lineage, starts));
        }
        if head.sequence < self.head.sequence {
            return Err(Error::Rewritten(format!(
                "it ends at {}, and this node has seen change {}",
                head.sequence, self.head.sequence
            )));
        }
        let mut heads = Heads::new();
        let read = history::records(rows, self.head.sequence, &self.heads, &mut heads)?;
        let reached = read.last.map_or(Ok(self.head.sequence), |last| integer(last.sequence))?;
        self.heads.extend(heads);
        self.last = read.last.or(self.last);
        self.last_time = read.records.last().map_or(self.last_time, |record| record.time.max(self.last_time));
        self.head = Head { sequence: reached, ..head };
        Ok(News { records: read.records, epoch, is_partial: reached < head.sequence })
    }

    pub(super) fn epoch_starts(&mut self, wait: Wait<'_>) -> Result<EpochStarts, Error> {
        let rows = self.ask(wait, async |session| session.client.query(history::EPOCHS, &[]).await)?;
        history::epoch_starts(&rows)
    }

    pub(super) fn lineage_of(&self, head: Head) -> Result<Lineage, Error> {
        head.lineage(self.store_id.unwrap_or_default())
    }

    fn accept(&mut self, Pending { sequence, last, last_time, heads }: Pending) {
        self.head.sequence = sequence;
        self.last = last.or(self.last);
        self.last_time = last_time.max(self.last_time);
        self.heads.extend(heads);
    }
}

const REQUESTS: &str = "SELECT organization_id, request_id, content_sha256, outcome, revision, time_ms FROM request \
                        WHERE (organization_id, request_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))";

fn request(row: &Row) -> Result<RequestRecord, Error> {
    Ok(RequestRecord {
        organization_id: history::id(row, 0)?,
        request_id: history::id(row, 1)?,
        content_sha256: row.get(2),
        outcome: row.get(3),
        sequence: sequence(row.get(4))?,
        time: Timestamp::from_unix_ms(row.get(5)),
    })
}

/// Run a future to its end, or return `None` if `wait` ends the wait.
pub(super) fn run<T>(runtime: &Runtime, future: impl Future<Output = T>, wait: Wait<'_>) -> Option<T> {
    runtime.block_on(async {
        let began = Instant::now();
        let mut future = pin!(future);
        loop {
            match timeout(SLICE, &mut future).await {
                Ok(output) => return Some(output),
                Err(_) if wait(began.elapsed()).is_break() => return None,
                Err(_) => {}
            }
        }
    })
}

/// The longest wait for work that no caller waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Return a wait that ends after [`PATIENCE`].
pub(super) fn patient() -> impl FnMut(Duration) -> ControlFlow<()> {
    |waited| if waited < PATIENCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

pub(super) fn no_answer() -> Error {
    Error::Unreachable("PostgreSQL doesn't answer".to_owned())
}
