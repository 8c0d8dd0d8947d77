//! The state at one revision, in memory, with the indexes that decisions need.

mod assembly;
mod named;
mod penalties;
mod organization_changes;
mod organization_state;
mod queue_state;
mod role_holders;
mod slots;
#[cfg(test)]
mod tests;
mod user_state;
mod whole;

pub use self::{
    assembly::Assembly, organization_state::OrganizationState, queue_state::QueueState, user_state::UserState,
    whole::Snapshot,
};
