//! Watches the sessions of an organization, and marks their queues for comparison.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    domain::ids::{OrganizationId, QueueRef},
    pbx::context::HandlerContext,
    rpc::proto::{self, WatchSessionsType},
    telemetry::handler_metrics::Peer,
};

/// The time limit of a request for a queue.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The first and the longest pause between two watches.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Watch an organization, without end.
pub(super) async fn watch(context: Arc<HandlerContext>, organization: OrganizationId) {
    let is_connected = |is_connected| context.metrics.set_connected(Peer::Queuegate, is_connected);
    let mut pause = PAUSES.0;
    loop {
        let mut queues = BTreeSet::new();
        let status = match context.api.watch_sessions(&organization).await {
            Err(status) => status,
            Ok(mut messages) => loop {
                match messages.message().await {
                    Ok(Some(message)) => {
                        pause = PAUSES.0;
                        is_connected(true);
                        mark_queue(&context, &organization, &mut queues, message).await;
                    }
                    Ok(None) => break tonic::Status::unavailable("the watch ended"),
                    Err(status) => break status,
                }
            },
        };
        // A server that doesn't know the organization is there.
        is_connected(status.code() == tonic::Code::NotFound);
        if status.code() == tonic::Code::NotFound {
            warn!(%organization, error = status.message(), "the organization doesn't exist, so none of its phones rings");
        } else {
            debug!(%organization, error = status.message(), "the watch of sessions ended");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Mark the queue of a message. `queues` has the ids of the queues in this watch's earlier messages.
async fn mark_queue(
    context: &HandlerContext,
    organization: &OrganizationId,
    queues: &mut BTreeSet<String>,
    message: proto::WatchSessionsResponse,
) {
    let kind = message.r#type();
    let Some(session) = message.session else {
        if kind == WatchSessionsType::Checkpoint {
            context.dirty_queues.mark_all();
        }
        return;
    };
    let Ok(queue) = session.queue_id.parse().map(QueueRef::Id) else { return };
    let is_new = queues.insert(session.queue_id.clone());
    if kind == WatchSessionsType::Initial && !is_new {
        return;
    }
    // This caches the name of each queue, so it is known after the queue is deleted.
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let Some(pbx_queue) = context.pbx_queue(organization, &queue, deadline).await else { return };
    // A queue whose sessions ring at another PBX need not exist here.
    if context.config.pbx.as_ref().is_none_or(|own| own.interface(&session.device).is_some()) {
        context.known_queues.add(&pbx_queue);
    }
    if kind != WatchSessionsType::Initial {
        context.dirty_queues.mark(&pbx_queue);
    }
}
