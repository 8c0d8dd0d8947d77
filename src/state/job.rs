//! The commands that wait for the writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{
    error::Error,
    replies::{self, Reply, ReplyTo},
};
use crate::domain::{
    command::Command,
    ids::{Caller, RequestId},
};

/// A request to the writer.
pub(super) enum Job {
    Execute(PendingCommand),
    /// Other nodes have written something.
    News,
    /// Finish: the writer executes the jobs before this one, and refuses those after it.
    Stop,
}

/// A command that waits for the writer. If it is dropped before the writer takes it up, its reply says that nothing was
/// done. If it is dropped without a reply after that, its outcome is unknown.
pub(super) struct PendingCommand(pub(super) Option<Box<QueuedCommand>>);

impl PendingCommand {
    pub(super) fn take_up(mut self) -> Option<Box<QueuedCommand>> {
        self.0.take()
    }
}

impl Drop for PendingCommand {
    fn drop(&mut self) {
        if let Some(queued) = self.0.take() {
            replies::send([Reply { reply_to: queued.reply_to, answer: Err(Error::Stopped) }]);
        }
    }
}

pub(super) struct QueuedCommand {
    pub(super) command: Command,
    pub(super) caller: Caller,
    pub(super) request: Option<RequestKey>,
    pub(super) progress: Option<Arc<Progress>>,
    pub(super) reply_to: ReplyTo,
    /// When the caller submitted it.
    pub(super) submitted: Instant,
}

/// A request with a request id.
#[derive(Debug)]
pub struct RequestKey {
    pub(super) id: RequestId,
    pub(super) content_sha256: String,
}

impl RequestKey {
    /// Create the request for this command. Hashes the whole command, which takes a while if it imports a large
    /// directory.
    pub fn new(id: RequestId, command: &Command) -> Self {
        Self { id, content_sha256: content_sha256(command) }
    }
}

/// The progress of a large command's write.
#[derive(Debug, Default)]
pub struct Progress {
    /// Changes written so far.
    pub done: AtomicU64,
    /// Changes to write; 0 while the number isn't known.
    pub total: AtomicU64,
}

impl Progress {
    /// Note the number of changes to write.
    pub(super) fn expect(&self, total: usize) {
        self.total.store(u64::try_from(total).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Note the number of changes written so far.
    pub(super) fn reach(&self, done: usize) {
        self.done.store(u64::try_from(done).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Return the changes written, and the changes to write.
    pub fn get(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

fn content_sha256(command: &Command) -> String {
    let mut hash = Sha256::new();
    // A command is plain data, which always serializes.
    let _ = serde_json::to_writer(HashWriter(&mut hash), command);
    HEXLOWER.encode(&hash.finalize())
}

struct HashWriter<'h>(&'h mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
