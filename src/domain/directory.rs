//! An organization's whole directory as one value: what an import wants, and what an export writes.

use serde::Serialize;

use super::{
    ids::{Extension, OrganizationId, QueueId, UserId},
    model::{QueueKind, Role},
    settings::SettingsPatch,
    snapshot::Tenant,
};

/// What a document says of an organization. Lines are those of the document, 0 where they aren't known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Directory {
    /// The organization, if the document names it.
    pub organization_id: Option<OrganizationId>,
    /// The organization's name, if the document gives it.
    pub display_name: Option<String>,
    /// The settings that the document gives.
    pub settings: SettingsPatch,
    /// The lists that the document leaves out altogether: `queues`, `users`.
    pub left_out: Vec<&'static str>,
    /// The queues.
    pub queues: Vec<QueueEntry>,
    /// The users with their roles.
    pub users: Vec<UserEntry>,
}

/// A queue of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueEntry {
    /// Where it stands.
    pub line: u32,
    /// The id.
    pub queue_id: QueueId,
    /// The name that people see.
    pub display_name: String,
    /// The phone number.
    pub extension: Option<Extension>,
    /// What it distributes.
    pub kind: QueueKind,
}

/// A user of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserEntry {
    /// Where it stands.
    pub line: u32,
    /// The id.
    pub user_id: UserId,
    /// The name that people see.
    pub display_name: String,
    /// The phone number.
    pub extension: Option<Extension>,
    /// Whether the user has a contact-center licence.
    pub contact_center_license: bool,
    /// Whether the user is disabled.
    pub disabled: bool,
    /// Roles for the organization.
    pub roles: Vec<Role>,
    /// Queues on which the user is an agent.
    pub agent_of: Vec<QueueId>,
    /// Queues on which the user is a supervisor.
    pub supervisor_of: Vec<QueueId>,
}

/// Something wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 if it isn't known.
    pub line: u32,
    /// Where in the document, such as `users[3].extension`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// The queues of an organization as a document describes them, in order of their ids.
pub fn queue_entries(tenant: &Tenant) -> impl Iterator<Item = QueueEntry> {
    tenant.queues_after(None).map(|queue| QueueEntry {
        line: 0,
        queue_id: queue.queue_id.clone(),
        display_name: queue.display_name.clone(),
        extension: queue.extension,
        kind: queue.kind,
    })
}

/// The users of an organization with their roles as a document describes them, in order of their ids.
pub fn user_entries(tenant: &Tenant) -> impl Iterator<Item = UserEntry> {
    tenant.users_after(None).map(|user| {
        let user_id = user.user_id.as_str();
        let queues_with = |role| {
            let on_queues = tenant.queue_roles_of_user(user_id);
            on_queues.filter(|(_, roles)| roles.contains(role)).map(|(queue_id, _)| queue_id.clone()).collect()
        };
        UserEntry {
            line: 0,
            user_id: user.user_id.clone(),
            display_name: user.display_name.to_string(),
            extension: user.extension,
            contact_center_license: user.contact_center_license,
            disabled: user.disabled,
            roles: tenant.organization_roles(user_id).iter().collect(),
            agent_of: queues_with(Role::Agent),
            supervisor_of: queues_with(Role::Supervisor),
        }
    })
}
