//! What a role lets a user do: the catalogue of permissions and the check (`SEMANTICS.md` section 4).
//!
//! INVARIANT: the catalogue below is the one place that says who may do what. The check, the lists, the preview, what an
//! acting user needs, the API's ListPermissions and `docs/permissions.md` all come from it.

use super::{
    ids::{QueueRef, UserRef},
    model::{Queue, Role, User, named_enum},
    settings::{PermissionSettings, Switch},
    snapshot::Tenant,
    time::Timestamp,
};

/// What a permission is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The organization: a check names no queue.
    Organization,
    /// One queue, which a check must name.
    Queue,
}

/// On which condition a role has a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Whoever holds the role has it.
    Always,
    /// Whoever holds the role has it while the setting grants it.
    While(Switch),
}

/// A permission as the catalogue has it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it lets somebody do, as a phrase that follows "may".
    pub description: &'static str,
    /// What it is about.
    pub scope: Scope,
    /// The roles that have it, CONTACT_ADMIN first.
    pub grants: &'static [(Role, Grant)],
}

impl Entry {
    /// The role whose permission depends on a setting, and the setting.
    pub fn governed(&self) -> Option<(Role, Switch)> {
        self.grants.iter().find_map(|(role, grant)| match grant {
            Grant::Always => None,
            Grant::While(switch) => Some((*role, *switch)),
        })
    }
}

macro_rules! catalogue {
    ($($variant:ident = $name:literal, $description:literal, $scope:ident, [$($role:ident $grant:tt),+];)+) => {
        named_enum!(
            /// Something that a user may or may not do.
            Permission, "a permission, such as SIGN_IN_AGENTS" {
                $(#[doc = $description] $variant = $name,)+
            }
        );

        impl Permission {
            /// The permission's entry in the catalogue.
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => &Entry {
                        description: $description,
                        scope: Scope::$scope,
                        grants: &[$((Role::$role, catalogue!(@grant $grant))),+],
                    },)+
                }
            }
        }
    };
    (@grant always) => { Grant::Always };
    (@grant ($switch:ident)) => { Grant::While(Switch::$switch) };
}

// One entry a permission: its name, what it lets somebody do, what it is about, and each role that has it, `always` or
// while the (setting) grants it.
catalogue! {
    ManagePermissions = "MANAGE_PERMISSIONS", "change what each role may do", Organization, [ContactAdmin always];
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
    ManagePrerecordedMessages = "MANAGE_PRERECORDED_MESSAGES", "keep prerecorded messages", Organization,
        [Agent (ManagePrerecordedMessages)];
    ManagePublicCannedMessages = "MANAGE_PUBLIC_CANNED_MESSAGES", "keep the canned messages that everybody uses",
        Organization, [Agent (ManagePublicCannedMessages)];
    CreateCustomTags = "CREATE_CUSTOM_TAGS", "create tags of their own", Organization, [Agent (CreateCustomTags)];
}

named_enum!(
    /// Why somebody has a permission or not, in the order in which it is decided.
    PermissionReason, "a permission reason" {
        /// There is no such user.
        UnknownUser = "UNKNOWN_USER",
        /// The user is disabled.
        UserDisabled = "USER_DISABLED",
        /// There is no such queue.
        UnknownQueue = "UNKNOWN_QUEUE",
        /// A role that the user holds grants it.
        Granted = "GRANTED",
        /// A role that the user holds grants it, but not on this queue.
        QueueNotAssigned = "QUEUE_NOT_ASSIGNED",
        /// A role that the user holds would grant it but for a setting.
        SettingDisabled = "SETTING_DISABLED",
        /// No role that the user holds could grant it.
        RoleRequired = "ROLE_REQUIRED",
    }
);

/// May this user do this?
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub(super) user: &'q UserRef,
    pub(super) permission: Permission,
    pub(super) queue: Option<&'q QueueRef>,
}

/// A question that names a queue where none belongs, or none where one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongScope {
    /// The permission is about one queue.
    #[error("is required, because {0} is about one queue")]
    QueueRequired(Permission),
    /// The permission is about the organization.
    #[error("must be left out, because {0} is not about one queue")]
    NotAboutQueue(Permission),
}

impl<'q> Question<'q> {
    /// INVARIANT: the question names a queue exactly if the permission is about one.
    pub fn new(user: &'q UserRef, permission: Permission, queue: Option<&'q QueueRef>) -> Result<Self, WrongScope> {
        match (permission.entry().scope, queue) {
            (Scope::Queue, None) => Err(WrongScope::QueueRequired(permission)),
            (Scope::Organization, Some(_)) => Err(WrongScope::NotAboutQueue(permission)),
            (Scope::Queue, Some(_)) | (Scope::Organization, None) => Ok(Self { user, permission, queue }),
        }
    }

    /// The question as one of a list over all permissions: none if the permission is about one queue and there is none.
    pub fn one_of_all(user: &'q UserRef, permission: Permission, queue: Option<&'q QueueRef>) -> Option<Self> {
        let queue = queue.filter(|_| permission.entry().scope == Scope::Queue);
        Self::new(user, permission, queue).ok()
    }
}

/// Whether somebody has a permission, with what it was decided from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// What was asked about.
    pub permission: Permission,
    /// Why, or why not.
    pub reason: PermissionReason,
    /// The role that grants it; with QUEUE_NOT_ASSIGNED and SETTING_DISABLED the one that nearly does.
    pub role: Option<Role>,
    /// The user, if there is one.
    pub user: Option<&'s User>,
    /// The queue, if the question named one and there is one.
    pub queue: Option<&'s Queue>,
}

impl Decision<'_> {
    /// Whether the user has the permission.
    pub fn is_allowed(&self) -> bool {
        self.reason == PermissionReason::Granted
    }
}

/// Decides whether a user has a permission.
pub fn check<'s>(tenant: &'s Tenant, question: Question<'_>, now: Timestamp) -> Decision<'s> {
    let Question { user, permission, queue: asked } = question;
    let user = tenant.user(user);
    let queue = asked.and_then(|queue| tenant.queue(queue));
    let (reason, role) = match user {
        None => (PermissionReason::UnknownUser, None),
        Some(user) if user.disabled => (PermissionReason::UserDisabled, None),
        Some(_) if asked.is_some() && queue.is_none() => (PermissionReason::UnknownQueue, None),
        Some(user) => by_role(tenant, user, permission, queue, now),
    };
    Decision { permission, reason, role, user, queue }
}

/// The first role held that grants the permission, or else the nearest miss: only the queue, then a setting, then the
/// role itself.
pub(super) fn by_role(
    tenant: &Tenant,
    user: &User,
    permission: Permission,
    queue: Option<&Queue>,
    now: Timestamp,
) -> (PermissionReason, Option<Role>) {
    let held = tenant.roles_held(user.user_id.as_str());
    let mut nearest = (PermissionReason::RoleRequired, None);
    for &(role, grant) in permission.entry().grants.iter().filter(|(role, _)| held.contains(*role)) {
        let in_reach = queue.is_none_or(|queue| is_in_reach(tenant, user, role, queue, now));
        match (is_granted(tenant.settings(), grant), in_reach) {
            (true, true) => return (PermissionReason::Granted, Some(role)),
            (true, false) => nearest = (PermissionReason::QueueNotAssigned, Some(role)),
            (false, _) if nearest.1.is_none() => nearest = (PermissionReason::SettingDisabled, Some(role)),
            (false, _) => {}
        }
    }
    nearest
}

/// The permissions that another state of the settings could give to somebody, or take.
pub(super) fn could_change(before: &PermissionSettings, after: &PermissionSettings) -> Vec<Permission> {
    let reach_changes = before.is_on(Switch::LimitToAssignedQueues) != after.is_on(Switch::LimitToAssignedQueues);
    let changes = |permission: &Permission| {
        let Entry { description: _, scope, grants } = permission.entry();
        let differs = |(_, grant): &(Role, Grant)| is_granted(before, *grant) != is_granted(after, *grant);
        reach_changes && *scope == Scope::Queue || grants.iter().any(differs)
    };
    Permission::ALL.iter().copied().filter(changes).collect()
}

fn is_granted(settings: &PermissionSettings, grant: Grant) -> bool {
    match grant {
        Grant::Always => true,
        Grant::While(switch) => settings.grants(switch),
    }
}

/// Whether what the role grants reaches the queue: a CONTACT_ADMIN reaches all of them; a SUPERVISOR those on which they
/// have an assignment, or all if supervisors aren't limited to theirs; an AGENT those assigned or signed in to.
fn is_in_reach(tenant: &Tenant, user: &User, role: Role, queue: &Queue, now: Timestamp) -> bool {
    let (user_id, queue_id) = (user.user_id.as_str(), queue.queue_id.as_str());
    match role {
        Role::ContactAdmin => true,
        Role::Supervisor => {
            !tenant.limits_supervisors() || tenant.roles_on_queue(user_id, queue_id).contains(Role::Supervisor)
        }
        Role::Agent => tenant.is_assigned(user_id, queue_id) || tenant.live_session(user_id, queue_id, now).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::{by_queue_id, by_user_id};

    #[test]
    fn a_list_asks_about_the_queue_only_where_a_permission_is_about_one() {
        let (user, queue) = (by_user_id("ann"), by_queue_id("q1"));
        for &permission in Permission::ALL {
            let about_queue = permission.entry().scope == Scope::Queue;
            let with = Question::one_of_all(&user, permission, Some(&queue)).unwrap();
            assert_eq!(with.queue.is_some(), about_queue, "{permission}");
            assert_eq!(Question::one_of_all(&user, permission, None).is_none(), about_queue, "{permission}");
        }
    }
}
