//! Streams of answers. A limited number of messages wait for the reader. However slowly the client reads, the last
//! thing it gets is the stream's status.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
        oneshot, watch as signal,
    },
};
use tonic::Status;

use super::{error::Error, services::CallerServices};

/// The most long answers of one caller in flight.
const LONG_READS_OF_CALLER: usize = 4;

/// The messages of one stream, and its end.
#[derive(Debug)]
pub struct Messages<T> {
    messages: mpsc::Receiver<T>,
    end: Option<oneshot::Receiver<Result<(), Error>>>,
}

/// The sender of a stream's end. If it is dropped unsent, the work failed, and the stream ends with an error.
pub(super) type End = oneshot::Sender<Result<(), Error>>;

/// Create a stream of which `buffer` messages may wait for the reader.
pub(super) fn channel<T>(buffer: usize) -> (mpsc::Sender<T>, End, Messages<T>) {
    let (sender, messages) = mpsc::channel(buffer);
    let (tell_end, end) = oneshot::channel();
    (sender, tell_end, Messages { messages, end: Some(end) })
}

impl<T> tokio_stream::Stream for Messages<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let end = ready!(Pin::new(end).poll(context));
        self.end = None;
        let broke = |_| Err(Error::Internal("the sender of a stream failed before its end".to_owned()));
        Poll::Ready(end.unwrap_or_else(broke).err().map(|error| Err(error.into())))
    }
}

impl CallerServices {
    /// Send a long answer from a thread that may block. Fails if there is no permit for it.
    pub(super) fn read_long<T: Send + 'static>(
        &self,
        buffer: usize,
        read: impl FnOnce(&BlockingSender<T>) -> Result<(), Unsent> + Send + 'static,
    ) -> Result<Messages<T>, Error> {
        let owner = (self.caller.caller().to_string(), LONG_READS_OF_CALLER);
        let permit = self.long_reads.take(&[owner]).map_err(|_| Error::TooManyReaders)?;
        let (sender, tell_end, messages) = channel(buffer);
        let (patience, draining, permits) = (self.times.patience, self.draining.clone(), self.scans.permits());
        tokio::task::spawn_blocking(move || {
            let answers = BlockingSender { sender, patience, draining, permits, turn: RefCell::default() };
            answers.take_turn();
            // The reader may be gone.
            let _ = tell_end.send(end(read(&answers)));
            drop(permit);
        });
        Ok(messages)
    }
}

/// The sending end for work on a thread that may block, such as reading a long log.
pub(super) struct BlockingSender<T> {
    pub sender: mpsc::Sender<T>,
    /// The longest wait of a message for its reader.
    pub patience: Duration,
    /// True once the server drains.
    pub draining: signal::Receiver<bool>,
    /// The permits of lists, batches and long answers. INVARIANT: a permit is held only while a piece is computed,
    /// never during a wait for a reader.
    permits: Arc<Semaphore>,
    turn: RefCell<Option<OwnedSemaphorePermit>>,
}

/// The error that ends the work; `None` if the reader is gone.
pub(super) type Unsent = Option<Error>;

/// Convert the end of the work to the end of the stream. A reader that is gone gets no error.
pub(super) fn end(sent: Result<(), Unsent>) -> Result<(), Error> {
    sent.or_else(|why| why.map_or(Ok(()), Err))
}

impl<T> BlockingSender<T> {
    /// Send a message that may be left out, if the buffer has room for it.
    pub(super) fn try_send(&self, message: T) -> Result<(), Unsent> {
        self.take_turn();
        match self.sender.try_send(message) {
            Ok(()) | Err(TrySendError::Full(_)) if !*self.draining.borrow() => Ok(()),
            Ok(()) | Err(TrySendError::Full(_)) => Err(Some(Error::Stopping)),
            Err(TrySendError::Closed(_)) => Err(None),
        }
    }

    /// Send a message. Wait for a slow reader, but not longer than `patience`, and not once the server drains.
    pub(super) fn send(&self, message: T) -> Result<(), Unsent> {
        self.end_turn();
        let sent = self.send_to_reader(message);
        self.take_turn();
        sent
    }

    /// Let a list or another long answer go first, and wait for the next turn.
    fn take_turn(&self) {
        self.end_turn();
        // The semaphore is never closed.
        let turn = Handle::current().block_on(Arc::clone(&self.permits).acquire_owned());
        *self.turn.borrow_mut() = turn.ok();
    }

    fn end_turn(&self) {
        self.turn.borrow_mut().take();
    }

    fn send_to_reader(&self, message: T) -> Result<(), Unsent> {
        let message = match self.sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(None),
            Err(TrySendError::Full(message)) => message,
        };
        let mut draining = self.draining.clone();
        Handle::current().block_on(async {
            tokio::select! {
                sent = tokio::time::timeout(self.patience, self.sender.send(message)) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(None),
                    Err(_) => Err(Some(Error::TooSlow)),
                },
                _ = draining.wait_for(|draining| *draining) => Err(Some(Error::Stopping)),
            }
        })
    }
}
