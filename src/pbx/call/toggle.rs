//! A toggle by a call.

use super::{phone::PhoneOnQueue, result::CallResult, sign_in::sign_in, sign_out::sign_out};
use crate::pbx::{
    connection::{CallConnection, MemberChange, MemberStatus},
    context::HandlerContext,
    journal::PendingAction,
    request::Request,
};

/// Sign out a signed-in caller, and sign in any other.
pub(super) async fn toggle(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
    phone: &PhoneOnQueue,
) -> CallResult {
    let Request { organization, extension, .. } = request;
    // A user with a pending sign-out counts as signed out.
    let is_signed_out = context.journal.get(&phone.key).is_some_and(|entry| entry.action == PendingAction::SignOut);
    match context.api.session(organization, extension, &phone.queue, connection.request_deadline()).await {
        Ok(Some(_)) if !is_signed_out => sign_out(context, connection, request, phone).await,
        Ok(_) => sign_in(context, connection, request, phone).await,
        Err(failure) => {
            // If the phone is a member, the user was signed in, so the toggle is a sign-out.
            if let Some(pbx_queue) = phone.managed_queue().filter(|_| !failure.is_permanent()) {
                let removed = connection.change_member(pbx_queue, &phone.interface, MemberChange::Remove).await;
                if let Ok(MemberStatus::Removed) = removed {
                    context.journal.add(phone.journal_entry(request, PendingAction::SignOut)).await;
                    return CallResult::signed_out("SIGN_OUT_REMEMBERED", String::new());
                }
            }
            CallResult::of_failure(&failure)
        }
    }
}
