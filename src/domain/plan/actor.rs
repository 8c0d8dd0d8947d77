//! The acting user, on whose behalf a caller writes, must hold the required permission (`docs/semantics.md` section
//! 5.2).
//!
//! INVARIANT: the check happens in the same step as the change itself, against the same state. So no user acts on a
//! role that they have just lost.

use super::lookup::{found_organization, resolved_queue, resolved_user};
use crate::domain::{
    change::{ActorRefusal, Event, RefusedWrite},
    command::{Action, Command, IfMissing, Rejection, UserPatch},
    explain::{PermissionExplanation, explain_refused_actor},
    ids::{QueueRef, UserRef},
    language::Language,
    permission::{PermissionCheck, check},
    snapshot::Snapshot,
    time::Timestamp,
    vocabulary::Permission,
};

/// Refuse a command if its acting user may not ask for it. A command without an acting user is the caller's own.
pub(super) fn authorize(snapshot: &Snapshot, command: &Command, now: Timestamp) -> Result<(), Rejection> {
    let Some(actor) = &command.actor else { return Ok(()) };
    let may_be_missing = matches!(
        command.action,
        Action::CreateOrganization { .. }
            | Action::DeleteOrganization { if_missing: IfMissing::Accept }
            | Action::Import { .. }
    );
    if !may_be_missing {
        found_organization(snapshot, &command.organization_id)?;
    }
    let user = UserRef::Id(actor.clone());
    if sets_own_pin(snapshot, command, &user) {
        return Ok(());
    }
    let permission = required(&command.action);
    // Acting users need only permissions about the organization, so the request is always well-formed.
    let request = permission.and_then(|permission| PermissionCheck::new(&user, permission, None).ok());
    let Some(request) = request else {
        let explanation = explain_refused_actor(None, Language::English);
        let refusal = ActorRefusal { actor: actor.clone(), permission: None, reason: None, explanation };
        return Err(Rejection::ActorNotPermitted { refusal, translatable: None });
    };
    let decision = check(found_organization(snapshot, &command.organization_id)?, request, now);
    if decision.is_allowed() {
        return Ok(());
    }
    let translatable = PermissionExplanation::new(&decision, &request).into_owned();
    let explanation = explain_refused_actor(Some(&translatable), Language::English);
    let refusal = ActorRefusal { actor: actor.clone(), permission, reason: Some(decision.reason), explanation };
    Err(Rejection::ActorNotPermitted { refusal, translatable: Some(Box::new(translatable)) })
}

/// Return whether a user sets or clears their own PIN.
fn sets_own_pin(snapshot: &Snapshot, command: &Command, actor: &UserRef) -> bool {
    let (Action::SetPin { user, .. } | Action::ClearPin { user }) = &command.action else { return false };
    let organization = snapshot.organization(command.organization_id.as_str());
    let found = |user| organization.and_then(|organization| organization.user(user));
    found(actor).zip(found(user)).is_some_and(|(actor, user)| actor.user_id == user.user_id && !actor.disabled)
}

/// Describe a refused write of an acting user for the audit log.
pub(super) fn refused_write(
    snapshot: &Snapshot,
    command: &Command,
    refusal: &ActorRefusal,
    wanted: Option<Event>,
) -> RefusedWrite {
    let (user, queue, role) = match &command.action {
        Action::CreateUser { user } => (Some(UserRef::Id(user.user_id.clone())), None, None),
        Action::UpdateUser { user_id, .. } | Action::DeleteUser { user_id, .. } => {
            (Some(UserRef::Id(user_id.clone())), None, None)
        }
        Action::CreateQueue { queue } => (None, Some(QueueRef::Id(queue.queue_id.clone())), None),
        Action::UpdateQueue { queue_id, .. } | Action::DeleteQueue { queue_id, .. } => {
            (None, Some(QueueRef::Id(queue_id.clone())), None)
        }
        Action::AssignRole { user, role, queue, .. } | Action::UnassignRole { user, role, queue, .. } => {
            (Some(user.clone()), queue.clone(), Some(*role))
        }
        Action::SetPin { user, .. } | Action::ClearPin { user } => (Some(user.clone()), None, None),
        Action::UpdateSettings { .. }
        | Action::CreateOrganization { .. }
        | Action::UpdateOrganization { .. }
        | Action::DeleteOrganization { .. }
        | Action::Import { .. }
        | Action::CutAuditLog { .. }
        | Action::SignIn { .. }
        | Action::SignInToAssignedQueues { .. }
        | Action::SignOut { .. }
        | Action::SupervisorSignIn { .. }
        | Action::SupervisorSignOut { .. }
        | Action::VerifyPin { .. } => (None, None, None),
    };
    let organization = snapshot.organization(command.organization_id.as_str());
    RefusedWrite {
        action: command.action.audit_action(),
        refusal: refusal.clone(),
        user: user.map(|user| organization.map_or(user.clone(), |organization| resolved_user(organization, &user))),
        queue: queue
            .map(|queue| organization.map_or(queue.clone(), |organization| resolved_queue(organization, &queue))),
        role,
        wanted: wanted.map(Box::new),
    }
}

/// Return the permission that an acting user must hold, or `None` if no user may do this.
fn required(action: &Action) -> Option<Permission> {
    match action {
        Action::UpdateSettings { .. } => Some(Permission::ManagePermissions),
        // A person with another's PIN acts as they do, and so does a person with their roles.
        Action::AssignRole { .. } | Action::UnassignRole { .. } | Action::SetPin { .. } | Action::ClearPin { .. } => {
            Some(Permission::AssignRoles)
        }
        Action::CreateQueue { .. } | Action::UpdateQueue { .. } | Action::DeleteQueue { .. } => {
            Some(Permission::ConfigureQueues)
        }
        // Licences have a permission of their own. The other attributes of a user belong to the PBX.
        Action::UpdateUser { user_id: _, patch, expected_etag: _ } => match patch {
            UserPatch {
                display_name: None,
                extension: None,
                contact_center_license: Some(_),
                disabled: None,
                login: None,
            } => Some(Permission::AssignLicenses),
            UserPatch { .. } => None,
        },
        Action::CreateUser { .. }
        | Action::DeleteUser { .. }
        | Action::CreateOrganization { .. }
        | Action::UpdateOrganization { .. }
        | Action::DeleteOrganization { .. }
        | Action::Import { .. }
        | Action::CutAuditLog { .. } => None,
        // Other rules decide about sign-ins, sign-outs and PINs.
        Action::SignIn { .. }
        | Action::SignInToAssignedQueues { .. }
        | Action::SignOut { .. }
        | Action::SupervisorSignIn { .. }
        | Action::SupervisorSignOut { .. }
        | Action::VerifyPin { .. } => None,
    }
}
