//! The phone of a person who may dial from any phone: where they are signed in now, and whether they move.

use tokio::time::timeout_at;
use tracing::info;

use super::{
    phone::PhoneOnQueue,
    result::{CallResult, Status},
    sign_out::sign_out,
};
use crate::{
    pbx::{
        api::Failure,
        config::Moving,
        connection::CallConnection,
        context::HandlerContext,
        key_locks::MemberKey,
        request::{Action, Request},
    },
    rpc::proto::{Basis, Session},
};

/// The reason for a person who is signed in at another phone, and doesn't move.
const SIGNED_IN_ELSEWHERE: &str = "SIGNED_IN_ELSEWHERE";

/// The reason for a phone at which another person is signed in to the same queue.
const PHONE_IN_USE: &str = "PHONE_IN_USE";

/// Return the phone on which the action is carried out: the dialed one, or, for a sign-out, the one where the person is
/// signed in. A person who moves is signed out there first.
pub(super) async fn phone_of_person(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
    dialed: PhoneOnQueue,
    moving: Moving,
) -> Result<PhoneOnQueue, CallResult> {
    let Request { action, organization, extension, .. } = request;
    let found = context.api.session(organization, extension, &dialed.queue, connection.request_deadline()).await;
    let session = match found {
        Ok(session) => session,
        // A sign-out must not be lost: it is journaled for this phone. A sign-in fails by itself.
        Err(_) => return Ok(dialed),
    };
    let elsewhere = session.as_ref().and_then(|session| elsewhere(context, request, &dialed, session));
    let is_sign_in = match action {
        Action::SignIn => true,
        Action::Toggle => session.is_none() || elsewhere.is_some(),
        Action::SignOut | Action::Check | Action::Pause | Action::Unpause => false,
    };
    let other = elsewhere.map(|interface| dialed.at(interface));
    if !is_sign_in {
        return Ok(other.unwrap_or(dialed));
    }
    let failed = |failure: Failure| CallResult::of_failure(&failure);
    if is_in_use(context, connection, request, &dialed, session.as_ref()).await.map_err(failed)? {
        return Err(CallResult::denied(PHONE_IN_USE.to_owned()));
    }
    let (Some(other), Some(session)) = (other, session) else { return Ok(dialed) };
    // A new sign-in could be denied where the present session is retained, or was a supervisor's decision.
    let can_move = moving == Moving::Allowed && !session.retained && session.basis() != Basis::Supervisor;
    if !can_move {
        return Err(CallResult::denied(SIGNED_IN_ELSEWHERE.to_owned()));
    }
    let Ok(_guard) = timeout_at(connection.request_deadline(), context.key_locks.lock(&other.key)).await else {
        return Err(CallResult::failed("DEADLINE_EXCEEDED"));
    };
    let signed_out = sign_out(context, connection, request, &other).await;
    if signed_out.status != Status::Allowed {
        return Err(signed_out);
    }
    info!(from = session.device, to = dialed.interface, "a person moves to another phone");
    Ok(dialed)
}

/// Return the interface that rings for a session, if it isn't the dialed one. If another PBX rings, this one has nothing to
/// remove, and the dialed interface stands for it.
fn elsewhere(
    context: &HandlerContext,
    Request { organization, extension, .. }: &Request,
    dialed: &PhoneOnQueue,
    session: &Session,
) -> Option<String> {
    let config = &context.config;
    if config.rings_elsewhere(*extension, session) {
        return Some(dialed.interface.clone());
    }
    let own = || {
        let endpoint = config.endpoints.endpoint(organization, extension);
        config.interface.of(organization, &endpoint, extension)
    };
    let interface = config.interface_of_session(organization, *extension, &session.device).map(str::to_owned);
    interface.or_else(own).filter(|interface| dialed.key != MemberKey::new(&dialed.key.queue, interface))
}

/// Return whether the dialed phone rings for another person in the same queue. `own` is the person's own session.
async fn is_in_use(
    context: &HandlerContext,
    connection: &CallConnection,
    Request { organization, extension, phone_extension, .. }: &Request,
    dialed: &PhoneOnQueue,
    own: Option<&Session>,
) -> Result<bool, Failure> {
    let (api, deadline) = (&context.api, connection.request_deadline());
    let is_own = |session: &Session| own.is_some_and(|own| own.session_id == session.session_id);
    let rings_here = |session: &Session| {
        let device = context.config.interface_of_session(organization, *phone_extension, &session.device);
        device.is_some_and(|device| dialed.key == MemberKey::new(&dialed.key.queue, device))
    };
    let sessions = api.sessions(organization, &dialed.queue, deadline).await?;
    if sessions.iter().any(|session| !is_own(session) && rings_here(session)) {
        return Ok(true);
    }
    // A session without a phone, such as a supervisor's, rings at its user's own one.
    if phone_extension == extension {
        return Ok(false);
    }
    let of_owner = api.session(organization, phone_extension, &dialed.queue, deadline).await?;
    Ok(of_owner.is_some_and(|session| {
        !context.config.rings_elsewhere(*phone_extension, &session)
            && context.config.interface_of_session(organization, *phone_extension, &session.device).is_none()
    }))
}
