//! Token file and certificates, read anew when they change: every few seconds, and at once on SIGHUP.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::tls::Tls;
use crate::{auth::Authority, state::clock::Clock, telemetry::metrics::Metrics};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Watches the files for as long as it runs. What is wrong with one is said when it begins to be wrong, and leaves what
/// was read before in force. From when this returns SIGHUP doesn't end the process, even where there is nothing to read.
pub(super) fn watch(
    authority: Option<Arc<Authority>>,
    tls: Option<Arc<Tls>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> impl Future<Output = ()> {
    let hang_up = signal(SignalKind::hangup()).ok();
    reread(hang_up, authority, tls, clock, metrics)
}

async fn reread(
    mut hang_up: Option<Signal>,
    authority: Option<Arc<Authority>>,
    tls: Option<Arc<Tls>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) {
    if authority.is_none() && tls.is_none() {
        return std::future::pending().await;
    }
    let mut interval = tokio::time::interval(EVERY);
    let (mut token_fault, mut tls_fault) = (None, None);
    loop {
        let asked = async {
            match &mut hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interval.tick() => {}
            () = asked => {}
        }
        let (authority, tls, now) = (authority.clone(), tls.clone(), clock.now());
        let reading = tokio::task::spawn_blocking(move || {
            (authority.map(|authority| authority.refresh(now)), tls.map(|tls| tls.refresh()))
        });
        let Ok((tokens, certificates)) = reading.await else { continue };
        match tokens.transpose() {
            Ok(Some(Some(callers))) => info!(callers, "token file read anew"),
            Ok(_) => {}
            Err(ref error) => tell(&metrics, "tokens", error, &mut token_fault),
        }
        match certificates.transpose() {
            Ok(Some(true)) => info!("certificates read anew"),
            Ok(_) => {}
            Err(ref error) => tell(&metrics, "certificates", error, &mut tls_fault),
        }
    }
}

/// Tells of a fault, once.
fn tell(metrics: &Metrics, file: &'static str, error: &dyn std::error::Error, last: &mut Option<String>) {
    let fault = error.to_string();
    if last.as_ref() != Some(&fault) {
        metrics.reload_failed(file);
        warn!(error = %fault, "can't use the changed file; what was read before still holds");
        *last = Some(fault);
    }
}
