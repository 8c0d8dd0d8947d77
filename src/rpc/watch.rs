//! WatchSessions: what is live, or what came after a revision, and then every change as it happens.
//!
//! INVARIANT: after a watch has begun, every change of its sessions is sent once and in order, or the watch ends with an
//! error that names the last revision sent. What isn't in memory any more is read from the audit log.

use std::sync::Arc;

use tokio::sync::{broadcast::error::RecvError, mpsc, watch as signal};

use super::{
    Rpc, Watcher, from_proto, own_revision, proto,
    status::Error,
    stream::{self, PATIENCE},
    to_proto,
};
use crate::{
    auth::Identity,
    domain::{
        change::{Event, Record},
        ids::{OrganizationId, QueueId, QueueRef, Revision, Sequence, UserId, UserRef},
        model::{EndReason, Session, SessionEnd},
        plan::{found_queue, found_tenant, found_user, no_organization},
        snapshot::Snapshot,
        time::Timestamp,
    },
    state::State,
    store::Logged,
};

/// How many messages may wait for the reader.
const BUFFER: usize = 64;

/// Why a watch is not resumed by extension.
const MAY_HAVE_MOVED: &str = "must be left out with start_revision, since the extension may have moved; give the id";

/// How many changes are read from the log at a time.
const CHUNK: u32 = 1_000;

/// The messages of one watch, and how it ended.
pub(super) type Messages = stream::Messages<proto::WatchSessionsResponse>;

/// Begins a watch.
pub(super) fn begin(rpc: &Rpc, caller: Arc<Identity>, request: proto::WatchSessionsRequest) -> Result<Messages, Error> {
    let proto::WatchSessionsRequest { organization_id, user, queue, start_revision } = request;
    let organization_id = from_proto::organization_id(&caller, &organization_id)?;
    let user = from_proto::optional_user(user)?;
    let queue = from_proto::optional_queue(queue)?;
    let state = rpc.state()?;
    let snapshot = state.snapshot();
    let tenant = found_tenant(&snapshot, &organization_id)?;
    let start = if start_revision.is_empty() {
        None
    } else {
        let start = own_revision("start_revision", &start_revision, &snapshot)?;
        if start.sequence > snapshot.revision().sequence {
            return Err(Error::invalid("start_revision", &"is later than anything this server has done"));
        }
        if start.sequence < snapshot.audit_cut(organization_id.as_str()) {
            return Err(Error::Compacted);
        }
        Some(start.sequence)
    };
    // Whoever resumes may ask for the end of the sessions of a user or a queue that is gone by now.
    let user_id = match (user, start) {
        (Some(UserRef::Id(id)), Some(_)) => Some(id),
        (Some(UserRef::Extension(_)), Some(_)) => return Err(Error::invalid("user_extension", &MAY_HAVE_MOVED)),
        (Some(user), None) => Some(found_user(tenant, &user)?.user_id.clone()),
        (None, _) => None,
    };
    let queue_id = match (queue, start) {
        (Some(QueueRef::Id(id)), Some(_)) => Some(id),
        (Some(QueueRef::Extension(_)), Some(_)) => return Err(Error::invalid("queue_extension", &MAY_HAVE_MOVED)),
        (Some(queue), None) => Some(found_queue(tenant, &queue)?.queue_id.clone()),
        (None, _) => None,
    };
    let (sender, tell_end, messages) = stream::channel(BUFFER);
    let watch = Watch {
        state: state.clone(),
        draining: rpc.draining.clone(),
        caller,
        organization_id,
        user_id,
        queue_id,
        sender,
        last: start,
        initial_time: None,
    };
    let watcher = Watcher::new(&rpc.metrics);
    tokio::spawn(async move {
        let ended = match watch.run(start).await {
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Gone | Stop::Draining) | Ok(()) => Ok(()),
        };
        drop(watcher);
        // The reader may be gone by now.
        let _ = tell_end.send(ended);
    });
    Ok(messages)
}

struct Watch {
    state: State,
    draining: signal::Receiver<bool>,
    caller: Arc<Identity>,
    organization_id: OrganizationId,
    user_id: Option<UserId>,
    queue_id: Option<QueueId>,
    sender: mpsc::Sender<proto::WatchSessionsResponse>,
    /// Everything up to here has been sent; none while INITIAL sessions are still to come.
    last: Option<Sequence>,
    /// When the INITIAL sessions were read, if they were. What had expired by then was not among them.
    initial_time: Option<Timestamp>,
}

/// Why a watch ends.
enum Stop {
    /// The reader is gone.
    Gone,
    /// The server is going to stop.
    Draining,
    /// The reader is told.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Watch {
    async fn run(mut self, start: Option<Sequence>) -> Result<(), Stop> {
        let mut draining = self.draining.clone();
        let sender = self.sender.clone();
        let caller = Arc::clone(&self.caller);
        let stopped = tokio::select! {
            stopped = self.send_everything(start) => stopped,
            () = sender.closed() => Err(Stop::Gone),
            () = caller.ended() => Err(Error::CredentialsEnded.into()),
            // The sender of the signal lives as long as the server.
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Draining),
        };
        match stopped {
            Err(Stop::Draining) => {
                if let Some(last) = self.last {
                    let checkpoint = self.message(proto::WatchSessionsType::Checkpoint, None, last);
                    // Whoever reads too slowly for it is told the revision by the error.
                    let _ = self.sender.try_send(checkpoint);
                }
                Err(Error::Draining { last: self.last_sent() }.into())
            }
            stopped => stopped,
        }
    }

    async fn send_everything(&mut self, start: Option<Sequence>) -> Result<(), Stop> {
        if let Some(start) = start {
            // Most of a long history comes from the log before the live changes begin to pile up.
            let published = self.state.snapshot().revision().sequence;
            self.send_logged(start, published).await?;
        }
        // INVARIANT: the snapshot is taken after the subscription began, so what it lacks arrives live.
        let mut live = self.state.subscribe();
        let snapshot = self.state.snapshot();
        match self.last {
            Some(last) => self.send_logged(last, snapshot.revision().sequence).await?,
            None => self.send_initial(&snapshot).await?,
        }
        found_tenant(&snapshot, &self.organization_id).map_err(Error::from)?;
        loop {
            match live.recv().await {
                Ok(batch) => {
                    for record in batch.iter() {
                        self.send_record(record).await?;
                    }
                }
                Err(RecvError::Lagged(_)) => return Err(self.too_slow()),
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Sends what is live, and a checkpoint.
    async fn send_initial(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Stop> {
        let sequence = snapshot.revision().sequence;
        let tenant = found_tenant(snapshot, &self.organization_id).map_err(Error::from)?;
        let now = self.state.now();
        self.initial_time = Some(now);
        let sessions = tenant.sessions_after(None).filter(|session| session.is_live(now) && self.wants(session));
        for session in sessions {
            let message = self.message(proto::WatchSessionsType::Initial, Some(session), sequence);
            self.send(message).await?;
        }
        let checkpoint = self.message(proto::WatchSessionsType::Checkpoint, None, sequence);
        self.send(checkpoint).await?;
        self.last = Some(sequence);
        Ok(())
    }

    /// Sends what the audit log has after `after`, up to `up_to`.
    async fn send_logged(&mut self, mut after: Sequence, up_to: Sequence) -> Result<(), Stop> {
        while after < up_to {
            let state = self.state.clone();
            let organization_id = self.organization_id.clone();
            let reading = move || state.records_since(after, up_to, &organization_id, CHUNK);
            let records = tokio::task::spawn_blocking(reading).await;
            let records = records.map_err(|error| Error::Internal(error.to_string()))?.map_err(Error::from)?;
            if after < self.state.snapshot().audit_cut(self.organization_id.as_str()) {
                return Err(Error::Compacted.into());
            }
            for Logged { record, hash: _ } in &records {
                self.send_record(record).await?;
            }
            let is_full = records.len() == usize::try_from(CHUNK).unwrap_or(usize::MAX);
            after = records.last().filter(|_| is_full).map_or(up_to, |logged| logged.record.sequence);
            self.last = Some(after);
        }
        Ok(())
    }

    async fn send_record(&mut self, record: &Record) -> Result<(), Stop> {
        if self.last.is_some_and(|last| record.sequence <= last) {
            return Ok(());
        }
        if record.change.organization_id == self.organization_id {
            self.send_event(&record.change.event, record.sequence).await?;
        }
        self.last = Some(record.sequence);
        Ok(())
    }

    async fn send_event(&self, event: &Event, sequence: Sequence) -> Result<(), Stop> {
        let (kind, session) = match event {
            Event::SessionStarted { session, justification: _ } => (proto::WatchSessionsType::SignedIn, session),
            Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
                (proto::WatchSessionsType::SignedOut, session)
            }
            Event::OrganizationDeleted { .. } => return Err(Error::from(no_organization(&self.organization_id)).into()),
            Event::OrganizationCreated { .. }
            | Event::OrganizationUpdated { .. }
            | Event::SettingsUpdated { .. }
            | Event::UserCreated { .. }
            | Event::UserUpdated { .. }
            | Event::UserDeleted { .. }
            | Event::QueueCreated { .. }
            | Event::QueueUpdated { .. }
            | Event::QueueDeleted { .. }
            | Event::RoleAssigned { .. }
            | Event::RoleUnassigned { .. }
            | Event::AttemptRefused { .. }
            | Event::WriteRefused { .. }
            | Event::AuditLogCut { .. } => return Ok(()),
        };
        let had_expired = |end: SessionEnd| {
            end.reason == EndReason::Expired && self.initial_time.is_some_and(|initial_time| end.time <= initial_time)
        };
        if session.end.is_some_and(had_expired) {
            // It was swept only now, but had counted as absent from the beginning.
            return Ok(());
        }
        if self.wants(session) { self.send(self.message(kind, Some(session), sequence)).await } else { Ok(()) }
    }

    async fn send(&self, message: proto::WatchSessionsResponse) -> Result<(), Stop> {
        match tokio::time::timeout(PATIENCE, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stop::Gone),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> Stop {
        Stop::Error(Error::SlowReader { last: self.last_sent() })
    }

    fn last_sent(&self) -> Option<Revision> {
        self.last.map(|last| self.revision(last))
    }

    fn wants(&self, session: &Session) -> bool {
        self.user_id.as_ref().is_none_or(|user_id| *user_id == session.user_id)
            && self.queue_id.as_ref().is_none_or(|queue_id| *queue_id == session.queue_id)
    }

    fn revision(&self, sequence: Sequence) -> Revision {
        Revision { sequence, ..self.state.snapshot().revision() }
    }

    fn message(
        &self,
        kind: proto::WatchSessionsType,
        session: Option<&Session>,
        sequence: Sequence,
    ) -> proto::WatchSessionsResponse {
        let snapshot = self.state.snapshot();
        let tenant = snapshot.tenant(self.organization_id.as_str());
        let now = self.state.now();
        proto::WatchSessionsResponse {
            r#type: kind.into(),
            session: session.map(|session| to_proto::session(&self.organization_id, tenant, session, now)),
            revision: self.revision(sequence).to_string(),
        }
    }
}
