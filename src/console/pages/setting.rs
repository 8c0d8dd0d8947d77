//! The permission settings that are switches, with their words.

use crate::{
    console::text::Text,
    rpc::proto::{AgentSettings, PermissionSettings, SupervisorSettings},
};

/// The group of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Supervisor,
    Agent,
}

/// A setting that is on or off.
pub struct Switch {
    /// Its path, as in the API's field mask.
    pub path: &'static str,
    pub group: Group,
    /// Whether it is on in a new organization.
    pub default: bool,
    /// Whether it can't be turned off.
    pub is_locked: bool,
    value: fn(&mut PermissionSettings) -> &mut Option<bool>,
    /// Its title and its description.
    pub words: fn(&Text) -> [&'static str; 2],
}

impl Switch {
    pub fn is_on(&self, settings: &PermissionSettings) -> bool {
        (self.value)(&mut settings.clone()).unwrap_or(self.default)
    }

    pub fn set(&self, settings: &mut PermissionSettings, is_on: bool) {
        *(self.value)(settings) = Some(is_on);
    }
}

fn supervisor(settings: &mut PermissionSettings) -> &mut SupervisorSettings {
    settings.supervisor.get_or_insert_default()
}

fn agent(settings: &mut PermissionSettings) -> &mut AgentSettings {
    settings.agent.get_or_insert_default()
}

const fn of_supervisor(
    path: &'static str,
    value: fn(&mut PermissionSettings) -> &mut Option<bool>,
    words: fn(&Text) -> [&'static str; 2],
) -> Switch {
    Switch { path, group: Group::Supervisor, default: false, is_locked: false, value, words }
}

const fn of_agent(
    path: &'static str,
    value: fn(&mut PermissionSettings) -> &mut Option<bool>,
    words: fn(&Text) -> [&'static str; 2],
) -> Switch {
    Switch { path, group: Group::Agent, default: false, is_locked: false, value, words }
}

/// The switches, in the order of the reference page.
pub const SWITCHES: [Switch; 11] = [
    of_supervisor(
        "supervisor.access_configuration_portal",
        |settings| &mut supervisor(settings).access_configuration_portal,
        |text| [text.portal, text.portal_meaning],
    ),
    Switch {
        default: true,
        ..of_supervisor(
            "supervisor.limit_to_assigned_queues",
            |settings| &mut supervisor(settings).limit_to_assigned_queues,
            |text| [text.limit, text.limit_meaning],
        )
    },
    Switch {
        default: true,
        is_locked: true,
        ..of_supervisor(
            "supervisor.view_queue_settings",
            |settings| &mut supervisor(settings).view_queue_settings,
            |text| [text.view_queues, text.view_queues_meaning],
        )
    },
    of_supervisor(
        "supervisor.manage_queue_settings",
        |settings| &mut supervisor(settings).manage_queue_settings,
        |text| [text.manage_queues, text.manage_queues_meaning],
    ),
    of_supervisor(
        "supervisor.view_pause_reasons",
        |settings| &mut supervisor(settings).view_pause_reasons,
        |text| [text.view_pauses, text.view_pauses_meaning],
    ),
    of_supervisor(
        "supervisor.manage_pause_reasons",
        |settings| &mut supervisor(settings).manage_pause_reasons,
        |text| [text.manage_pauses, text.manage_pauses_meaning],
    ),
    of_supervisor(
        "supervisor.view_skills",
        |settings| &mut supervisor(settings).view_skills,
        |text| [text.view_skills, text.view_skills_meaning],
    ),
    of_supervisor(
        "supervisor.manage_skills",
        |settings| &mut supervisor(settings).manage_skills,
        |text| [text.manage_skills, text.manage_skills_meaning],
    ),
    of_agent(
        "agent.manage_prerecorded_messages",
        |settings| &mut agent(settings).manage_prerecorded_messages,
        |text| [text.prerecorded, text.prerecorded_meaning],
    ),
    of_agent(
        "agent.manage_public_canned_messages",
        |settings| &mut agent(settings).manage_public_canned_messages,
        |text| [text.canned, text.canned_meaning],
    ),
    of_agent(
        "agent.create_custom_tags",
        |settings| &mut agent(settings).create_custom_tags,
        |text| [text.tags, text.tags_meaning],
    ),
];
