//! The action of a call: the choice of the queue, and then the action on it.

use tracing::debug;

use super::{
    all_queues::carry_out_on_all,
    on_queue::carry_out_on,
    pause::change_pause,
    report::prompting,
    result::{CallResult, reason_name},
};
use crate::{
    domain::ids::QueueRef,
    pbx::{
        config::DoneBy,
        connection::CallConnection,
        context::HandlerContext,
        request::{Action, QueueChoice, Request},
    },
    rpc::proto::Reason,
};

/// The number of times that a caller can enter a queue.
const MAX_ENTRIES: u32 = 3;

/// The number of digits of a queue's extension.
const MAX_DIGITS: u32 = 15;

/// Carry out a request. Ask the caller for the queue if the request doesn't name it.
pub(super) async fn carry_out(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
) -> CallResult {
    if matches!(request.action, Action::Pause | Action::Unpause) {
        return change_pause(context, connection, request).await;
    }
    match &request.queue {
        QueueChoice::One(queue) => return carry_out_on(context, connection, request, queue).await,
        QueueChoice::All => return carry_out_on_all(context, connection, request).await,
        QueueChoice::Asked => {}
    }
    let mut entries = 0;
    loop {
        entries += 1;
        let sound = context.config.prompts.sound("ask-queue", "");
        let result = match connection.digits(sound, context.config.digit_pause, MAX_DIGITS).await {
            Ok(Some(digits)) if digits.is_empty() => CallResult::failed("NO_QUEUE"),
            Ok(Some(digits)) => match digits.parse() {
                Ok(extension) => carry_out_on(context, connection, request, &QueueRef::Extension(extension)).await,
                // It contains a star, which no extension has.
                Err(_) => CallResult::denied(reason_name(Reason::UnknownQueue)),
            },
            Ok(None) => CallResult::failed("HANGUP"),
            Err(error) => {
                debug!(%error, "the caller can't be asked for the queue");
                CallResult::failed("HANGUP")
            }
        };
        let is_unknown_queue = result.reason == reason_name(Reason::UnknownQueue);
        if !is_unknown_queue || entries >= MAX_ENTRIES || !connection.has_caller() {
            return result;
        }
        if prompting(context, request) == DoneBy::Handler {
            // If the connection is broken, the next prompt fails.
            let _ = connection.play(context.config.prompts.sound(result.prompt, &result.reason)).await;
        }
    }
}
