//! Reloads the token file and the certificates when they change: every few seconds, and at once on SIGHUP.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::{
    auth::{Authority, Keeping, exposure},
    server::net::Tls,
    state::clock::Clock,
    telemetry::metrics::Metrics,
};

/// The interval between checks of the files.
const EVERY: Duration = Duration::from_secs(2);

/// Watch the files for as long as it runs. A new fault in a file is logged once, and the previous contents stay in
/// force. As soon as this returns, SIGHUP doesn't end the process, even without files to reload.
pub fn watch(
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
    let (mut token_fault, mut tls_fault) = (Fault::of("tokens"), Fault::of("certificates"));
    let mut exposures = Exposures::default();
    loop {
        let signalled = async {
            match &mut hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interval.tick() => {}
            () = signalled => {}
        }
        let (authority, tls, now) = (authority.clone(), tls.clone(), clock.now());
        let reading = tokio::task::spawn_blocking(move || {
            let mut found: Vec<String> = tls.iter().flat_map(|tls| tls.exposures()).collect();
            // The token file holds hashes, which others may read, and permissions, which others must not change.
            found.extend(authority.iter().filter_map(|tokens| exposure(tokens.file().path(), Keeping::Public)));
            (authority.map(|authority| authority.refresh(now)), tls.map(|tls| tls.refresh()), found)
        });
        let Ok((tokens, certificates, found)) = reading.await else { continue };
        exposures.note(found).iter().for_each(|exposure| warn!("{exposure}"));
        if let Some(Some(callers)) = token_fault.note(tokens.transpose(), &metrics) {
            info!(callers, "token file reloaded");
        }
        if tls_fault.note(certificates.transpose(), &metrics) == Some(true) {
            info!("certificates reloaded");
        }
    }
}

/// The present fault of a file.
struct Fault {
    file: &'static str,
    current: Option<String>,
}

impl Fault {
    fn of(file: &'static str) -> Self {
        Self { file, current: None }
    }

    /// Return the changed contents, or `None`. Logs a fault when it begins, also if the same fault had ended before.
    fn note<T, E: std::error::Error>(&mut self, read: Result<Option<T>, E>, metrics: &Metrics) -> Option<T> {
        match read {
            Ok(read) => {
                self.current = None;
                read
            }
            Err(error) => {
                let fault = error.to_string();
                if self.current.as_ref() != Some(&fault) {
                    metrics.reload_failed(self.file);
                    warn!(error = %fault, "can't use the changed file; its previous contents stay in force");
                    self.current = Some(fault);
                }
                None
            }
        }
    }
}

/// The accesses to the files that others have and should not, as last seen.
#[derive(Default)]
struct Exposures(Vec<String>);

impl Exposures {
    /// Return the exposures that are new.
    fn note(&mut self, found: Vec<String>) -> Vec<String> {
        let new = found.iter().filter(|exposure| !self.0.contains(exposure)).cloned().collect();
        self.0 = found;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_comes_again_is_counted_again() {
        let metrics = Metrics::new(crate::rpc::call_labels());
        let mut fault = Fault::of("tokens");
        let failed = || Err::<Option<bool>, _>(std::io::Error::other("no space"));
        let count = |metrics: &Metrics| {
            let text = metrics.text();
            let line = text.lines().find(|line| line.contains("reload_failures") && line.contains("tokens"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
        };
        fault.note(failed(), &metrics);
        fault.note(failed(), &metrics);
        assert_eq!(count(&metrics), 1.0, "once while it lasts");
        assert_eq!(fault.note(Ok::<_, std::io::Error>(Some(false)), &metrics), Some(false));
        fault.note(failed(), &metrics);
        assert_eq!(count(&metrics), 2.0);
    }

    #[test]
    fn an_exposure_is_returned_once_when_it_begins() {
        let mut exposures = Exposures::default();
        let found = || vec!["a".to_owned()];
        assert_eq!(exposures.note(found()), ["a"]);
        assert!(exposures.note(found()).is_empty());
        assert!(exposures.note(Vec::new()).is_empty());
        assert_eq!(exposures.note(found()), ["a"]);
    }
}
