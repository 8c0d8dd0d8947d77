//! WatchAuditEvents. A watch reads every event from the log, so it begins, resumes and goes on in one way. A slow
//! reader costs no more memory. A commit only signals that there are new events.

use tokio::{
    sync::{broadcast, broadcast::error::RecvError, mpsc, watch as signal},
    time::timeout,
};

use super::{
    background::blocking,
    error::Error,
    from_proto, proto,
    revisions::own_revision,
    services::{CallerServices, StreamTimes},
    stream::{self},
    to_proto,
    watch::{LATER_THAN_OWN, reach},
    watchers::Watcher,
};
use crate::{
    domain::ids::{OrganizationId, Revision, Sequence},
    state::{Committed, Published, State},
};

/// The number of messages that may wait for the reader.
const BUFFER: usize = 16;

/// The number of events in one read.
const CHUNK: u32 = 256;

/// The messages of one watch, and its end.
pub(super) type Messages = stream::Messages<proto::WatchAuditEventsResponse>;

/// Begin a watch.
pub(super) async fn begin(
    services: &CallerServices,
    request: proto::WatchAuditEventsRequest,
) -> Result<Messages, Error> {
    let proto::WatchAuditEventsRequest { organization_id, start_revision } = request;
    let organization_id = from_proto::organization_id(&services.caller, &organization_id)?;
    let state = services.state()?;
    let changes = state.subscribe();
    let snapshot = state.snapshot();
    services.known_log(&snapshot, &organization_id).await?;
    let start = if start_revision.is_empty() {
        snapshot.revision().sequence
    } else {
        let start = own_revision("start_revision", &start_revision, &snapshot)?.sequence;
        if start > snapshot.revision().sequence {
            if !state.is_node() {
                return Err(Error::invalid("start_revision", &LATER_THAN_OWN));
            }
            reach(state, start).await?;
        }
        start
    };
    let (sender, tell_end, messages) = stream::channel(BUFFER);
    let mut watch =
        Watch { state: state.clone(), times: services.times, organization_id, sender: sender.clone(), last: start };
    let mut draining: signal::Receiver<bool> = services.draining.clone();
    let watcher = Watcher::new(&services.metrics);
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = watch.follow(changes) => ended,
            // The sender of the signal lives as long as the server.
            _ = draining.wait_for(|draining| *draining) => {
                Err(Some(Error::Draining { last: Some(watch.revision(watch.last)) }))
            }
            () = sender.closed() => Err(None),
        };
        drop(watcher);
        // The reader may be gone.
        let _ = tell_end.send(stream::end(ended));
    });
    Ok(messages)
}

struct Watch {
    state: State,
    times: StreamTimes,
    organization_id: OrganizationId,
    sender: mpsc::Sender<proto::WatchAuditEventsResponse>,
    /// All events up to here are sent.
    last: Sequence,
}

/// The error that ends a watch; `None` if its reader is gone.
type Stop = Option<Error>;

impl Watch {
    async fn follow(&mut self, mut changes: broadcast::Receiver<Published>) -> Result<(), Stop> {
        self.send(None).await?;
        loop {
            // Receive the signals while events are sent, so that no batches are kept for a slow reader.
            let (organization_id, after) = (self.organization_id.clone(), self.last);
            let mut pending = false;
            let sent = tokio::select! {
                sent = self.send_logged() => sent,
                ended = listen(&mut changes, &organization_id, after, &mut pending) => return ended,
            };
            sent?;
            while !pending {
                match timeout(self.times.quiet, changes.recv()).await {
                    Ok(Ok(Published::Batch(batch))) => pending = concerns(&batch, &organization_id, self.last),
                    Ok(Ok(Published::Rewritten)) => return Err(Some(Error::HistoryRewritten)),
                    // The missed changes are in the log.
                    Ok(Err(RecvError::Lagged(_))) => pending = true,
                    Ok(Err(RecvError::Closed)) => return Ok(()),
                    Err(_) => {
                        self.send_checkpoint().await?;
                        pending = true;
                    }
                }
            }
        }
    }

    /// Send a checkpoint, so that a quiet watch can resume after the log was cut.
    async fn send_checkpoint(&mut self) -> Result<(), Stop> {
        let published = self.state.snapshot().revision().sequence;
        self.send_logged().await?;
        self.last = self.last.max(published);
        self.send(None).await
    }

    /// Send the log's events after the last event sent.
    async fn send_logged(&mut self) -> Result<(), Stop> {
        loop {
            let (state, organization_id, after) = (self.state.clone(), self.organization_id.clone(), self.last);
            let up_to = state.snapshot().revision().sequence;
            let reading = blocking(move || {
                let found = state.records_since(after, up_to, &organization_id, CHUNK)?;
                // Read the cut after the events, so that a cut between the two is noticed.
                Ok((found, state.snapshot().audit_cut(organization_id.as_str())))
            });
            let (found, cut) = reading.await.and_then(|found| found.map_err(Error::Store)).map_err(Some)?;
            if after < cut {
                return Err(Some(Error::Compacted));
            }
            for logged in &found {
                let lineage = self.state.snapshot().revision().lineage;
                self.send(Some((logged.record.sequence, to_proto::audit_event(lineage, logged)))).await?;
            }
            if found.is_empty() {
                return Ok(());
            }
        }
    }

    /// Send an event or, without one, a checkpoint. INVARIANT: `last` is never later than the last event or checkpoint
    /// sent.
    async fn send(&mut self, event: Option<(Sequence, proto::AuditEvent)>) -> Result<(), Stop> {
        let (sequence, event) = event.map_or((self.last, None), |(sequence, event)| (sequence, Some(event)));
        let message = proto::WatchAuditEventsResponse { event, revision: self.revision(sequence).to_string() };
        match timeout(self.times.patience, self.sender.send(message)).await {
            Ok(Ok(())) => {
                self.last = sequence;
                Ok(())
            }
            Ok(Err(_)) => Err(None),
            Err(_) => Err(Some(Error::SlowReader { last: Some(self.revision(self.last)) })),
        }
    }

    fn revision(&self, sequence: Sequence) -> Revision {
        Revision { sequence, ..self.state.snapshot().revision() }
    }
}

/// Return whether a batch has changes of the organization later than `after`.
fn concerns(batch: &[Committed], organization_id: &OrganizationId, after: Sequence) -> bool {
    batch
        .iter()
        .any(|Committed { record, .. }| record.change.organization_id == *organization_id && record.sequence > after)
}

/// Note changes of the organization in `pending`, until the state has ended.
async fn listen(
    changes: &mut broadcast::Receiver<Published>,
    organization_id: &OrganizationId,
    after: Sequence,
    pending: &mut bool,
) -> Result<(), Stop> {
    loop {
        match changes.recv().await {
            Ok(Published::Batch(batch)) => *pending |= concerns(&batch, organization_id, after),
            Ok(Published::Rewritten) => return Err(Some(Error::HistoryRewritten)),
            Err(RecvError::Lagged(_)) => *pending = true,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
