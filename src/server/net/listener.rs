//! The listener.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tracing::warn;

use super::cores::Cores;
use crate::{
    server::{drain::began, limits::Limits},
    telemetry::metrics::{Metrics, Shed},
};

/// Accept connections until the server drains, and then wait for the end of the open ones.
pub async fn accept(
    listener: TcpListener,
    cores: Cores,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut draining: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = began(&mut draining) => break,
        };
        // The core that serves the stream registers it with its own runtime.
        match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok(_) if cores.open() >= limits.connections => metrics.shed(Shed::Connections),
            Ok((stream, address)) => cores.serve(stream, address),
            Err(error) => {
                // Most likely there are no free file descriptors. That takes a while to change.
                warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    cores.finish().await;
}
