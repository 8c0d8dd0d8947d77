//! A sign-in by a call.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    phone::PhoneOnQueue,
    result::{CallResult, reason_name},
};
use crate::{
    domain::ids::OrganizationId,
    pbx::{
        api::Failure,
        config::DoneBy,
        connection::{CallConnection, MemberChange, MemberStatus},
        context::HandlerContext,
        journal::{JournalEntry, MAX_REQUEST_IDS, PendingAction},
        names::MemberProfile,
        request::Request,
    },
    rpc::proto::Reason,
};

/// The time limit of a sign-out that undoes a sign-in. After it, the sign-out is in the journal.
const UNDO_TIMEOUT: Duration = Duration::from_secs(1);

/// Sign the caller in, and add the member.
pub(super) async fn sign_in(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
    phone: &PhoneOnQueue,
) -> CallResult {
    let Request { organization, extension, .. } = request;
    let request_id = format!("agi-{}", Uuid::new_v4().simple());
    let before = context.journal.get(&phone.key);
    let undo = undo_action(before.as_ref(), &request_id).map(|action| phone.journal_entry(request, action));
    // A kill of this process must not leave a session without a member. Without reconciling no handler could
    // correct the member, so the journal gets no entry.
    let in_journal = undo.clone().filter(|_| context.config.manager.is_some());
    let is_in_journal = in_journal.is_some();
    if let Some(undo) = in_journal {
        context.journal.add_unsynced(undo).await;
    }
    let deadline = connection.request_deadline();
    let device = context.config.device(&phone.interface);
    let answer = context.api.sign_in(organization, extension, &phone.queue, &device, &request_id, deadline).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            match (&failure, undo) {
                // The caller hears that the sign-in failed, so it must have no effect.
                (Failure::OutcomeUnknown(cause), Some(undo)) => {
                    let reason = &cause.reason;
                    warn!(reason, "the outcome of a sign-in is unknown; it will be undone");
                    context.journal.add(undo).await;
                }
                (Failure::OutcomeUnknown(_), None) => {}
                (Failure::Refused(_), _) if is_in_journal => restore_journal(context, phone, before).await,
                (Failure::Refused(_), _) => {}
            }
            return CallResult::of_failure(&failure);
        }
    };
    let decision = answer.decision.unwrap_or_default();
    let Some(session) = answer.session.filter(|_| decision.allowed()) else {
        if is_in_journal {
            restore_journal(context, phone, before).await;
        }
        if decision.reason() != Reason::UnknownQueue {
            remove_member_without_session(connection, phone).await;
        }
        return CallResult::denied(reason_name(decision.reason()));
    };
    if !answer.created && context.config.rings_elsewhere(*extension, &session) {
        // A pending operation of this phone concerned an earlier session.
        context.journal.remove(&phone.key).await;
        remove_member_without_session(connection, phone).await;
        return CallResult::rings_elsewhere(session.session_id);
    }
    // If the user has signed in from another of their phones, that one rings.
    let interface =
        context.config.interface_of_session(organization, *extension, &session.device).unwrap_or(&phone.interface);
    let is_own_session = answer.created || interface == phone.interface;
    let profile = MemberProfile::of(&session);
    if let Err(reason) = add_member(context, connection, organization, phone, (interface, &profile)).await {
        if is_own_session {
            undo_sign_in(context, request, phone, reason).await;
        } else {
            context.journal.remove(&phone.key).await;
        }
        phone.mark_dirty(context);
        return CallResult::failed(reason);
    }
    // A pending operation of this phone concerned an earlier session.
    context.journal.remove(&phone.key).await;
    if let Some(pbx_queue) = &phone.pbx_queue {
        context.known_queues.add(pbx_queue);
    }
    if is_own_session {
        CallResult::signed_in(reason_name(decision.reason()), session.session_id)
    } else {
        CallResult::rings_elsewhere(session.session_id)
    }
}

/// Return the action that undoes a sign-in and the pending action before it. Return `None` if the latter already does.
fn undo_action(before: Option<&JournalEntry>, request_id: &str) -> Option<PendingAction> {
    match before.map(|entry| &entry.action) {
        // The sign-out ends the session of this sign-in too.
        Some(PendingAction::SignOut) => None,
        // Repeated failed sign-ins must not make the entry grow without end.
        Some(PendingAction::UndoSignIn { request_ids }) if request_ids.len() >= MAX_REQUEST_IDS => {
            Some(PendingAction::SignOut)
        }
        Some(PendingAction::UndoSignIn { request_ids }) => Some(PendingAction::UndoSignIn {
            request_ids: request_ids.iter().cloned().chain([request_id.to_owned()]).collect(),
        }),
        None => Some(PendingAction::UndoSignIn { request_ids: vec![request_id.to_owned()] }),
    }
}

/// Restore the pending operation from before the sign-in.
async fn restore_journal(context: &HandlerContext, phone: &PhoneOnQueue, before: Option<JournalEntry>) {
    match before {
        Some(entry) => context.journal.add(entry).await,
        None => context.journal.remove(&phone.key).await,
    }
}

/// Remove the member of a user without a session. Without reconciling, an expired session can leave one.
async fn remove_member_without_session(connection: &mut CallConnection, phone: &PhoneOnQueue) {
    if let Some(pbx_queue) = phone.managed_queue() {
        let removed = connection.change_member(pbx_queue, &phone.interface, MemberChange::Remove).await;
        if let Ok(MemberStatus::Removed) = removed {
            info!(queue = pbx_queue, interface = phone.interface, "a member without a session was removed");
        }
    }
}

/// Add the member, or return the reason why it isn't a member, or may not be.
async fn add_member(
    context: &HandlerContext,
    connection: &mut CallConnection,
    organization: &OrganizationId,
    phone: &PhoneOnQueue,
    (interface, profile): (&str, &MemberProfile),
) -> Result<(), &'static str> {
    let pbx_queue = match (phone.members, &phone.pbx_queue) {
        (DoneBy::Dialplan, _) => return Ok(()),
        (DoneBy::Handler, None) => return Err("NO_SUCH_QUEUE"),
        (DoneBy::Handler, Some(pbx_queue)) => pbx_queue,
    };
    let device = context.config.member_device(organization, interface);
    let MemberProfile { penalty, name } = profile;
    let add = MemberChange::Add { device: device.as_deref(), penalty: *penalty, name };
    match connection.change_member(pbx_queue, interface, add).await {
        Ok(MemberStatus::Added) => Ok(()),
        Ok(MemberStatus::AlreadyMember) => {
            // The agent wants calls. A pause, such as Asterisk's Auto-Pause, would keep them away.
            if let Err(error) = connection.change_member(pbx_queue, interface, MemberChange::Unpause).await {
                debug!(%error, "whether the member was unpaused is unknown");
            }
            Ok(())
        }
        Ok(MemberStatus::NoSuchQueue) => Err("NO_SUCH_QUEUE"),
        Ok(
            MemberStatus::Removed
            | MemberStatus::NotMember
            | MemberStatus::NotDynamic
            | MemberStatus::Paused
            | MemberStatus::Unpaused
            | MemberStatus::Unknown,
        ) => Err("PBX_FAILED"),
        Err(error) => {
            debug!(%error, "whether the member was added is unknown");
            Err("PBX_FAILED")
        }
    }
}

/// End the session of a sign-in whose member wasn't added.
async fn undo_sign_in(context: &HandlerContext, request: &Request, phone: &PhoneOnQueue, reason: &str) {
    let Request { organization, extension, .. } = request;
    warn!(reason, "a sign-in is undone, because its member was not added");
    match context.api.sign_out(organization, extension, &phone.queue, Instant::now() + UNDO_TIMEOUT).await {
        Ok(_) => context.journal.remove(&phone.key).await,
        Err(failure) => {
            let cause = failure.cause();
            warn!(
                reason = cause.reason,
                error = cause.text,
                "queuegate is unreachable; the undoing of a sign-in is in the journal"
            );
            context.journal.add(phone.journal_entry(request, PendingAction::SignOut)).await;
        }
    }
}
