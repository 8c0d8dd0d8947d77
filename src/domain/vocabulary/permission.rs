//! The catalogue of permissions: the roles that have each (`docs/semantics.md` section 4).
//!
//! INVARIANT: the catalogue below is the only place that says which role has which permission. The check, the lists,
//! the preview, the permissions required of acting users, the API's ListPermissions and `docs/permissions.md` all come
//! from it.

use crate::domain::{model::Role, named_enum::named_enum, settings::Switch};

/// The subject of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The organization: a check names no queue.
    Organization,
    /// One queue, which a check must name.
    Queue,
}

/// The condition under which a role has a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Every holder of the role has it.
    Always,
    /// Every holder of the role has it while the setting grants it.
    While(Switch),
}

/// A permission's entry in the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The permitted activity, as a phrase that follows "may".
    pub description: &'static str,
    /// The subject: the organization or one queue.
    pub subject: Subject,
    /// The roles that have it, CONTACT_ADMIN first.
    pub grants: &'static [(Role, Grant)],
}

impl Entry {
    /// Return the role whose permission depends on a setting, and the setting.
    pub fn governed(&self) -> Option<(Role, Switch)> {
        self.grants.iter().find_map(|(role, grant)| match grant {
            Grant::Always => None,
            Grant::While(switch) => Some((*role, *switch)),
        })
    }
}

macro_rules! catalogue {
    ($($variant:ident = $name:literal, $description:literal, $subject:ident, [$($role:ident $grant:tt),+];)+) => {
        named_enum!(
            /// Something that a user may or may not do.
            Permission, "a permission, such as SIGN_IN_AGENTS" {
                $(#[doc = $description] $variant = $name,)+
            }
        );

        impl Permission {
            /// Return the permission's entry in the catalogue.
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => &Entry {
                        description: $description,
                        subject: Subject::$subject,
                        grants: &[$((Role::$role, catalogue!(@grant $grant))),+],
                    },)+
                }
            }
        }
    };
    (@grant always) => { Grant::Always };
    (@grant ($switch:ident)) => { Grant::While(Switch::$switch) };
}

// Each entry has the permission's name, the permitted activity, the scope, and each role that has it: `always`, or
// while the (setting) grants it.
catalogue! {
    ManagePermissions = "MANAGE_PERMISSIONS", "change the permissions of roles", Organization, [ContactAdmin always];
    AssignLicenses = "ASSIGN_LICENSES", "give and take contact-center licences", Organization, [ContactAdmin always];
    AssignRoles = "ASSIGN_ROLES", "give and take roles", Organization, [ContactAdmin always];
    ConfigureQueues = "CONFIGURE_QUEUES", "create, change and delete queues", Organization, [ContactAdmin always];
    ViewAnalytics = "VIEW_ANALYTICS", "see analytics", Organization, [ContactAdmin always, Supervisor always];
    AccessConfigurationPortal = "ACCESS_CONFIGURATION_PORTAL", "open the configuration portal", Organization,
        [ContactAdmin always, Supervisor (AccessConfigurationPortal)];
    ViewQueueSettings = "VIEW_QUEUE_SETTINGS", "see settings", Queue,
        [ContactAdmin always, Supervisor (ViewQueueSettings)];
    ManageQueueSettings = "MANAGE_QUEUE_SETTINGS", "change settings", Queue,
        [ContactAdmin always, Supervisor (ManageQueueSettings)];
    ViewPauseReasons = "VIEW_PAUSE_REASONS", "see pause reasons", Organization,
        [ContactAdmin always, Supervisor (ViewPauseReasons)];
    ManagePauseReasons = "MANAGE_PAUSE_REASONS", "change pause reasons", Organization,
        [ContactAdmin always, Supervisor (ManagePauseReasons)];
    ViewSkills = "VIEW_SKILLS", "see skills and which agents have them", Organization,
        [ContactAdmin always, Supervisor (ViewSkills)];
    ManageSkills = "MANAGE_SKILLS", "change skills and which agents have them", Organization,
        [ContactAdmin always, Supervisor (ManageSkills)];
    MonitorQueue = "MONITOR_QUEUE", "watch calls and agents", Queue, [ContactAdmin always, Supervisor always];
    SignInAgents = "SIGN_IN_AGENTS", "sign agents in and out", Queue, [ContactAdmin always, Supervisor always];
    ViewReports = "VIEW_REPORTS", "see reports", Queue, [Supervisor always];
    ListenCalls = "LISTEN_CALLS", "listen to calls", Queue, [Supervisor always];
    WhisperCalls = "WHISPER_CALLS", "whisper to agents during calls", Queue, [Supervisor always];
    BargeCalls = "BARGE_CALLS", "barge into calls", Queue, [Supervisor always];
    UseAgentDashboard = "USE_AGENT_DASHBOARD", "use the agent dashboard", Organization, [Agent always];
    AcceptDirectCalls = "ACCEPT_DIRECT_CALLS", "accept direct calls", Organization, [Agent always];
    PlaceOutboundCalls = "PLACE_OUTBOUND_CALLS", "place outbound calls", Organization, [Agent always];
    ServeQueue = "SERVE_QUEUE", "serve contacts", Queue, [Agent always];
    ManagePrerecordedMessages = "MANAGE_PRERECORDED_MESSAGES", "manage prerecorded messages", Organization,
        [Agent (ManagePrerecordedMessages)];
    ManagePublicCannedMessages = "MANAGE_PUBLIC_CANNED_MESSAGES", "manage the canned messages that everybody uses",
        Organization, [Agent (ManagePublicCannedMessages)];
    CreateCustomTags = "CREATE_CUSTOM_TAGS", "create tags of their own", Organization, [Agent (CreateCustomTags)];
}

named_enum!(
    /// The reason why a user has a permission or not, in the order in which it is decided.
    PermissionReason, "a permission reason" {
        /// The user doesn't exist.
        UnknownUser = "UNKNOWN_USER",
        /// The user is disabled.
        UserDisabled = "USER_DISABLED",
        /// The queue doesn't exist.
        UnknownQueue = "UNKNOWN_QUEUE",
        /// A role that the user holds grants it.
        Granted = "GRANTED",
        /// A role that the user holds grants it, but not on this queue.
        QueueNotAssigned = "QUEUE_NOT_ASSIGNED",
        /// A role that the user holds would grant it, but a setting is off.
        SettingDisabled = "SETTING_DISABLED",
        /// No role that the user holds could grant it.
        RoleRequired = "ROLE_REQUIRED",
    }
);
