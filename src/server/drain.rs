//! The signal that the server drains.

use tokio::sync::watch;

/// Wait until the server drains.
pub(super) async fn began(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = draining.wait_for(|draining| *draining).await;
}
