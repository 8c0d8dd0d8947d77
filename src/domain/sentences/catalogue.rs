//! The sentences that every language has.

use super::name::Name;
use crate::domain::{
    ids::Extension,
    model::Role,
    settings::Switch,
    vocabulary::{Entry, Permission},
};

/// The sentences of a language.
pub trait Sentences: Sync {
    /// No user has this id.
    fn unknown_user_id(&self, user_id: &str) -> String;
    /// No user has this extension.
    fn unknown_user_extension(&self, extension: Extension) -> String;
    /// No queue has this id.
    fn unknown_queue_id(&self, queue_id: &str) -> String;
    /// No queue has this extension.
    fn unknown_queue_extension(&self, extension: Extension) -> String;
    /// No user has the id that was given for the supervisor.
    fn unknown_supervisor_id(&self, user_id: &str) -> String;
    /// No user has the extension that was given for the supervisor.
    fn unknown_supervisor_extension(&self, extension: Extension) -> String;

    /// A disabled user can't sign in.
    fn user_disabled(&self, user: &Name<'_>) -> String;
    /// Nobody signs in to a ring group.
    fn ring_group(&self, queue: &Name<'_>) -> String;
    /// The feature code doesn't reach this inbox.
    fn inbox_by_feature_code(&self, queue: &Name<'_>) -> String;
    /// The feature code doesn't reach this campaign.
    fn campaign_by_feature_code(&self, queue: &Name<'_>) -> String;
    /// The agent dashboard needs the agent role.
    fn agent_role_required(&self, user: &Name<'_>) -> String;
    /// The user is signed in already.
    fn already_signed_in(&self, user: &Name<'_>, queue: &Name<'_>) -> String;
    /// The user is assigned to the queue.
    fn assigned(&self, user: &Name<'_>, queue: &Name<'_>) -> String;
    /// The user isn't assigned, and the organization allows it.
    fn unassigned_allowed(&self, user: &Name<'_>, queue: &Name<'_>) -> String;
    /// The user isn't assigned, and the organization doesn't allow it.
    fn unassigned_restricted(&self, user: &Name<'_>, queue: &Name<'_>) -> String;

    /// A disabled supervisor can't sign anybody in or out.
    fn supervisor_disabled(&self, supervisor: &Name<'_>) -> String;
    /// The user is neither a supervisor nor a contact admin.
    fn supervisor_role_required(&self, supervisor: &Name<'_>) -> String;
    /// The queue is out of the supervisor's reach.
    fn supervisor_queue_not_assigned(&self, supervisor: &Name<'_>, queue: &Name<'_>) -> String;
    /// The supervisor may sign the user in.
    fn supervisor_sign_in(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String;
    /// The supervisor may sign the user out.
    fn supervisor_sign_out(&self, supervisor: &Name<'_>, user: &Name<'_>, queue: &Name<'_>) -> String;

    /// A disabled user has no permission.
    fn disabled(&self, user: &Name<'_>) -> String;
    /// A role of the user grants the permission.
    fn granted(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>, role: Role) -> String;
    /// An agent is neither assigned nor signed in to the queue.
    fn queue_not_served(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String;
    /// The queue is out of a supervisor's reach.
    fn queue_not_supervised(&self, user: &Name<'_>, permission: Permission, queue: &Name<'_>) -> String;
    /// A role of the user would grant the permission, but this setting is off.
    fn setting_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        setting: Switch,
    ) -> String;
    /// A role of the user would grant the permission, but both settings that could are off.
    fn settings_off(
        &self,
        user: &Name<'_>,
        permission: Permission,
        queue: Option<&Name<'_>>,
        role: Role,
        settings: [Switch; 2],
    ) -> String;
    /// No role of the user could grant the permission.
    fn role_required(&self, user: &Name<'_>, permission: Permission, queue: Option<&Name<'_>>) -> String;
    /// Only a system that names no acting user may do this.
    fn no_user_may(&self) -> String;

    /// Describe a permission: the permitted activity, as an infinitive.
    fn permission(&self, permission: Permission) -> &'static str;
}

/// Format a sentence. Every check makes one, so the capacity fits most sentences without a second allocation.
macro_rules! sentence {
    ($($words:tt)*) => {{
        use std::fmt::Write;
        let mut text = String::with_capacity(192);
        // Writing to a string doesn't fail.
        let _ = write!(text, $($words)*);
        text
    }};
}
pub(super) use sentence;

/// Join the names of the roles that could grant a permission, by a word for "or".
pub(super) fn roles(permission: Permission, name: fn(Role) -> &'static str, or: &str) -> String {
    let Entry { description: _, subject: _, grants } = permission.entry();
    let names: Vec<&str> = grants.iter().map(|(role, _)| name(*role)).collect();
    names.join(or)
}
