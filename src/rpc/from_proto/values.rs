//! Converts single fields: ids, texts, enumerations, times.

use std::{str::FromStr, time::Duration};

use super::{
    super::{
        error::Error,
        names::{AUDIT_ACTION_PREFIX, PERMISSION_PREFIX},
        proto,
    },
    all::all,
};
use crate::{
    auth::Identity,
    domain::{
        command::IfMissing,
        directory_lists::TextPrefix,
        ids::{Malformed, OrganizationId, QueueRef, Revision, display_name, free_text},
        model::{Penalty, Queue, QueueKind, Role, SignInChannel, User},
        permission::QueueMismatch,
        pin::{MalformedPin, Pin},
        settings::UnassignedQueueSignIn,
        time::Timestamp,
        vocabulary::{AuditAction, Permission},
    },
};

/// Check that the field is empty or a well-formed revision. The check that it is one of this store comes later.
pub fn at_least(at_least_revision: &str) -> Result<(), Error> {
    optional::<Revision>("at_least_revision", at_least_revision).map(drop)
}

/// The longest time to live of a session: 3,650 days.
const LONGEST_TTL: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

const QUEUE_KINDS: &str = "QUEUE_KIND_CALL_QUEUE, QUEUE_KIND_INBOX, QUEUE_KIND_CAMPAIGN or QUEUE_KIND_RING_GROUP";

pub fn organization_id(caller: &Identity, text: &str) -> Result<OrganizationId, Error> {
    organization(caller, "organization_id", text)
}

/// Read the organization id of a request. INVARIANT: no other function does. So a caller learns nothing about an
/// organization that it may not use, not even whether it exists.
pub fn organization(caller: &Identity, field: &str, text: &str) -> Result<OrganizationId, Error> {
    let organization_id = required(field, text)?;
    if caller.may_use(&organization_id) { Ok(organization_id) } else { Err(Error::NotTheirs(organization_id)) }
}

pub fn required<T: FromStr<Err = Malformed>>(field: &str, text: &str) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, &"is required"));
    }
    text.parse().map_err(|error| Error::invalid(field, &error))
}

pub fn optional<T: FromStr<Err = Malformed>>(field: &str, text: &str) -> Result<Option<T>, Error> {
    if text.is_empty() { Ok(None) } else { required(field, text).map(Some) }
}

pub fn channel(channel: i32) -> Result<SignInChannel, Error> {
    let expected = "CHANNEL_FEATURE_CODE or CHANNEL_AGENT_DASHBOARD";
    match proto::Channel::try_from(channel) {
        Ok(proto::Channel::FeatureCode) => Ok(SignInChannel::FeatureCode),
        Ok(proto::Channel::AgentDashboard) => Ok(SignInChannel::AgentDashboard),
        Ok(proto::Channel::Unspecified) => Err(Error::invalid("channel", &format_args!("is required: {expected}"))),
        Ok(proto::Channel::Supervisor) => {
            let problem = format_args!("must be {expected}; CHANNEL_SUPERVISOR appears in sessions only");
            Err(Error::invalid("channel", &problem))
        }
        Err(_) => Err(Error::invalid("channel", &format_args!("must be {expected}, but is {channel}"))),
    }
}

pub fn role(value: i32) -> Result<Role, Error> {
    optional_role(value)?
        .ok_or_else(|| Error::invalid("role", &"is required: ROLE_CONTACT_ADMIN, ROLE_SUPERVISOR or ROLE_AGENT"))
}

pub fn optional_penalty(penalty: Option<i32>) -> Result<Option<Penalty>, Error> {
    let penalty = penalty.map(|number| Penalty::new(number.into())).transpose();
    penalty.map_err(|malformed| Error::invalid("penalty", &malformed))
}

pub fn pin(pin: &str) -> Result<Pin, Error> {
    pin.parse().map_err(|malformed: MalformedPin| Error::invalid("pin", &malformed))
}

pub fn optional_role(role: i32) -> Result<Option<Role>, Error> {
    match proto::Role::try_from(role) {
        Ok(proto::Role::Unspecified) => Ok(None),
        Ok(proto::Role::ContactAdmin) => Ok(Some(Role::ContactAdmin)),
        Ok(proto::Role::Supervisor) => Ok(Some(Role::Supervisor)),
        Ok(proto::Role::Agent) => Ok(Some(Role::Agent)),
        Err(_) => {
            let problem = format_args!("must be ROLE_CONTACT_ADMIN, ROLE_SUPERVISOR or ROLE_AGENT, but is {role}");
            Err(Error::invalid("role", &problem))
        }
    }
}

/// Read the field; unspecified is `None`.
pub fn audit_action(value: i32) -> Result<Option<AuditAction>, Error> {
    match proto::AuditAction::try_from(value) {
        Ok(proto::AuditAction::Unspecified) => Ok(None),
        Ok(action) => {
            let name = action.as_str_name();
            let name = name.strip_prefix(AUDIT_ACTION_PREFIX).unwrap_or(name);
            name.parse().map(Some).map_err(|error| Error::invalid("action", &error))
        }
        Err(_) => {
            let problem = format_args!("must be an audit action such as AUDIT_ACTION_SIGN_IN, but is {value}");
            Err(Error::invalid("action", &problem))
        }
    }
}

/// Read a timestamp, to the millisecond.
pub fn time(field: &str, time: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Error> {
    let Some(prost_types::Timestamp { seconds, nanos }) = time else { return Ok(None) };
    let wrong = || Error::invalid(field, &"must be a timestamp from the year 1 to 9999");
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(wrong());
    }
    Ok(Some(Timestamp::from_unix_ms(seconds * 1_000 + i64::from(nanos / 1_000_000))))
}

pub fn permission(value: i32) -> Result<Permission, Error> {
    const EXPECTED: &str = "a permission that ListPermissions lists, such as PERMISSION_SIGN_IN_AGENTS";
    match proto::Permission::try_from(value) {
        Ok(proto::Permission::Unspecified) => {
            Err(Error::invalid("permission", &format_args!("is required: {EXPECTED}")))
        }
        Ok(permission) => {
            let name = permission.as_str_name();
            let name = name.strip_prefix(PERMISSION_PREFIX).unwrap_or(name);
            name.parse().map_err(|error| Error::invalid("permission", &error))
        }
        Err(_) => Err(Error::invalid("permission", &format_args!("must be {EXPECTED}, but is {value}"))),
    }
}

/// Convert the error of a permission check that has a queue but needs none, or needs a queue but has none.
pub fn queue_mismatch(error: QueueMismatch, queue: Option<&QueueRef>) -> Error {
    let field = match queue {
        None | Some(QueueRef::Id(_)) => "queue_id",
        Some(QueueRef::Extension(_)) => "queue_extension",
    };
    Error::invalid(field, &error)
}

pub fn queue_kind(kind: i32) -> Result<QueueKind, Error> {
    let field = "queue.kind";
    optional_queue_kind(field, kind)?.ok_or_else(|| Error::invalid(field, &format_args!("is required: {QUEUE_KINDS}")))
}

/// Read the field; unspecified is `None`.
pub fn optional_queue_kind(field: &str, kind: i32) -> Result<Option<QueueKind>, Error> {
    match proto::QueueKind::try_from(kind) {
        Ok(proto::QueueKind::Unspecified) => Ok(None),
        Ok(proto::QueueKind::CallQueue) => Ok(Some(QueueKind::CallQueue)),
        Ok(proto::QueueKind::Inbox) => Ok(Some(QueueKind::Inbox)),
        Ok(proto::QueueKind::Campaign) => Ok(Some(QueueKind::Campaign)),
        Ok(proto::QueueKind::RingGroup) => Ok(Some(QueueKind::RingGroup)),
        Err(_) => Err(Error::invalid(field, &format_args!("must be {QUEUE_KINDS}, but is {kind}"))),
    }
}

/// Read the field; unspecified is `None`.
pub fn unassigned_queue_sign_in(field: &str, value: i32) -> Result<Option<UnassignedQueueSignIn>, Error> {
    match proto::UnassignedQueueSignIn::try_from(value) {
        Ok(proto::UnassignedQueueSignIn::Unspecified) => Ok(None),
        Ok(proto::UnassignedQueueSignIn::Allowed) => Ok(Some(UnassignedQueueSignIn::Allowed)),
        Ok(proto::UnassignedQueueSignIn::Restricted) => Ok(Some(UnassignedQueueSignIn::Restricted)),
        Err(_) => {
            let expected = "UNASSIGNED_QUEUE_SIGN_IN_ALLOWED or UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED";
            Err(Error::invalid(field, &format_args!("must be {expected}, but is {value}")))
        }
    }
}

/// Read the field; an empty etag is `None`. Any other text that isn't the present etag is stale.
pub fn expected_etag(etag: &str) -> Option<String> {
    (!etag.is_empty()).then(|| etag.to_owned())
}

pub fn if_missing(allow_missing: bool) -> IfMissing {
    if allow_missing { IfMissing::Accept } else { IfMissing::Fail }
}

/// Read the text of a filter.
pub fn text_prefix(text: &str) -> Result<TextPrefix, Error> {
    let checked = free_text(text, 200, "at most 200 characters without control characters");
    checked.map(|text| TextPrefix::new(&text)).map_err(|error| Error::invalid("text", &error))
}

pub fn device(text: &str) -> Result<String, Error> {
    let expected = "at most 200 characters without control characters";
    free_text(text, 200, expected).map_err(|error| Error::invalid("device", &error))
}

pub fn justification(text: &str) -> Result<String, Error> {
    let expected = "at most 1,000 characters without control characters";
    free_text(text, 1_000, expected).map_err(|error| Error::invalid("justification", &error))
}

pub fn ttl(ttl: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(ttl) = ttl else { return Ok(None) };
    let wrong = || Error::invalid("ttl", &"must be from a millisecond to 3,650 days; leave it out for no end");
    if ttl.seconds < 0 || ttl.nanos < 0 {
        return Err(wrong());
    }
    let ttl = Duration::try_from(ttl).map_err(|_| wrong())?;
    if (Duration::from_millis(1)..=LONGEST_TTL).contains(&ttl) { Ok(Some(ttl)) } else { Err(wrong()) }
}

pub fn name(field: &str, text: &str) -> Result<String, Error> {
    display_name(text).map_err(|error| Error::invalid(field, &error))
}

/// Read the user to create.
pub fn new_user(user: Option<proto::User>) -> Result<User, Error> {
    let user = user.ok_or_else(|| Error::invalid("user", &"is required"))?;
    let proto::User { user_id, display_name, extension, contact_center_license, disabled, etag: _, login } = user;
    let (user_id, display_name, extension, login) = all((
        required("user.user_id", &user_id),
        name("user.display_name", &display_name.unwrap_or_default()),
        optional("user.extension", &extension.unwrap_or_default()),
        optional("user.login", &login.unwrap_or_default()),
    ))?;
    Ok(User {
        user_id,
        display_name: display_name.into(),
        extension,
        contact_center_license: contact_center_license.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        login,
    })
}

/// Read the queue to create.
pub fn new_queue(queue: Option<proto::Queue>) -> Result<Queue, Error> {
    let queue = queue.ok_or_else(|| Error::invalid("queue", &"is required"))?;
    let proto::Queue { queue_id, display_name, extension, kind, etag: _ } = queue;
    let (queue_id, display_name, extension, kind) = all((
        required("queue.queue_id", &queue_id),
        name("queue.display_name", &display_name.unwrap_or_default()),
        optional("queue.extension", &extension.unwrap_or_default()),
        queue_kind(kind),
    ))?;
    Ok(Queue { queue_id, display_name, extension, kind })
}
