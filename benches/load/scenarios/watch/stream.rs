//! One watch, which counts the changes that arrive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use queuegate::rpc::proto::WatchSessionsType;
use tokio::sync::watch;

use crate::harness::{
    connection::Connection,
    request::{EncodedRequest, HEADER_BYTES},
};

/// The state that all watches share.
#[derive(Clone)]
pub struct Progress {
    /// The number of watches that have started.
    pub started: Arc<AtomicUsize>,
    /// The number of all changes, or `None` until the last one is made.
    pub changes_made: watch::Receiver<Option<u64>>,
}

/// Watch until all changes have arrived, or none arrives within the limit. Return the number of changes.
pub async fn watch_sessions(
    connection: Connection,
    request: EncodedRequest,
    mut progress: Progress,
    wait_limit: Duration,
) -> anyhow::Result<u64> {
    let (mut watched, mut is_counted) = (Watched::default(), false);
    let mut stream = connection.stream(&request).await?;
    loop {
        let changes_made = *progress.changes_made.borrow();
        if changes_made.is_some_and(|made| watched.changes >= made) {
            return Ok(watched.changes);
        }
        let limit = if changes_made.is_some() { wait_limit } else { Duration::MAX };
        tokio::select! {
            data = tokio::time::timeout(limit, stream.data()) => match data {
                Ok(Some(data)) => {
                    let data = data?;
                    stream.flow_control().release_capacity(data.len())?;
                    watched.read(&data)?;
                }
                // The server ended the stream, or the time is over.
                Ok(None) | Err(_) => return Ok(watched.changes),
            },
            known = progress.changes_made.changed(), if changes_made.is_none() => known?,
        }
        if watched.has_started && !is_counted {
            is_counted = true;
            progress.started.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The fields of a message that a watch reads. Decoding the others would take processor time from the server.
#[derive(Clone, PartialEq, prost::Message)]
struct WatchMessage {
    #[prost(enumeration = "WatchSessionsType", tag = "1")]
    r#type: i32,
    #[prost(string, tag = "3")]
    revision: String,
}

/// The messages of one watch so far.
#[derive(Default)]
struct Watched {
    /// The beginning of a message whose end has not arrived.
    data: BytesMut,
    has_started: bool,
    changes: u64,
    last_revision: String,
}

impl Watched {
    /// Read the complete messages in the data that has arrived.
    fn read(&mut self, data: &Bytes) -> anyhow::Result<()> {
        self.data.extend_from_slice(data);
        while let Some(header) = self.data.get(..HEADER_BYTES) {
            let length = header.get(1..).context("no length")?.try_into()?;
            let length = usize::try_from(u32::from_be_bytes(length))?;
            if self.data.len() < HEADER_BYTES + length {
                break;
            }
            self.data.advance(HEADER_BYTES);
            let message = WatchMessage::decode(self.data.split_to(length))?;
            match message.r#type() {
                WatchSessionsType::Checkpoint => self.has_started = true,
                WatchSessionsType::SignedIn | WatchSessionsType::SignedOut => {
                    anyhow::ensure!(self.last_revision < message.revision, "a change came twice or out of order");
                    self.last_revision = message.revision;
                    self.changes += 1;
                }
                WatchSessionsType::Initial | WatchSessionsType::Unspecified => {}
            }
        }
        Ok(())
    }
}
