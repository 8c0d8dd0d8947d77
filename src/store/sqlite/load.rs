//! The load of the whole state at start.

use rusqlite::{Connection, Row};

use super::{
    database::Store,
    values::{column, of_column, optional_column, optional_text, text},
};
use crate::{
    domain::{
        ids::{Lineage, Sequence},
        model::{Organization, Penalty, Queue, Session, User},
        pin::PinState,
        settings::{Etag, Switch},
        snapshot::{Assembly, Snapshot},
        time::Timestamp,
    },
    store::{error::Error, numbers::sequence},
};

/// The limit of SQLite's page cache, for the pages that a large batch changes. SQLite allocates and frees pages above
/// the limit in every batch.
const CACHE_KIB: u32 = 16 * 1024;

impl Store {
    /// Load the state from the tables.
    pub fn load(&self) -> Result<Snapshot, Error> {
        let tables = Tables { connection: &self.connection, lineage: self.lineage };
        let loaded = tables.load().map_err(|error| error.of_file(&self.path))?;
        // Reading everything once needs no more than SQLite's default.
        self.connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
        Ok(loaded)
    }
}

/// The tables of the state, to read.
pub(super) struct Tables<'c> {
    pub connection: &'c Connection,
    pub lineage: Lineage,
}

impl Tables<'_> {
    pub(super) fn load(&self) -> Result<Snapshot, Error> {
        let mut assembly = Assembly::new(self.lineage);
        let organizations =
            "SELECT organization_id, display_name, unassigned_queue_sign_in, settings_etag FROM organization";
        self.each(organizations, |row, id| {
            let organization =
                Organization { organization_id: id.parse().map_err(of_column(0))?, display_name: row.get(1)? };
            fits(id, assembly.organization(organization, Etag(sequence(row.get(3)?)?.0)))?;
            fits(id, assembly.settings(id))?.unassigned_queue_sign_in = text(row, 2)?;
            Ok(())
        })?;
        self.each("SELECT organization_id, setting, is_on FROM permission_setting", |row, id| {
            fits(id, assembly.settings(id))?.set(text::<Switch>(row, 1)?, row.get(2)?);
            Ok(())
        })?;
        let users = "SELECT organization_id, user_id, display_name, extension, contact_center_license, disabled, login FROM user";
        self.each(users, |row, id| {
            let user = User {
                user_id: text(row, 1)?,
                display_name: column(row, 2)?.into(),
                extension: optional_text(row, 3)?,
                contact_center_license: row.get(4)?,
                disabled: row.get(5)?,
                login: optional_text(row, 6)?,
            };
            fits(id, assembly.user(id, user))
        })?;
        self.each("SELECT organization_id, queue_id, display_name, extension, kind FROM queue", |row, id| {
            let queue = Queue {
                queue_id: text(row, 1)?,
                display_name: row.get(2)?,
                extension: optional_text(row, 3)?,
                kind: text(row, 4)?,
            };
            fits(id, assembly.queue(id, queue))
        })?;
        for roles in [
            "SELECT organization_id, user_id, role, NULL, 0 FROM organization_role",
            "SELECT organization_id, user_id, role, queue_id, penalty FROM queue_role \
             ORDER BY organization_id, user_id, queue_id",
        ] {
            self.each(roles, |row, id| {
                let role = column(row, 2)?.parse().map_err(of_column(2))?;
                let penalty = Penalty::new(row.get(4)?).map_err(of_column(4))?;
                fits(id, assembly.role(id, column(row, 1)?, role, optional_column(row, 3)?, penalty))
            })?;
        }
        let pins = "SELECT organization_id, user_id, etag, failures, locked_until_ms FROM user_pin";
        self.each(pins, |row, id| {
            let pin = PinState {
                etag: Etag(sequence(row.get(2)?)?.0),
                failures: row.get(3)?,
                locked_until: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_unix_ms),
            };
            fits(id, assembly.pin(id, column(row, 1)?, pin))
        })?;
        let sessions = "SELECT organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
                        sign_in_time_ms, expire_time_ms, device FROM session";
        self.each(sessions, |row, id| {
            let session = Session {
                user_id: text(row, 1)?,
                queue_id: text(row, 2)?,
                session_id: text(row, 3)?,
                channel: text(row, 4)?,
                basis: text(row, 5)?,
                signed_in_by: text(row, 6)?,
                sign_in_time: Timestamp::from_unix_ms(row.get(7)?),
                expire_time: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_unix_ms),
                device: row.get(9)?,
                end: None,
            };
            fits(id, assembly.session(id, session))
        })?;
        self.each("SELECT organization_id, cut_revision FROM audit_chain WHERE cut_revision > 0", |row, id| {
            assembly.audit_cut(id.parse().map_err(of_column(0))?, sequence(row.get(1)?)?);
            Ok(())
        })?;
        // The log may have been cut through its end, so the end is also stored beside it.
        let last = "SELECT max(last) FROM (SELECT max(revision) AS last FROM audit_log \
                    UNION ALL SELECT max(head_revision) FROM audit_chain)";
        let last: Option<i64> = self.connection.query_row(last, [], |row| row.get(0))?;
        let last = last.map_or(Ok(Sequence(0)), sequence)?;
        assembly.finish(last).map_err(|problem| Error::Damaged(format!("the tables don't form a state: {problem}")))
    }

    /// Read each row; its first column is the organization.
    fn each(&self, sql: &str, mut row: impl FnMut(&Row<'_>, &str) -> Result<(), Error>) -> Result<(), Error> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            row(found, column(found, 0)?)?;
        }
        Ok(())
    }
}

fn fits<T>(organization_id: &str, fitted: Result<T, &'static str>) -> Result<T, Error> {
    fitted.map_err(|problem| {
        Error::Damaged(format!("a row does not fit the state: {problem} (organization `{organization_id}`)"))
    })
}
