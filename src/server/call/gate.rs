//! The checks of every call before its service: authentication, scope, admission and deadline.
//!
//! INVARIANT: the body of a call isn't read before its caller is authenticated, and a method that is missing in
//! [`methods`](crate::rpc::methods) isn't reached.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use tonic::body::Body;

use super::{
    activity::Activity,
    admitted::AdmittedCall,
    answer::{Answer, Call},
    compression,
    content_type::is_grpc,
    core_resources::CoreResources,
    peer::Peer,
    refused::RefusedCall,
    request_body::RequestBody,
};
use crate::{
    auth::{CertificateName, Identity},
    rpc::{
        deadline::grpc_timeout,
        error::Error,
        methods::{self, Work},
    },
};

/// The longest time of a unary call without a deadline.
const LONGEST_CALL: Duration = Duration::from_secs(6 * 60);

/// The calls of one connection.
#[derive(Clone)]
pub struct ConnectionService {
    peer: Arc<Peer>,
}

impl ConnectionService {
    pub fn new(core: Arc<CoreResources>, address: IpAddr, certificate_names: Vec<CertificateName>) -> Self {
        Self { peer: Arc::new(Peer::new(core, address, certificate_names)) }
    }

    /// The calls of a caller in this process.
    pub fn in_process(core: Arc<CoreResources>, identity: Arc<Identity>) -> Self {
        Self { peer: Arc::new(Peer::in_process(core, identity)) }
    }

    /// Return the activity of the connection.
    pub fn activity(&self) -> &Activity {
        &self.peer.activity
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = CallFuture;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let mut call = Call::begin(&self.peer);
        self.peer.core.admission.measure();
        if let Err(status) = is_grpc(&request) {
            let mut answer = call.answered(Response::new(Body::empty()));
            *answer.status_mut() = status;
            return CallFuture::refused(answer);
        }
        let Some((index, method)) = methods::find(request.uri().path()) else {
            return CallFuture::refused(call.refused(Error::UnknownMethod));
        };
        call.method = index;
        if let Some(traces) = &self.peer.core.traces {
            call.span = traces.begin(method.path, request.headers(), random_share()).map(Box::new);
        }
        // The services don't need the token.
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        let admitted = self.peer.admit(method, authorization.as_ref()).and_then(|admitted| {
            let deadline = grpc_timeout(request.headers()).map_err(|_| Error::malformed_deadline())?;
            Ok((admitted, deadline))
        });
        let ((connection_caller, permit), deadline) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                // Read the request of an authenticated caller to its end, unless it may be long or endless.
                let reads_request = matches!(error, Error::Overloaded | Error::CallerLimit { .. });
                let request_body = (reads_request && method.work.is_unary()).then(|| request.into_body());
                return CallFuture::RefusedCall(RefusedCall::new(call.refused(error), request_body));
            }
        };
        call.permit = Some(permit);
        let broken_off = call.broken_off.clone();
        let request = request.map(|body| RequestBody::new(body, broken_off));
        let queued = match method.work {
            Work::Probe => None,
            Work::Check | Work::Scan | Work::Write | Work::Stream | Work::Import => {
                Some(self.peer.core.admission.enqueue(call.began))
            }
        };
        let longest = if method.work.is_unary() { Some(deadline.unwrap_or(LONGEST_CALL)) } else { deadline };
        let may_compress = compression::applies(method, request.headers());
        let answering = connection_caller.services.call(request);
        let answering = if may_compress { compression::compressed(answering) } else { answering };
        // The identity of a caller without credentials never ends.
        let identity = self.peer.identity_can_end().then(|| Arc::clone(&connection_caller.identity));
        CallFuture::AdmittedCall(AdmittedCall {
            call: Some(call),
            queued,
            work: method.work,
            longest,
            answering,
            identity,
            deadline: None,
            revoked: None,
        })
    }
}

/// A call until its answer begins.
pub enum CallFuture {
    /// The call was refused.
    RefusedCall(RefusedCall),
    /// The call was admitted.
    AdmittedCall(AdmittedCall),
}

impl CallFuture {
    fn refused(answer: Response<Answer>) -> Self {
        Self::RefusedCall(RefusedCall::new(answer, None))
    }
}

impl Future for CallFuture {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut *self {
            Self::RefusedCall(refused) => ready!(refused.poll(context)),
            Self::AdmittedCall(call) => ready!(call.poll(context)),
        };
        answer.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
    }
}

/// Return a random number from 0 to 1.
fn random_share() -> f64 {
    // Without randomness no call is sampled.
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}
