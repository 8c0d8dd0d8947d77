//! A sign-out by a call.

use tracing::{debug, warn};

use super::{phone::PhoneOnQueue, result::CallResult};
use crate::{
    pbx::{
        connection::{CallConnection, MemberChange, MemberStatus},
        context::HandlerContext,
        journal::PendingAction,
        request::Request,
    },
    rpc::proto::Session,
};

/// Sign the caller out, and remove the member.
///
/// INVARIANT: a sign-out is never refused. It is in the journal before the member is removed, so no crash loses it.
pub(super) async fn sign_out(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
    phone: &PhoneOnQueue,
) -> CallResult {
    let Request { organization, extension, .. } = request;
    let answer = context.api.sign_out(organization, extension, &phone.queue, connection.request_deadline()).await;
    match &answer {
        Ok(_) => context.journal.remove(&phone.key).await,
        Err(failure) if failure.is_permanent() => return CallResult::of_failure(failure),
        Err(failure) => {
            let cause = failure.cause();
            warn!(
                reason = cause.reason,
                error = cause.text,
                "queuegate is unreachable; the sign-out is in the journal"
            );
            context.journal.add(phone.journal_entry(request, PendingAction::SignOut)).await;
        }
    }
    let ended = answer.as_ref().map_or(&[][..], |answer| &answer.ended_sessions);
    let session_id = ended.first().map(|session| session.session_id.clone()).unwrap_or_default();
    let mut interfaces = vec![phone.interface.clone()];
    let own = |session: &'_ Session| {
        context.config.interface_of_session(organization, *extension, &session.device).map(str::to_owned)
    };
    for other in ended.iter().filter_map(own) {
        if other != phone.interface {
            interfaces.push(other);
        }
    }
    let mut was_member = false;
    // If the name can't be derived, the PBX has no such queue, and no phone rings for it.
    if let Some(pbx_queue) = phone.managed_queue() {
        for interface in &interfaces {
            match connection.change_member(pbx_queue, interface, MemberChange::Remove).await {
                Ok(MemberStatus::Removed) => was_member = true,
                Ok(MemberStatus::NotMember | MemberStatus::NoSuchQueue) => {}
                // The session is ended, but the static member still rings.
                Ok(MemberStatus::NotDynamic) => return CallResult::failed("MEMBER_IS_STATIC"),
                Ok(
                    MemberStatus::Added
                    | MemberStatus::AlreadyMember
                    | MemberStatus::Paused
                    | MemberStatus::Unpaused
                    | MemberStatus::Unknown,
                ) => {
                    phone.mark_dirty(context);
                    return CallResult::failed("PBX_FAILED");
                }
                Err(error) => {
                    debug!(%error, "whether the member was removed is unknown");
                    phone.mark_dirty(context);
                    return CallResult::failed("PBX_FAILED");
                }
            }
        }
    }
    let reason = match answer {
        Err(_) => "SIGN_OUT_REMEMBERED",
        Ok(_) if session_id.is_empty() && !was_member => "NOT_SIGNED_IN",
        Ok(_) => "SIGNED_OUT",
    };
    CallResult::signed_out(reason, session_id)
}
