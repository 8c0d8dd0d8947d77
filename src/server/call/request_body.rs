//! The body of a request, of which it is known whether its caller came to its end.
//!
//! INVARIANT: what was broken off never looks like something whole. The transport takes some ends for the caller's own,
//! and half a document would be imported as all of it.

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

/// Whether the caller of a call went away before they had asked. What is answered then, nobody hears.
#[derive(Debug, Clone, Default)]
pub struct BrokenOff(Arc<AtomicBool>);

impl BrokenOff {
    /// Whether they did.
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
            // Whoever said that it was the end, did so with the last frame.
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
