//! Connects to the PBX, again and again, and reconciles while the connection lasts.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{reconciler::Reconciler, watch::watch};
use crate::{
    pbx::{config::Manager, connection::PbxConnection, context::HandlerContext},
    telemetry::handler_metrics::Peer,
};

/// The first and the longest pause between two connections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Reconcile members with sessions, without end. `removes` says whether members are removed whose session the handler has
/// never seen.
pub(crate) async fn run(context: Arc<HandlerContext>, manager: Manager, removes: bool) {
    let is_connected = |is_connected| context.metrics.set_connected(Peer::Pbx, is_connected);
    is_connected(false);
    let mut watches = JoinSet::new();
    for organization in &manager.organizations {
        watches.spawn(watch(Arc::clone(&context), organization.clone()));
    }
    let mut pause = PAUSES.0;
    loop {
        match PbxConnection::open(&context.config, &manager).await {
            Ok(connection) => {
                info!(address = %manager.address, "reconciling members with sessions");
                pause = PAUSES.0;
                is_connected(true);
                let Err(error) = Reconciler::new(&context, &manager, connection, removes).run().await;
                is_connected(false);
                warn!(%error, "the connection to the PBX failed; it is opened again");
            }
            Err(error) => {
                warn!(%error, address = %manager.address, "the PBX is unreachable; members are left unchanged")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
