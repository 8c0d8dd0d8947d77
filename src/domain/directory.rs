//! An organization's whole directory as one value: the input of an import, and the output of an export.

use serde::Serialize;

use super::{
    ids::{Extension, Login, OrganizationId, QueueId, UserId},
    model::{Penalty, QueueKind, Role},
    settings::SettingsPatch,
};

/// The content of a document. Lines are those of the document, or 0 if they aren't known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Directory {
    /// The organization, if the document names it.
    pub organization_id: Option<OrganizationId>,
    /// The organization's name, if the document gives it.
    pub display_name: Option<String>,
    /// The settings that the document gives.
    pub settings: SettingsPatch,
    /// The lists that the document doesn't have: `queues`, `users`.
    pub left_out: Vec<&'static str>,
    /// The queues.
    pub queues: Vec<QueueEntry>,
    /// The users with their roles.
    pub users: Vec<UserEntry>,
}

/// A queue of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueEntry {
    /// Its line.
    pub line: u32,
    /// The id.
    pub queue_id: QueueId,
    /// The name that people see.
    pub display_name: String,
    /// The extension.
    pub extension: Option<Extension>,
    /// Its kind.
    pub kind: QueueKind,
}

/// A user of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserEntry {
    /// Its line.
    pub line: u32,
    /// The id.
    pub user_id: UserId,
    /// The name that people see.
    pub display_name: String,
    /// The extension.
    pub extension: Option<Extension>,
    /// The login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Whether the user has a contact-center licence.
    pub contact_center_license: bool,
    /// Whether the user is disabled.
    pub disabled: bool,
    /// Roles for the organization.
    pub roles: Vec<Role>,
    /// Queues on which the user is an agent.
    pub agent_of: Vec<QueueId>,
    /// Penalties on queues of `agent_of`. Others are 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub penalties: Vec<(QueueId, Penalty)>,
    /// Queues on which the user is a supervisor.
    pub supervisor_of: Vec<QueueId>,
}

/// A problem of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 if it isn't known.
    pub line: u32,
    /// The place in the document, such as `users[3].extension`.
    pub path: String,
    /// The problem, and how to correct it.
    pub description: String,
}
