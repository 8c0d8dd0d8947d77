//! Organizations, users, queues, role assignments and settings, one at a time.

use std::sync::Arc;

use super::{
    lookup::{found_queue, found_user},
    planner::Planner,
};
use crate::domain::{
    change::Event,
    command::{IfMissing, Outcome, QueuePatch, Rejection, Resource, SessionsThen, UserPatch},
    ids::{Extension, QueueId, QueueRef, UserId, UserRef},
    model::{EndReason, Organization, Penalty, Queue, Role, RoleAssignment, Session, User},
    settings::{PermissionSettings, SettingsPatch, UnassignedQueueSignIn},
    snapshot::OrganizationState,
};

impl Planner<'_> {
    pub(super) fn create_organization(
        &mut self,
        display_name: &str,
        unassigned_queue_sign_in: UnassignedQueueSignIn,
    ) -> Result<Outcome, Rejection> {
        let organization_id = self.organization_id.clone();
        if self.snapshot().organization(organization_id.as_str()).is_some() {
            return Err(Rejection::AlreadyExists {
                resource: Resource::Organization,
                name: organization_id.to_string(),
                description: format!("organization `{organization_id}` exists already"),
            });
        }
        let organization = Organization { organization_id, display_name: display_name.to_owned() };
        let mut settings = PermissionSettings::default();
        settings.unassigned_queue_sign_in = unassigned_queue_sign_in;
        let event = Event::OrganizationCreated { organization: organization.clone(), settings, etag: self.next_etag() };
        self.push(event)?;
        Ok(Outcome::Organization { organization })
    }

    pub(super) fn update_organization(&mut self, display_name: Option<&str>) -> Result<Outcome, Rejection> {
        let before = self.organization()?.attributes().clone();
        let mut organization = before.clone();
        if let Some(display_name) = display_name {
            display_name.clone_into(&mut organization.display_name);
        }
        if organization != before {
            self.push(Event::OrganizationUpdated { before, organization: organization.clone() })?;
        }
        Ok(Outcome::Organization { organization })
    }

    pub(super) fn delete_organization(&mut self, if_missing: IfMissing) -> Result<Outcome, Rejection> {
        match self.organization() {
            Err(_) if if_missing == IfMissing::Accept => {}
            Err(rejection) => return Err(rejection),
            Ok(organization) => {
                let sessions: Vec<Arc<Session>> = organization.sessions_after(None).cloned().collect();
                let (organization, settings) = (organization.attributes().clone(), *organization.settings());
                self.end_sessions(&sessions, EndReason::OrganizationRemoved)?;
                self.push(Event::OrganizationDeleted { organization, settings })?;
            }
        }
        Ok(Outcome::Deleted)
    }

    pub(super) fn create_user(&mut self, user: &User) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        if organization.user_by_id(user.user_id.as_str()).is_some() {
            return Err(Rejection::AlreadyExists {
                resource: Resource::User,
                name: user.user_id.to_string(),
                description: format!("user `{}` exists already", user.user_id),
            });
        }
        user_names_are_free(organization, user)?;
        self.push(Event::UserCreated { user: user.clone() })?;
        Ok(Outcome::User { user: user.clone() })
    }

    pub(super) fn update_user(
        &mut self,
        user_id: &UserId,
        patch: &UserPatch,
        expected_etag: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        let before = found_user(self.organization()?, &UserRef::Id(user_id.clone()))?.clone();
        user_is_current(&before, expected_etag)?;
        let UserPatch { display_name, extension, contact_center_license, disabled, login } = patch.clone();
        let user = User {
            user_id: user_id.clone(),
            display_name: display_name.map_or_else(|| before.display_name.clone(), Into::into),
            extension: extension.unwrap_or(before.extension),
            contact_center_license: contact_center_license.unwrap_or(before.contact_center_license),
            disabled: disabled.unwrap_or(before.disabled),
            login: login.unwrap_or_else(|| before.login.clone()),
        };
        if user != before {
            self.replace_user(&before, user.clone())?;
        }
        Ok(Outcome::User { user })
    }

    /// Replace the attributes of an existing user. Disabling ends their sessions.
    pub(super) fn replace_user(&mut self, before: &User, user: User) -> Result<Vec<Session>, Rejection> {
        let organization = self.organization()?;
        user_names_are_free(organization, &user)?;
        if !user.may_hold_roles() && !organization.roles_held(user.user_id.as_str()).is_empty() {
            return Err(Rejection::LicenseRequired {
                description: format!(
                    "user `{}` holds a role, which needs a contact-center licence; take the roles first",
                    user.user_id
                ),
                user_id: user.user_id,
            });
        }
        let mut ended = Vec::new();
        if user.disabled {
            let sessions: Vec<Arc<Session>> = organization.sessions_of_user(user.user_id.as_str()).cloned().collect();
            ended = self.end_sessions(&sessions, EndReason::UserDisabled)?;
        }
        self.push(Event::UserUpdated { before: before.clone(), user })?;
        Ok(ended)
    }

    pub(super) fn delete_user(
        &mut self,
        user_id: &UserId,
        if_missing: IfMissing,
        expected_etag: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        match found_user(self.organization()?, &UserRef::Id(user_id.clone())) {
            Err(_) if if_missing == IfMissing::Accept => {}
            Err(rejection) => return Err(rejection),
            Ok(user) => {
                user_is_current(user, expected_etag)?;
                self.remove_user(user_id)?;
            }
        }
        Ok(Outcome::Deleted)
    }

    /// Delete an existing user.
    pub(super) fn remove_user(&mut self, user_id: &UserId) -> Result<Vec<Session>, Rejection> {
        let organization = self.organization()?;
        let user = User::clone(found_user(organization, &UserRef::Id(user_id.clone()))?);
        let sessions: Vec<Arc<Session>> = organization.sessions_of_user(user_id.as_str()).cloned().collect();
        let roles = organization.assignments_of_user(user_id).collect();
        let ended = self.end_sessions(&sessions, EndReason::UserRemoved)?;
        self.take_roles(roles)?;
        self.push(Event::UserDeleted { user })?;
        Ok(ended)
    }

    pub(super) fn create_queue(&mut self, queue: &Queue) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        if organization.queue_by_id(queue.queue_id.as_str()).is_some() {
            return Err(Rejection::AlreadyExists {
                resource: Resource::Queue,
                name: queue.queue_id.to_string(),
                description: format!("queue `{}` exists already", queue.queue_id),
            });
        }
        queue_extension_is_free(organization, queue)?;
        self.push(Event::QueueCreated { queue: queue.clone() })?;
        Ok(Outcome::Queue { queue: queue.clone() })
    }

    pub(super) fn update_queue(
        &mut self,
        queue_id: &QueueId,
        patch: &QueuePatch,
        expected_etag: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        let before = found_queue(self.organization()?, &QueueRef::Id(queue_id.clone()))?.clone();
        queue_is_current(&before, expected_etag)?;
        let QueuePatch { display_name, extension, kind } = patch.clone();
        let queue = Queue {
            queue_id: queue_id.clone(),
            display_name: display_name.unwrap_or_else(|| before.display_name.clone()),
            extension: extension.unwrap_or(before.extension),
            kind: kind.unwrap_or(before.kind),
        };
        if queue != before {
            queue_extension_is_free(self.organization()?, &queue)?;
            self.push(Event::QueueUpdated { before: Queue::clone(&before), queue: queue.clone() })?;
        }
        Ok(Outcome::Queue { queue })
    }

    pub(super) fn delete_queue(
        &mut self,
        queue_id: &QueueId,
        if_missing: IfMissing,
        expected_etag: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        match found_queue(self.organization()?, &QueueRef::Id(queue_id.clone())) {
            Err(_) if if_missing == IfMissing::Accept => {}
            Err(rejection) => return Err(rejection),
            Ok(queue) => {
                queue_is_current(queue, expected_etag)?;
                self.remove_queue(queue_id)?;
            }
        }
        Ok(Outcome::Deleted)
    }

    /// Delete an existing queue.
    pub(super) fn remove_queue(&mut self, queue_id: &QueueId) -> Result<Vec<Session>, Rejection> {
        let organization = self.organization()?;
        let queue = Queue::clone(found_queue(organization, &QueueRef::Id(queue_id.clone()))?);
        let sessions: Vec<Arc<Session>> = organization.sessions_on_queue(queue_id.as_str(), None).cloned().collect();
        let roles = organization.assignments_on_queue(queue_id).collect();
        let ended = self.end_sessions(&sessions, EndReason::QueueRemoved)?;
        self.take_roles(roles)?;
        self.push(Event::QueueDeleted { queue })?;
        Ok(ended)
    }

    pub(super) fn assign_role(
        &mut self,
        user: &UserRef,
        role: Role,
        queue: Option<&QueueRef>,
        penalty: Option<Penalty>,
    ) -> Result<Outcome, Rejection> {
        if penalty.is_some() && (role != Role::Agent || queue.is_none()) {
            return Err(Rejection::Invalid {
                field: "penalty",
                description:
                    "must be left out unless the role is AGENT and a queue is given, because only a member of \
                              a queue has one"
                        .to_owned(),
            });
        }
        let organization = self.organization()?;
        let mut assignment = named_assignment(organization, user, role, queue)?;
        if !found_user(organization, user)?.may_hold_roles() {
            return Err(Rejection::LicenseRequired {
                description: format!(
                    "user `{}` has no contact-center licence, which a role needs; give the licence first",
                    assignment.user_id
                ),
                user_id: assignment.user_id,
            });
        }
        let created = !is_assigned(organization, &assignment);
        let before = assignment.clone();
        assignment.penalty = penalty.unwrap_or(before.penalty);
        if created {
            self.push(Event::RoleAssigned { assignment: assignment.clone() })?;
        } else if assignment != before {
            self.push(Event::RoleAssignmentUpdated { before, assignment: assignment.clone() })?;
        }
        Ok(Outcome::RoleAssigned { assignment, created })
    }

    pub(super) fn unassign_role(
        &mut self,
        user: &UserRef,
        role: Role,
        queue: Option<&QueueRef>,
        sessions: SessionsThen,
    ) -> Result<Outcome, Rejection> {
        if sessions == SessionsThen::End && (role != Role::Agent || queue.is_none()) {
            return Err(Rejection::Invalid {
                field: "end_sessions",
                description: "must be false unless the role is AGENT and a queue is given, because only such an \
                              assignment has a session of its own"
                    .to_owned(),
            });
        }
        let organization = self.organization()?;
        let assignment = named_assignment(organization, user, role, queue)?;
        let RoleAssignment { user_id, queue_id, .. } = &assignment;
        if !is_assigned(organization, &assignment) {
            let on = queue_id.as_ref().map_or_else(String::new, |queue_id| format!(" on queue `{queue_id}`"));
            return Err(Rejection::NotFound {
                resource: Resource::RoleAssignment,
                name: format!("{user_id} {role}{}", queue_id.as_ref().map_or_else(String::new, |id| format!(" {id}"))),
                description: format!("user `{user_id}` is not assigned {role}{on}"),
            });
        }
        let live = queue_id.as_ref().filter(|_| sessions == SessionsThen::End);
        let live = live.and_then(|queue_id| organization.live_session(user_id.as_str(), queue_id.as_str(), self.now));
        let live: Vec<Arc<Session>> = live.cloned().into_iter().collect();
        let ended = self.end_sessions(&live, EndReason::AssignmentRemoved)?;
        self.push(Event::RoleUnassigned { assignment })?;
        Ok(Outcome::SessionsEnded { ended })
    }

    pub(super) fn update_settings(
        &mut self,
        patch: &SettingsPatch,
        expected_etag: Option<&str>,
    ) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        if expected_etag.is_some_and(|expected| expected != organization.settings_etag().to_string()) {
            return Err(Rejection::StaleEtag { thing: "the settings".to_owned() });
        }
        let before = *organization.settings();
        let settings = patch.applied_to(before);
        let mut etag = organization.settings_etag();
        if settings != before {
            etag = self.next_etag();
            self.push(Event::SettingsUpdated { before, settings, etag })?;
        }
        Ok(Outcome::Settings { settings, etag })
    }
}

fn named_assignment(
    organization: &OrganizationState,
    user: &UserRef,
    role: Role,
    queue: Option<&QueueRef>,
) -> Result<RoleAssignment, Rejection> {
    if let (Role::ContactAdmin, Some(queue)) = (role, queue) {
        return Err(Rejection::Invalid {
            field: match queue {
                QueueRef::Id(_) => "queue_id",
                QueueRef::Extension(_) => "queue_extension",
            },
            description: "must be left out with CONTACT_ADMIN, which is never held for a queue".to_owned(),
        });
    }
    let user_id = found_user(organization, user)?.user_id.clone();
    let queue_id = match queue {
        Some(queue) => Some(found_queue(organization, queue)?.queue_id.clone()),
        None => None,
    };
    let penalty = organization.penalty_of(&user_id, role, queue_id.as_ref());
    Ok(RoleAssignment { user_id, role, queue_id, penalty })
}

fn is_assigned(organization: &OrganizationState, assignment: &RoleAssignment) -> bool {
    let user_id = assignment.user_id.as_str();
    let roles = match &assignment.queue_id {
        Some(queue_id) => organization.roles_on_queue(user_id, queue_id.as_str()),
        None => organization.organization_roles(user_id),
    };
    roles.contains(assignment.role)
}

fn user_is_current(user: &User, expected_etag: Option<&str>) -> Result<(), Rejection> {
    match expected_etag {
        Some(expected) if expected != user.etag() => {
            Err(Rejection::StaleEtag { thing: format!("user `{}`", user.user_id) })
        }
        Some(_) | None => Ok(()),
    }
}

fn queue_is_current(queue: &Queue, expected_etag: Option<&str>) -> Result<(), Rejection> {
    match expected_etag {
        Some(expected) if expected != queue.etag() => {
            Err(Rejection::StaleEtag { thing: format!("queue `{}`", queue.queue_id) })
        }
        Some(_) | None => Ok(()),
    }
}

fn user_names_are_free(organization: &OrganizationState, user: &User) -> Result<(), Rejection> {
    let owner = user.extension.as_ref().and_then(|extension| organization.user_with_extension(extension));
    if let (Some(owner), Some(extension)) = (owner.filter(|owner| **owner != user.user_id), &user.extension) {
        return Err(extension_in_use(Resource::User, "user", owner.as_str(), extension));
    }
    let owner = user.login.as_ref().and_then(|login| organization.user_with_login(login));
    match (owner.filter(|owner| **owner != user.user_id), &user.login) {
        (Some(owner), Some(login)) => Err(Rejection::AlreadyExists {
            resource: Resource::User,
            name: owner.to_string(),
            description: format!("login `{login}` is in use by user `{owner}`"),
        }),
        (Some(_) | None, _) => Ok(()),
    }
}

fn queue_extension_is_free(organization: &OrganizationState, queue: &Queue) -> Result<(), Rejection> {
    let owner = queue.extension.as_ref().and_then(|extension| organization.queue_with_extension(extension));
    match (owner, &queue.extension) {
        (Some(owner), Some(extension)) if *owner != queue.queue_id => {
            Err(extension_in_use(Resource::Queue, "queue", owner.as_str(), extension))
        }
        (Some(_), _) | (None, _) => Ok(()),
    }
}

fn extension_in_use(resource: Resource, kind: &str, owner: &str, extension: &Extension) -> Rejection {
    Rejection::AlreadyExists {
        resource,
        name: owner.to_owned(),
        description: format!("extension `{extension}` is in use by {kind} `{owner}`"),
    }
}
