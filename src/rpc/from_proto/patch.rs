//! Field masks, and the patches that they select.

use std::collections::BTreeSet;

use prost_types::FieldMask;

use super::{
    super::{error::Error, proto},
    all::{all, noted},
    values::*,
};
use crate::domain::{
    command::{QueuePatch, UserPatch},
    ids::{Extension, shortened},
    settings::{SettingsPatch, Switch, UNASSIGNED_QUEUE_SIGN_IN, UnassignedQueueSignIn},
};

/// The fields that an update changes.
pub enum Mask {
    /// The fields that are present in the resource.
    Carried,
    /// The fields with these paths.
    Paths(BTreeSet<String>),
}

impl Mask {
    /// Create a mask over `fields`. A path of a group (`supervisor`) selects the fields under it, and `*` selects all.
    pub fn new(mask: Option<FieldMask>, fields: &[&str]) -> Result<Self, Error> {
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

    /// Return the field's new value, or `None` if the field stays. If the mask names an absent field, the new value is
    /// the default.
    pub fn choose<T: Default>(&self, field: &str, carried: Option<T>) -> Option<T> {
        match self {
            Self::Carried => carried,
            Self::Paths(paths) => paths.contains(field).then(|| carried.unwrap_or_default()),
        }
    }

    /// Return whether the mask names the field.
    pub fn names(&self, field: &str) -> bool {
        match self {
            Self::Carried => false,
            Self::Paths(paths) => paths.contains(field),
        }
    }
}

/// Read the patch of a user.
pub fn user_patch(user: proto::User, mask: Option<FieldMask>) -> Result<UserPatch, Error> {
    let mask = Mask::new(mask, &["display_name", "extension", "contact_center_license", "disabled", "login"])?;
    let proto::User { user_id: _, display_name, extension, contact_center_license, disabled, etag: _, login } = user;
    let display_name = mask.choose("display_name", display_name);
    let login = mask.choose("login", login);
    let (display_name, extension, login) = all((
        display_name.map(|text| name("user.display_name", &text)).transpose(),
        extension_patch("user.extension", mask.choose("extension", extension)),
        login.map(|text| optional("user.login", &text)).transpose(),
    ))?;
    Ok(UserPatch {
        display_name,
        extension,
        contact_center_license: mask.choose("contact_center_license", contact_center_license),
        disabled: mask.choose("disabled", disabled),
        login,
    })
}

/// Read the patch of a queue.
pub fn queue_patch(queue: proto::Queue, mask: Option<FieldMask>) -> Result<QueuePatch, Error> {
    let mask = Mask::new(mask, &["display_name", "extension", "kind"])?;
    let proto::Queue { queue_id: _, display_name, extension, kind, etag: _ } = queue;
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

/// Read the patch of settings.
pub fn settings_patch(settings: proto::PermissionSettings, mask: Option<FieldMask>) -> Result<SettingsPatch, Error> {
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
