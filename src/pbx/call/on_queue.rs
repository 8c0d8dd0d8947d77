//! The action of a call on one queue: a check, a sign-in, a sign-out or a toggle.

use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::{
    hot_desk::phone_of_person,
    phone::{PhoneOnQueue, changing_members},
    result::{CallResult, reason_name},
    sign_in::sign_in,
    sign_out::sign_out,
    toggle::toggle,
};
use crate::{
    domain::ids::QueueRef,
    pbx::{
        config::Identify,
        connection::CallConnection,
        context::HandlerContext,
        key_locks::MemberKey,
        request::{Action, Request},
    },
};

/// Carry out a request on a queue.
pub(super) async fn carry_out_on(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
    queue: &QueueRef,
) -> CallResult {
    Span::current().record("queue", queue.name());
    let deadline = connection.request_deadline();
    if request.action == Action::Check {
        return check(context, request, queue, deadline).await;
    }
    let interface = context.config.interface.of(&request.organization, &request.endpoint, &request.phone_extension);
    let Some(interface) = interface else {
        return CallResult::failed("NO_ENDPOINT");
    };
    let members = changing_members(context, request);
    let pbx_queue = context.pbx_queue(&request.organization, queue, deadline).await;
    let key = MemberKey::new(pbx_queue.as_deref().unwrap_or(&queue.name()), &interface);
    let dialed = PhoneOnQueue { queue: queue.clone(), pbx_queue, interface, key, members };
    let phone = match context.config.identify {
        Identify::ByEndpoint => dialed,
        Identify::ByPin { moving } => match phone_of_person(context, connection, request, dialed, moving).await {
            Ok(phone) => phone,
            Err(result) => return result,
        },
    };
    // INVARIANT: the lock is held until the session and the member agree, or the journal has the rest.
    let Ok(_guard) = timeout_at(deadline, context.key_locks.lock(&phone.key)).await else {
        return CallResult::failed("DEADLINE_EXCEEDED");
    };
    match request.action {
        Action::SignIn => sign_in(context, connection, request, &phone).await,
        Action::SignOut => sign_out(context, connection, request, &phone).await,
        Action::Toggle | Action::Check | Action::Pause | Action::Unpause => {
            toggle(context, connection, request, &phone).await
        }
    }
}

async fn check(context: &HandlerContext, request: &Request, queue: &QueueRef, deadline: Instant) -> CallResult {
    match context.api.check(&request.organization, &request.extension, queue, deadline).await {
        Ok(decision) if decision.allowed() => {
            let session_id = decision.session.as_ref().map(|session| session.session_id.clone()).unwrap_or_default();
            CallResult { prompt: "", ..CallResult::signed_in(reason_name(decision.reason()), session_id) }
        }
        Ok(decision) => CallResult::denied(reason_name(decision.reason())),
        Err(failure) => CallResult::of_failure(&failure),
    }
}
