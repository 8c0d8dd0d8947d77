//! The adoption of a live PBX, whose queues have dynamic members already.
//!
//! Reconciling removes each dynamic member without a session. On a PBX that worked before queuegate came, that is every
//! agent who is logged in. So reconciling removes such members only after an operator has seen the plan, which lists
//! them, or has adopted them: then each has a session.

mod marker;
mod plan;
mod adopt;

pub(super) use self::marker::is_planned;
pub use self::{
    adopt::{Adoption, adopt},
    marker::{MarkerError, note_planned},
    plan::{Error, PlannedMember, PlannedQueue, Prospect, Step, plan},
};
