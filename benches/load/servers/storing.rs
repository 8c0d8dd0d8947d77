//! The store of `floor-storing`. It writes the same rows as queuegate did, in commits of the same size, and knows no
//! rules.

use std::{
    fs, iter,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tonic::Status;

use crate::servers::sqlite::{AuditLog, ChangeRows, DatabaseCopy};

/// The rows to store, and the database to store them in.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoringConfig {
    /// The database of queuegate, which already has the rows.
    pub database: PathBuf,
    /// The first revision is the one after this.
    pub after: i64,
    /// The last revision.
    pub up_to: i64,
    /// A copy of the database, as it was before these revisions.
    pub copy: PathBuf,
    /// The largest number of changes in a commit.
    pub batch_limit: usize,
}

impl StoringConfig {
    const FILE: &str = "storing.json";

    /// Write the configuration into the folder of answers.
    pub fn write(&self, answers: &Path) -> anyhow::Result<()> {
        Ok(fs::write(answers.join(Self::FILE), serde_json::to_vec(self)?)?)
    }
}

/// A handle on the thread that stores changes.
#[derive(Debug, Clone)]
pub struct ChangeStore(Sender<Reply>);

/// Replies to a call when its change is durable.
type Reply = oneshot::Sender<()>;

impl ChangeStore {
    /// Start the thread, with the configuration in the folder of answers. The thread prints errors to standard error.
    pub fn start(answers: &Path) -> anyhow::Result<Self> {
        let StoringConfig { database, after, up_to, copy, batch_limit } =
            serde_json::from_slice(&fs::read(answers.join(StoringConfig::FILE))?)?;
        let rows = AuditLog::open(&database)?.rows(after, up_to, usize::MAX >> 1)?;
        let copy = DatabaseCopy::open(&copy)?;
        let (sender, calls) = channel();
        thread::spawn(move || {
            if let Err(error) = store(copy, &rows, batch_limit, &calls) {
                eprintln!("can't store: {error:#}");
            }
        });
        Ok(Self(sender))
    }

    /// Store one change, and return when it is durable.
    pub async fn change(&self) -> Result<(), Status> {
        let (reply, durable) = oneshot::channel();
        // If the thread has ended, it drops the sender of the reply, and the next line fails.
        let _ = self.0.send(reply);
        durable.await.map_err(|_| Status::resource_exhausted("all rows are stored"))
    }
}

/// Write the next rows for each call. All waiting calls share a commit, up to the limit.
fn store(
    mut copy: DatabaseCopy,
    mut rows: &[ChangeRows],
    batch_limit: usize,
    calls: &Receiver<Reply>,
) -> anyhow::Result<()> {
    while let Ok(first) = calls.recv() {
        let replies: Vec<_> = iter::once(first).chain(calls.try_iter()).take(batch_limit).collect();
        let Some((batch, rest)) = rows.split_at_checked(replies.len()) else { break };
        copy.write(batch, batch.len())?;
        rows = rest;
        for reply in replies {
            // The receiver is gone if its call was cancelled.
            let _ = reply.send(());
        }
    }
    Ok(())
}
