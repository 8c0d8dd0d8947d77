//! Events of the audit log as readers get them.

use crate::domain::{
    chain::Digest,
    change::Record,
    ids::{QueueRef, Sequence, UserRef},
    summary::Verdict,
    time::Timestamp,
    vocabulary::AuditAction,
};

/// An event of the log with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The event.
    pub record: Record,
    /// The hash that chains it to the event before.
    pub hash: Digest,
}

/// The wanted events of an organization. An empty filter wants all events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// The users concerned; empty for all.
    pub users: Vec<UserRef>,
    /// The queues concerned; empty for all.
    pub queues: Vec<QueueRef>,
    /// The actor.
    pub actor: Option<UserRef>,
    /// The action.
    pub action: Option<AuditAction>,
    /// Allowed or denied.
    pub verdict: Option<Verdict>,
    /// The earliest time.
    pub start: Option<Timestamp>,
    /// The time before which events are wanted.
    pub end: Option<Timestamp>,
}

/// The newest events that match a filter.
#[derive(Debug)]
pub struct Newest {
    /// The events, newest first.
    pub events: Vec<Logged>,
    /// The event before which the next page begins, or `None` at the end.
    pub rest: Option<Sequence>,
}
