//! The action of a call on all queues of the caller: one after the other, each as if it had been dialed.
//!
//! The dialplan gets one result, and the outcome of each queue. The action is allowed if it was on at least one queue.

use tracing::Span;

use super::{
    on_queue::carry_out_on,
    result::{CallResult, Status, reason_name},
};
use crate::{
    domain::ids::QueueRef,
    pbx::{
        api::Failure,
        connection::CallConnection,
        context::HandlerContext,
        request::{Action, Request},
    },
    rpc::proto::Reason,
};

/// The reason of an action that was allowed on every queue, or on some.
const ALL_QUEUES: &str = "ALL_QUEUES";
const SOME_QUEUES: &str = "SOME_QUEUES";

/// Carry out a request on all queues: a sign-in on those assigned to the caller, a sign-out on those with a session of
/// the caller.
pub(super) async fn carry_out_on_all(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
) -> CallResult {
    let (action, queues) = match chosen(context, connection, request).await {
        Ok(chosen) => chosen,
        Err(failed) => return failed,
    };
    let request = Request { action, ..request.clone() };
    let mut results = Vec::new();
    for queue in queues {
        let result = carry_out_on(context, connection, &request, &queue).await;
        results.push((queue.name(), result));
    }
    Span::current().record("queue", "all");
    summary(results)
}

/// Return the action, which is a sign-in or a sign-out instead of a toggle, and its queues.
async fn chosen(
    context: &HandlerContext,
    connection: &CallConnection,
    Request { action, organization, extension, .. }: &Request,
) -> Result<(Action, Vec<QueueRef>), CallResult> {
    let (api, deadline) = (&context.api, connection.request_deadline());
    let failed = |failure: Failure| CallResult::of_failure(&failure);
    if matches!(action, Action::SignOut | Action::Toggle) {
        let sessions = api.sessions_of_user(organization, extension, deadline).await.map_err(failed)?;
        let queues: Vec<QueueRef> = sessions.iter().filter_map(|session| by_id(&session.queue_id)).collect();
        match (action, queues.is_empty()) {
            (_, false) => return Ok((Action::SignOut, queues)),
            (Action::SignOut, true) => return Err(CallResult::signed_out("NOT_SIGNED_IN", String::new())),
            (_, true) => {}
        }
    }
    let (accessible, denied) = api.accessible_queues(organization, extension, deadline).await.map_err(failed)?;
    let is_assigned = |reason: Reason| matches!(reason, Reason::Assigned | Reason::AlreadySignedIn);
    let assigned = accessible.iter().filter(|queue| is_assigned(queue.reason()));
    let queues: Vec<QueueRef> = assigned.filter_map(|queue| by_id(&queue.queue_id)).collect();
    if queues.is_empty() {
        let reason = if denied == Reason::Unspecified { "NO_ASSIGNED_QUEUE".to_owned() } else { reason_name(denied) };
        return Err(CallResult::denied(reason));
    }
    let action = if *action == Action::Check { Action::Check } else { Action::SignIn };
    Ok((action, queues))
}

fn by_id(id: &str) -> Option<QueueRef> {
    id.parse().ok().map(QueueRef::Id)
}

/// Return one result for all queues: that of the first allowed one, and otherwise that of the first.
fn summary(results: Vec<(String, CallResult)>) -> CallResult {
    let outcomes: Vec<String> = results.iter().map(|(queue, result)| format!("{queue}={}", result.reason)).collect();
    let is_allowed = |result: &CallResult| result.status == Status::Allowed;
    let allowed = results.iter().filter(|(_, result)| is_allowed(result)).count();
    let reason = match allowed {
        0 => None,
        count if count == results.len() => Some(ALL_QUEUES),
        _ => Some(SOME_QUEUES),
    };
    let mut results: Vec<CallResult> = results.into_iter().map(|(_, result)| result).collect();
    results.sort_by_key(|result| !is_allowed(result));
    // There is at least one queue.
    let first = results.into_iter().next().unwrap_or_else(|| CallResult::failed("NO_QUEUE"));
    let reason = reason.map_or(first.reason, str::to_owned);
    CallResult { reason, queues: joined(&outcomes), session_id: String::new(), ..first }
}

/// The length of the outcomes, in bytes. Asterisk takes commands of 2,047.
const MAX_OUTCOMES_BYTES: usize = 1_900;

/// Join outcomes. If they are too long for the PBX, leave out the last ones, and say so by three points.
fn joined(outcomes: &[String]) -> String {
    let mut text = outcomes.join(",");
    if text.len() > MAX_OUTCOMES_BYTES {
        let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_OUTCOMES_BYTES).last();
        text.truncate(end.unwrap_or_default());
        text.truncate(text.rfind(',').unwrap_or_default());
        text.push_str(",...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_outcomes_are_cut_between_two() {
        assert_eq!(joined(&["a=ASSIGNED".to_owned(), "b=PBX_FAILED".to_owned()]), "a=ASSIGNED,b=PBX_FAILED");
        let many: Vec<String> = (0..1_000).map(|number| format!("queue-{number}=ASSIGNED")).collect();
        let text = joined(&many);
        assert!(text.len() < MAX_OUTCOMES_BYTES + 5 && text.ends_with("=ASSIGNED,..."), "{text}");
    }
}
