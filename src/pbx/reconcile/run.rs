//! Connects to the PBX, again and again, and reconciles while the connection lasts.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{reconciler::Reconciler, watch::watch};
use crate::pbx::{config::Manager, connection::PbxConnection, context::HandlerContext};

/// The first and the longest pause between two connections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Reconcile members with sessions, without end. `removes` says whether members are removed whose session the handler has
/// never seen.
pub(crate) async fn run(context: Arc<HandlerContext>, manager: Manager, removes: bool) {
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
                let Err(error) = Reconciler::new(&context, &manager, connection, removes).run().await;
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
