//! The load of the whole state at start, and after the history was rewritten.

use std::pin::pin;

use tokio_postgres::{Client, Row, types::ToSql};
use tokio_stream::StreamExt;

use super::{
    database::{Store, Wait, no_answer, run},
    error::of_statement,
    head::Head,
    history::{self, digest, id},
    rows::Heads,
};
use crate::{
    domain::{
        chain::Link,
        ids::{Lineage, OrganizationId, Sequence},
        model::{Organization, Penalty, Queue, Session, User},
        pin::PinState,
        settings::{Etag, Switch},
        snapshot::{Assembly, Snapshot},
        time::Timestamp,
    },
    store::{error::Error, numbers::sequence},
};

/// The number of rows between two reports of progress.
const REPORT_EVERY: u64 = 100_000;

/// The state at one moment, and the end of its history.
struct Loaded {
    snapshot: Snapshot,
    head: Head,
    heads: Heads,
    last: Option<Link>,
    last_time: Timestamp,
}

impl Store {
    /// Load the state from the tables. `progress` repeatedly gets the number of rows.
    pub fn load(&mut self, progress: impl Fn(u64), wait: Wait<'_>) -> Result<Snapshot, Error> {
        // The state that the node knew does not count any more.
        self.last = None;
        self.connect(wait)?;
        let store_id = self.store_id.unwrap_or_default();
        let Self { runtime, session, .. } = self;
        let Some(connected) = session.as_ref() else { return Err(no_answer()) };
        let tables = Tables { client: &connected.client, progress: &progress };
        let loaded = run(runtime, tables.load(store_id), wait);
        let Some(Ok(Loaded { snapshot, head, heads, last, last_time })) = loaded else {
            *session = None;
            return Err(loaded.and_then(Result::err).unwrap_or_else(no_answer));
        };
        (self.head, self.heads, self.last, self.last_time) = (head, heads, last, last_time);
        Ok(snapshot)
    }
}

/// The tables of the state, to read.
pub(super) struct Tables<'c, P> {
    pub client: &'c Client,
    pub progress: &'c P,
}

impl<P: Fn(u64)> Tables<'_, P> {
    async fn load(&self, store_id: u64) -> Result<Loaded, Error> {
        let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL idle_in_transaction_session_timeout = 0";
        self.client.batch_execute(begin).await.map_err(|error| of_statement(&error))?;
        let head = self.client.query_one("SELECT epoch, sequence, nonce FROM head", &[]).await;
        let head = Head::of(&head.map_err(|error| of_statement(&error))?);
        let epochs = self.client.query(history::EPOCHS, &[]).await.map_err(|error| of_statement(&error))?;
        let lineage = head.lineage(store_id)?;
        let snapshot = self.state(lineage, head.sequence()?).await?;
        let snapshot = snapshot.in_epoch(lineage, history::epoch_starts(&epochs)?);
        let mut heads = Heads::new();
        self.each("SELECT organization_id, head_revision, head_hash FROM audit_chain", |row, _| {
            let link = Link { sequence: sequence(row.get(1))?, hash: digest(row, "head_hash")? };
            heads.insert(id::<OrganizationId>(row, 0)?, link);
            Ok(())
        })
        .await?;
        let last = self
            .client
            .query_opt("SELECT revision, hash, time_ms FROM audit_log WHERE revision = $1", &[&head.sequence])
            .await
            .map_err(|error| of_statement(&error))?;
        self.client.batch_execute("COMMIT").await.map_err(|error| of_statement(&error))?;
        let last_time = last.as_ref().map_or(0, |row| row.get("time_ms"));
        let link = |row: &Row| Ok::<_, Error>(Link { sequence: sequence(row.get(0))?, hash: digest(row, "hash")? });
        Ok(Loaded {
            snapshot,
            head,
            heads,
            last: last.as_ref().map(link).transpose()?,
            last_time: Timestamp::from_unix_ms(last_time),
        })
    }

    pub(super) async fn state(&self, lineage: Lineage, at: Sequence) -> Result<Snapshot, Error> {
        let mut assembly = Assembly::new(lineage);
        let organizations =
            "SELECT organization_id, display_name, unassigned_queue_sign_in, settings_etag FROM organization";
        self.each(organizations, |row, of| {
            let organization = Organization { organization_id: id(row, 0)?, display_name: row.get(1) };
            fits(of, assembly.organization(organization, Etag(sequence(row.get(3))?.0)))?;
            fits(of, assembly.settings(of))?.unassigned_queue_sign_in = id(row, 2)?;
            Ok(())
        })
        .await?;
        self.each("SELECT organization_id, setting, is_on FROM permission_setting", |row, of| {
            fits(of, assembly.settings(of))?.set(id::<Switch>(row, 1)?, row.get(2));
            Ok(())
        })
        .await?;
        let users = "SELECT organization_id, user_id, display_name, extension, contact_center_license, disabled, login \
                     FROM \"user\"";
        self.each(users, |row, of| {
            let user = User {
                user_id: id(row, 1)?,
                display_name: row.get::<_, &str>(2).into(),
                extension: optional(row, 3)?,
                contact_center_license: row.get(4),
                disabled: row.get(5),
                login: optional(row, 6)?,
            };
            fits(of, assembly.user(of, user))
        })
        .await?;
        self.each("SELECT organization_id, queue_id, display_name, extension, kind FROM queue", |row, of| {
            let queue = Queue {
                queue_id: id(row, 1)?,
                display_name: row.get(2),
                extension: optional(row, 3)?,
                kind: id(row, 4)?,
            };
            fits(of, assembly.queue(of, queue))
        })
        .await?;
        for roles in [
            "SELECT organization_id, user_id, role, NULL::text, 0::bigint FROM organization_role",
            "SELECT organization_id, user_id, role, queue_id, penalty FROM queue_role \
             ORDER BY organization_id, user_id, queue_id",
        ] {
            self.each(roles, |row, of| {
                let penalty = Penalty::new(row.get(4));
                let penalty = penalty.map_err(|error| Error::Damaged(format!("queue_role.penalty {error}")))?;
                fits(of, assembly.role(of, row.get(1), id(row, 2)?, row.get(3), penalty))
            })
            .await?;
        }
        let pins = "SELECT organization_id, user_id, etag, failures, locked_until_ms FROM user_pin";
        self.each(pins, |row, of| {
            let failures = u8::try_from(row.get::<_, i64>(3));
            let pin = PinState {
                etag: Etag(sequence(row.get(2))?.0),
                failures: failures.map_err(|_| Error::Damaged("user_pin.failures is out of range".to_owned()))?,
                locked_until: row.get::<_, Option<i64>>(4).map(Timestamp::from_unix_ms),
            };
            fits(of, assembly.pin(of, row.get(1), pin))
        })
        .await?;
        let sessions = "SELECT organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
                        sign_in_time_ms, expire_time_ms, device FROM session";
        self.each(sessions, |row, of| {
            let session = Session {
                user_id: id(row, 1)?,
                queue_id: id(row, 2)?,
                session_id: id(row, 3)?,
                channel: id(row, 4)?,
                basis: id(row, 5)?,
                signed_in_by: id(row, 6)?,
                sign_in_time: Timestamp::from_unix_ms(row.get(7)),
                expire_time: row.get::<_, Option<i64>>(8).map(Timestamp::from_unix_ms),
                device: row.get(9),
                end: None,
            };
            fits(of, assembly.session(of, session))
        })
        .await?;
        self.each("SELECT organization_id, cut_revision FROM audit_chain WHERE cut_revision > 0", |row, _| {
            assembly.audit_cut(id(row, 0)?, sequence(row.get(1))?);
            Ok(())
        })
        .await?;
        assembly.finish(at).map_err(|problem| Error::Damaged(format!("the tables don't form a state: {problem}")))
    }

    /// Read each row; its first column is the organization.
    async fn each(&self, sql: &str, mut take: impl FnMut(&Row, &str) -> Result<(), Error>) -> Result<(), Error> {
        let none: [&(dyn ToSql + Sync); 0] = [];
        let rows = self.client.query_raw(sql, none).await.map_err(|error| of_statement(&error))?;
        let (mut rows, mut count) = (pin!(rows), 0_u64);
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| of_statement(&error))?;
            take(&row, row.get(0))?;
            count += 1;
            if count.is_multiple_of(REPORT_EVERY) {
                (self.progress)(REPORT_EVERY);
            }
        }
        Ok(())
    }
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(row: &Row, column: usize) -> Result<Option<T>, Error> {
    let text: Option<&str> = row.get(column);
    let malformed = |error| Error::Damaged(format!("column {column} {error}"));
    text.map(|text| text.parse().map_err(malformed)).transpose()
}

fn fits<T>(organization_id: &str, fitted: Result<T, &'static str>) -> Result<T, Error> {
    fitted.map_err(|problem| {
        Error::Damaged(format!("a row does not fit the state: {problem} (organization `{organization_id}`)"))
    })
}
