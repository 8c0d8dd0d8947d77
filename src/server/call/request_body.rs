//! The body of a request, which knows whether the caller finished it.
//!
//! INVARIANT: a truncated body never looks complete. The transport reports some interruptions as a regular end, and
//! half a document would be imported as the whole.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tonic::Status;

use crate::rpc::status;

/// Whether the caller disconnected or cancelled before the end of the request. Nobody receives the answer then.
#[derive(Debug, Clone, Default)]
pub struct BrokenOff(Arc<AtomicBool>);

impl BrokenOff {
    /// Return whether the request was truncated.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body of a request.
pub struct RequestBody {
    body: Incoming,
    broken_off: BrokenOff,
}

impl RequestBody {
    pub fn new(body: Incoming, broken_off: BrokenOff) -> Self {
        Self { body, broken_off }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match frame {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            // A caller that ends the body does so with the last frame.
            None if self.body.is_end_stream() => Poll::Ready(None),
            Some(Err(_)) | None => {
                self.broken_off.0.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(status::broken_off())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
