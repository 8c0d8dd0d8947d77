//! The changes of a command, in order.

use crate::domain::{
    change::{Change, Inapplicable},
    snapshot::Snapshot,
};

/// What changes, in order; nothing may.
#[derive(Debug)]
pub struct Changes {
    pub(super) in_order: Vec<Change>,
    /// The state with the changes, if planning them took one.
    pub(super) after: Option<Snapshot>,
}

impl Changes {
    /// Makes the state for which they were planned the state with the changes. If one of them doesn't fit, the state stays as it
    /// was.
    pub fn apply_to(self, state: &mut Snapshot) -> Result<Vec<Change>, Inapplicable> {
        match (self.after, self.in_order.as_slice()) {
            (Some(after), _) => *state = after,
            // Most commands change one thing, which needs no copy.
            (None, [change]) => state.apply(change)?,
            (None, changes) => {
                let mut after = state.clone();
                changes.iter().try_for_each(|change| after.apply(change))?;
                *state = after;
            }
        }
        Ok(self.in_order)
    }
}

impl From<Vec<Change>> for Changes {
    fn from(in_order: Vec<Change>) -> Self {
        Self { in_order, after: None }
    }
}
