//! What every call passes: who is it, may they, is there room, how long have they got; and, behind it, how it ended.
//!
//! INVARIANT: nothing of a call is read before its caller is known, and no method is reached that
//! [`methods`](crate::rpc::methods) doesn't name.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use hyper::body::{Body as _, Incoming};
use tokio::time::Sleep;
use tonic::{body::Body, service::Routes};

use super::{
    admission::{Admission, Callers, InLine, OfConnection, Place},
    answer::{Activity, Answer, Call, Revoked, revoked},
    deadline::grpc_timeout,
    request_body::RequestBody,
    services::{Answering, Services},
};
use crate::{
    auth::{Authority, CertificateName, Identity, Presented, Recognized},
    rpc::{
        Rpc,
        methods::{self, Access, Work},
        status::{self, Error},
    },
    state::clock::Clock,
    telemetry::{metrics::Metrics, traces::Traces},
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
pub(super) struct Peer {
    pub gate: Arc<Gate>,
    certificate_names: Vec<CertificateName>,
    /// Who they are if nobody needs credentials.
    anyone: Arc<Identity>,
    known: Mutex<Known>,
    pub activity: Activity,
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

impl Entrance {
    pub(super) fn new(gate: Arc<Gate>, address: IpAddr, certificate_names: Vec<CertificateName>) -> Self {
        let anyone = Arc::new(Identity::anyone_at(address));
        Self {
            peer: Arc::new(Peer {
                gate,
                certificate_names,
                anyone,
                known: Mutex::default(),
                activity: Activity::new(),
            }),
        }
    }

    /// What goes on on the connection.
    pub(super) fn activity(&self) -> &Activity {
        &self.peer.activity
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
        let mut call = Call::begin(&self.peer);
        self.peer.gate.admission.measure();
        if let Err(status) = is_grpc(&request) {
            let mut answer = call.answered(Response::new(Body::empty()));
            *answer.status_mut() = status;
            return Asked::refused(answer);
        }
        let Some((index, method)) = methods::find(request.uri().path()) else {
            return Asked::refused(call.refused(Error::UnknownMethod));
        };
        call.method = index;
        if let Some(traces) = &self.peer.gate.traces {
            call.span = traces.begin(method.path, request.headers(), random_share()).map(Box::new);
        }
        // Nothing behind the gate needs to see a secret.
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        let admitted = self.admit(method, authorization.as_ref()).and_then(|admitted| {
            let given = grpc_timeout(request.headers()).map_err(|_| Error::malformed_deadline())?;
            Ok((admitted, given))
        });
        let ((visitor, place), given) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                // The request of a known caller is read to its end, unless it may be long or go on for ever.
                let heard_out = matches!(error, Error::Overloaded | Error::CallerLimit { .. });
                let question = (heard_out && method.work.is_unary()).then(|| request.into_body());
                return Asked::Refused(Refused::new(call.refused(error), question));
            }
        };
        call.place = Some(place);
        let broken_off = call.broken_off.clone();
        let request = request.map(|body| RequestBody::new(body, broken_off));
        let in_line = match method.work {
            Work::Probe => None,
            Work::Check | Work::Scan | Work::Write | Work::Stream | Work::Import => {
                Some(self.peer.gate.admission.stand_in_line(call.began))
            }
        };
        let longest = if method.work.is_unary() { Some(given.unwrap_or(LONGEST_CALL)) } else { given };
        let answering = visitor.services.call(request);
        // The identity of a caller without credentials never ends.
        let identity = self.peer.gate.authority.is_some().then(|| Arc::clone(&visitor.identity));
        Asked::LetIn(LetIn {
            call: Some(call),
            in_line,
            work: method.work,
            longest,
            answering,
            identity,
            deadline: None,
            revoked: None,
        })
    }
}

/// Whether a request is one of gRPC, or the HTTP status that says what it is not. A web page can send other content types to
/// any server without asking it first, with the certificate of the person who looks at the page.
fn is_grpc<B>(request: &Request<B>) -> Result<(), StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc").ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)?;
    let parameters = rest.strip_prefix(b"+proto").unwrap_or(rest).trim_ascii_start();
    match parameters.first() {
        None | Some(b';') => Ok(()),
        Some(_) => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
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
    /// `None` once there is an answer.
    call: Option<Call>,
    /// `None` once the call began.
    in_line: Option<InLine>,
    work: Work,
    /// How long the call may take.
    longest: Option<Duration>,
    answering: Answering,
    /// Whose credentials must stay valid; `None` where no credentials are needed.
    identity: Option<Arc<Identity>>,
    /// Most calls are answered at once, and need no clock to wait for.
    deadline: Option<Pin<Box<Sleep>>>,
    revoked: Option<Revoked>,
}

impl Future for Asked {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut *self {
            Self::Refused(refused) => ready!(refused.poll(context)),
            Self::LetIn(call) => ready!(call.poll(context)),
        };
        answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
    }
}

impl LetIn {
    /// The answer, or `None` if it was handed on before.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Response<Answer>>> {
        if let Some(Err(error)) = self.in_line.take().map(InLine::leave) {
            return Poll::Ready(self.call.take().map(|call| call.refused(error)));
        }
        match self.answering.as_mut().poll(context) {
            Poll::Ready(Ok(answer)) => {
                let answer = status::mend_answer(answer);
                if !self.work.is_unary() {
                    self.guard();
                }
                let (deadline, revoked) = (self.deadline.take(), self.revoked.take());
                Poll::Ready(self.call.take().map(|call| {
                    if self.work.is_unary() {
                        call.unary(answer, context)
                    } else {
                        call.stream(answer, deadline, revoked)
                    }
                }))
            }
            Poll::Pending => {
                self.guard();
                let cut_off = ready!(self.poll_guards(context));
                Poll::Ready(self.call.take().map(|call| call.answered(cut_off)))
            }
        }
    }

    /// Begins to watch the deadline, and the caller's credentials.
    fn guard(&mut self) {
        let Self { call, longest, work, identity, deadline, revoked: ended, .. } = self;
        if deadline.is_none() {
            *deadline = call.as_ref().zip(*longest).map(|(call, longest)| call.sleep_until(longest));
        }
        // A change that was begun is carried out, and its outcome told. An import looks for itself.
        if ended.is_none() && !work.may_change() {
            *ended = identity.as_ref().map(revoked);
        }
    }

    /// The answer to a call that can't go on.
    fn poll_guards(&mut self, context: &mut Context<'_>) -> Poll<Response<Body>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            let outcome = if self.work.may_change() { status::Outcome::Unknown } else { status::Outcome::Certain };
            return Poll::Ready(status::deadline_exceeded(outcome));
        }
        match &mut self.revoked {
            Some(revoked) => revoked.as_mut().poll(context).map(|()| status::answer(Error::CredentialsEnded)),
            None => Poll::Pending,
        }
    }
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    // Without randomness nothing is traced by chance.
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_posts_with_a_content_type_of_grpc_are_calls() {
        let asked = |method: Method, content_type: Option<&str>| {
            let request = content_type.iter().fold(Request::builder().method(method), |request, content_type| {
                request.header(CONTENT_TYPE, *content_type)
            });
            is_grpc(&request.body(()).unwrap())
        };
        for taken in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; charset=utf-8",
            "application/grpc+proto;a=b",
        ] {
            assert_eq!(asked(Method::POST, Some(taken)), Ok(()), "{taken}");
        }
        let refused = [
            "text/plain",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
            "application/grpcx",
            "",
        ];
        for content_type in refused.map(Some).into_iter().chain([None]) {
            assert_eq!(asked(Method::POST, content_type), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{content_type:?}");
        }
        assert_eq!(asked(Method::GET, Some("application/grpc")), Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
