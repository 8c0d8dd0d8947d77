//! The PBX beside the calls: the connection to its manager interface, and the handler's knowledge of its queues.

mod manager;
mod known_queues;
mod dirty_queues;

pub(super) use self::{
    dirty_queues::{DirtyQueues, Marks},
    known_queues::KnownQueues,
    manager::{ManagerConnection, ManagerError, Member},
};
