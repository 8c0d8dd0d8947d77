//! An organization's state as a directory, for exports.

use super::{
    directory::{QueueEntry, UserEntry},
    model::Role,
    snapshot::OrganizationState,
};

/// Return the queues of an organization as entries of a document, in order of their ids.
pub fn queue_entries(organization: &OrganizationState) -> impl Iterator<Item = QueueEntry> {
    organization.queues_after(None).map(|queue| QueueEntry {
        line: 0,
        queue_id: queue.queue_id.clone(),
        display_name: queue.display_name.clone(),
        extension: queue.extension,
        kind: queue.kind,
    })
}

/// Return the users of an organization with their roles as entries of a document, in order of their ids.
pub fn user_entries(organization: &OrganizationState) -> impl Iterator<Item = UserEntry> {
    organization.users_after(None).map(|user| {
        let user_id = user.user_id.as_str();
        let queues_with = |role| {
            let on_queues = organization.queue_roles_of_user(user_id);
            on_queues.filter(|(_, roles)| roles.contains(role)).map(|(queue_id, _)| queue_id.clone()).collect()
        };
        UserEntry {
            line: 0,
            user_id: user.user_id.clone(),
            display_name: user.display_name.to_string(),
            extension: user.extension,
            login: user.login.clone(),
            contact_center_license: user.contact_center_license,
            disabled: user.disabled,
            roles: organization.organization_roles(user_id).iter().collect(),
            agent_of: queues_with(Role::Agent),
            penalties: organization.penalties_of(&user.user_id).collect(),
            supervisor_of: queues_with(Role::Supervisor),
        }
    })
}
