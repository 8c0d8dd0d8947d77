//! What every call passes: who is it, may they, is there room, how long have they got; and, behind it, how it ended.
//!
//! INVARIANT: nothing of a call is read before its caller is known, and no method is reached that
//! [`methods`](crate::rpc::methods) doesn't name.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body, service::Routes};

use super::{
    admission::{Admission, Callers, InLine, OfConnection, Place},
    deadline::grpc_timeout,
    question::{BrokenOff, Question},
    services::{Answering, Services},
};
use crate::{
    auth::{Authority, Identity, Presented, Recognized},
    rpc::{
        Rpc, code,
        methods::{self, Access, Work},
        status::{self, Error},
    },
    state::clock::Clock,
    telemetry::{
        metrics::Metrics,
        traces::{CallSpan, Traces},
    },
};

/// How long a call that is answered once may take if its caller doesn't say.
const LONGEST_CALL: Duration = Duration::from_secs(6 * 60);

/// How long whoever is refused may take to finish their question before they are told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all connections of one processor share.
pub(super) struct Gate {
    pub rpc: Rpc,
    /// The services that are not ours.
    pub others: Routes,
    /// None: everybody is let in, and may do everything.
    pub authority: Option<Arc<Authority>>,
    pub admission: Arc<Admission>,
    pub callers: Arc<Callers>,
    pub metrics: Arc<Metrics>,
    /// None: no call is traced.
    pub traces: Option<Arc<Traces>>,
    pub clock: Arc<dyn Clock>,
}

/// The gate, for one connection.
#[derive(Clone)]
pub(super) struct Entrance {
    peer: Arc<Peer>,
}

/// The other end of a connection.
struct Peer {
    gate: Arc<Gate>,
    certificate_names: Vec<String>,
    /// Who they are if nobody needs credentials.
    anyone: Arc<Identity>,
    known: Mutex<Known>,
    activity: Activity,
}

/// Who called last. Most connections are of one caller, and need not be asked who it is each time.
#[derive(Default)]
struct Known {
    recognized: Option<Recognized>,
    visitor: Option<Arc<Visitor>>,
}

/// A caller on a connection.
struct Visitor {
    identity: Arc<Identity>,
    under_way: Arc<OfConnection>,
    services: Services,
}

impl Known {
    fn visitor(&mut self, identity: Arc<Identity>, gate: &Gate) -> Arc<Visitor> {
        match &self.visitor {
            Some(visitor) if Arc::ptr_eq(&visitor.identity, &identity) => Arc::clone(visitor),
            Some(_) | None => {
                let under_way = Arc::new(OfConnection::new(gate.callers.of(identity.caller())));
                let services = Services::new(gate.rpc.desk(Arc::clone(&identity)), gate.others.clone());
                let visitor = Arc::new(Visitor { identity, under_way, services });
                self.visitor = Some(Arc::clone(&visitor));
                visitor
            }
        }
    }
}

/// What is going on on a connection.
struct Activity {
    began: Instant,
    calls: AtomicUsize,
    /// When the last call ended, in milliseconds after `began`.
    last_ended_ms: AtomicU64,
}

impl Entrance {
    pub(super) fn new(gate: Arc<Gate>, address: IpAddr, certificate_names: Vec<String>) -> Self {
        let activity = Activity { began: Instant::now(), calls: AtomicUsize::new(0), last_ended_ms: AtomicU64::new(0) };
        let anyone = Arc::new(Identity::anyone_at(address));
        Self { peer: Arc::new(Peer { gate, certificate_names, anyone, known: Mutex::default(), activity }) }
    }

    /// For how long there has been no call; none if there is one.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let Activity { began, calls, last_ended_ms } = &self.peer.activity;
        let last_ended = Duration::from_millis(last_ended_ms.load(Ordering::Relaxed));
        (calls.load(Ordering::Relaxed) == 0).then(|| began.elapsed().saturating_sub(last_ended))
    }

    /// Lets a call in, or says why not.
    fn admit(
        &self,
        method: &methods::Method,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Arc<Visitor>, Place), Error> {
        let Gate { authority, admission, clock, .. } = &*self.peer.gate;
        let mut known = self.peer.known.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = match (authority, method.access) {
            (None, _) | (Some(_), Access::Open) => Arc::clone(&self.peer.anyone),
            (Some(authority), Access::Known | Access::Scoped(_)) => {
                let authorization = authorization.map(HeaderValue::as_bytes);
                let presented = Presented { authorization, certificate_names: &self.peer.certificate_names };
                authority
                    .authenticate(presented, &mut known.recognized, || clock.now())
                    .map_err(Error::Unauthenticated)?
            }
        };
        if let Access::Scoped(scope) = method.access
            && !identity.holds(scope)
        {
            return Err(Error::ScopeRequired(scope));
        }
        let visitor = known.visitor(identity, &self.peer.gate);
        let place = admission.enter(&visitor.under_way, method.work)?;
        Ok((visitor, place))
    }
}

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Asked;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let mut call = Call::begin(self);
        self.peer.gate.admission.measure();
        let Some((place, method)) = methods::find(request.uri().path()) else {
            return Asked::refused(call.answered(status::answer(Error::UnknownMethod), None));
        };
        call.method = place;
        if let Some(traces) = &self.peer.gate.traces {
            call.span = traces.begin(method.path, request.headers(), random_share()).map(Box::new);
        }
        // Nothing behind the gate needs to see a secret.
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        let (visitor, place) = match self.admit(method, authorization.as_ref()) {
            Ok(admitted) => admitted,
            Err(error) => {
                // Known callers are heard out, and whose question may be long or go on for ever isn't.
                let heard_out = matches!(error, Error::Overloaded | Error::CallerLimit { .. });
                let question = (heard_out && method.work != Work::Stream).then(|| request.into_body());
                return Asked::Refused(Refused::new(call.answered(status::answer(error), None), question));
            }
        };
        call.place = Some(place);
        let given = grpc_timeout(request.headers());
        let broken_off = call.broken_off.clone();
        let request = request.map(|body| Question::new(body, broken_off));
        let in_line = Some(self.peer.gate.admission.stand_in_line(call.began));
        let longest = match method.work {
            Work::Check | Work::Write => Some(given.unwrap_or(LONGEST_CALL)),
            Work::Stream => given,
        };
        let answering = visitor.services.call(request);
        Asked::LetIn(LetIn { call: Some(call), in_line, work: method.work, longest, answering, deadline: None })
    }
}

/// What was asked, until there is an answer.
pub(super) enum Asked {
    /// It was answered at the gate.
    Refused(Refused),
    /// It is being answered.
    LetIn(LetIn),
}

impl Asked {
    fn refused(answer: Response<Answer>) -> Self {
        Self::Refused(Refused::new(answer, None))
    }
}

/// A call that was answered at the gate.
///
/// An answer before the end of a question resets its stream, and what is still under way then looks like a mistake of the
/// caller's: after some hundred of them the connection is given up, with everything on it. So the end is waited for.
pub(super) struct Refused {
    /// None once it was handed on.
    answer: Option<Box<Response<Answer>>>,
    /// None if there is nothing to wait for.
    question: Option<Incoming>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Refused {
    fn new(answer: Response<Answer>, question: Option<Incoming>) -> Self {
        Self { answer: Some(Box::new(answer)), question, patience: None }
    }

    /// The answer; none if it was handed on before.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Response<Answer>>> {
        let Self { answer, question, patience } = self;
        if let Some(asked) = question {
            let rest = loop {
                match Pin::new(&mut *asked).poll_frame(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => break Poll::Ready(()),
                    Poll::Pending => break Poll::Pending,
                }
            };
            if rest.is_pending() {
                let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_WORDS)));
                std::task::ready!(patience.as_mut().poll(context));
            }
            *question = None;
        }
        Poll::Ready(answer.take().map(|answer| *answer))
    }
}

/// A call that was let in.
pub(super) struct LetIn {
    /// None once there is an answer.
    call: Option<Call>,
    /// None once it began.
    in_line: Option<InLine>,
    work: Work,
    /// How long it may take.
    longest: Option<Duration>,
    answering: Answering,
    /// Most calls are answered at once, and need no clock to wait for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Future for Asked {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut *self {
            Self::Refused(refused) => std::task::ready!(refused.poll(context)),
            Self::LetIn(call) => std::task::ready!(call.poll(context)),
        };
        answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
    }
}

impl LetIn {
    /// The answer; none if it was handed on before.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Response<Answer>>> {
        let Self { call, in_line, work, longest, answering, deadline } = self;
        if let Some(Err(error)) = in_line.take().map(InLine::leave) {
            return Poll::Ready(call.take().map(|call| call.answered(status::answer(error), None)));
        }
        let sleep = || call.as_ref().zip(*longest).map(|(call, longest)| call.sleep_until(longest));
        let answer = match answering.as_mut().poll(context) {
            Poll::Ready(Ok(answer)) => answer,
            Poll::Pending => {
                *deadline = deadline.take().or_else(sleep);
                match deadline {
                    Some(deadline) => std::task::ready!(deadline.as_mut().poll(context)),
                    None => return Poll::Pending,
                }
                status::deadline_exceeded()
            }
        };
        let of_stream = match work {
            Work::Check | Work::Write => None,
            Work::Stream => deadline.take().or_else(sleep),
        };
        Poll::Ready(call.take().map(|call| call.answered(status::mend_answer(answer), of_stream)))
    }
}

/// A call under way. When it is dropped, its end is counted.
struct Call {
    entrance: Entrance,
    began: Instant,
    /// Its place among [`methods::METHODS`].
    method: usize,
    place: Option<Place>,
    /// Rarely there, and large.
    span: Option<Box<CallSpan>>,
    /// None while it isn't known how it ends: then its caller went away.
    code: Option<Code>,
    broken_off: BrokenOff,
}

impl Call {
    fn begin(entrance: &Entrance) -> Self {
        entrance.peer.activity.calls.fetch_add(1, Ordering::Relaxed);
        Self {
            entrance: entrance.clone(),
            began: Instant::now(),
            method: usize::MAX,
            place: None,
            span: None,
            code: None,
            broken_off: BrokenOff::default(),
        }
    }

    /// Until the call has lasted so long.
    fn sleep_until(&self, longest: Duration) -> Pin<Box<Sleep>> {
        Box::pin(tokio::time::sleep(longest.saturating_sub(self.began.elapsed())))
    }

    fn answered(mut self, answer: Response<Body>, deadline: Option<Pin<Box<Sleep>>>) -> Response<Answer> {
        // An answer that is nothing but a status has it here, and the others behind their messages.
        self.code = code(answer.headers());
        answer.map(|body| Answer { body, call: self, deadline })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Activity { began, calls, last_ended_ms } = &self.entrance.peer.activity;
        let now = Instant::now();
        let ended_ms = now.saturating_duration_since(*began).as_millis();
        last_ended_ms.store(u64::try_from(ended_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        calls.fetch_sub(1, Ordering::Relaxed);
        // What half a question is answered with says nothing about the server.
        let code = self.code.filter(|_| !self.broken_off.is_set()).unwrap_or(Code::Cancelled);
        self.entrance.peer.gate.metrics.call_ended(
            self.method,
            code as usize,
            now.saturating_duration_since(self.began),
        );
        if let Some(span) = self.span.take() {
            span.end(code::name(code), code.into());
        }
    }
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    // Without randomness nothing is traced by chance.
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    call: Call,
    /// When a stream must have ended.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.deadline = None;
            self.body = Body::empty();
            self.call.code = Some(Code::DeadlineExceeded);
            let (parts, _) = status::deadline_exceeded().into_parts();
            return Poll::Ready(Some(Ok(Frame::trailers(parts.headers))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::trailers_ref) {
            self.call.code = code(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
