//! The handler's knowledge of the PBX's queues and their members.

mod known_queues;
mod dirty_queues;

pub(super) use self::{
    dirty_queues::{DirtyQueues, Marks},
    known_queues::KnownQueues,
};
