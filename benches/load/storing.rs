//! What a server that does nothing but store does with a change: it writes the next of the rows that the server under test
//! wrote, with those of whoever asks meanwhile, and answers when they are durable.

use std::{
    fs, iter,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tonic::Status;

use crate::raw::{Log, Raw, Row};

/// Which rows are to be stored, and where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The file of the server under test.
    pub database: PathBuf,
    /// The changes after this one, and up to that.
    pub after: i64,
    pub up_to: i64,
    /// A copy of the file, as it was before them.
    pub copy: PathBuf,
    /// How many go into a commit at most.
    pub most: usize,
}

impl Order {
    const FILE: &str = "order";

    /// Leaves it in the folder of answers.
    pub fn write(&self, answers: &Path) -> anyhow::Result<()> {
        Ok(fs::write(answers.join(Self::FILE), serde_json::to_vec(self)?)?)
    }
}

/// The way to the thread that stores.
#[derive(Debug, Clone)]
pub struct Storing(Sender<oneshot::Sender<()>>);

impl Storing {
    /// Begins with what is ordered in the folder of answers. What goes wrong is said on standard error.
    pub fn start(answers: &Path) -> anyhow::Result<Self> {
        let Order { database, after, up_to, copy, most } =
            serde_json::from_slice(&fs::read(answers.join(Order::FILE))?)?;
        let rows = Log::open(&database)?.rows(after, up_to, usize::MAX >> 1)?;
        let raw = Raw::open(&copy)?;
        let (sender, asked) = channel();
        thread::spawn(move || {
            if let Err(error) = store(raw, &rows, most, &asked) {
                eprintln!("can't store: {error:#}");
            }
        });
        Ok(Self(sender))
    }

    /// Stores one change, and returns when it is durable.
    pub async fn change(&self) -> Result<(), Status> {
        let (tell, told) = oneshot::channel();
        // Whoever can't be asked doesn't answer either.
        let _ = self.0.send(tell);
        told.await.map_err(|_| Status::resource_exhausted("nothing more is stored"))
    }
}

fn store(mut raw: Raw, mut rows: &[Row], most: usize, asked: &Receiver<oneshot::Sender<()>>) -> anyhow::Result<()> {
    while let Ok(first) = asked.recv() {
        let asked: Vec<_> = iter::once(first).chain(asked.try_iter()).take(most).collect();
        let Some((batch, rest)) = rows.split_at_checked(asked.len()) else { break };
        raw.write(batch, batch.len())?;
        rows = rest;
        for asked in asked {
            // They may have gone away.
            let _ = asked.send(());
        }
    }
    Ok(())
}
