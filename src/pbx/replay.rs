//! Repeats the pending operations of the journal until queuegate answers.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{
    api::Failure,
    context::HandlerContext,
    journal::{JournalEntry, PendingAction},
};

/// The time limit of an operation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The interval of the warning that operations are pending.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Replay pending operations, without end.
pub(super) async fn run(context: Arc<HandlerContext>) {
    for JournalEntry { organization, user, queue, interface, action, pbx_queue: _ } in context.journal.entries() {
        let (queue, action) = (queue.name(), action.as_str());
        info!(%organization, %user, queue, interface, action, "an operation is pending from an earlier run");
    }
    let mut pause = PAUSES.0;
    let mut warned_at = Instant::now();
    loop {
        let pending = context.journal.entries();
        let mut failed = None;
        for entry in &pending {
            if let Err(failure) = replay(&context, entry).await {
                let affects_all = failure.affects_all_requests();
                failed = Some((entry, failure));
                if affects_all {
                    break;
                }
            }
        }
        if let Some((JournalEntry { organization, user, queue, action, pbx_queue: _, interface: _ }, failure)) = failed
        {
            // The first warning comes at once. Its repetition keeps one near the end of the log.
            if pause == PAUSES.0 || warned_at.elapsed() >= WARNING_INTERVAL {
                warned_at = Instant::now();
                let (pending, cause) = (pending.len(), failure.cause());
                let (queue, action) = (queue.name(), action.as_str());
                warn!(
                    pending, %organization, %user, queue, action, reason = cause.reason, error = cause.text,
                    "a pending operation failed; it is repeated"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        } else {
            pause = PAUSES.0;
            context.journal.added().await;
        }
    }
}

async fn replay(context: &HandlerContext, entry: &JournalEntry) -> Result<(), Failure> {
    let key = entry.key();
    let guard = context.key_locks.lock(&key).await;
    if context.journal.get(&key).as_ref() != Some(entry) {
        // A later call of the same phone has replaced the operation.
        guard.release_unchanged();
        return Ok(());
    }
    let JournalEntry { organization, user, queue, pbx_queue, interface: _, action } = entry;
    let deadline = Instant::now() + OPERATION_TIMEOUT;
    let outcome = match action {
        PendingAction::SignOut => context.api.sign_out(organization, user, queue, deadline).await.map(drop),
        PendingAction::UndoSignIn { request_ids } => undo_sign_in(context, entry, request_ids, deadline).await,
    };
    let (queue, action) = (queue.name(), action.as_str());
    match outcome {
        Ok(()) => info!(%organization, %user, queue, action, "a pending operation is done"),
        Err(failure) if failure.is_permanent() => {
            let reason = &failure.cause().reason;
            error!(%organization, %user, queue, action, reason, "a pending operation failed permanently; it is dropped");
        }
        Err(failure) => {
            guard.release_unchanged();
            return Err(failure);
        }
    }
    context.journal.remove(&key).await;
    context.dirty_queues.mark(pbx_queue);
    Ok(())
}

/// End the session that one of these requests made. A repeated request has the outcome of the first.
async fn undo_sign_in(
    context: &HandlerContext,
    entry: &JournalEntry,
    request_ids: &[String],
    deadline: Instant,
) -> Result<(), Failure> {
    let JournalEntry { organization, user, queue, interface, pbx_queue: _, action: _ } = entry;
    let device = context.config.device(interface);
    let mut is_session_created = false;
    for request_id in request_ids {
        let answer = context.api.sign_in(organization, user, queue, &device, request_id, deadline).await?;
        is_session_created |= answer.created;
    }
    if is_session_created { context.api.sign_out(organization, user, queue, deadline).await.map(drop) } else { Ok(()) }
}
