//! Blocking work, off the threads that answer calls.

use super::error::Error;

/// Run work that takes a while off the threads that answer calls.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
}
