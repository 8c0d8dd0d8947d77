//! WatchAuditEvents. Every event is read from the log, so a watch begins, resumes and goes on in one way, and costs no
//! more memory for a slow reader; what is committed only rings the bell.

use std::sync::Arc;

use tokio::sync::{broadcast, broadcast::error::RecvError, mpsc, watch as signal};

use super::{Desk, Watcher, blocking, from_proto, own_revision, proto, status::Error, stream, to_proto};
use crate::{
    domain::ids::{OrganizationId, Revision, Sequence},
    state::{Committed, State},
};

/// How many messages may wait for the reader.
const BUFFER: usize = 64;

/// How many events are read at a time.
const CHUNK: u32 = 256;

/// The messages of one watch, and how it ended.
pub(super) type Messages = stream::Messages<proto::WatchAuditEventsResponse>;

/// Begins a watch.
pub(super) async fn begin(desk: &Desk, request: proto::WatchAuditEventsRequest) -> Result<Messages, Error> {
    let proto::WatchAuditEventsRequest { organization_id, start_revision } = request;
    let organization_id = from_proto::organization_id(&desk.caller, &organization_id)?;
    let state = desk.state()?;
    let bell = state.subscribe();
    let snapshot = state.snapshot();
    desk.known_log(&snapshot, &organization_id).await?;
    let start = if start_revision.is_empty() {
        snapshot.revision().sequence
    } else {
        let start = own_revision("start_revision", &start_revision, &snapshot)?.sequence;
        if start > snapshot.revision().sequence {
            return Err(Error::invalid("start_revision", &"is later than anything this server has done"));
        }
        start
    };
    let (sender, tell_end, messages) = stream::channel(BUFFER);
    let mut watch = Watch { state: state.clone(), organization_id, sender: sender.clone(), last: start };
    let mut draining: signal::Receiver<bool> = desk.draining.clone();
    let (watcher, caller) = (Watcher::new(&desk.metrics), Arc::clone(&desk.caller));
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = watch.follow(bell) => ended,
            // The sender of the signal lives as long as the server.
            _ = draining.wait_for(|draining| *draining) => {
                Err(Some(Error::Draining { last: Some(watch.revision(watch.last)) }))
            }
            () = sender.closed() => Err(None),
            () = caller.ended() => Err(Some(Error::CredentialsEnded)),
        };
        drop(watcher);
        // The reader may be gone.
        let _ = tell_end.send(stream::end(ended));
    });
    Ok(messages)
}

struct Watch {
    state: State,
    organization_id: OrganizationId,
    sender: mpsc::Sender<proto::WatchAuditEventsResponse>,
    /// Everything up to here has been sent.
    last: Sequence,
}

/// Why a watch ends; none: its reader is gone.
type Stop = Option<Error>;

impl Watch {
    async fn follow(&mut self, mut bell: broadcast::Receiver<Arc<[Committed]>>) -> Result<(), Stop> {
        self.send(None).await?;
        loop {
            self.send_logged().await?;
            loop {
                match bell.recv().await {
                    Ok(batch) if self.concerns(&batch) => break,
                    Ok(_) => {}
                    // Whatever was missed is in the log.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }

    fn concerns(&self, batch: &[Committed]) -> bool {
        batch.iter().any(|Committed { record, .. }| {
            record.change.organization_id == self.organization_id && record.sequence > self.last
        })
    }

    /// Sends what the log has after the last event sent.
    async fn send_logged(&mut self) -> Result<(), Stop> {
        loop {
            let (state, organization_id, after) = (self.state.clone(), self.organization_id.clone(), self.last);
            let up_to = state.snapshot().revision().sequence;
            let reading = blocking(move || {
                let found = state.records_since(after, up_to, &organization_id, CHUNK)?;
                // Looked at after the reading: what is cut between the two is missed by neither.
                Ok((found, state.snapshot().audit_cut(organization_id.as_str())))
            });
            let (found, cut) = reading.await.and_then(|found| found.map_err(Error::Store)).map_err(Some)?;
            if after < cut {
                return Err(Some(Error::Compacted));
            }
            for logged in &found {
                let lineage = self.state.snapshot().revision().lineage;
                self.last = logged.record.sequence;
                self.send(Some(to_proto::audit_event(lineage, logged))).await?;
            }
            if found.is_empty() {
                return Ok(());
            }
        }
    }

    async fn send(&self, event: Option<proto::AuditEvent>) -> Result<(), Stop> {
        let revision = self.revision(self.last).to_string();
        self.sender.send(proto::WatchAuditEventsResponse { event, revision }).await.map_err(|_| None)
    }

    fn revision(&self, sequence: Sequence) -> Revision {
        Revision { sequence, ..self.state.snapshot().revision() }
    }
}
