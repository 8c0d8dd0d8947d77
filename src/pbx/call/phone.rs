//! The phone and the queue of a call.

use crate::{
    domain::ids::QueueRef,
    pbx::{
        config::DoneBy,
        context::HandlerContext,
        journal::{JournalEntry, PendingAction},
        key_locks::MemberKey,
        request::Request,
    },
};

/// The phone and the queue of a call, by queuegate's names and the PBX's.
pub(super) struct PhoneOnQueue {
    pub queue: QueueRef,
    /// The queue's name on the PBX, or `None` if it can't be derived.
    pub pbx_queue: Option<String>,
    pub interface: String,
    pub key: MemberKey,
    /// The party that adds and removes the member.
    pub members: DoneBy,
}

impl PhoneOnQueue {
    /// Return the queue's name on the PBX if the handler changes its members.
    pub(super) fn managed_queue(&self) -> Option<&str> {
        match self.members {
            DoneBy::Handler => self.pbx_queue.as_deref(),
            DoneBy::Dialplan => None,
        }
    }

    /// Return the same queue with another phone.
    pub(super) fn at(&self, interface: String) -> Self {
        let Self { queue, pbx_queue, interface: _, key, members } = self;
        let key = MemberKey::new(&key.queue, &interface);
        Self { queue: queue.clone(), pbx_queue: pbx_queue.clone(), interface, key, members: *members }
    }

    /// Return a pending operation for the journal.
    pub(super) fn journal_entry(&self, request: &Request, action: PendingAction) -> JournalEntry {
        JournalEntry {
            organization: request.organization.clone(),
            user: request.extension,
            queue: self.queue.clone(),
            pbx_queue: self.pbx_queue.clone().unwrap_or_else(|| self.queue.name()),
            interface: self.interface.clone(),
            action,
        }
    }

    /// Mark the queue for comparison.
    pub(super) fn mark_dirty(&self, context: &HandlerContext) {
        if let Some(pbx_queue) = &self.pbx_queue {
            context.dirty_queues.mark(pbx_queue);
        }
    }
}

/// Return the party that changes members.
pub(super) fn changing_members(context: &HandlerContext, request: &Request) -> DoneBy {
    match (request.members, context.config.members) {
        (None | Some(DoneBy::Handler), DoneBy::Handler) => DoneBy::Handler,
        (Some(DoneBy::Dialplan), _) | (_, DoneBy::Dialplan) => DoneBy::Dialplan,
    }
}
