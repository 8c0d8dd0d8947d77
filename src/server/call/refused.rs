//! A call that was refused before it reached a service.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use hyper::body::{Body as _, Incoming};
use tokio::time::Sleep;

use super::answer::Answer;

/// How long whoever is refused may take to finish their request_body before they are told.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A call that was answered at the gate.
///
/// An answer before the end of a request_body resets its stream, and what is still under way then looks like a mistake of the
/// caller's: after some hundred of them the connection is given up, with everything on it. So the end is waited for.
pub struct RefusedCall {
    /// None once it was handed on.
    answer: Option<Box<Response<Answer>>>,
    /// None if there is nothing to wait for.
    request_body: Option<Incoming>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl RefusedCall {
    pub fn new(answer: Response<Answer>, request_body: Option<Incoming>) -> Self {
        Self { answer: Some(Box::new(answer)), request_body, patience: None }
    }

    /// The answer; none if it was handed on before.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Response<Answer>>> {
        let Self { answer, request_body, patience } = self;
        if let Some(asked) = request_body {
            let rest = loop {
                match Pin::new(&mut *asked).poll_frame(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => break Poll::Ready(()),
                    Poll::Pending => break Poll::Pending,
                }
            };
            if rest.is_pending() {
                let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(REQUEST_GRACE)));
                std::task::ready!(patience.as_mut().poll(context));
            }
            *request_body = None;
        }
        Poll::Ready(answer.take().map(|answer| *answer))
    }
}
