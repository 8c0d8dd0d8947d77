//! Reading the whole state at start. The rows are turned into the changes that would make them, so that a loaded
//! snapshot is built by the code that builds every other.

use std::{fmt::Display, str::FromStr};

use rusqlite::{Connection, Row};

use super::{Error, Store, sequence};
use crate::domain::{
    audit::Digest,
    change::{Change, Etag, Event},
    ids::{Lineage, OrganizationId, Sequence},
    model::{Organization, Queue, RoleAssignment, Session, User},
    settings::{PermissionSettings, Switch},
    snapshot::Snapshot,
    time::Timestamp,
};

impl Store {
    /// The state as the tables have it.
    pub fn load(&self) -> Result<Snapshot, Error> {
        let tables = Tables { connection: &self.connection, lineage: self.lineage };
        tables.load().map_err(|error| error.of_file(&self.path))
    }
}

/// The tables of the state, to be read.
pub(super) struct Tables<'c> {
    pub connection: &'c Connection,
    pub lineage: Lineage,
}

impl Tables<'_> {
    pub(super) fn load(&self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::empty(self.lineage);
        self.each(
            &mut snapshot,
            "SELECT organization_id, display_name, unassigned_queue_sign_in, settings_etag FROM organization",
            |row, organization_id| {
                let mut settings = PermissionSettings::default();
                settings.unassigned_queue_sign_in = text(row, 2)?;
                let organization = Organization { organization_id: organization_id.clone(), display_name: row.get(1)? };
                Ok(Event::OrganizationCreated { organization, settings, etag: Etag(sequence(row.get(3)?)?.0) })
            },
        )?;
        self.load_settings(&mut snapshot)?;
        self.each(
            &mut snapshot,
            "SELECT organization_id, user_id, display_name, extension, contact_center_license, disabled FROM user",
            |row, _| {
                let user = User {
                    user_id: text(row, 1)?,
                    display_name: row.get(2)?,
                    extension: optional_text(row, 3)?,
                    contact_center_license: row.get(4)?,
                    disabled: row.get(5)?,
                };
                Ok(Event::UserCreated { user })
            },
        )?;
        self.each(
            &mut snapshot,
            "SELECT organization_id, queue_id, display_name, extension, kind FROM queue",
            |row, _| {
                let queue = Queue {
                    queue_id: text(row, 1)?,
                    display_name: row.get(2)?,
                    extension: optional_text(row, 3)?,
                    kind: text(row, 4)?,
                };
                Ok(Event::QueueCreated { queue })
            },
        )?;
        for roles in [
            "SELECT organization_id, user_id, role, NULL FROM organization_role",
            "SELECT organization_id, user_id, role, queue_id FROM queue_role",
        ] {
            self.each(&mut snapshot, roles, |row, _| {
                let assignment =
                    RoleAssignment { user_id: text(row, 1)?, role: text(row, 2)?, queue_id: optional_text(row, 3)? };
                Ok(Event::RoleAssigned { assignment })
            })?;
        }
        self.each(
            &mut snapshot,
            "SELECT organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, sign_in_time_ms, \
             expire_time_ms, device FROM session",
            |row, _| {
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
                Ok(Event::SessionStarted { session, justification: String::new() })
            },
        )?;
        self.load_cuts(&mut snapshot)?;
        // The log may have been cut through its end, so where it ends is written down beside it.
        let last = "SELECT max(last) FROM (SELECT max(revision) AS last FROM audit_log \
                    UNION ALL SELECT max(head_revision) FROM audit_chain)";
        let last: Option<i64> = self.connection.query_row(last, [], |row| row.get(0))?;
        Ok(snapshot.at(last.map_or(Ok(Sequence(0)), sequence)?))
    }

    fn load_cuts(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let sql = "SELECT organization_id, cut_revision FROM audit_chain WHERE cut_revision > 0";
        self.each(snapshot, sql, |row, _| {
            Ok(Event::AuditLogCut { through: sequence(row.get(1)?)?, hash: Digest::GENESIS })
        })
    }

    fn load_settings(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let mut statement = self
            .connection
            .prepare("SELECT organization_id, setting, is_on FROM permission_setting ORDER BY organization_id")?;
        let mut rows = statement.query([])?;
        let mut of_one: Option<(OrganizationId, PermissionSettings)> = None;
        while let Some(row) = rows.next()? {
            let organization_id: OrganizationId = text(row, 0)?;
            if of_one.as_ref().is_none_or(|(of, _)| *of != organization_id) {
                finish_settings(snapshot, of_one.take())?;
            }
            let before = snapshot.tenant(organization_id.as_str()).map(|tenant| *tenant.settings());
            let (_, settings) = of_one.get_or_insert((organization_id, before.unwrap_or_default()));
            settings.set(text::<Switch>(row, 1)?, row.get(2)?);
        }
        finish_settings(snapshot, of_one)
    }

    /// Applies one event for each row; the row's first column is the organization.
    fn each(
        &self,
        snapshot: &mut Snapshot,
        sql: &str,
        event: impl Fn(&Row<'_>, &OrganizationId) -> Result<Event, Error>,
    ) -> Result<(), Error> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let organization_id: OrganizationId = text(row, 0)?;
            let event = event(row, &organization_id)?;
            apply(snapshot, Change { organization_id, event })?;
        }
        Ok(())
    }
}

fn finish_settings(snapshot: &mut Snapshot, loaded: Option<(OrganizationId, PermissionSettings)>) -> Result<(), Error> {
    let Some((organization_id, settings)) = loaded else { return Ok(()) };
    let Some(tenant) = snapshot.tenant(organization_id.as_str()) else {
        return Err(Error::Damaged(format!("permission_setting names no organization: `{organization_id}`")));
    };
    let event = Event::SettingsUpdated { before: *tenant.settings(), settings, etag: tenant.settings_etag() };
    apply(snapshot, Change { organization_id, event })
}

fn apply(snapshot: &mut Snapshot, change: Change) -> Result<(), Error> {
    snapshot.apply(&change).map_err(|error| Error::Damaged(error.to_string()))
}

pub(super) fn text<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> Result<T, Error> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| Error::Damaged(format!("column {column} {error}")))
}

fn optional_text<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> Result<Option<T>, Error> {
    let text: Option<String> = row.get(column)?;
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|error| Error::Damaged(format!("column {column} {error}")))
}
