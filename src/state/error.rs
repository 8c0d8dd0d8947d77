//! Why a command was not carried out, and how the writer ended.

use tracing::error;

use crate::{
    domain::{command::Rejection, ids::RequestId},
    store,
};

/// Why a command wasn't carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules or the request's own content forbid it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request id was used within 24 hours for another request.
    #[error("request_id `{0}` was used within the last 24 hours for another request; choose a new one")]
    RequestIdReused(RequestId),
    /// Too many commands wait for the writer. Nothing changed.
    #[error("the server has too many changes waiting; try again in a moment")]
    Overloaded,
    /// The database isn't writable now: there is no space, or another program has locked it. Nothing changed.
    #[error("nothing can be changed now: {0}; decisions go on, try again in a moment")]
    NotWritable(String),
    /// The server is stopping. Nothing changed.
    #[error("the server is stopping and takes no more changes; nothing was done, try again when it is back")]
    Stopped,
    /// The store failed during the write. The change may have happened or not.
    #[error("the store failed, and the change may have been made; repeat the request with the same request_id")]
    OutcomeUnknown,
    /// The store's data is malformed. Nothing changed.
    #[error("{0}")]
    Internal(String),
}

/// How the writer ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to stop, and everything is on disk.
    Stopped,
    /// The store failed. The outcome of the last commit is unknown.
    Failed(store::Error),
}

impl Ended {
    /// Log the end of a writer if it failed, and return it.
    pub(super) fn of_writer(ended: Result<(), store::Error>) -> Self {
        match ended {
            Ok(()) => Self::Stopped,
            Err(error) => {
                error!(error = %with_causes(&error), "store failed; the outcome of the last commit is unknown");
                Self::Failed(error)
            }
        }
    }
}

/// Format an error with its chain of sources, for the log.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
