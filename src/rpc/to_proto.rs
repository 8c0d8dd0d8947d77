//! Domain values to messages.

use super::proto;
use crate::domain::{
    chain::Link,
    change::{ActorRefusal, Change, Event, Record, RefusedAttempt},
    command::{DecisionRecord, ImportReport},
    decide::{Decision, is_retained},
    directory::Problem,
    ids::{Extension, Lineage, OrganizationId, QueueRef, Revision, Sequence, UserRef},
    model::{Basis, Channel, EndReason, Organization, Queue, QueueKind, Role, RoleAssignment, Session, User},
    permission::{self},
    preview::{Count, UserImpact},
    settings::{Etag, PermissionSettings, Switch, UnassignedQueueSignIn},
    snapshot::OrganizationState,
    summary::Summary,
    time::Timestamp,
    vocabulary::{AuditAction, Permission, PermissionReason, Reason, Scope},
};
use crate::store::Logged;

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let ms = time.unix_ms();
    let nanos = i32::try_from(ms.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

/// A session. `organization` is the organization as it is now, if it still is: `retained` is computed when read.
pub(super) fn session(
    organization_id: &OrganizationId,
    organization: Option<&OrganizationState>,
    session: &Session,
    now: Timestamp,
) -> proto::Session {
    let Session {
        session_id,
        user_id,
        queue_id,
        channel: session_channel,
        basis: session_basis,
        signed_in_by,
        sign_in_time,
        expire_time,
        device,
        end,
    } = session;
    proto::Session {
        session_id: session_id.to_string(),
        organization_id: organization_id.to_string(),
        user_id: user_id.to_string(),
        queue_id: queue_id.to_string(),
        channel: channel(*session_channel).into(),
        basis: basis(*session_basis).into(),
        signed_in_by: signed_in_by.to_string(),
        sign_in_time: Some(timestamp(*sign_in_time)),
        expire_time: expire_time.map(timestamp),
        device: device.clone(),
        retained: organization.is_some_and(|organization| is_retained(organization, session, now)),
        end_time: end.map(|end| timestamp(end.time)),
        end_reason: end.map_or(proto::EndReason::Unspecified, |end| end_reason(end.reason)).into(),
    }
}

/// What a decision was made from.
pub(super) fn facts(organization: &OrganizationState, decision: &Decision<'_>, now: Timestamp) -> proto::Facts {
    let Decision { reason: _, supervisor: _, user, queue, session: live } = decision;
    let organization_id = &organization.attributes().organization_id;
    let user_id = user.map_or("", |user| user.user_id.as_str());
    let queue_id = queue.map_or("", |queue| queue.queue_id.as_str());
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    proto::Facts {
        user_id: user_id.to_owned(),
        user_extension: text(user.and_then(|user| user.extension).map(Extension::digits).as_deref()),
        user_display_name: text(user.map(|user| &*user.display_name)),
        user_disabled: user.is_some_and(|user| user.disabled),
        contact_center_license: user.is_some_and(|user| user.contact_center_license),
        roles: organization.roles_held(user_id).iter().map(|held| role(held).into()).collect(),
        queue_id: queue_id.to_owned(),
        queue_extension: text(queue.and_then(|queue| queue.extension).map(Extension::digits).as_deref()),
        queue_display_name: text(queue.map(|queue| queue.display_name.as_str())),
        queue_kind: queue.map_or(proto::QueueKind::Unspecified, |queue| queue_kind(queue.kind)).into(),
        assigned: organization.is_assigned(user_id, queue_id),
        unassigned_queue_sign_in: unassigned_queue_sign_in(organization.settings().unassigned_queue_sign_in).into(),
        session: live.map(|live| session(organization_id, Some(organization), live, now)),
        decision_time: Some(timestamp(now)),
    }
}

/// A decision that was made just now.
pub(super) fn decision(
    organization: &OrganizationState,
    decision: &Decision<'_>,
    explanation: String,
    facts: Option<proto::Facts>,
    now: Timestamp,
) -> proto::Decision {
    let shown = decision.session.filter(|_| decision.reason == Reason::AlreadySignedIn);
    let organization_id = &organization.attributes().organization_id;
    proto::Decision {
        allowed: Some(decision.reason.is_allowed()),
        reason: reason(decision.reason).into(),
        explanation,
        session: shown.map(|live| session(organization_id, Some(organization), live, now)),
        facts,
    }
}

/// A decision that a write was made by.
pub(super) fn recorded_decision(
    organization_id: &OrganizationId,
    organization: Option<&OrganizationState>,
    record: &DecisionRecord,
    now: Timestamp,
) -> proto::Decision {
    let DecisionRecord { reason: decided, explanation, session: live } = record;
    proto::Decision {
        allowed: Some(decided.is_allowed()),
        reason: reason(*decided).into(),
        explanation: explanation.clone(),
        session: live.as_ref().map(|live| session(organization_id, organization, live, now)),
        facts: None,
    }
}

pub(super) fn permission(known: Permission) -> proto::Permission {
    // By name, so that a new permission is one entry in the catalogue and one value in the API; a test sees to both.
    let name = format!("{}{known}", super::PERMISSION_PREFIX);
    proto::Permission::from_str_name(&name).unwrap_or(proto::Permission::Unspecified)
}

pub(super) fn permission_description(asked: Permission) -> proto::PermissionDescription {
    let entry = asked.entry();
    let governed = entry.governed();
    let switch = governed.map(|(_, switch)| switch);
    let path = |switch: Option<Switch>| switch.map_or("", Switch::as_str).to_owned();
    proto::PermissionDescription {
        permission: permission(asked).into(),
        description: entry.description.to_owned(),
        roles: entry.grants.iter().map(|(held, _)| role(*held).into()).collect(),
        queue_scoped: entry.scope == Scope::Queue,
        setting: path(switch),
        governed_role: governed.map_or(proto::Role::Unspecified, |(governed, _)| role(governed)).into(),
        default_on: switch.map(Switch::default_on),
        removable: switch.is_some_and(Switch::is_removable),
        included_in_setting: path(switch.and_then(Switch::included_in)),
    }
}

pub(super) fn permission_impact((changed, users): (Permission, Count)) -> proto::PermissionImpact {
    let Count { gaining, losing } = users;
    let permission = permission(changed).into();
    proto::PermissionImpact { permission, users_gaining: count(gaining), users_losing: count(losing) }
}

pub(super) fn user_impact(impact: UserImpact<'_>) -> proto::UserImpact {
    let UserImpact { user, gained, lost, gained_queues, lost_queues } = impact;
    let permissions = |list: Vec<Permission>| list.into_iter().map(|known| permission(known).into()).collect();
    proto::UserImpact {
        user_id: user.user_id.to_string(),
        user_extension: user.extension.as_ref().map(ToString::to_string).unwrap_or_default(),
        display_name: user.display_name.to_string(),
        gained_permissions: permissions(gained),
        lost_permissions: permissions(lost),
        gained_queues: count(gained_queues),
        lost_queues: count(lost_queues),
    }
}

pub(super) fn permission_decision(
    decision: &permission::Decision<'_>,
    explanation: String,
) -> proto::PermissionDecision {
    proto::PermissionDecision {
        allowed: Some(decision.is_allowed()),
        reason: permission_reason(decision.reason).into(),
        role: decision.role.map_or(proto::Role::Unspecified, role).into(),
        explanation,
    }
}

fn permission_reason(reason: PermissionReason) -> proto::PermissionReason {
    match reason {
        PermissionReason::UnknownUser => proto::PermissionReason::UnknownUser,
        PermissionReason::UserDisabled => proto::PermissionReason::UserDisabled,
        PermissionReason::UnknownQueue => proto::PermissionReason::UnknownQueue,
        PermissionReason::Granted => proto::PermissionReason::Granted,
        PermissionReason::QueueNotAssigned => proto::PermissionReason::QueueNotAssigned,
        PermissionReason::SettingDisabled => proto::PermissionReason::SettingDisabled,
        PermissionReason::RoleRequired => proto::PermissionReason::RoleRequired,
    }
}

pub(super) fn organization(organization: &Organization) -> proto::Organization {
    let Organization { organization_id, display_name } = organization;
    proto::Organization { organization_id: organization_id.to_string(), display_name: Some(display_name.clone()) }
}

pub(super) fn user(user: &User) -> proto::User {
    let User { user_id, display_name, extension, contact_center_license, disabled } = user;
    proto::User {
        user_id: user_id.to_string(),
        display_name: Some(display_name.to_string()),
        extension: extension.as_ref().map(ToString::to_string),
        contact_center_license: Some(*contact_center_license),
        disabled: Some(*disabled),
    }
}

pub(super) fn queue(queue: &Queue) -> proto::Queue {
    let Queue { queue_id, display_name, extension, kind } = queue;
    proto::Queue {
        queue_id: queue_id.to_string(),
        display_name: Some(display_name.clone()),
        extension: extension.as_ref().map(ToString::to_string),
        kind: queue_kind(*kind).into(),
    }
}

pub(super) fn role_assignment(assignment: &RoleAssignment) -> proto::RoleAssignment {
    let RoleAssignment { user_id, role: held, queue_id } = assignment;
    proto::RoleAssignment {
        user_id: user_id.to_string(),
        role: role(*held).into(),
        queue_id: queue_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

pub(super) fn settings(
    organization_id: &OrganizationId,
    settings: &PermissionSettings,
    etag: Etag,
) -> proto::PermissionSettings {
    proto::PermissionSettings { etag: etag.to_string(), ..plain_settings(organization_id, settings) }
}

/// Settings of another time, which have no etag.
fn plain_settings(organization_id: &OrganizationId, settings: &PermissionSettings) -> proto::PermissionSettings {
    let on = |switch| Some(settings.is_on(switch));
    proto::PermissionSettings {
        organization_id: organization_id.to_string(),
        etag: String::new(),
        organization: Some(proto::OrganizationSettings {
            unassigned_queue_sign_in: unassigned_queue_sign_in(settings.unassigned_queue_sign_in).into(),
        }),
        supervisor: Some(proto::SupervisorSettings {
            access_configuration_portal: on(Switch::AccessConfigurationPortal),
            limit_to_assigned_queues: on(Switch::LimitToAssignedQueues),
            view_queue_settings: on(Switch::ViewQueueSettings),
            manage_queue_settings: on(Switch::ManageQueueSettings),
            view_pause_reasons: on(Switch::ViewPauseReasons),
            manage_pause_reasons: on(Switch::ManagePauseReasons),
            view_skills: on(Switch::ViewSkills),
            manage_skills: on(Switch::ManageSkills),
        }),
        agent: Some(proto::AgentSettings {
            manage_prerecorded_messages: on(Switch::ManagePrerecordedMessages),
            manage_public_canned_messages: on(Switch::ManagePublicCannedMessages),
            create_custom_tags: on(Switch::CreateCustomTags),
        }),
    }
}

pub(super) fn import_report(report: ImportReport) -> proto::ImportReport {
    let ImportReport {
        organization_created,
        organization_updated,
        settings_updated,
        users_created,
        users_updated,
        users_deleted,
        queues_created,
        queues_updated,
        queues_deleted,
        assignments_created,
        assignments_deleted,
        sessions_ended,
        changes,
    } = report;
    proto::ImportReport {
        organization_created,
        organization_updated,
        settings_updated,
        users_created: count(users_created),
        users_updated: count(users_updated),
        users_deleted: count(users_deleted),
        queues_created: count(queues_created),
        queues_updated: count(queues_updated),
        queues_deleted: count(queues_deleted),
        assignments_created: count(assignments_created),
        assignments_deleted: count(assignments_deleted),
        sessions_ended: count(sessions_ended),
        changes,
    }
}

pub(super) fn import_problem(problem: &Problem) -> proto::ImportProblem {
    let Problem { line, path, description } = problem;
    proto::ImportProblem {
        line: i32::try_from(*line).unwrap_or(0),
        path: path.clone(),
        description: description.clone(),
    }
}

pub(super) fn count(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

pub(super) fn reason(reason: Reason) -> proto::Reason {
    match reason {
        Reason::UnknownUser => proto::Reason::UnknownUser,
        Reason::UserDisabled => proto::Reason::UserDisabled,
        Reason::UnknownQueue => proto::Reason::UnknownQueue,
        Reason::QueueKindNotSupported => proto::Reason::QueueKindNotSupported,
        Reason::AgentRoleRequired => proto::Reason::AgentRoleRequired,
        Reason::AlreadySignedIn => proto::Reason::AlreadySignedIn,
        Reason::Assigned => proto::Reason::Assigned,
        Reason::UnassignedAllowed => proto::Reason::UnassignedAllowed,
        Reason::UnassignedRestricted => proto::Reason::UnassignedRestricted,
        Reason::UnknownSupervisor => proto::Reason::UnknownSupervisor,
        Reason::SupervisorDisabled => proto::Reason::SupervisorDisabled,
        Reason::SupervisorRoleRequired => proto::Reason::SupervisorRoleRequired,
        Reason::SupervisorQueueNotAssigned => proto::Reason::SupervisorQueueNotAssigned,
        Reason::SupervisorSignIn => proto::Reason::SupervisorSignIn,
        Reason::SupervisorSignOut => proto::Reason::SupervisorSignOut,
    }
}

fn channel(channel: Channel) -> proto::Channel {
    match channel {
        Channel::FeatureCode => proto::Channel::FeatureCode,
        Channel::AgentDashboard => proto::Channel::AgentDashboard,
        Channel::Supervisor => proto::Channel::Supervisor,
    }
}

fn basis(basis: Basis) -> proto::Basis {
    match basis {
        Basis::Assigned => proto::Basis::Assigned,
        Basis::UnassignedAllowed => proto::Basis::UnassignedAllowed,
        Basis::Supervisor => proto::Basis::Supervisor,
    }
}

fn end_reason(reason: EndReason) -> proto::EndReason {
    match reason {
        EndReason::SignedOut => proto::EndReason::SignedOut,
        EndReason::SignedOutBySupervisor => proto::EndReason::SignedOutBySupervisor,
        EndReason::Expired => proto::EndReason::Expired,
        EndReason::UserRemoved => proto::EndReason::UserRemoved,
        EndReason::UserDisabled => proto::EndReason::UserDisabled,
        EndReason::QueueRemoved => proto::EndReason::QueueRemoved,
        EndReason::OrganizationRemoved => proto::EndReason::OrganizationRemoved,
        EndReason::AssignmentRemoved => proto::EndReason::AssignmentRemoved,
    }
}

fn role(role: Role) -> proto::Role {
    match role {
        Role::ContactAdmin => proto::Role::ContactAdmin,
        Role::Supervisor => proto::Role::Supervisor,
        Role::Agent => proto::Role::Agent,
    }
}

fn queue_kind(kind: QueueKind) -> proto::QueueKind {
    match kind {
        QueueKind::CallQueue => proto::QueueKind::CallQueue,
        QueueKind::Inbox => proto::QueueKind::Inbox,
        QueueKind::Campaign => proto::QueueKind::Campaign,
        QueueKind::RingGroup => proto::QueueKind::RingGroup,
    }
}

fn unassigned_queue_sign_in(value: UnassignedQueueSignIn) -> proto::UnassignedQueueSignIn {
    match value {
        UnassignedQueueSignIn::Allowed => proto::UnassignedQueueSignIn::Allowed,
        UnassignedQueueSignIn::Restricted => proto::UnassignedQueueSignIn::Restricted,
    }
}

/// A revision's text; empty before the first.
pub(super) fn revision(lineage: Lineage, sequence: Sequence) -> String {
    if sequence == Sequence(0) { String::new() } else { Revision { lineage, sequence }.to_string() }
}

pub(super) fn audit_log_position(lineage: Lineage, link: Link) -> proto::AuditLogPosition {
    let Link { sequence, hash } = link;
    proto::AuditLogPosition { revision: revision(lineage, sequence), hash: hash.to_string() }
}

fn audit_action(action: AuditAction) -> proto::AuditAction {
    // By name, as with permissions.
    let name = format!("{}{action}", super::AUDIT_ACTION_PREFIX);
    proto::AuditAction::from_str_name(&name).unwrap_or(proto::AuditAction::Unspecified)
}

pub(super) fn audit_event(lineage: Lineage, logged: &Logged) -> proto::AuditEvent {
    let Logged { record: Record { sequence, time, origin, change: Change { organization_id, event } }, hash } = logged;
    let Summary { action, verdict, actor, user, queue, role: assigned, reason: decided } = Summary::of(event, origin);
    let (actor_user_id, actor_extension) = named_user(actor);
    let (user_id, user_extension) = named_user(user);
    let (queue_id, queue_extension) = match queue {
        Some(QueueRef::Id(id)) => (id.to_string(), String::new()),
        Some(QueueRef::Extension(extension)) => (String::new(), extension.to_string()),
        None => (String::new(), String::new()),
    };
    let mut told = proto::AuditEvent {
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
    tell_refusal(&mut told, event);
    (told.before, told.after) = states(organization_id, event);
    if let Event::WriteRefused { attempt } = event {
        let wanted = attempt.wanted.as_deref();
        (told.before, told.attempted) = wanted.map_or((None, None), |wanted| states(organization_id, wanted));
    }
    if let Event::AuditLogCut { through, hash } = event {
        told.cut_through = Some(audit_log_position(lineage, Link { sequence: *through, hash: *hash }));
    }
    told
}

fn named_user(user: Option<UserRef>) -> (String, String) {
    match user {
        Some(UserRef::Id(id)) => (id.to_string(), String::new()),
        Some(UserRef::Extension(extension)) => (String::new(), extension.to_string()),
        None => (String::new(), String::new()),
    }
}

/// What only some events say of how they came about.
fn tell_refusal(told: &mut proto::AuditEvent, event: &Event) {
    match event {
        Event::AttemptRefused { attempt } => {
            let RefusedAttempt { channel: asked, device, explanation, justification, .. } = attempt;
            let asked = asked.map_or(Channel::Supervisor, Channel::from);
            told.channel = channel(asked).into();
            told.device.clone_from(device);
            told.explanation.clone_from(explanation);
            told.justification.clone_from(justification);
        }
        Event::WriteRefused { attempt } => {
            let ActorRefusal { actor: _, permission: lacked, reason, explanation } = &attempt.refusal;
            told.permission = lacked.map_or(proto::Permission::Unspecified, permission).into();
            let reason = reason.map_or(proto::PermissionReason::Unspecified, permission_reason);
            told.permission_reason = reason.into();
            told.explanation.clone_from(explanation);
        }
        Event::SessionStarted { session: _, justification }
        | Event::SessionEnded { session: _, supervisor_id: _, justification } => {
            told.justification.clone_from(justification);
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
        | Event::RoleUnassigned { .. }
        | Event::AuditLogCut { .. } => {}
    }
}

/// What there was before and after.
fn states(organization_id: &OrganizationId, event: &Event) -> (Option<proto::AuditState>, Option<proto::AuditState>) {
    use proto::AuditState as State;
    let of_organization = |value: &Organization| State { organization: Some(organization(value)), ..State::default() };
    let of_settings = |value: &PermissionSettings| State {
        settings: Some(plain_settings(organization_id, value)),
        ..State::default()
    };
    let of_user = |value: &User| State { user: Some(user(value)), ..State::default() };
    let of_queue = |value: &Queue| State { queue: Some(queue(value)), ..State::default() };
    let of_role = |value: &RoleAssignment| State { assignment: Some(role_assignment(value)), ..State::default() };
    let of_session = |value: &Session| {
        // As it was: `retained` is computed when a session is read, and this is history.
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
        Event::RoleUnassigned { assignment } => (Some(of_role(assignment)), None),
        Event::SessionStarted { session, justification: _ } => (None, Some(of_session(session))),
        Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
            (Some(of_session(&Session { end: None, ..session.clone() })), Some(of_session(session)))
        }
        Event::AttemptRefused { .. } | Event::WriteRefused { .. } | Event::AuditLogCut { .. } => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_api_has_the_audit_actions_of_the_rules_and_no_others() {
        for (number, known) in (1..).zip(AuditAction::ALL) {
            assert_eq!(i32::from(audit_action(*known)), number);
            assert_eq!(super::super::from_proto::audit_action(number).unwrap(), Some(*known));
        }
        assert!(proto::AuditAction::try_from(i32::try_from(AuditAction::ALL.len()).unwrap() + 1).is_err());
    }

    #[test]
    fn the_api_has_the_permissions_of_the_catalogue_and_no_others() {
        let mut of_api = BTreeSet::new();
        for value in 1.. {
            let Ok(permission) = proto::Permission::try_from(value) else { break };
            of_api.insert(permission);
        }
        let of_catalogue: Vec<_> = Permission::ALL.iter().copied().map(permission).collect();
        assert_eq!(of_catalogue.iter().copied().collect::<BTreeSet<_>>(), of_api);
        assert_eq!(of_catalogue.len(), of_api.len());
        for known in Permission::ALL {
            assert_eq!(super::super::from_proto::permission(permission(*known).into()).unwrap(), *known);
        }
    }
}
