//! The connections to one server, or to several equal ones.
//!
//! With several, a call goes to the present server, and to the others in turn if that one is unavailable, loses the
//! connection, or doesn't answer in its share of the time.
//!
//! INVARIANT: a change is repeated only with the same request id, so all attempts together have one outcome. After an
//! attempt with an unknown outcome, only an answer to a repetition counts; an error of a repetition settles nothing.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    failure::{is_refusal, may_help_to_repeat},
    request_id::with_request_id,
};
use crate::rpc::{
    deadline::grpc_timeout,
    methods::{self, Work},
};

/// The time limit of a call without a deadline: for its answer, or for the start of a stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of attempts at each server.
const ROUNDS: usize = 2;

/// The pause before each round but the first.
const PAUSE: Duration = Duration::from_millis(100);

/// The time limit of a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval of the health checks, while there are calls.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The header of a call's deadline.
const TIMEOUT_HEADER: &str = "grpc-timeout";

/// One server, or several equal ones. Clones share the choice of the present server.
#[derive(Debug, Clone)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channels: Vec<Channel>,
    present: AtomicUsize,
    checked: Mutex<Option<Instant>>,
}

/// A call with its whole request, to be sent more than once.
struct Call {
    parts: Parts,
    body: Bytes,
    work: Work,
    deadline: Instant,
}

/// A failed attempt: a status of the server, or an error of the connection.
type Failure = Result<Response<Body>, StdError>;

/// The end of an attempt.
enum Attempt {
    /// The call is answered. Another server would answer the same.
    Answered(Response<Body>),
    /// The call wasn't carried out.
    Refused(Failure),
    /// The call may have been carried out.
    OutcomeUnknown(Failure),
}

impl Servers {
    pub(super) fn new(channels: Vec<Channel>) -> Self {
        Self(Arc::new(Inner { channels, present: AtomicUsize::new(0), checked: Mutex::default() }))
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.channels.len() > 1
    }

    /// Make the first server that answers SERVING the present one, or else the first that answers at all. Return
    /// whether any answers.
    pub(super) async fn choose(&self) -> bool {
        *self.0.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut chosen = None;
        for (index, channel) in self.0.channels.iter().enumerate() {
            let mut health = HealthClient::new(channel.clone());
            match timeout(HEALTH_TIMEOUT, health.check(HealthCheckRequest::default())).await {
                Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {
                    chosen = Some(index);
                    break;
                }
                Ok(Ok(_)) => chosen = chosen.or(Some(index)),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if let Some(index) = chosen {
            self.0.present.store(index, Ordering::Relaxed);
        }
        chosen.is_some()
    }

    /// Check the servers' health in the background if it is time.
    fn check_health(&self) {
        let checked = *self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY) {
            let servers = self.clone();
            tokio::spawn(async move { servers.choose().await });
        }
    }

    /// Send a call to the present server, and to the others until one answers.
    async fn call_any(self, request: Request<Body>) -> Result<Response<Body>, StdError> {
        self.check_health();
        let call = Call::of(request).await?;
        let count = self.0.channels.len();
        let first = self.0.present.load(Ordering::Relaxed);
        let attempts = count * ROUNDS;
        let (mut refused, mut unknown) = (None, None);
        for (number, index) in (0..count).cycle().skip(first).take(attempts).enumerate() {
            let Some(channel) = self.0.channels.get(index) else { continue };
            if number > 0 && number % count == 0 {
                sleep(PAUSE).await;
            }
            let left = call.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A frozen server must leave time for another.
            let limit = if number + 1 < attempts { left / 2 } else { left };
            match call.attempt(channel.clone(), left, limit).await {
                Attempt::Answered(answer) => match unknown {
                    // An error doesn't tell whether an earlier attempt has changed the state, or still will.
                    Some(earlier) if call.work.may_change() && is_error(&answer) => return earlier,
                    _ => {
                        self.0.present.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                },
                Attempt::Refused(failure) => refused = Some(failure),
                Attempt::OutcomeUnknown(failure) => unknown = Some(failure),
            }
        }
        unknown.or(refused).unwrap_or_else(|| Err(late(call.work).into()))
    }
}

impl Service<Request<Body>> for Servers {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.0.channels.as_slice() {
            [only] => Box::pin(send(only.clone(), request)),
            _ => Box::pin(self.clone().call_any(request)),
        }
    }
}

impl Call {
    async fn of(request: Request<Body>) -> Result<Self, StdError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path();
        let work = methods::find(path).map_or(Work::Stream, |(_, method)| method.work);
        let body = with_request_id(path, body);
        let longest = grpc_timeout(&parts.headers).ok().flatten().unwrap_or(CALL_TIMEOUT);
        Ok(Self { parts, body, work, deadline: Instant::now() + longest })
    }

    /// Send the call to one server, and wait for `limit`. The server has the time that is `left`.
    async fn attempt(&self, channel: Channel, left: Duration, limit: Duration) -> Attempt {
        let mut request = Request::from_parts(self.parts.clone(), Body::new(Full::new(self.body.clone())));
        if let Some(header) = request.headers_mut().get_mut(TIMEOUT_HEADER)
            && let Ok(shorter) = format!("{}m", left.as_millis().clamp(1, 99_999_999)).parse()
        {
            *header = shorter;
        }
        let answering = async {
            let answer = send(channel, request).await?;
            // The whole answer of a stream isn't awaited: it may be endless.
            if self.work.is_unary() { whole(answer).await } else { Ok(answer) }
        };
        match timeout(limit, answering).await {
            Ok(Ok(answer)) => match status_of(&answer) {
                Some(status) if may_help_to_repeat(&status) && is_refusal(&status) => Attempt::Refused(Ok(answer)),
                Some(status) if may_help_to_repeat(&status) => Attempt::OutcomeUnknown(Ok(answer)),
                // A proxy answered.
                None if answer.status() != StatusCode::OK => Attempt::OutcomeUnknown(Ok(answer)),
                _ => Attempt::Answered(answer),
            },
            Ok(Err(error)) => {
                let status = Status::from_error(error);
                let is_refusal = is_refusal(&status);
                let failure = Err(status.into());
                if is_refusal { Attempt::Refused(failure) } else { Attempt::OutcomeUnknown(failure) }
            }
            Err(_) => Attempt::OutcomeUnknown(Err(late(self.work).into())),
        }
    }
}

async fn send(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, StdError> {
    poll_fn(|context| channel.poll_ready(context)).await?;
    Ok(channel.call(request).await?)
}

/// Return an answer after its last byte has arrived. Its status then is in its headers.
async fn whole(answer: Response<Body>) -> Result<Response<Body>, StdError> {
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await?;
    if let Some(trailers) = body.trailers()
        && Status::from_header_map(trailers).is_some_and(|status| status.code() != tonic::Code::Ok)
    {
        parts.headers.extend(trailers.clone());
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// Return the status in the headers of an answer that has nothing else.
fn status_of(answer: &Response<Body>) -> Option<Status> {
    Status::from_header_map(answer.headers())
}

fn is_error(answer: &Response<Body>) -> bool {
    status_of(answer).is_some_and(|status| status.code() != tonic::Code::Ok)
}

fn late(work: Work) -> Status {
    Status::deadline_exceeded(if work.may_change() {
        "no server answered in time, and the change may have been made; repeat the request with the same request_id"
    } else {
        "no server answered in time"
    })
}
