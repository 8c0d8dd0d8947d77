//! Corrects the PBX's dynamic members, so that a phone rings when and only when there is a session.
//!
//! Events of either side only mark a queue for comparison. For each marked queue the reconciler reads both sides and
//! corrects the members. So it doesn't depend on the completeness of events, and works after a restart of any side.
//!
//! INVARIANT: the members are read before the sessions, and a call makes the session before the member. So a member
//! without a session is one that no call is about to complete.
//!
//! The reconciler leaves static members in the PBX's configuration and queues that queuegate never had as they are. From a queue
//! that queuegate had, and has no longer under that name, it removes the members that it would add.

mod differences;
mod phones;
mod lamps;
mod reconciler;
mod watch;
mod run;

pub(super) use self::{
    differences::{Correction, differences},
    phones::SessionPhones,
    run::run,
};
