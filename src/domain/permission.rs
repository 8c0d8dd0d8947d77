//! What a role lets a user do (`SEMANTICS.md` section 4).

use super::{
    model::{Role, RoleSet},
    settings::Switch,
    snapshot::Tenant,
};

/// Whether somebody may sign agents in to a queue and out of it (SIGN_IN_AGENTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInAgents {
    /// They may, by this role.
    Granted(Role),
    /// They supervise, but not this queue.
    QueueNotAssigned,
    /// They neither supervise nor administer.
    RoleRequired,
}

/// Whether the user holds SIGN_IN_AGENTS on the queue: a CONTACT_ADMIN on all of them, a SUPERVISOR on queues in reach.
pub fn sign_in_agents(tenant: &Tenant, user_id: &str, queue_id: &str) -> SignInAgents {
    let held: RoleSet = tenant.roles_held(user_id);
    if held.contains(Role::ContactAdmin) {
        SignInAgents::Granted(Role::ContactAdmin)
    } else if !held.contains(Role::Supervisor) {
        SignInAgents::RoleRequired
    } else if is_in_reach(tenant, user_id, queue_id) {
        SignInAgents::Granted(Role::Supervisor)
    } else {
        SignInAgents::QueueNotAssigned
    }
}

/// Whether a supervisor reaches the queue: by an assignment on it, or because supervisors aren't limited to theirs.
fn is_in_reach(tenant: &Tenant, user_id: &str, queue_id: &str) -> bool {
    !tenant.settings().is_on(Switch::LimitToAssignedQueues)
        || tenant.roles_on_queue(user_id, queue_id).contains(Role::Supervisor)
}
