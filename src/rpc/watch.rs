//! WatchSessions: the live sessions, or the changes after a revision, and then every change as it happens.
//!
//! INVARIANT: a watch sends every change of its sessions once and in order. Otherwise it ends with an error that names
//! the last revision sent. Changes that aren't in memory any more are read from the audit log.
//!
//! A change is encoded once for all watches. The more watches there are, the more changes each sends at once.

use std::{
    future::{self, Ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use prost::{Message, bytes::BufMut};
use tokio::{
    sync::{
        broadcast::error::{RecvError, TryRecvError},
        mpsc::{self, error::TrySendError},
        watch as signal,
    },
    time::{Instant, sleep_until},
};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{BufferSettings, Codec, CompressionEncoding, EncodeBuf, Encoder},
    codegen::StdError,
    server::{Grpc, ServerStreamingService},
};
use tonic_prost::ProstDecoder;

use super::{
    error::Error,
    from_proto::{self, all},
    proto,
    revisions::own_revision,
    services::{CallerServices, StreamTimes},
    stream::{self},
    to_proto,
    watchers::Watcher,
};
use crate::{
    domain::{
        change::{Event, Record, Watched},
        ids::{OrganizationId, QueueId, QueueRef, Revision, Sequence, UserId, UserRef},
        list::sessions,
        model::{EndReason, Session, SessionEnd},
        plan::{found_organization, found_queue, found_user, no_organization},
        snapshot::Snapshot,
        time::Timestamp,
    },
    state::{Published, State},
    store::Logged,
    telemetry::metrics::Metrics,
};

/// The number of messages that may wait for the reader.
const BUFFER: usize = 64;

/// The longest time to send the INITIAL sessions, in multiples of `patience`. The watch holds their snapshot until
/// then.
const INITIAL_PATIENCE: u32 = 10;

/// The part of the quiet time after which a watch sends a checkpoint if it has left out changes of its organization.
const LEFT_OUT: u32 = 30;

/// The reason why a watch doesn't resume by extension.
const MAY_HAVE_MOVED: &str = "must be left out with start_revision, since the extension may have moved; give the id";

/// The problem of a start that the server hasn't reached.
pub(super) const LATER_THAN_OWN: &str = "is later than this server's last change";

/// How long a watch that comes from another node waits until this one has reached its revision.
const REACH: Duration = Duration::from_secs(5);

/// The number of changes in one read of the log.
const CHUNK: u32 = 1_000;

/// The longest time, per watch in flight, for which each watch gathers changes before it sends them. So all watches
/// together leave most of the processors to other work.
const GATHERING: Duration = Duration::from_micros(50);

/// The longest time for which a watch gathers changes.
const LONGEST_GATHERING: Duration = Duration::from_millis(100);

/// Wait until the state includes the revision from which a watch resumes. Another node may have sent it.
pub(super) async fn reach(state: &State, start: Sequence) -> Result<(), Error> {
    let reached = tokio::time::timeout(REACH, state.reach(start)).await;
    reached.map_err(|_| Error::invalid("start_revision", &LATER_THAN_OWN))
}

/// A WatchSessionsResponse on the wire.
type Encoded = Arc<[u8]>;

/// The messages of one watch, and its end.
pub(super) type Messages = stream::Messages<Encoded>;

/// Answer with messages that are encoded already.
pub async fn serve<B>(services: CallerServices, request: http::Request<B>) -> http::Response<Body>
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    let mut grpc = Grpc::new(EncodedAlready).accept_compressed(CompressionEncoding::Gzip);
    grpc.server_streaming(Watches(services), request).await
}

/// The messages of one watch as values, for callers in this process.
#[derive(Debug)]
pub struct Decoded(pub(super) Messages);

impl Stream for Decoded {
    type Item = Result<proto::WatchSessionsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(Pin::new(&mut self.0).poll_next(context));
        let decoded = |encoded: Encoded| {
            let decoded = proto::WatchSessionsResponse::decode(&*encoded);
            decoded.map_err(|error| Error::Internal(error.to_string()).into())
        };
        Poll::Ready(message.map(|message| message.and_then(decoded)))
    }
}

struct Watches(CallerServices);

impl ServerStreamingService<proto::WatchSessionsRequest> for Watches {
    type Response = Encoded;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<proto::WatchSessionsRequest>) -> Self::Future {
        let Self(services) = self;
        let begun = begin(services, request.into_inner());
        future::ready(begun.map(Response::new).map_err(Status::from))
    }
}

#[derive(Clone, Copy)]
struct EncodedAlready;

impl Codec for EncodedAlready {
    type Encode = Encoded;
    type Decode = proto::WatchSessionsRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<proto::WatchSessionsRequest>;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for EncodedAlready {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, message: Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

/// Begin a watch.
pub(super) fn begin(services: &CallerServices, request: proto::WatchSessionsRequest) -> Result<Messages, Error> {
    let proto::WatchSessionsRequest { organization_id, user, queue, start_revision } = request;
    let (organization_id, user, queue) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        from_proto::optional_user(user),
        from_proto::optional_queue(queue),
    ))?;
    let state = services.state()?;
    let snapshot = state.snapshot();
    let start = if start_revision.is_empty() {
        None
    } else {
        let start = own_revision("start_revision", &start_revision, &snapshot)?;
        if start.sequence > snapshot.revision().sequence && !state.is_node() {
            return Err(Error::invalid("start_revision", &LATER_THAN_OWN));
        }
        if start.sequence < snapshot.audit_cut(organization_id.as_str()) {
            return Err(Error::Compacted);
        }
        Some(start.sequence)
    };
    let organization = || found_organization(&snapshot, &organization_id);
    if start.is_none_or(|start| start <= snapshot.revision().sequence) {
        organization()?;
    }
    // A watch that resumes may need the end of sessions whose user or queue is deleted by now.
    let user_id = match (user, start) {
        (Some(UserRef::Id(id)), Some(_)) => Some(id),
        (Some(UserRef::Extension(_)), Some(_)) => return Err(Error::invalid("user_extension", &MAY_HAVE_MOVED)),
        (Some(user), None) => Some(found_user(organization()?, &user)?.user_id.clone()),
        (None, _) => None,
    };
    let queue_id = match (queue, start) {
        (Some(QueueRef::Id(id)), Some(_)) => Some(id),
        (Some(QueueRef::Extension(_)), Some(_)) => return Err(Error::invalid("queue_extension", &MAY_HAVE_MOVED)),
        (Some(queue), None) => Some(found_queue(organization()?, &queue)?.queue_id.clone()),
        (None, _) => None,
    };
    let (sender, tell_end, messages) = stream::channel(BUFFER);
    let watch = Watch {
        state: state.clone(),
        metrics: Arc::clone(&services.metrics),
        draining: services.draining.clone(),
        times: services.times,
        organization_id,
        user_id,
        queue_id,
        sender,
        last: start,
        initial_time: None,
        checkpoint_at: Instant::now() + services.times.quiet,
    };
    let watcher = Watcher::new(&services.metrics);
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
    metrics: Arc<Metrics>,
    draining: signal::Receiver<bool>,
    times: StreamTimes,
    organization_id: OrganizationId,
    user_id: Option<UserId>,
    queue_id: Option<QueueId>,
    sender: mpsc::Sender<Encoded>,
    /// All changes up to here are sent; `None` until all INITIAL sessions are sent.
    last: Option<Sequence>,
    /// The time of the read of the INITIAL sessions, or `None`. They don't include sessions that had expired by then.
    initial_time: Option<Timestamp>,
    /// When the next CHECKPOINT is due.
    checkpoint_at: Instant,
}

/// The reason why a watch ends.
enum Stop {
    /// The reader is gone.
    Gone,
    /// The server drains.
    Draining,
    /// An error, which the reader gets.
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
        let stopped = tokio::select! {
            stopped = self.send_everything(start) => stopped,
            () = sender.closed() => Err(Stop::Gone),
            // The sender of the signal lives as long as the server.
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Draining),
        };
        match stopped {
            Err(Stop::Draining) => {
                if let Some(last) = self.last {
                    let checkpoint = self.message(proto::WatchSessionsType::Checkpoint, None, last);
                    // If the buffer is full, the reader gets the revision from the error.
                    let _ = self.sender.try_send(checkpoint);
                }
                Err(Error::Draining { last: self.last_sent() }.into())
            }
            stopped => stopped,
        }
    }

    async fn send_everything(&mut self, start: Option<Sequence>) -> Result<(), Stop> {
        if let Some(start) = start {
            reach(&self.state, start).await?;
            // Send most of a long history from the log before live changes pile up.
            let published = self.state.snapshot().revision().sequence;
            self.send_logged(start, published).await?;
        }
        // INVARIANT: the snapshot is taken after the subscription began, so later changes arrive live.
        let mut live = self.state.subscribe();
        self.catch_up().await?;
        loop {
            let received = tokio::select! {
                biased;
                received = live.recv() => received,
                () = sleep_until(self.checkpoint_at) => {
                    self.send_checkpoint().await?;
                    continue;
                }
            };
            let mut received = match received {
                Ok(batch) => Ok(batch),
                Err(RecvError::Lagged(_)) => return Err(self.too_slow()),
                Err(RecvError::Closed) => return Ok(()),
            };
            if let Some(gathering) = self.gathering() {
                tokio::time::sleep(gathering).await;
            }
            while let Ok(batch) = received {
                let Published::Batch(batch) = batch else { return Err(Error::HistoryRewritten.into()) };
                for committed in batch.iter() {
                    self.send_record(&committed.record, |make| committed.message(make)).await?;
                }
                received = live.try_recv();
            }
            if let Err(TryRecvError::Lagged(_)) = received {
                return Err(self.too_slow());
            }
        }
    }

    /// Send the changes before the subscription. INVARIANT: no snapshot outlives this, however long the watch goes on.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        let snapshot = self.state.snapshot();
        match self.last {
            Some(last) => self.send_logged(last, snapshot.revision().sequence).await?,
            None => {
                let most = self.times.patience * INITIAL_PATIENCE;
                let sent = tokio::time::timeout(most, self.send_initial(&snapshot)).await;
                sent.unwrap_or_else(|_| Err(self.too_slow()))?;
            }
        }
        found_organization(&snapshot, &self.organization_id).map_err(Error::from)?;
        Ok(())
    }

    /// Send a checkpoint, so that a quiet watch can resume after the log was cut.
    async fn send_checkpoint(&mut self) -> Result<(), Stop> {
        if let Some(last) = self.last {
            let checkpoint = self.message(proto::WatchSessionsType::Checkpoint, None, last);
            self.send(checkpoint).await?;
        }
        Ok(())
    }

    /// Send the live sessions, and a checkpoint.
    async fn send_initial(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Stop> {
        let sequence = snapshot.revision().sequence;
        let organization = found_organization(snapshot, &self.organization_id).map_err(Error::from)?;
        let now = self.state.now();
        self.initial_time = Some(now);
        let user = self.user_id.clone().map(UserRef::Id);
        let queue = self.queue_id.clone().map(QueueRef::Id);
        for session in
            sessions(organization, user.as_ref(), queue.as_ref(), None).filter(|session| session.is_live(now))
        {
            let message = self.message(proto::WatchSessionsType::Initial, Some(session), sequence);
            self.send(message).await?;
        }
        let checkpoint = self.message(proto::WatchSessionsType::Checkpoint, None, sequence);
        self.send(checkpoint).await?;
        self.last = Some(sequence);
        Ok(())
    }

    /// Send the audit log's changes after `after`, up to `up_to`.
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
                self.send_record(record, |make| make()).await?;
            }
            let is_full = records.len() == usize::try_from(CHUNK).unwrap_or(usize::MAX);
            after = records.last().filter(|_| is_full).map_or(up_to, |logged| logged.record.sequence);
            self.last = Some(after);
        }
        Ok(())
    }

    /// Send a change if it belongs to this watch. `encoded` returns its message, which may be encoded already.
    async fn send_record(
        &mut self,
        record: &Record,
        encoded: impl FnOnce(&dyn Fn() -> Encoded) -> Encoded,
    ) -> Result<(), Stop> {
        if self.last.is_some_and(|last| record.sequence <= last) {
            return Ok(());
        }
        if record.change.organization_id == self.organization_id {
            if let Some((kind, session)) = self.told(&record.change.event)? {
                let message = encoded(&|| self.message(kind, Some(session), record.sequence));
                self.send(message).await?;
            } else {
                let soon = Instant::now() + self.times.quiet / LEFT_OUT;
                self.checkpoint_at = self.checkpoint_at.min(soon);
            }
        }
        self.last = Some(record.sequence);
        Ok(())
    }

    /// Return the type and the session of an event's message, or `None` if this watch leaves it out.
    fn told<'e>(&self, event: &'e Event) -> Result<Option<(proto::WatchSessionsType, &'e Session)>, Stop> {
        let (kind, session) = match event.watched() {
            Some(Watched::Started(session)) => (proto::WatchSessionsType::SignedIn, session),
            Some(Watched::Ended(session)) => (proto::WatchSessionsType::SignedOut, session),
            Some(Watched::OrganizationDeleted) => {
                return Err(Error::from(no_organization(&self.organization_id)).into());
            }
            None => return Ok(None),
        };
        let had_expired = |end: SessionEnd| {
            end.reason == EndReason::Expired && self.initial_time.is_some_and(|initial_time| end.time <= initial_time)
        };
        // A session that had expired before the INITIAL sessions were read was not among them, so its end is left out.
        let is_sent = !session.end.is_some_and(had_expired) && self.wants(session);
        Ok(is_sent.then_some((kind, session)))
    }

    /// Return how long to gather changes before they are sent, or `None` if that is too short for a timer. The time is
    /// random, so that not all watches send at once.
    fn gathering(&self) -> Option<Duration> {
        let watches = u32::try_from(self.metrics.watchers.get()).unwrap_or_default();
        let longest = GATHERING.saturating_mul(watches).min(LONGEST_GATHERING);
        let random = getrandom::u32().unwrap_or_default();
        (longest >= Duration::from_millis(1)).then(|| longest.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }

    async fn send(&mut self, message: Encoded) -> Result<(), Stop> {
        self.checkpoint_at = Instant::now() + self.times.quiet;
        let message = match self.sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Stop::Gone),
            Err(TrySendError::Full(message)) => message,
        };
        match tokio::time::timeout(self.times.patience, self.sender.send(message)).await {
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

    fn message(&self, kind: proto::WatchSessionsType, session: Option<&Session>, sequence: Sequence) -> Encoded {
        let snapshot = self.state.snapshot();
        let organization = snapshot.organization(self.organization_id.as_str());
        let now = self.state.now();
        let message = proto::WatchSessionsResponse {
            r#type: kind.into(),
            session: session.map(|session| to_proto::session(&self.organization_id, organization, session, now)),
            revision: self.revision(sequence).to_string(),
        };
        message.encode_to_vec().into()
    }
}
