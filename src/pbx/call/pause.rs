//! A pause of the caller's phone, and its end. The PBX keeps it; queuegate isn't asked.

use tracing::{debug, warn};

use super::{phone::changing_members, result::CallResult};
use crate::pbx::{
    config::DoneBy,
    connection::{CallConnection, MemberChange, MemberStatus},
    context::HandlerContext,
    request::{Action, QueueChoice, Request},
};

/// The reason for a phone that is in no queue, or not in the named one.
const NOT_A_MEMBER: &str = "NOT_A_MEMBER";

/// Pause the caller's phone in the named queue, or in all queues of the PBX, or end its pause.
pub(super) async fn change_pause(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
) -> CallResult {
    if changing_members(context, request) == DoneBy::Dialplan {
        warn!("a call asks for a pause, but the handler executes no application; see --members");
        return CallResult::failed("BAD_REQUEST");
    }
    let Request { organization, endpoint, phone_extension, pause_reason, .. } = request;
    let Some(interface) = context.config.interface.of(organization, endpoint, phone_extension) else {
        return CallResult::failed("NO_ENDPOINT");
    };
    // Without a queue's name, the PBX changes the member in all queues.
    let pbx_queue = match &request.queue {
        QueueChoice::Asked | QueueChoice::All => String::new(),
        QueueChoice::One(queue) => match context.pbx_queue(organization, queue, connection.request_deadline()).await {
            Some(pbx_queue) => pbx_queue,
            None => return CallResult::failed("NO_SUCH_QUEUE"),
        },
    };
    let change = match request.action {
        Action::Pause => MemberChange::Pause { reason: pause_reason },
        _ => MemberChange::Unpause,
    };
    match connection.change_member(&pbx_queue, &interface, change).await {
        Ok(MemberStatus::Paused) => CallResult::paused("PAUSED", "paused"),
        Ok(MemberStatus::Unpaused) => CallResult::paused("UNPAUSED", "unpaused"),
        Ok(MemberStatus::NotMember) => CallResult::denied(NOT_A_MEMBER.to_owned()),
        Ok(_) => CallResult::failed("PBX_FAILED"),
        Err(error) => {
            debug!(%error, "whether the pause was changed is unknown");
            CallResult::failed("PBX_FAILED")
        }
    }
}
