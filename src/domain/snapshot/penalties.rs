//! The penalties of agents on queues. Most agents have none, so they don't take space in each user's state.

use imbl::OrdMap;

use crate::domain::{
    ids::{QueueId, UserId},
    model::Penalty,
};

/// The penalties of an organization's AGENT assignments on queues. INVARIANT: none of them is 0, and no user is without.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Penalties(OrdMap<UserId, OrdMap<QueueId, Penalty>>);

impl Penalties {
    /// Return a user's penalty on a queue.
    pub(super) fn get(&self, user_id: &UserId, queue_id: &QueueId) -> Penalty {
        self.0.get(user_id).and_then(|of_user| of_user.get(queue_id)).copied().unwrap_or_default()
    }

    /// Iterate over a user's penalties, in order of the queues' ids.
    pub(super) fn of(&self, user_id: &UserId) -> impl Iterator<Item = (QueueId, Penalty)> {
        let of_user = self.0.get(user_id).into_iter().flatten();
        of_user.map(|(queue_id, penalty)| (queue_id.clone(), *penalty))
    }

    /// Set a user's penalty on a queue.
    pub(super) fn set(&mut self, user_id: &UserId, queue_id: &QueueId, penalty: Penalty) {
        if !penalty.is_zero() {
            self.0.entry(user_id.clone()).or_default().insert(queue_id.clone(), penalty);
        } else if let Some(of_user) = self.0.get_mut(user_id) {
            of_user.remove(queue_id);
            if of_user.is_empty() {
                self.0.remove(user_id);
            }
        }
    }
}
