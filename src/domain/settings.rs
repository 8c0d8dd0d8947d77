//! An organization's permission settings (`docs/semantics.md` section 4): one table of names and defaults for the
//! store, documents, field masks and the command line.

use serde::{Deserialize, Serialize};

use super::{
    ids::{Malformed, Revision},
    named_enum::named_enum,
};

named_enum!(
    /// Whether agents may sign in to queues that are not assigned to them.
    UnassignedQueueSignIn, "ALLOWED or RESTRICTED" {
        /// They may. This is the default.
        Allowed = "ALLOWED",
        /// They may not, but live sessions stay.
        Restricted = "RESTRICTED",
    }
);

/// The path of the only setting that isn't on or off.
pub const UNASSIGNED_QUEUE_SIGN_IN: &str = "organization.unassigned_queue_sign_in";

named_enum!(
    /// A setting that is on or off, named by its path in `PermissionSettings`.
    Switch, "a setting's path, such as supervisor.limit_to_assigned_queues" {
        /// Supervisors may open the configuration portal.
        AccessConfigurationPortal = "supervisor.access_configuration_portal",
        /// Supervisors reach only the queues on which they have an assignment.
        LimitToAssignedQueues = "supervisor.limit_to_assigned_queues",
        /// Supervisors see the settings of queues in reach.
        ViewQueueSettings = "supervisor.view_queue_settings",
        /// Supervisors change the settings of queues in reach.
        ManageQueueSettings = "supervisor.manage_queue_settings",
        /// Supervisors see pause reasons.
        ViewPauseReasons = "supervisor.view_pause_reasons",
        /// Supervisors change pause reasons.
        ManagePauseReasons = "supervisor.manage_pause_reasons",
        /// Supervisors see skills, and which agents have them.
        ViewSkills = "supervisor.view_skills",
        /// Supervisors change skills, and which agents have them.
        ManageSkills = "supervisor.manage_skills",
        /// Agents manage prerecorded messages.
        ManagePrerecordedMessages = "agent.manage_prerecorded_messages",
        /// Agents manage public canned messages.
        ManagePublicCannedMessages = "agent.manage_public_canned_messages",
        /// Agents create tags of their own.
        CreateCustomTags = "agent.create_custom_tags",
    }
);

/// The properties of a switch in every organization.
struct Row {
    default_on: bool,
    is_removable: bool,
    included_in: Option<Switch>,
}

impl Row {
    const OFF: Self = Self { default_on: false, is_removable: true, included_in: None };
    const ON: Self = Self { default_on: true, ..Self::OFF };
    const ALWAYS_ON: Self = Self { is_removable: false, ..Self::ON };

    const fn or_with(self, manage: Switch) -> Self {
        Self { included_in: Some(manage), ..self }
    }
}

impl Switch {
    /// Return the switch's row in the table of `docs/semantics.md` section 4.
    fn row(self) -> Row {
        match self {
            Self::AccessConfigurationPortal => Row::OFF,
            Self::LimitToAssignedQueues => Row::ON,
            Self::ViewQueueSettings => Row::ALWAYS_ON.or_with(Self::ManageQueueSettings),
            Self::ManageQueueSettings => Row::OFF,
            Self::ViewPauseReasons => Row::OFF.or_with(Self::ManagePauseReasons),
            Self::ManagePauseReasons => Row::OFF,
            Self::ViewSkills => Row::OFF.or_with(Self::ManageSkills),
            Self::ManageSkills => Row::OFF,
            Self::ManagePrerecordedMessages => Row::OFF,
            Self::ManagePublicCannedMessages => Row::OFF,
            Self::CreateCustomTags => Row::OFF,
        }
    }

    /// Return whether it is on in a new organization.
    pub fn default_on(self) -> bool {
        self.row().default_on
    }

    /// Return whether it can be turned off.
    pub fn is_removable(self) -> bool {
        self.row().is_removable
    }

    /// Return the switch that grants the same and more, or `None`: manage includes view.
    pub fn included_in(self) -> Option<Self> {
        self.row().included_in
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// The permission settings of one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermissionSettings {
    /// Whether agents may sign in to queues that are not assigned to them.
    pub unassigned_queue_sign_in: UnassignedQueueSignIn,
    switches_on: u16,
}

impl Default for PermissionSettings {
    fn default() -> Self {
        let on = Switch::ALL.iter().filter(|switch| switch.default_on());
        Self {
            unassigned_queue_sign_in: UnassignedQueueSignIn::Allowed,
            switches_on: on.fold(0, |bits, switch| bits | switch.bit()),
        }
    }
}

impl PermissionSettings {
    /// Return whether the switch is on.
    pub fn is_on(&self, switch: Switch) -> bool {
        self.switches_on & switch.bit() != 0
    }

    /// Return whether the switch's permission is granted: it is on, or the switch that includes it is.
    pub fn grants(&self, switch: Switch) -> bool {
        self.is_on(switch) || switch.included_in().is_some_and(|manage| self.is_on(manage))
    }

    /// Turn the switch on or off.
    pub fn set(&mut self, switch: Switch, on: bool) {
        if on {
            self.switches_on |= switch.bit();
        } else {
            self.switches_on &= !switch.bit();
        }
    }
}

/// New values for settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SettingsPatch {
    /// The new value, or `None` to keep it.
    pub unassigned_queue_sign_in: Option<UnassignedQueueSignIn>,
    /// The new states of switches. INVARIANT: it turns off no switch that must stay on.
    switches: Vec<(Switch, bool)>,
}

impl SettingsPatch {
    /// Add a switch. Fail if it is turned off and must stay on.
    pub fn turn(&mut self, switch: Switch, on: bool) -> Result<(), Malformed> {
        if !on && !switch.is_removable() {
            return Err(Malformed::new("on: supervisors always have this permission", "false"));
        }
        self.switches.push((switch, on));
        Ok(())
    }

    /// Return the settings with the new values.
    pub fn applied_to(&self, mut settings: PermissionSettings) -> PermissionSettings {
        if let Some(value) = self.unassigned_queue_sign_in {
            settings.unassigned_queue_sign_in = value;
        }
        for &(switch, on) in &self.switches {
            settings.set(switch, on);
        }
        settings
    }
}

/// The stored form: the paths of the switches that are on.
#[derive(Serialize, Deserialize)]
struct Plain {
    unassigned_queue_sign_in: UnassignedQueueSignIn,
    on: Vec<Switch>,
}

impl Serialize for PermissionSettings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let on = Switch::ALL.iter().copied().filter(|&switch| self.is_on(switch)).collect();
        Plain { unassigned_queue_sign_in: self.unassigned_queue_sign_in, on }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PermissionSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let plain = Plain::deserialize(deserializer)?;
        let switches_on = plain.on.iter().fold(0, |bits, switch| bits | switch.bit());
        Ok(Self { unassigned_queue_sign_in: plain.unassigned_queue_sign_in, switches_on })
    }
}

/// The version of an organization's settings: the revision for which their change was planned, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etag(pub u64);

impl Etag {
    /// Return the etag of a change that is planned for this revision. In the first epoch that is its sequence number.
    /// Later epochs use the same numbers again, so the epoch is mixed in to distinguish them.
    pub fn at(revision: Revision) -> Self {
        const LARGEST: u64 = i64::MAX.unsigned_abs();
        let epoch = u64::from(revision.lineage.epoch.saturating_sub(1));
        Self((epoch << 31).wrapping_add(revision.sequence.0) & LARGEST)
    }
}

impl std::fmt::Display for Etag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Lineage, Sequence};

    #[test]
    fn defaults_are_those_of_the_reference_page() {
        let settings = PermissionSettings::default();
        assert_eq!(settings.unassigned_queue_sign_in, UnassignedQueueSignIn::Allowed);
        let on: Vec<_> = Switch::ALL.iter().filter(|switch| settings.is_on(**switch)).map(|s| s.as_str()).collect();
        assert_eq!(on, ["supervisor.limit_to_assigned_queues", "supervisor.view_queue_settings"]);
    }

    #[test]
    fn settings_survive_serialization() {
        let mut settings = PermissionSettings::default();
        settings.set(Switch::CreateCustomTags, true);
        settings.set(Switch::LimitToAssignedQueues, false);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<PermissionSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn a_switch_that_is_stored_twice_is_on() {
        let text = r#"{"unassigned_queue_sign_in":"ALLOWED","on":["supervisor.view_skills","supervisor.view_skills"]}"#;
        assert!(serde_json::from_str::<PermissionSettings>(text).unwrap().is_on(Switch::ViewSkills));
    }

    #[test]
    fn a_patch_changes_only_the_settings_that_it_names() {
        let mut before = PermissionSettings::default();
        before.set(Switch::CreateCustomTags, true);
        let patch = |value, turned: &[(Switch, bool)]| {
            let mut patch = SettingsPatch { unassigned_queue_sign_in: value, ..SettingsPatch::default() };
            turned.iter().try_for_each(|&(switch, on)| patch.turn(switch, on)).unwrap();
            patch.applied_to(before)
        };
        assert_eq!(patch(None, &[]), before);
        let restricted = patch(Some(UnassignedQueueSignIn::Restricted), &[]);
        assert_eq!(restricted.unassigned_queue_sign_in, UnassignedQueueSignIn::Restricted);
        assert_eq!(restricted.switches_on, before.switches_on);
        let turned = patch(None, &[(Switch::CreateCustomTags, false), (Switch::ViewSkills, true)]);
        for &switch in Switch::ALL {
            let expected = match switch {
                Switch::CreateCustomTags => false,
                Switch::ViewSkills => true,
                other => before.is_on(other),
            };
            assert_eq!(turned.is_on(switch), expected, "{switch}");
        }
    }

    #[test]
    fn manage_includes_view_and_not_the_other_way_round() {
        let mut settings = PermissionSettings::default();
        settings.set(Switch::ManageSkills, true);
        assert!(settings.grants(Switch::ViewSkills) && !settings.is_on(Switch::ViewSkills));
        settings.set(Switch::ViewPauseReasons, true);
        assert!(!settings.grants(Switch::ManagePauseReasons));
    }

    #[test]
    fn view_queue_settings_cannot_be_turned_off() {
        assert!(SettingsPatch::default().turn(Switch::ViewQueueSettings, false).is_err());
        assert!(SettingsPatch::default().turn(Switch::ViewQueueSettings, true).is_ok());
    }

    #[test]
    fn an_etag_is_the_sequence_number_with_the_epoch_mixed_in() {
        let at = |epoch, n| Etag::at(Revision { lineage: Lineage { store_id: 7, epoch }, sequence: Sequence(n) });
        assert_eq!((at(0, 9), at(1, 9)), (Etag(9), Etag(9)));
        assert_eq!((at(2, 9), at(3, 9)), (Etag((1 << 31) + 9), Etag((2 << 31) + 9)));
        assert_eq!(at(1, 255).to_string(), "ff");
        // The database stores it as a signed integer.
        assert_eq!(at(1, u64::MAX), Etag(i64::MAX as u64));
    }
}
