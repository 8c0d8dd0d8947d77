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

/// How long the answer to a refused call waits for the end of the request body.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A refused call.
///
/// An answer before the end of a request body resets its stream. Frames that arrive after that look like the caller's
/// protocol errors, and HTTP/2 closes the connection with all its calls after some hundred of them. So the answer waits
/// for the end.
pub struct RefusedCall {
    /// `None` once it was returned.
    answer: Option<Box<Response<Answer>>>,
    /// `None` if there is nothing to wait for.
    request_body: Option<Incoming>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl RefusedCall {
    pub fn new(answer: Response<Answer>, request_body: Option<Incoming>) -> Self {
        Self { answer: Some(Box::new(answer)), request_body, patience: None }
    }

    /// Return the answer, or `None` if an earlier poll returned it.
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
