//! The page `/status`: the state of this server, its database, and the nodes that share it.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{domain::ids::Lineage, state::State, store::postgres::ClusterReport};

/// The longest wait for the database.
const PATIENCE: Duration = Duration::from_secs(4);

/// The state of a server. `queuegate status` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether calls may be sent to it.
    pub ready: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The file, or `None` for a shared database.
    pub file: Option<PathBuf>,
    /// The history that it serves, or `None` while it loads.
    pub store: Option<Served>,
    /// The shared database, or `None` for a file, or if the database doesn't answer.
    pub database: Option<ClusterReport>,
    /// Why there is no report on the shared database.
    pub database_problem: Option<String>,
}

/// The history that a server serves.
#[derive(Debug, Serialize, Deserialize)]
pub struct Served {
    /// The id of the store: 16 hexadecimal digits.
    pub store_id: String,
    /// The epoch.
    pub epoch: u32,
    /// The number of the last change.
    pub sequence: u64,
    /// The revision, as answers have it.
    pub revision: String,
    /// How long changes of other nodes may have been missed, in milliseconds.
    pub stale_ms: u64,
}

impl Status {
    /// Describe a server, with `problem` if it isn't ready.
    pub(super) async fn of(state: Option<&State>, problem: Option<String>, file: Option<PathBuf>) -> Self {
        let mut status = Self {
            ready: problem.is_none(),
            problem,
            file,
            store: state.map(Served::of),
            database: None,
            database_problem: None,
        };
        if let Some(state) = state.filter(|state| state.is_node()).cloned() {
            let reading = tokio::task::spawn_blocking(move || state.cluster());
            let found = match tokio::time::timeout(PATIENCE, reading).await {
                Ok(Ok(found)) => found.map_err(|error| error.to_string()),
                Ok(Err(_)) | Err(_) => Err("no answer in time".to_owned()),
            };
            match found {
                Ok(found) => status.database = found,
                Err(problem) => {
                    warn!(problem, "the database can't be read for the status");
                    status.database_problem = Some(problem);
                }
            }
        }
        status
    }
}

impl Served {
    fn of(state: &State) -> Self {
        let revision = state.snapshot().revision();
        let Lineage { store_id, epoch } = revision.lineage;
        Self {
            store_id: format!("{store_id:016x}"),
            epoch,
            sequence: revision.sequence.0,
            revision: revision.to_string(),
            stale_ms: u64::try_from(state.stale_for().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
