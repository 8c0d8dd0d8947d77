//! The audit log.

use super::{super::proto, directory::*, permission::plain_settings, queue_access::session, values::*};
use crate::{
    domain::{
        chain::Link,
        change::{ActorRefusal, Change, Event, Record, RefusedAttempt},
        ids::{Lineage, OrganizationId, QueueRef, UserRef},
        model::{Channel, Organization, Queue, RoleAssignment, Session, User},
        pin::MAX_FAILURES,
        settings::PermissionSettings,
        summary::Summary,
    },
    store::Logged,
};

pub fn audit_log_position(lineage: Lineage, link: Link) -> proto::AuditLogPosition {
    let Link { sequence, hash } = link;
    proto::AuditLogPosition { revision: revision(lineage, sequence), hash: hash.to_string() }
}

pub fn audit_event(lineage: Lineage, logged: &Logged) -> proto::AuditEvent {
    let Logged { record: Record { sequence, time, origin, change: Change { organization_id, event } }, hash } = logged;
    let Summary { action, verdict, actor, user, queue, role: assigned, reason: decided } = Summary::of(event, origin);
    let (actor_user_id, actor_extension) = named_user(actor);
    let (user_id, user_extension) = named_user(user);
    let (queue_id, queue_extension) = match queue {
        Some(QueueRef::Id(id)) => (id.to_string(), String::new()),
        Some(QueueRef::Extension(extension)) => (String::new(), extension.to_string()),
        None => (String::new(), String::new()),
    };
    let mut message = proto::AuditEvent {
        revision: revision(lineage, *sequence),
        time: Some(timestamp(*time)),
        organization_id: organization_id.to_string(),
        caller: origin.caller.to_string(),
        actor_user_id,
        actor_extension,
        action: audit_action(action).into(),
        allowed: Some(verdict.is_allowed()),
        user_id,
        user_extension,
        queue_id,
        queue_extension,
        role: assigned.map_or(proto::Role::Unspecified, role).into(),
        reason: decided.map_or(proto::Reason::Unspecified, reason).into(),
        hash: hash.to_string(),
        ..proto::AuditEvent::default()
    };
    add_refusal(&mut message, event);
    (message.before, message.after) = states(organization_id, event);
    if let Event::WriteRefused { attempt } = event {
        let wanted = attempt.wanted.as_deref();
        (message.before, message.attempted) = wanted.map_or((None, None), |wanted| states(organization_id, wanted));
    }
    if let Event::AuditLogCut { through, hash } = event {
        message.cut_through = Some(audit_log_position(lineage, Link { sequence: *through, hash: *hash }));
    }
    message
}

pub fn named_user(user: Option<UserRef>) -> (String, String) {
    match user {
        Some(UserRef::Id(id)) => (id.to_string(), String::new()),
        Some(UserRef::Extension(extension)) => (String::new(), extension.to_string()),
        None => (String::new(), String::new()),
    }
}

/// Set the fields of refusals and justifications, which only some events have.
pub fn add_refusal(message: &mut proto::AuditEvent, event: &Event) {
    match event {
        Event::AttemptRefused { attempt } => {
            let RefusedAttempt { channel: asked, device, explanation, justification, .. } = attempt;
            let asked = asked.map_or(Channel::Supervisor, Channel::from);
            message.channel = channel(asked).into();
            message.device.clone_from(device);
            message.explanation.clone_from(explanation);
            message.justification.clone_from(justification);
        }
        Event::WriteRefused { attempt } => {
            let ActorRefusal { actor: _, permission: lacked, reason, explanation } = &attempt.refusal;
            message.permission = lacked.map_or(proto::Permission::Unspecified, permission).into();
            let reason = reason.map_or(proto::PermissionReason::Unspecified, permission_reason);
            message.permission_reason = reason.into();
            message.explanation.clone_from(explanation);
        }
        Event::PinRefused { user_id: _, failures, locked_until } => {
            let lock = if locked_until.is_some() { "; the PIN is locked for five minutes" } else { "" };
            message.explanation = format!("The PIN was wrong ({failures} of {MAX_FAILURES}){lock}.");
        }
        Event::SessionStarted { session: _, justification }
        | Event::SessionEnded { session: _, supervisor_id: _, justification } => {
            message.justification.clone_from(justification);
        }
        Event::OrganizationCreated { .. }
        | Event::OrganizationUpdated { .. }
        | Event::OrganizationDeleted { .. }
        | Event::SettingsUpdated { .. }
        | Event::UserCreated { .. }
        | Event::UserUpdated { .. }
        | Event::UserDeleted { .. }
        | Event::QueueCreated { .. }
        | Event::QueueUpdated { .. }
        | Event::QueueDeleted { .. }
        | Event::RoleAssigned { .. }
        | Event::RoleAssignmentUpdated { .. }
        | Event::RoleUnassigned { .. }
        | Event::PinSet { .. }
        | Event::PinCleared { .. }
        | Event::PinAccepted { .. }
        | Event::AuditLogCut { .. } => {}
    }
}

/// Return the states before and after an event.
pub fn states(
    organization_id: &OrganizationId,
    event: &Event,
) -> (Option<proto::AuditState>, Option<proto::AuditState>) {
    use proto::AuditState as State;
    let of_organization = |value: &Organization| State { organization: Some(organization(value)), ..State::default() };
    let of_settings = |value: &PermissionSettings| State {
        settings: Some(plain_settings(organization_id, value)),
        ..State::default()
    };
    let of_user = |value: &User| State { user: Some(plain_user(value)), ..State::default() };
    let of_queue = |value: &Queue| State { queue: Some(plain_queue(value)), ..State::default() };
    let of_role = |value: &RoleAssignment| State { assignment: Some(role_assignment(value)), ..State::default() };
    let of_session = |value: &Session| {
        // No organization is passed: `retained` is computed when a session is read, and this is history.
        let session = session(organization_id, None, value, value.sign_in_time);
        State { session: Some(session), ..State::default() }
    };
    match event {
        Event::OrganizationCreated { organization, settings, etag: _ } => {
            (None, Some(State { settings: of_settings(settings).settings, ..of_organization(organization) }))
        }
        Event::OrganizationDeleted { organization, settings } => {
            (Some(State { settings: of_settings(settings).settings, ..of_organization(organization) }), None)
        }
        Event::OrganizationUpdated { before, organization } => {
            (Some(of_organization(before)), Some(of_organization(organization)))
        }
        Event::SettingsUpdated { before, settings, etag: _ } => {
            (Some(of_settings(before)), Some(of_settings(settings)))
        }
        Event::UserCreated { user } => (None, Some(of_user(user))),
        Event::UserUpdated { before, user } => (Some(of_user(before)), Some(of_user(user))),
        Event::UserDeleted { user } => (Some(of_user(user)), None),
        Event::QueueCreated { queue } => (None, Some(of_queue(queue))),
        Event::QueueUpdated { before, queue } => (Some(of_queue(before)), Some(of_queue(queue))),
        Event::QueueDeleted { queue } => (Some(of_queue(queue)), None),
        Event::RoleAssigned { assignment } => (None, Some(of_role(assignment))),
        Event::RoleAssignmentUpdated { before, assignment } => (Some(of_role(before)), Some(of_role(assignment))),
        Event::RoleUnassigned { assignment } => (Some(of_role(assignment)), None),
        Event::SessionStarted { session, justification: _ } => (None, Some(of_session(session))),
        Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
            (Some(of_session(&Session { end: None, ..session.clone() })), Some(of_session(session)))
        }
        Event::PinSet { .. }
        | Event::PinCleared { .. }
        | Event::PinAccepted { .. }
        | Event::PinRefused { .. }
        | Event::AttemptRefused { .. }
        | Event::WriteRefused { .. }
        | Event::AuditLogCut { .. } => (None, None),
    }
}
