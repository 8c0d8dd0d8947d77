//! Changes as rows. INVARIANT: after a change is written, the tables agree with a snapshot after applying it.

use rusqlite::{Connection, ToSql, params};

use super::log;
use crate::{
    domain::{
        change::{Change, Event},
        ids::{Extension, Login, OrganizationId, QueueId, UserId},
        model::{Organization, Queue, RoleAssignment, Session, User},
        settings::{Etag, PermissionSettings, Switch},
        time::Timestamp,
    },
    store::error::Error,
};

/// Write a change to the tables.
pub(super) fn write(connection: &Connection, change: &Change) -> Result<(), Error> {
    let organization_id = &change.organization_id;
    let organization = organization_id.as_str();
    match &change.event {
        Event::OrganizationCreated {
            organization: Organization { organization_id: _, display_name },
            settings,
            etag,
        } => {
            execute(
                connection,
                "INSERT INTO organization (organization_id, display_name, unassigned_queue_sign_in, settings_etag) \
                 VALUES (?, ?, ?, 0)",
                params![organization, display_name, settings.unassigned_queue_sign_in.as_str()],
            )?;
            write_settings(connection, organization_id, settings, *etag)
        }
        Event::OrganizationUpdated { before: _, organization: Organization { organization_id: _, display_name } } => {
            execute(
                connection,
                "UPDATE organization SET display_name = ? WHERE organization_id = ?",
                params![display_name, organization],
            )
        }
        Event::OrganizationDeleted { .. } => {
            execute(connection, "DELETE FROM organization WHERE organization_id = ?", params![organization])
        }
        Event::SettingsUpdated { before: _, settings, etag } => {
            write_settings(connection, organization_id, settings, *etag)
        }
        Event::UserCreated { user } => {
            let User { user_id, display_name, extension, contact_center_license, disabled, login } = user;
            execute(
                connection,
                "INSERT INTO user (organization_id, user_id, display_name, extension, contact_center_license, disabled, \
                 login) VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    organization,
                    user_id.as_str(),
                    display_name.as_str(),
                    extension.map(Extension::digits).as_deref(),
                    contact_center_license,
                    disabled,
                    login.as_ref().map(Login::as_str)
                ],
            )
        }
        Event::UserUpdated { before: _, user } => {
            let User { user_id, display_name, extension, contact_center_license, disabled, login } = user;
            execute(
                connection,
                "UPDATE user SET display_name = ?, extension = ?, contact_center_license = ?, disabled = ?, \
                 login = ? WHERE organization_id = ? AND user_id = ?",
                params![
                    display_name.as_str(),
                    extension.map(Extension::digits).as_deref(),
                    contact_center_license,
                    disabled,
                    login.as_ref().map(Login::as_str),
                    organization,
                    user_id.as_str()
                ],
            )
        }
        Event::UserDeleted { user } => execute(
            connection,
            "DELETE FROM user WHERE organization_id = ? AND user_id = ?",
            params![organization, user.user_id.as_str()],
        ),
        Event::QueueCreated { queue } => {
            let Queue { queue_id, display_name, extension, kind } = queue;
            execute(
                connection,
                "INSERT INTO queue (organization_id, queue_id, display_name, extension, kind) VALUES (?, ?, ?, ?, ?)",
                params![
                    organization,
                    queue_id.as_str(),
                    display_name,
                    extension.map(Extension::digits).as_deref(),
                    kind.as_str()
                ],
            )
        }
        Event::QueueUpdated { before: _, queue } => {
            let Queue { queue_id, display_name, extension, kind } = queue;
            execute(
                connection,
                "UPDATE queue SET display_name = ?, extension = ?, kind = ? WHERE organization_id = ? AND queue_id = ?",
                params![
                    display_name,
                    extension.map(Extension::digits).as_deref(),
                    kind.as_str(),
                    organization,
                    queue_id.as_str()
                ],
            )
        }
        Event::QueueDeleted { queue } => execute(
            connection,
            "DELETE FROM queue WHERE organization_id = ? AND queue_id = ?",
            params![organization, queue.queue_id.as_str()],
        ),
        Event::RoleAssigned { assignment: RoleAssignment { user_id, role, queue_id, penalty } } => match queue_id {
            None => execute(
                connection,
                "INSERT INTO organization_role (organization_id, user_id, role) VALUES (?, ?, ?)",
                params![organization, user_id.as_str(), role.as_str()],
            ),
            Some(queue_id) => execute(
                connection,
                "INSERT INTO queue_role (organization_id, user_id, role, queue_id, penalty) VALUES (?, ?, ?, ?, ?)",
                params![organization, user_id.as_str(), role.as_str(), queue_id.as_str(), penalty.number()],
            ),
        },
        Event::RoleAssignmentUpdated { before: _, assignment } => {
            let RoleAssignment { user_id, role, queue_id, penalty } = assignment;
            execute(
                connection,
                "UPDATE queue_role SET penalty = ? WHERE organization_id = ? AND user_id = ? AND role = ? \
                 AND queue_id = ?",
                params![
                    penalty.number(),
                    organization,
                    user_id.as_str(),
                    role.as_str(),
                    queue_id.as_ref().map(QueueId::as_str)
                ],
            )
        }
        Event::RoleUnassigned { assignment: RoleAssignment { user_id, role, queue_id, penalty: _ } } => {
            match queue_id {
                None => execute(
                    connection,
                    "DELETE FROM organization_role WHERE organization_id = ? AND user_id = ? AND role = ?",
                    params![organization, user_id.as_str(), role.as_str()],
                ),
                Some(queue_id) => execute(
                    connection,
                    "DELETE FROM queue_role WHERE organization_id = ? AND user_id = ? AND role = ? AND queue_id = ?",
                    params![organization, user_id.as_str(), role.as_str(), queue_id.as_str()],
                ),
            }
        }
        Event::PinSet { user_id, etag, hash } => execute(
            connection,
            "INSERT INTO user_pin (organization_id, user_id, hash, etag, failures, locked_until_ms) \
             VALUES (?1, ?2, ?3, ?4, 0, NULL) \
             ON CONFLICT DO UPDATE SET hash = ?3, etag = ?4, failures = 0, locked_until_ms = NULL",
            params![organization, user_id.as_str(), hash.reveal(), etag_number(*etag)?],
        ),
        Event::PinCleared { user_id } => execute(
            connection,
            "DELETE FROM user_pin WHERE organization_id = ? AND user_id = ?",
            params![organization, user_id.as_str()],
        ),
        Event::PinAccepted { user_id } => count_pin_failures(connection, (organization, user_id), 0, None),
        Event::PinRefused { user_id, failures, locked_until } => {
            count_pin_failures(connection, (organization, user_id), *failures, *locked_until)
        }
        Event::SessionStarted { session, justification: _ } => {
            let Session {
                session_id,
                user_id,
                queue_id,
                channel,
                basis,
                signed_in_by,
                sign_in_time,
                expire_time,
                device,
                end: _,
            } = session;
            execute(
                connection,
                "INSERT INTO session (organization_id, user_id, queue_id, session_id, channel, basis, signed_in_by, \
                 sign_in_time_ms, expire_time_ms, device) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    organization,
                    user_id.as_str(),
                    queue_id.as_str(),
                    session_id.as_str(),
                    channel.as_str(),
                    basis.as_str(),
                    signed_in_by.as_str(),
                    sign_in_time.unix_ms(),
                    expire_time.map(|time| time.unix_ms()),
                    device
                ],
            )
        }
        Event::SessionEnded { session, supervisor_id: _, justification: _ } => execute(
            connection,
            "DELETE FROM session WHERE session_id = ? AND organization_id = ?",
            params![session.session_id.as_str(), organization],
        ),
        // A refusal is in the audit log only.
        Event::AttemptRefused { .. } | Event::WriteRefused { .. } => Ok(()),
        Event::AuditLogCut { through, hash } => log::cut(connection, organization_id, *through, *hash),
    }
}

fn count_pin_failures(
    connection: &Connection,
    (organization, user_id): (&str, &UserId),
    failures: u8,
    locked_until: Option<Timestamp>,
) -> Result<(), Error> {
    execute(
        connection,
        "UPDATE user_pin SET failures = ?, locked_until_ms = ? WHERE organization_id = ? AND user_id = ?",
        params![failures, locked_until.map(|time| time.unix_ms()), organization, user_id.as_str()],
    )
}

fn etag_number(Etag(etag): Etag) -> Result<i64, Error> {
    i64::try_from(etag).map_err(|_| Error::Damaged(format!("etag {etag} is out of range")))
}

fn write_settings(
    connection: &Connection,
    organization_id: &OrganizationId,
    settings: &PermissionSettings,
    etag: Etag,
) -> Result<(), Error> {
    execute(
        connection,
        "UPDATE organization SET unassigned_queue_sign_in = ?, settings_etag = ? WHERE organization_id = ?",
        params![settings.unassigned_queue_sign_in.as_str(), etag_number(etag)?, organization_id.as_str()],
    )?;
    for switch in Switch::ALL {
        execute(
            connection,
            "INSERT INTO permission_setting (organization_id, setting, is_on) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET is_on = ?3",
            params![organization_id.as_str(), switch.as_str(), settings.is_on(*switch)],
        )?;
    }
    Ok(())
}

/// Run a statement that must change exactly one row. Otherwise the tables don't agree with the snapshot.
fn execute(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<(), Error> {
    match connection.prepare_cached(sql)?.execute(params)? {
        1 => Ok(()),
        rows => Err(Error::Damaged(format!("{rows} rows instead of one were changed by: {sql}"))),
    }
}
