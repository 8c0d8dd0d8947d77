//! The queues whose members may differ from the sessions.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// The queues that are marked for comparison, by their names on the PBX.
#[derive(Debug, Default)]
pub(crate) struct DirtyQueues {
    marks: Mutex<Marks>,
    marked: Notify,
}

/// The marks since the last comparison.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Whether all queues are marked.
    pub all: bool,
    pub queues: BTreeSet<String>,
}

impl DirtyQueues {
    /// Mark a queue.
    pub(crate) fn mark(&self, pbx_queue: &str) {
        self.change(|marks| marks.queues.extend([pbx_queue.to_owned()]));
    }

    /// Mark all queues.
    pub(crate) fn mark_all(&self) {
        self.change(|marks| marks.all = true);
    }

    fn change(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner));
        self.marked.notify_one();
    }

    /// Return the marks, and clear them.
    pub(crate) fn take(&self) -> Marks {
        std::mem::take(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wait until a queue is marked.
    pub(crate) async fn marked(&self) {
        self.marked.notified().await;
    }
}
