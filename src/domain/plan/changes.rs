//! The changes of a command, in order.

use crate::domain::{
    change::{Change, Inapplicable},
    snapshot::Snapshot,
};

/// The changes in order; possibly none.
#[derive(Debug)]
pub struct Changes {
    pub(super) in_order: Vec<Change>,
    /// The state with the changes, if planning them computed it.
    pub(super) after: Option<Snapshot>,
}

impl Changes {
    /// Apply the changes to the state for which they were planned. If one of them doesn't fit, the state remains as it
    /// was.
    pub fn apply_to(self, state: &mut Snapshot) -> Result<Vec<Change>, Inapplicable> {
        match (self.after, self.in_order.as_slice()) {
            (Some(after), _) => *state = after,
            // Most commands make one change, which needs no copy.
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
