//! Makes a durable batch visible to readers and watches.

use std::sync::Arc;

use super::shared::{Committed, Published, Shared};
use crate::domain::{change::Record, snapshot::Snapshot};

/// Publish the state after a batch, and its changes. INVARIANT: the batch is durable.
pub(super) fn publish(shared: &Shared, snapshot: Arc<Snapshot>, records: Vec<Record>) {
    let sequence = snapshot.revision().sequence;
    shared.published.store(snapshot);
    shared.sequence.send_replace(sequence);
    if !records.is_empty() {
        // There may be no watches.
        let _ = shared.changes.send(Published::Batch(for_watches(records)));
    }
}

/// Publish a state that doesn't continue the one before. Watches end, because their changes may have been lost.
pub(super) fn publish_anew(shared: &Shared, snapshot: Arc<Snapshot>) {
    publish(shared, snapshot, Vec::new());
    // There may be no watches.
    let _ = shared.changes.send(Published::Rewritten);
}

/// Return the changes of a batch that watches need: those they send, and the last change of each organization, for
/// their checkpoints. Other changes are dropped: a slow watch keeps batches in memory, and an import may change a
/// hundred thousand users.
fn for_watches(records: Vec<Record>) -> Arc<[Committed]> {
    let mut kept = Vec::new();
    let mut records = records.into_iter().peekable();
    while let Some(record) = records.next() {
        let next = records.peek().map(|next| &next.change.organization_id);
        if record.change.event.watched().is_some() || next != Some(&record.change.organization_id) {
            kept.push(Committed::new(record));
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        change::{Change, Event, Origin},
        ids::{Caller, Sequence},
        model::{Basis, Channel, Queue, QueueKind, Session},
        time::Timestamp,
    };

    #[test]
    fn watches_get_the_changes_of_sessions_and_the_last_of_each_organization() {
        let session = Session {
            session_id: "s".parse().unwrap(),
            user_id: "ann".parse().unwrap(),
            queue_id: "q".parse().unwrap(),
            channel: Channel::FeatureCode,
            basis: Basis::Assigned,
            signed_in_by: "ann".parse().unwrap(),
            sign_in_time: Timestamp::from_unix_ms(0),
            expire_time: None,
            device: String::new(),
            end: None,
        };
        let (queue_id, display_name) = ("q".parse().unwrap(), String::new());
        let queue = Queue { queue_id, display_name, extension: None, kind: QueueKind::CallQueue };
        let created = |_| Event::QueueCreated { queue: queue.clone() };
        let started = |_| Event::SessionStarted { session: session.clone(), justification: String::new() };
        let events: Vec<(&str, Event)> = (0..1_000)
            .map(|number| ("acme", created(number)))
            .chain((0..2).map(|number| ("acme", started(number))))
            .chain((0..5).map(|number| ("acme", created(number))))
            .chain((0..1_000).map(|number| ("globex", created(number))))
            .collect();
        let records = events.into_iter().zip(1..).map(|((organization_id, event), sequence)| Record {
            sequence: Sequence(sequence),
            time: Timestamp::from_unix_ms(0),
            origin: Origin { caller: Caller::server(), actor: None },
            change: Change { organization_id: organization_id.parse().unwrap(), event },
        });
        let kept = for_watches(records.collect());
        let sequences: Vec<u64> = kept.iter().map(|committed| committed.record.sequence.0).collect();
        assert_eq!(sequences, [1_001, 1_002, 1_007, 2_007]);
    }
}
