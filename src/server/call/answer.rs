//! A call in flight, and the body of its answer. Each call's end is counted, and no answer waits for its reader without
//! bound.
//!
//! INVARIANT: a large answer counts against its caller from its encoding until HTTP/2 takes its last byte or the
//! connection ends. HTTP/2 gets at most [`PIECE`] bytes of it at a time, so the rest can be dropped at any moment.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{HeaderMap, Response};
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

use super::{
    callers::{CallPermit, HeldBytes},
    peer::Peer,
    request_body::BrokenOff,
};
use crate::{
    auth::Identity,
    rpc::{
        code,
        error::Error,
        status::{self},
    },
    telemetry::traces::CallSpan,
};

/// The largest piece of an answer that HTTP/2 gets at a time, in bytes. Larger answers count as large.
const PIECE: usize = 16 * 1024;

/// A future that completes when a caller's credentials are revoked or expire.
pub type Revoked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wait until the credentials of `identity` end.
pub fn revoked(identity: &Arc<Identity>) -> Revoked {
    let identity = Arc::clone(identity);
    Box::pin(async move { identity.ended().await })
}

/// A call in flight. Its drop counts its end.
pub struct Call {
    peer: Arc<Peer>,
    pub began: Instant,
    /// Its index in [`methods::METHODS`](crate::rpc::methods::METHODS).
    pub method: usize,
    pub permit: Option<CallPermit>,
    /// Boxed because it is large and rarely present.
    pub span: Option<Box<CallSpan>>,
    /// The status code. A call that ends while it is `None` was cancelled by its caller.
    code: Option<Code>,
    pub broken_off: BrokenOff,
}

impl Call {
    pub fn begin(peer: &Arc<Peer>) -> Self {
        peer.activity.call_began();
        Self {
            peer: Arc::clone(peer),
            began: Instant::now(),
            method: usize::MAX,
            permit: None,
            span: None,
            code: None,
            broken_off: BrokenOff::default(),
        }
    }

    /// Return a timer that ends when the call has lasted this long.
    pub fn deadline_timer(&self, longest: Duration) -> Pin<Box<Sleep>> {
        Box::pin(tokio::time::sleep(longest.saturating_sub(self.began.elapsed())))
    }

    /// Answer a refused call.
    pub fn refused(self, error: Error) -> Response<Answer> {
        self.answered(status::answer(error))
    }

    /// Answer with only a status.
    pub fn answered(self, answer: Response<Body>) -> Response<Answer> {
        self.stream(answer, None, None)
    }

    /// Answer a unary call. The message is encoded here, so that bytes wait for the reader and are counted.
    pub fn unary(mut self, answer: Response<Body>, context: &mut Context<'_>) -> Response<Answer> {
        let (mut parts, mut body) = answer.into_parts();
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(context) else {
            return self.answered(Response::from_parts(parts, body));
        };
        let large = frame.data_ref().map(Bytes::len).filter(|bytes| *bytes > PIECE);
        let held = match large.zip(self.permit.as_ref()) {
            Some((bytes, permit)) => match self.peer.core.admission.hold(permit, bytes) {
                Ok(held) => Some(held),
                Err(error) => return self.refused(error),
            },
            None => None,
        };
        let ready = match frame.into_data() {
            Ok(ready) => ready,
            Err(frame) => {
                // An answer with only a status has it in its headers.
                parts.headers.extend(frame.into_trailers().unwrap_or_default());
                return self.answered(Response::from_parts(parts, Body::empty()));
            }
        };
        self.code = code(&parts.headers);
        self.peer.activity.offered();
        let answer = Answer { body, ready, is_waiting: true, held, call: self, deadline: None, revoked: None };
        Response::from_parts(parts, answer)
    }

    /// Answer with a stream, which ends at the latest at the deadline or with the caller's credentials.
    pub fn stream(
        mut self,
        answer: Response<Body>,
        deadline: Option<Pin<Box<Sleep>>>,
        revoked: Option<Revoked>,
    ) -> Response<Answer> {
        // An answer with only a status has it here, and other answers have it after their messages.
        self.code = code(answer.headers());
        let ready = Bytes::new();
        answer.map(|body| Answer { body, ready, is_waiting: false, held: None, call: self, deadline, revoked })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now = Instant::now();
        self.peer.activity.call_ended(now);
        // The status of a truncated request says nothing about the server.
        let code = self.code.filter(|_| !self.broken_off.is_set()).unwrap_or(Code::Cancelled);
        self.peer.core.metrics.call_ended(self.method, code as usize, now.saturating_duration_since(self.began));
        if let Some(span) = self.span.take() {
            span.end(code::name(code), code.into());
        }
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// The body of an answer.
pub struct Answer {
    body: Body,
    /// The bytes that the body returned and HTTP/2 hasn't taken yet.
    ready: Bytes,
    /// Whether it has a piece that HTTP/2 hasn't taken yet.
    is_waiting: bool,
    /// The count of the answer's bytes, if it is large.
    held: Option<HeldBytes>,
    call: Call,
    /// The deadline of a stream.
    deadline: Option<Pin<Box<Sleep>>>,
    revoked: Option<Revoked>,
}

impl Answer {
    /// End the answer with a status.
    fn cut_off(&mut self, status: Response<Body>) -> Frame<Bytes> {
        (self.deadline, self.revoked, self.ready, self.held) = (None, None, Bytes::new(), None);
        self.body = Body::empty();
        let (parts, _) = status.into_parts();
        self.call.code = code(&parts.headers);
        Frame::trailers(parts.headers)
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.cut_off(status::deadline_exceeded(status::Outcome::Certain)))));
        }
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.cut_off(status::answer(Error::CredentialsEnded)))));
        }
        if self.ready.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.ready = data,
                Some(Err(frame)) => return Poll::Ready(Some(Ok(frame))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.ready.split_to(self.ready.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Note whether a piece waits for the reader.
    fn set_waiting(&mut self, is_waiting: bool) {
        match (self.is_waiting, is_waiting) {
            (false, true) => self.call.peer.activity.offered(),
            (true, false) => self.call.peer.activity.taken(),
            (false, false) | (true, true) => {}
        }
        self.is_waiting = is_waiting;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.set_waiting(false);
        let Some(frame) = ready!(self.next(context)).transpose()? else { return Poll::Ready(None) };
        if let Some(trailers) = frame.trailers_ref() {
            self.call.code = code(trailers);
        } else {
            // Until the next poll, HTTP/2 doesn't take the next piece.
            self.set_waiting(true);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ready.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
