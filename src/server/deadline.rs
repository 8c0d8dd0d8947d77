//! The caller's deadline: a call that hasn't been answered by then is answered with DEADLINE_EXCEEDED.
//!
//! The transport has such a timer of its own, which answers CANCELLED; this one is begun before it, and so comes first.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::rpc::status::deadline_exceeded;

/// A service that keeps its callers' deadlines.
#[derive(Debug, Clone)]
pub(super) struct Deadline<S>(pub S);

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let deadline = grpc_timeout(request.headers()).map(tokio::time::sleep);
        let answer = self.0.call(request);
        Box::pin(async move {
            let Some(deadline) = deadline else { return answer.await };
            tokio::select! {
                biased;
                answer = answer => answer,
                () = deadline => Ok(deadline_exceeded()),
            }
        })
    }
}

/// The `grpc-timeout` header: up to eight digits and a unit. What is none is no deadline.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 60 * 60),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_digits_and_a_unit() {
        let read = |text: &str| {
            grpc_timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "m", "5", "123456789S", "-1S", "1 S", "1s", "é"] {
            assert_eq!(
                grpc_timeout(&HeaderMap::from_iter([(
                    "grpc-timeout".parse().unwrap(),
                    http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap(),
                )])),
                None,
                "{wrong}"
            );
        }
    }
}
