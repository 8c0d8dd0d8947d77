//! Failures of the connection for reconciling.

use crate::pbx::lines;

/// A failure of the connection for reconciling. After a refusal the connection can still be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PbxError {
    #[error("{0}")]
    Lines(#[from] lines::Error),
    #[error("the connection can't be encrypted: {0}")]
    Tls(std::io::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("the PBX did not answer in time")]
    TimedOut,
    #[error("the peer is not {0}")]
    OtherPeer(&'static str),
    #[error("the PBX refused {action}: {message}")]
    Refused { action: &'static str, message: String },
}

impl From<std::io::Error> for PbxError {
    fn from(error: std::io::Error) -> Self {
        Self::Lines(error.into())
    }
}
