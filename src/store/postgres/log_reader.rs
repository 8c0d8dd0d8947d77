//! The read side of the audit log, on a connection of its own.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    time::Duration,
};

use tokio::runtime::Runtime;
use tokio_postgres::{Row, types::ToSql};

use super::{
    cluster_report::{ClusterReport, NODES_QUERY, report_query},
    database::{no_answer, patient, run},
    error::{of_statement, refused},
    history::digest,
    session::Session,
    target::Target,
};
use crate::{
    domain::{
        chain::{Digest, Link},
        ids::{OrganizationId, QueueRef, Sequence, UserId, UserRef},
        summary::Verdict,
        time::Timestamp,
        vocabulary::AuditAction,
    },
    store::{
        entry::decode,
        error::Error,
        events::{EventFilter, Logged, Newest},
        numbers::{integer, sequence},
        verification::{COLUMNS, Fault, Value, Values, Verification, Walk},
    },
};

/// The number of an organization's events that one search step examines.
const WINDOW: i64 = 10_000;

/// The largest number of search steps for one page.
const MAX_WINDOWS: usize = 5;

/// The longest wait for an answer. A PostgreSQL that hangs must not hold a background thread for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of events that one step of a verification reads.
const VERIFIED_AT_ONCE: i64 = 1_000;

/// The read side of the cluster's audit log. It connects at its first use, and again after the connection broke.
pub struct LogReader {
    target: Target,
    pub(super) inner: RefCell<Option<(Runtime, Session)>>,
    /// Whether a transaction is open, which another connection can't go on with.
    is_in_transaction: Cell<bool>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogReader({})", self.target)
    }
}

impl LogReader {
    /// Create a reader.
    pub fn new(target: Target) -> Self {
        Self { target, inner: RefCell::new(None), is_in_transaction: Cell::new(false) }
    }

    /// Return another reader, with a connection of its own.
    pub fn another(&self) -> Self {
        Self::new(self.target.clone())
    }

    /// Return the version and the hash of a user's PIN.
    pub fn pin_hash(&self, organization_id: &OrganizationId, user_id: &UserId) -> Result<Option<(i64, String)>, Error> {
        let sql = "SELECT etag, hash FROM user_pin WHERE organization_id = $1 AND user_id = $2";
        let rows = self.query(sql, &[&organization_id.as_str(), &user_id.as_str()])?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    /// Return up to `most` records after `after`, and up to `up_to`, in order. With an organization, return only its
    /// own.
    pub fn records_since(
        &self,
        after: Sequence,
        up_to: Sequence,
        organization_id: Option<&OrganizationId>,
        most: u32,
    ) -> Result<Vec<Logged>, Error> {
        let organization = organization_id.map(OrganizationId::as_str);
        let (after, up_to, most) = (integer(after)?, integer(up_to)?, i64::from(most));
        let sql = "SELECT revision, entry, hash FROM audit_log WHERE revision > $1 AND revision <= $2 \
                   AND ($3::text IS NULL OR organization_id = $3) ORDER BY revision LIMIT $4";
        let of_one = "SELECT revision, entry, hash FROM audit_log WHERE revision > $1 AND revision <= $2 \
                      AND organization_id = $3 ORDER BY organization_id, revision LIMIT $4";
        let sql = if organization.is_some() { of_one } else { sql };
        self.query(sql, &[&after, &up_to, &organization, &most])?.iter().map(logged).collect()
    }

    /// Return the newest events of an organization after `after` and before `before` that match the filter, newest
    /// first. There are up to `most`, and fewer if their entries exceed `most_bytes`, or if too many events were
    /// examined.
    pub fn newest_events(
        &self,
        organization_id: &OrganizationId,
        (after, mut before): (Sequence, Sequence),
        filter: &EventFilter,
        most: usize,
        most_bytes: usize,
    ) -> Result<Newest, Error> {
        let (mut events, mut bytes) = (Vec::<Logged>::new(), 0);
        for _ in 0..MAX_WINDOWS {
            let window = self.window(organization_id, (after, before))?;
            let from = window.unwrap_or(after);
            for row in &self.newest_in_window(organization_id, (from, before), filter, most)? {
                if events.len() == most || bytes > most_bytes {
                    let rest = events.last().map(|last| last.record.sequence);
                    return Ok(Newest { events, rest });
                }
                bytes += row.get::<_, &str>(1).len();
                events.push(logged(row)?);
            }
            let Some(window) = window else { return Ok(Newest { events, rest: None }) };
            before = window.next();
        }
        Ok(Newest { events, rest: Some(before) })
    }

    /// Return the last event before the [`WINDOW`] newest ones, or `None` if there are fewer.
    fn window(
        &self,
        organization_id: &OrganizationId,
        (after, before): (Sequence, Sequence),
    ) -> Result<Option<Sequence>, Error> {
        let sql = "SELECT revision FROM audit_log WHERE organization_id = $1 AND revision > $2 AND revision < $3 \
                   ORDER BY organization_id DESC, revision DESC LIMIT 1 OFFSET $4";
        let rows = self.query(sql, &[&organization_id.as_str(), &integer(after)?, &integer(before)?, &WINDOW])?;
        rows.first().map(|row| sequence(row.get(0))).transpose()
    }

    /// Return one more than `most` matching events of a window.
    fn newest_in_window(
        &self,
        organization_id: &OrganizationId,
        (after, before): (Sequence, Sequence),
        filter: &EventFilter,
        most: usize,
    ) -> Result<Vec<Row>, Error> {
        let EventFilter { users, queues, actor, action, verdict, start, end } = filter;
        let keys = |keys: Vec<String>| (!keys.is_empty()).then_some(keys);
        let users = keys(users.iter().map(UserRef::key).collect());
        let queues = keys(queues.iter().map(QueueRef::key).collect());
        let sql = "SELECT revision, entry, hash FROM audit_log \
                   WHERE organization_id = $1 AND revision < $2 AND revision > $3 \
                   AND ($4::text[] IS NULL OR \"user\" = ANY ($4)) AND ($5::text[] IS NULL OR queue = ANY ($5)) \
                   AND ($6::text IS NULL OR actor = $6) AND ($7::text IS NULL OR action = $7) \
                   AND ($8::boolean IS NULL OR allowed = $8) AND ($9::bigint IS NULL OR time_ms >= $9) \
                   AND ($10::bigint IS NULL OR time_ms < $10) \
                   ORDER BY organization_id DESC, revision DESC LIMIT $11";
        let most = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        self.query(
            sql,
            &[
                &organization_id.as_str(),
                &integer(before)?,
                &integer(after)?,
                &users,
                &queues,
                &actor.as_ref().map(UserRef::key),
                &action.map(AuditAction::as_str),
                &verdict.map(Verdict::is_allowed),
                &start.map(Timestamp::unix_ms),
                &end.map(Timestamp::unix_ms),
                &most,
            ],
        )
    }

    /// Return up to `most` stored entries after `after` and up to `up_to`, each with its number and its hash.
    pub fn entries_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<(Link, Timestamp, String)>, Error> {
        let sql = "SELECT revision, hash, time_ms, entry FROM audit_log \
                   WHERE organization_id = $1 AND revision > $2 AND revision <= $3 \
                   ORDER BY organization_id, revision LIMIT $4";
        let (after, up_to) = (integer(after)?, integer(up_to)?);
        let rows = self.query(sql, &[&organization_id.as_str(), &after, &up_to, &i64::from(most)])?;
        rows.iter().map(|row| Ok((link(row, 0, "hash")?, Timestamp::from_unix_ms(row.get(2)), row.get(3)))).collect()
    }

    /// Return where an organization's chain was cut, and its head. `None` means that nothing was ever recorded.
    pub fn chain(&self, organization_id: &OrganizationId) -> Result<Option<(Link, Link)>, Error> {
        let sql = "SELECT cut_revision, cut_hash, head_revision, head_hash FROM audit_chain \
                   WHERE organization_id = $1";
        let rows = self.query(sql, &[&organization_id.as_str()])?;
        rows.first().map(|row| Ok((link(row, 0, "cut_hash")?, link(row, 2, "head_hash")?))).transpose()
    }

    /// Return the hash of an event of an organization, or `None` if it is missing.
    pub fn hash_at(&self, organization_id: &OrganizationId, at: Sequence) -> Result<Option<Digest>, Error> {
        let sql = "SELECT hash FROM audit_log WHERE organization_id = $1 AND revision = $2";
        let rows = self.query(sql, &[&organization_id.as_str(), &integer(at)?])?;
        rows.first().map(|row| digest(row, "hash")).transpose()
    }

    /// Verify an organization's chain, and compare it with an earlier noted link, if given. `progress` repeatedly gets
    /// the number of verified events, and may stop the verification. Return `None` if it does, or if the organization
    /// never had a chain. An event that is written or cut meanwhile doesn't count as a fault.
    pub fn verify(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        self.at_one_moment(|| self.walk(organization_id, expected, progress))
    }

    /// Read in one transaction, so that each concurrent change is seen completely or not at all. Fails if the connection
    /// breaks meanwhile.
    pub(super) fn at_one_moment<T>(&self, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", &[])?;
        self.is_in_transaction.set(true);
        let read = self.query("SET LOCAL idle_in_transaction_session_timeout = 0", &[]).and_then(|_| read());
        let ended = self.query("COMMIT", &[]);
        self.is_in_transaction.set(false);
        let read = read?;
        ended?;
        Ok(read)
    }

    /// Verify a chain as [`Self::verify`] does, within an existing transaction.
    pub(super) fn walk(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        let (cut, head) = match self.chain(organization_id) {
            Ok(Some(ends)) => ends,
            Ok(None) => return Ok(None),
            Err(Error::Damaged(problem)) => return Ok(Some(Verification::without_ends(&problem))),
            Err(error) => return Err(error),
        };
        let mut walk = Walk::begin(cut, expected);
        let sql = "SELECT revision, organization_id, time_ms, action, allowed, actor, \"user\", queue, entry, hash \
                   FROM audit_log WHERE organization_id = $1 AND revision > $2 \
                   ORDER BY organization_id, revision LIMIT $3";
        let mut fault: Option<Fault> = None;
        loop {
            let after = integer(walk.last.sequence)?;
            let rows = self.query(sql, &[&organization_id.as_str(), &after, &VERIFIED_AT_ONCE])?;
            if rows.is_empty() || fault.is_some() {
                break;
            }
            fault = rows.iter().find_map(|row| walk.step(&values(row)).err());
            if progress(walk.events).is_break() {
                return Ok(None);
            }
        }
        let fault = fault.or_else(|| walk.end(cut, head).err());
        Ok(Some(Verification { events: walk.events, cut, head, fault }))
    }

    /// Estimate the number of events of an organization's chain.
    pub fn count_events(&self, organization_id: &OrganizationId) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM audit_log WHERE organization_id = $1 AND revision > \
                   coalesce((SELECT cut_revision FROM audit_chain WHERE organization_id = $1), 0)";
        let rows = self.query(sql, &[&organization_id.as_str()])?;
        let count: i64 = rows.first().map_or(0, |row| row.get(0));
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Return the database and its nodes.
    pub fn cluster(&self) -> Result<ClusterReport, Error> {
        let rows = self.query(&report_query(), &[])?;
        let row = rows.first().ok_or_else(|| Error::Damaged("the head is missing".to_owned()))?;
        Ok(ClusterReport::new(row, &self.query(NODES_QUERY, &[])?))
    }

    /// Run a query. If the connection broke since the last query, connect again.
    pub(super) fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let mut inner = self.inner.borrow_mut();
        inner.take_if(|(_, session)| session.client.is_closed());
        let (runtime, session) = match inner.as_mut() {
            Some(connected) => connected,
            None if self.is_in_transaction.get() => return Err(no_answer()),
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| refused(&self.target.to_string(), &error))?;
                let connecting = Session::connect(&self.target, "reader");
                let session = run(&runtime, connecting, &mut patient()).unwrap_or_else(|| Err(no_answer()))?;
                inner.insert((runtime, session))
            }
        };
        let asking = async {
            let statement = session.prepare(sql).await?;
            session.client.query(&statement, parameters).await
        };
        let mut wait = |waited| if waited < PATIENCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        match run(runtime, asking, &mut wait) {
            Some(Ok(rows)) => Ok(rows),
            failed => {
                *inner = None;
                Err(failed.and_then(Result::err).map_or_else(no_answer, |error| of_statement(&error)))
            }
        }
    }
}

impl Drop for LogReader {
    /// A server may drop its last reader on a thread of calls, where a runtime must not be waited for.
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.inner.take() {
            runtime.shutdown_background();
        }
    }
}

fn logged(row: &Row) -> Result<Logged, Error> {
    decode(row.get(0), row.get(1), digest(row, "hash")?)
}

fn link(row: &Row, revision: usize, hash: &str) -> Result<Link, Error> {
    Ok(Link { sequence: sequence(row.get(revision))?, hash: digest(row, hash)? })
}

fn values(row: &Row) -> Values {
    let text = |at: usize| row.get::<_, Option<String>>(at).map_or(Value::Null, Value::Text);
    let each = [
        Value::Integer(row.get(0)),
        text(1),
        Value::Integer(row.get(2)),
        text(3),
        Value::Integer(i64::from(row.get::<_, bool>(4))),
        text(5),
        text(6),
        text(7),
        text(8),
        Value::Bytes(row.get(9)),
    ];
    COLUMNS.into_iter().zip(each).collect()
}
