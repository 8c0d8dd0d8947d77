//! The report of a result to the dialplan and the caller.

use super::result::CallResult;
use crate::pbx::{
    config::DoneBy,
    connection::{CallConnection, CallError},
    context::HandlerContext,
    request::{Action, Request},
};

/// Return the party that plays the prompt. Without an argument nothing is played after a check.
pub(super) fn prompting(context: &HandlerContext, request: &Request) -> DoneBy {
    match (request.prompting, request.action) {
        (Some(party), _) => party,
        (None, Action::Check) => DoneBy::Dialplan,
        (None, Action::SignIn | Action::SignOut | Action::Toggle | Action::Pause | Action::Unpause) => {
            context.config.prompting
        }
    }
}

/// Set the variables of the dialplan, and play the prompt.
pub(super) async fn report(
    context: &HandlerContext,
    connection: &mut CallConnection,
    result: &CallResult,
    prompting: DoneBy,
) -> Result<(), CallError> {
    let sound = match result.prompt {
        "" => "",
        prompt => context.config.prompts.sound(prompt, &result.reason),
    };
    connection.set("QUEUEGATE_REASON", &result.reason).await?;
    connection.set("QUEUEGATE_PROMPT", sound).await?;
    connection.set("QUEUEGATE_SESSION_ID", &result.session_id).await?;
    if !result.queues.is_empty() {
        connection.set("QUEUEGATE_QUEUES", &result.queues).await?;
    }
    // INVARIANT: the status is set last, so a dialplan that reads `allowed` has all variables.
    connection.set("QUEUEGATE_STATUS", result.status.as_str()).await?;
    if prompting == DoneBy::Handler && !sound.is_empty() { connection.play(sound).await } else { Ok(()) }
}
