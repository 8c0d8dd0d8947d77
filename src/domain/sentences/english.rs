//! English.

use super::{
    catalogue::{Sentences, roles, sentence},
    name::Name,
};
use crate::domain::{ids::Extension, model::Role, settings::Switch, vocabulary::Permission};

/// English.
pub struct English;

impl Sentences for English {
    fn unknown_user_id(&self, user_id: &str) -> String {
        sentence!("There is no user `{user_id}`.")
    }

    fn unknown_user_extension(&self, extension: Extension) -> String {
        sentence!("There is no user with extension {extension}.")
    }

    fn unknown_queue_id(&self, queue_id: &str) -> String {
        sentence!("There is no queue `{queue_id}`.")
    }

    fn unknown_queue_extension(&self, extension: Extension) -> String {
        sentence!("There is no queue with extension {extension}.")
    }

    fn unknown_supervisor_id(&self, user_id: &str) -> String {
        sentence!("There is no user `{user_id}` who could be the supervisor.")
    }

    fn unknown_supervisor_extension(&self, extension: Extension) -> String {
        sentence!("There is no user with extension {extension} who could be the supervisor.")
    }

    fn user_disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} is disabled and can't sign in to any queue.")
    }

    fn ring_group(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is a ring group, and nobody signs in to a ring group.")
    }

    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is an inbox, which the feature code doesn't reach; use the agent dashboard.")
    }

    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String {
        sentence!("{queue} is a campaign, which the feature code doesn't reach; use the agent dashboard.")
    }

    fn agent_role_required(&self, user: &Name<'_>) -> String {
        sentence!("{user} doesn't hold the agent role, which the agent dashboard needs.")
    }

    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} is already signed in to {queue}.")
    }

    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} is assigned to {queue}.")
    }

    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} isn't assigned to {queue}, but this organization allows sign-in to unassigned queues.")
    }

    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{user} isn't assigned to {queue}, and this organization restricts sign-in to assigned queues.")
    }

    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} is disabled and can't sign anybody in or out.")
    }

    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String {
        sentence!("{supervisor} is neither a supervisor nor a contact admin.")
    }

    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} doesn't supervise {queue}, and supervisors here are limited to their own queues.")
    }

    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} may sign {user} in to {queue}.")
    }

    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String {
        sentence!("{supervisor} may sign {user} out of {queue}.")
    }

    fn disabled(&self, user: &Name<'_>) -> String {
        sentence!("{user} is disabled and may do nothing.")
    }

    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String {
        let (doing, role) = (self.permission(permission), a_role(role));
        match queue {
            None => sentence!("{user} may {doing}, as {role}."),
            Some(queue) => sentence!("{user} may {doing} on {queue}, as {role}."),
        }
    }

    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!("{user} may not {doing} on {queue}, being neither assigned nor signed in to it.")
    }

    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String {
        let doing = self.permission(permission);
        sentence!(
            "{user} may not {doing} on {queue}: they don't supervise it, and supervisors here are limited to their own \
             queues."
        )
    }

    fn setting_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        setting: Switch,
    ) -> String {
        let (doing, role) = (self.permission(permission), a_role(role));
        match queue {
            None => sentence!("{user} may not {doing}: they are {role}, but the setting {setting} is off."),
            Some(queue) => {
                sentence!("{user} may not {doing} on {queue}: they are {role}, but the setting {setting} is off.")
            }
        }
    }

    fn settings_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        [first, second]: [Switch; 2],
    ) -> String {
        let (doing, role) = (self.permission(permission), a_role(role));
        match queue {
            None => {
                sentence!("{user} may not {doing}: they are {role}, but the settings {first} and {second} are off.")
            }
            Some(queue) => sentence!(
                "{user} may not {doing} on {queue}: they are {role}, but the settings {first} and {second} are off."
            ),
        }
    }

    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String {
        let (doing, roles) = (self.permission(permission), roles(permission, role_name, " or "));
        match queue {
            None => sentence!("{user} may not {doing}: that requires the {roles} role."),
            Some(queue) => sentence!("{user} may not {doing} on {queue}: that requires the {roles} role."),
        }
    }

    fn no_user_may(&self) -> String {
        sentence!("No user may do this, only a system that names no acting user.")
    }

    fn permission(&self, permission: Permission) -> &'static str {
        permission.entry().description
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "contact admin",
        Role::Supervisor => "supervisor",
        Role::Agent => "agent",
    }
}

fn a_role(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "a contact admin",
        Role::Supervisor => "a supervisor",
        Role::Agent => "an agent",
    }
}
