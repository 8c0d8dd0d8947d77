//! One queue, and the users with a role on it.

use imbl::OrdSet;

use super::{named::HasNames, slots::Slot};
use crate::domain::{
    ids::{Extension, QueueId, UserId},
    model::Queue,
};

/// A queue, and the users with a role on it.
#[derive(Debug, Clone)]
pub struct QueueState {
    pub(super) queue: Queue,
    /// The number that user states store instead of the queue's id.
    pub(super) slot: Slot,
    pub(super) role_holders: OrdSet<UserId>,
}

impl HasNames for QueueState {
    type Id = QueueId;

    fn id(&self) -> &QueueId {
        &self.queue.queue_id
    }

    fn extension(&self) -> &Option<Extension> {
        &self.queue.extension
    }
}

impl QueueState {
    /// Return the queue's own attributes.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}
