//! Messages to domain values. What is malformed is an [`Error::Invalid`] that names the field.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use prost_types::FieldMask;

use super::{
    proto,
    status::{Error, FieldViolation},
};
use crate::{
    auth::Identity,
    domain::{
        command::{IfMissing, QueuePatch, UserPatch},
        ids::{Extension, Malformed, OrganizationId, QueueRef, Revision, UserRef, display_name, free_text, shortened},
        model::{Queue, QueueKind, Role, SignInChannel, User},
        permission::WrongScope,
        settings::{SettingsPatch, Switch, UNASSIGNED_QUEUE_SIGN_IN, UnassignedQueueSignIn},
        time::Timestamp,
        vocabulary::{AuditAction, Permission},
    },
};

/// All of several values, or an error that names every field that is wrong.
pub(super) fn all<V: All>(values: V) -> Result<V::Values, Error> {
    values.all()
}

/// Values that may each be wrong.
pub(super) trait All {
    /// The values when none is.
    type Values;

    fn all(self) -> Result<Self::Values, Error>;
}

macro_rules! all_of {
    ($($value:ident)+) => {
        #[allow(non_snake_case, reason = "one name is the type and the value")]
        impl<$($value),+> All for ($(Result<$value, Error>,)+) {
            type Values = ($($value,)+);

            fn all(self) -> Result<Self::Values, Error> {
                let ($($value,)+) = self;
                let mut wrong = Vec::new();
                $(let $value = noted($value, &mut wrong)?;)+
                match ($($value,)+) {
                    ($(Some($value),)+) => Ok(($($value,)+)),
                    _ => Err(Error::Invalid(wrong)),
                }
            }
        }
    };
}

all_of!(A B);
all_of!(A B C);
all_of!(A B C D);
all_of!(A B C D E);
all_of!(A B C D E F);
all_of!(A B C D E F G);
all_of!(A B C D E F G H);
all_of!(A B C D E F G H I);

/// A value, or nothing where a field is wrong, which is noted. Other errors are not about fields, and come first.
fn noted<T>(value: Result<T, Error>, wrong: &mut Vec<FieldViolation>) -> Result<Option<T>, Error> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Error::Invalid(violations)) => {
            wrong.extend(violations);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether this is a revision, or none is given. Whether it is one of this store is asked later.
pub(super) fn at_least(at_least_revision: &str) -> Result<(), Error> {
    optional::<Revision>("at_least_revision", at_least_revision).map(drop)
}

/// The longest time to live of a session: 3,650 days.
const LONGEST_TTL: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

pub(super) fn organization_id(caller: &Identity, text: &str) -> Result<OrganizationId, Error> {
    organization(caller, "organization_id", text)
}

/// The organization that a request is about. INVARIANT: this is the only way to it, so that nobody learns anything of an
/// organization that isn't theirs, not even whether it exists.
pub(super) fn organization(caller: &Identity, field: &str, text: &str) -> Result<OrganizationId, Error> {
    let organization_id = required(field, text)?;
    if caller.may_use(&organization_id) { Ok(organization_id) } else { Err(Error::NotTheirs(organization_id)) }
}

pub(super) fn required<T: FromStr<Err = Malformed>>(field: &str, text: &str) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, &"is required"));
    }
    text.parse().map_err(|error| Error::invalid(field, &error))
}

pub(super) fn optional<T: FromStr<Err = Malformed>>(field: &str, text: &str) -> Result<Option<T>, Error> {
    if text.is_empty() { Ok(None) } else { required(field, text).map(Some) }
}

/// One of the `oneof user` that every request has of its own.
pub(super) trait NamesUser {
    fn user_ref(self) -> Result<UserRef, Error>;
}

/// One of the `oneof queue` that every request has of its own.
pub(super) trait NamesQueue {
    fn queue_ref(self) -> Result<QueueRef, Error>;
}

macro_rules! names_user {
    ($($message:ident)+) => {$(
        impl NamesUser for proto::$message::User {
            fn user_ref(self) -> Result<UserRef, Error> {
                match self {
                    Self::UserId(id) => required("user_id", &id).map(UserRef::Id),
                    Self::UserExtension(extension) => required("user_extension", &extension).map(UserRef::Extension),
                }
            }
        }
    )+};
}

macro_rules! names_queue {
    ($($message:ident)+) => {$(
        impl NamesQueue for proto::$message::Queue {
            fn queue_ref(self) -> Result<QueueRef, Error> {
                match self {
                    Self::QueueId(id) => required("queue_id", &id).map(QueueRef::Id),
                    Self::QueueExtension(extension) => required("queue_extension", &extension).map(QueueRef::Extension),
                }
            }
        }
    )+};
}

macro_rules! names_supervisor {
    ($($message:ident)+) => {$(
        impl NamesUser for proto::$message::Supervisor {
            fn user_ref(self) -> Result<UserRef, Error> {
                match self {
                    Self::SupervisorId(id) => required("supervisor_id", &id).map(UserRef::Id),
                    Self::SupervisorExtension(extension) => {
                        required("supervisor_extension", &extension).map(UserRef::Extension)
                    }
                }
            }
        }
    )+};
}

names_user!(check_queue_access_request check_queue_access_item list_accessible_queues_request sign_in_request
    sign_out_request supervisor_sign_in_request supervisor_sign_out_request get_session_request list_sessions_request
    watch_sessions_request get_user_request assign_role_request unassign_role_request list_role_assignments_request
    check_permission_request check_permission_item list_user_permissions_request list_audit_events_request);
names_queue!(check_queue_access_request check_queue_access_item list_eligible_agents_request sign_in_request
    sign_out_request supervisor_sign_in_request supervisor_sign_out_request get_session_request list_sessions_request
    watch_sessions_request get_queue_request assign_role_request unassign_role_request list_role_assignments_request
    check_permission_request check_permission_item list_user_permissions_request list_audit_events_request);
names_supervisor!(supervisor_sign_in_request supervisor_sign_out_request);

pub(super) fn user(user: Option<impl NamesUser>) -> Result<UserRef, Error> {
    optional_user(user)?.ok_or_else(|| Error::invalid("user_id", &"is required, or user_extension"))
}

pub(super) fn optional_user(user: Option<impl NamesUser>) -> Result<Option<UserRef>, Error> {
    user.map(NamesUser::user_ref).transpose()
}

pub(super) fn supervisor(supervisor: Option<impl NamesUser>) -> Result<UserRef, Error> {
    optional_user(supervisor)?.ok_or_else(|| Error::invalid("supervisor_id", &"is required, or supervisor_extension"))
}

pub(super) fn queue(queue: Option<impl NamesQueue>) -> Result<QueueRef, Error> {
    optional_queue(queue)?.ok_or_else(|| Error::invalid("queue_id", &"is required, or queue_extension"))
}

pub(super) fn optional_queue(queue: Option<impl NamesQueue>) -> Result<Option<QueueRef>, Error> {
    queue.map(NamesQueue::queue_ref).transpose()
}

pub(super) fn channel(channel: i32) -> Result<SignInChannel, Error> {
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

pub(super) fn role(value: i32) -> Result<Role, Error> {
    optional_role(value)?
        .ok_or_else(|| Error::invalid("role", &"is required: ROLE_CONTACT_ADMIN, ROLE_SUPERVISOR or ROLE_AGENT"))
}

pub(super) fn optional_role(role: i32) -> Result<Option<Role>, Error> {
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

/// Unspecified is none.
pub(super) fn audit_action(value: i32) -> Result<Option<AuditAction>, Error> {
    match proto::AuditAction::try_from(value) {
        Ok(proto::AuditAction::Unspecified) => Ok(None),
        Ok(action) => {
            let name = action.as_str_name();
            let name = name.strip_prefix(super::AUDIT_ACTION_PREFIX).unwrap_or(name);
            name.parse().map(Some).map_err(|error| Error::invalid("action", &error))
        }
        Err(_) => {
            let problem = format_args!("must be an audit action such as AUDIT_ACTION_SIGN_IN, but is {value}");
            Err(Error::invalid("action", &problem))
        }
    }
}

/// An instant, to the millisecond.
pub(super) fn time(field: &str, time: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Error> {
    let Some(prost_types::Timestamp { seconds, nanos }) = time else { return Ok(None) };
    let wrong = || Error::invalid(field, &"must be a timestamp from the year 1 to 9999");
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(wrong());
    }
    Ok(Some(Timestamp::from_unix_ms(seconds * 1_000 + i64::from(nanos / 1_000_000))))
}

pub(super) fn permission(value: i32) -> Result<Permission, Error> {
    const EXPECTED: &str = "a permission that ListPermissions lists, such as PERMISSION_SIGN_IN_AGENTS";
    match proto::Permission::try_from(value) {
        Ok(proto::Permission::Unspecified) => {
            Err(Error::invalid("permission", &format_args!("is required: {EXPECTED}")))
        }
        Ok(permission) => {
            let name = permission.as_str_name();
            let name = name.strip_prefix(super::PERMISSION_PREFIX).unwrap_or(name);
            name.parse().map_err(|error| Error::invalid("permission", &error))
        }
        Err(_) => Err(Error::invalid("permission", &format_args!("must be {EXPECTED}, but is {value}"))),
    }
}

/// A question about a permission that names a queue where none belongs, or none where one does.
pub(super) fn wrong_scope(error: WrongScope, queue: Option<&QueueRef>) -> Error {
    let field = match queue {
        None | Some(QueueRef::Id(_)) => "queue_id",
        Some(QueueRef::Extension(_)) => "queue_extension",
    };
    Error::invalid(field, &error)
}

fn queue_kind(kind: i32) -> Result<QueueKind, Error> {
    let expected = "QUEUE_KIND_CALL_QUEUE, QUEUE_KIND_INBOX, QUEUE_KIND_CAMPAIGN or QUEUE_KIND_RING_GROUP";
    match proto::QueueKind::try_from(kind) {
        Ok(proto::QueueKind::CallQueue) => Ok(QueueKind::CallQueue),
        Ok(proto::QueueKind::Inbox) => Ok(QueueKind::Inbox),
        Ok(proto::QueueKind::Campaign) => Ok(QueueKind::Campaign),
        Ok(proto::QueueKind::RingGroup) => Ok(QueueKind::RingGroup),
        Ok(proto::QueueKind::Unspecified) => {
            Err(Error::invalid("queue.kind", &format_args!("is required: {expected}")))
        }
        Err(_) => Err(Error::invalid("queue.kind", &format_args!("must be {expected}, but is {kind}"))),
    }
}

/// Unspecified is none.
pub(super) fn unassigned_queue_sign_in(field: &str, value: i32) -> Result<Option<UnassignedQueueSignIn>, Error> {
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

pub(super) fn if_missing(allow_missing: bool) -> IfMissing {
    if allow_missing { IfMissing::Accept } else { IfMissing::Fail }
}

pub(super) fn device(text: &str) -> Result<String, Error> {
    let expected = "at most 200 characters without control characters";
    free_text(text, 200, expected).map_err(|error| Error::invalid("device", &error))
}

pub(super) fn justification(text: &str) -> Result<String, Error> {
    let expected = "at most 1,000 characters without control characters";
    free_text(text, 1_000, expected).map_err(|error| Error::invalid("justification", &error))
}

pub(super) fn ttl(ttl: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(ttl) = ttl else { return Ok(None) };
    let wrong = || Error::invalid("ttl", &"must be from a millisecond to 3,650 days; leave it out for no end");
    if ttl.seconds < 0 || ttl.nanos < 0 {
        return Err(wrong());
    }
    let ttl = Duration::try_from(ttl).map_err(|_| wrong())?;
    if (Duration::from_millis(1)..=LONGEST_TTL).contains(&ttl) { Ok(Some(ttl)) } else { Err(wrong()) }
}

pub(super) fn name(field: &str, text: &str) -> Result<String, Error> {
    display_name(text).map_err(|error| Error::invalid(field, &error))
}

/// A user to create.
pub(super) fn new_user(user: Option<proto::User>) -> Result<User, Error> {
    let user = user.ok_or_else(|| Error::invalid("user", &"is required"))?;
    let proto::User { user_id, display_name, extension, contact_center_license, disabled } = user;
    let (user_id, display_name, extension) = all((
        required("user.user_id", &user_id),
        name("user.display_name", &display_name.unwrap_or_default()),
        optional("user.extension", &extension.unwrap_or_default()),
    ))?;
    Ok(User {
        user_id,
        display_name: display_name.into(),
        extension,
        contact_center_license: contact_center_license.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
    })
}

/// A queue to create.
pub(super) fn new_queue(queue: Option<proto::Queue>) -> Result<Queue, Error> {
    let queue = queue.ok_or_else(|| Error::invalid("queue", &"is required"))?;
    let proto::Queue { queue_id, display_name, extension, kind } = queue;
    let (queue_id, display_name, extension, kind) = all((
        required("queue.queue_id", &queue_id),
        name("queue.display_name", &display_name.unwrap_or_default()),
        optional("queue.extension", &extension.unwrap_or_default()),
        queue_kind(kind),
    ))?;
    Ok(Queue { queue_id, display_name, extension, kind })
}

/// Which fields an update changes.
pub(super) enum Mask {
    /// Those that the resource carries.
    Carried,
    /// These.
    Paths(BTreeSet<String>),
}

impl Mask {
    /// A mask over `fields`. A path that is a group (`supervisor`) stands for the fields under it, `*` for all.
    pub(super) fn new(mask: Option<FieldMask>, fields: &[&str]) -> Result<Self, Error> {
        let given: Vec<String> = mask.map(|mask| mask.paths).unwrap_or_default();
        let given: Vec<&str> = given.iter().map(|path| path.trim()).filter(|path| !path.is_empty()).collect();
        if given.is_empty() {
            return Ok(Self::Carried);
        }
        let mut paths = BTreeSet::new();
        for path in given {
            let under = |field: &str| {
                path == "*" || field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let before = paths.len();
            let selected = fields.iter().filter(|field| under(field)).map(|field| (*field).to_owned());
            let any = selected.map(|field| paths.insert(field)).count() > 0;
            if !any && paths.len() == before {
                let names: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
                let problem =
                    format!("`{}` can't be updated; the fields are {}, or `*`", shortened(path), names.join(", "));
                return Err(Error::invalid("update_mask", &problem));
            }
        }
        Ok(Self::Paths(paths))
    }

    /// The field's new value: the one it carries, or its default if the mask names it all the same; none if it stays.
    pub(super) fn choose<T: Default>(&self, field: &str, carried: Option<T>) -> Option<T> {
        match self {
            Self::Carried => carried,
            Self::Paths(paths) => paths.contains(field).then(|| carried.unwrap_or_default()),
        }
    }

    /// Whether the mask names the field.
    pub(super) fn names(&self, field: &str) -> bool {
        match self {
            Self::Carried => false,
            Self::Paths(paths) => paths.contains(field),
        }
    }
}

/// New values for a user.
pub(super) fn user_patch(user: proto::User, mask: Option<FieldMask>) -> Result<UserPatch, Error> {
    let mask = Mask::new(mask, &["display_name", "extension", "contact_center_license", "disabled"])?;
    let proto::User { user_id: _, display_name, extension, contact_center_license, disabled } = user;
    let display_name = mask.choose("display_name", display_name);
    let (display_name, extension) = all((
        display_name.map(|text| name("user.display_name", &text)).transpose(),
        extension_patch("user.extension", mask.choose("extension", extension)),
    ))?;
    Ok(UserPatch {
        display_name,
        extension,
        contact_center_license: mask.choose("contact_center_license", contact_center_license),
        disabled: mask.choose("disabled", disabled),
    })
}

/// New values for a queue.
pub(super) fn queue_patch(queue: proto::Queue, mask: Option<FieldMask>) -> Result<QueuePatch, Error> {
    let mask = Mask::new(mask, &["display_name", "extension", "kind"])?;
    let proto::Queue { queue_id: _, display_name, extension, kind } = queue;
    let display_name = mask.choose("display_name", display_name);
    let kind = mask.choose("kind", (kind != 0).then_some(kind));
    let (display_name, extension, kind) = all((
        display_name.map(|text| name("queue.display_name", &text)).transpose(),
        extension_patch("queue.extension", mask.choose("extension", extension)),
        kind.map(queue_kind).transpose(),
    ))?;
    Ok(QueuePatch { display_name, extension, kind })
}

fn extension_patch(field: &str, extension: Option<String>) -> Result<Option<Option<Extension>>, Error> {
    extension.map(|text| optional(field, &text)).transpose()
}

/// New values for settings.
pub(super) fn settings_patch(
    settings: proto::PermissionSettings,
    mask: Option<FieldMask>,
) -> Result<SettingsPatch, Error> {
    let mut fields = vec![UNASSIGNED_QUEUE_SIGN_IN];
    fields.extend(Switch::ALL.iter().map(|switch| switch.as_str()));
    let mask = Mask::new(mask, &fields)?;
    let proto::PermissionSettings { organization_id: _, etag: _, organization, supervisor, agent } = settings;
    let mut patch = SettingsPatch::default();

    let proto::OrganizationSettings { unassigned_queue_sign_in: value } = organization.unwrap_or_default();
    let field = "settings.organization.unassigned_queue_sign_in";
    let mut wrong = Vec::new();
    let carried = noted(unassigned_queue_sign_in(field, value), &mut wrong)?.flatten();
    patch.unassigned_queue_sign_in = match &mask {
        Mask::Carried => carried,
        Mask::Paths(_) if mask.names(UNASSIGNED_QUEUE_SIGN_IN) => {
            Some(carried.unwrap_or(UnassignedQueueSignIn::Allowed))
        }
        Mask::Paths(_) => None,
    };
    let switches = supervisor_switches(supervisor.unwrap_or_default()).into_iter();
    for (switch, carried) in switches.chain(agent_switches(agent.unwrap_or_default())) {
        let value = match &mask {
            Mask::Carried => carried,
            Mask::Paths(_) if mask.names(switch.as_str()) => Some(carried.unwrap_or(switch.default_on())),
            Mask::Paths(_) => None,
        };
        if let Some(on) = value {
            let turned = patch.turn(switch, on);
            noted(turned.map_err(|error| Error::invalid(format!("settings.{switch}"), &error)), &mut wrong)?;
        }
    }
    if wrong.is_empty() { Ok(patch) } else { Err(Error::Invalid(wrong)) }
}

fn supervisor_switches(settings: proto::SupervisorSettings) -> [(Switch, Option<bool>); 8] {
    let proto::SupervisorSettings {
        access_configuration_portal,
        limit_to_assigned_queues,
        view_queue_settings,
        manage_queue_settings,
        view_pause_reasons,
        manage_pause_reasons,
        view_skills,
        manage_skills,
    } = settings;
    [
        (Switch::AccessConfigurationPortal, access_configuration_portal),
        (Switch::LimitToAssignedQueues, limit_to_assigned_queues),
        (Switch::ViewQueueSettings, view_queue_settings),
        (Switch::ManageQueueSettings, manage_queue_settings),
        (Switch::ViewPauseReasons, view_pause_reasons),
        (Switch::ManagePauseReasons, manage_pause_reasons),
        (Switch::ViewSkills, view_skills),
        (Switch::ManageSkills, manage_skills),
    ]
}

fn agent_switches(settings: proto::AgentSettings) -> [(Switch, Option<bool>); 3] {
    let proto::AgentSettings { manage_prerecorded_messages, manage_public_canned_messages, create_custom_tags } =
        settings;
    [
        (Switch::ManagePrerecordedMessages, manage_prerecorded_messages),
        (Switch::ManagePublicCannedMessages, manage_public_canned_messages),
        (Switch::CreateCustomTags, create_custom_tags),
    ]
}
