//! The changes of one organization's state. Each is made completely, or doesn't fit and changes nothing.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::{
    named::Named,
    organization_state::OrganizationState,
    penalties::Penalties,
    queue_state::QueueState,
    role_holders::{RoleHolders, keep},
    slots::Slots,
    user_state::{NEEDS_LICENCE, UserState},
};
use crate::domain::{
    ids::{Login, QueueId, UserId},
    model::{Organization, Penalty, Queue, Role, RoleAssignment, RoleSet, Session, User},
    pin::PinState,
    settings::{Etag, PermissionSettings},
    time::Timestamp,
};

/// The problem of a role that the user doesn't hold.
const NOT_ASSIGNED: &str = "no such role assignment";

impl OrganizationState {
    pub(super) fn new(attributes: Organization, settings: PermissionSettings, settings_etag: Etag) -> Self {
        Self {
            attributes,
            settings,
            settings_etag,
            users: Named::new(),
            queues: Named::new(),
            logins: OrdMap::new(),
            slots: Slots::default(),
            role_holders: RoleHolders::default(),
            penalties: Penalties::default(),
            pins: OrdMap::new(),
            session_holders: OrdSet::new(),
            session_holders_on: OrdMap::new(),
            sessions: 0,
        }
    }

    pub(super) fn create_user(&mut self, user: &User) -> Result<(), &'static str> {
        if self.users.contains(user.user_id.as_str()) {
            return Err("the user exists already");
        }
        self.login_is_free(user)?;
        self.users.insert(UserState::new(user.clone()))?;
        self.replace_login(&None, user);
        Ok(())
    }

    pub(super) fn update_user(&mut self, user: &User) -> Result<(), &'static str> {
        let user_state = self.users.get(user.user_id.as_str()).ok_or("no such user")?;
        if !user.may_hold_roles() && user_state.has_roles() {
            return Err(NEEDS_LICENCE);
        }
        let mut user_state = user_state.clone();
        self.login_is_free(user)?;
        let before = user_state.user.login.clone();
        user_state.user = User { user_id: user_state.user.user_id.clone(), ..user.clone() };
        self.users.replace(user_state)?;
        self.replace_login(&before, user);
        Ok(())
    }

    pub(super) fn delete_user(&mut self, user_id: &UserId) -> Result<(), &'static str> {
        let user_state = self.users.get(user_id.as_str()).ok_or("no such user")?;
        if user_state.has_sessions() {
            return Err("the user still has sessions");
        }
        if user_state.has_roles() {
            return Err("the user still has roles");
        }
        if let Some(login) = user_state.user.login.clone() {
            self.logins.remove(&login);
        }
        self.pins.remove(user_id);
        self.users.remove(user_id.as_str());
        Ok(())
    }

    pub(super) fn set_pin(&mut self, user_id: &UserId, pin: PinState) -> Result<(), &'static str> {
        let user_state = self.users.get(user_id.as_str()).ok_or("no such user")?;
        self.pins.insert(user_state.user.user_id.clone(), pin);
        Ok(())
    }

    pub(super) fn clear_pin(&mut self, user_id: &UserId) -> Result<(), &'static str> {
        self.pins.remove(user_id).map(drop).ok_or("the user has no PIN")
    }

    pub(super) fn count_pin_failures(
        &mut self,
        user_id: &UserId,
        failures: u8,
        locked_until: Option<Timestamp>,
    ) -> Result<(), &'static str> {
        let pin = self.pins.get_mut(user_id).ok_or("the user has no PIN")?;
        (pin.failures, pin.locked_until) = (failures, locked_until);
        Ok(())
    }

    fn login_is_free(&self, user: &User) -> Result<(), &'static str> {
        let owner = user.login.as_ref().and_then(|login| self.user_with_login(login));
        if owner.is_none_or(|owner| *owner == user.user_id) { Ok(()) } else { Err("the login is in use") }
    }

    fn replace_login(&mut self, before: &Option<Login>, user: &User) {
        if *before == user.login {
            return;
        }
        if let Some(before) = before {
            self.logins.remove(before);
        }
        if let Some(login) = &user.login {
            self.logins.insert(login.clone(), user.user_id.clone());
        }
    }

    pub(super) fn create_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        if self.queues.contains(queue.queue_id.as_str()) {
            return Err("the queue exists already");
        }
        let slot = self.slots.next()?;
        self.queues.insert(QueueState { queue: queue.clone(), slot, role_holders: OrdSet::new() })?;
        self.slots.take(queue.queue_id.clone());
        Ok(())
    }

    pub(super) fn update_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        let queue_state = self.queues.get(queue.queue_id.as_str()).ok_or("no such queue")?;
        let queue = Queue { queue_id: queue_state.queue.queue_id.clone(), ..queue.clone() };
        self.queues.replace(QueueState { queue, ..queue_state.clone() })
    }

    pub(super) fn delete_queue(&mut self, queue_id: &QueueId) -> Result<(), &'static str> {
        let queue_state = self.queues.get(queue_id.as_str()).ok_or("no such queue")?;
        if self.session_holders_on.contains_key(&queue_state.slot) {
            return Err("the queue still has sessions");
        }
        if !queue_state.role_holders.is_empty() {
            return Err("the queue still has roles");
        }
        self.slots.give_back(queue_state.slot);
        self.queues.remove(queue_id.as_str());
        Ok(())
    }

    pub(super) fn assign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id, penalty } = assignment;
        let user_state = self.users.get(user_id.as_str()).ok_or("no such user")?;
        if !user_state.user.may_hold_roles() {
            return Err(NEEDS_LICENCE);
        }
        match queue_id {
            None => {
                if user_state.organization_roles.contains(*role) {
                    return Err("the role is assigned already");
                }
                let roles = user_state.organization_roles.with(*role);
                self.set_roles(user_id, None, roles)
            }
            Some(_) if *role == Role::ContactAdmin => Err("CONTACT_ADMIN is never given for a queue"),
            Some(queue_id) => {
                let before = self.roles_on_queue(user_id.as_str(), queue_id.as_str());
                if before.contains(*role) {
                    return Err("the role is assigned already");
                }
                self.set_roles(user_id, Some(queue_id), before.with(*role))?;
                self.penalties.set(user_id, queue_id, *penalty);
                Ok(())
            }
        }
    }

    pub(super) fn update_assignment(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id, penalty } = assignment;
        let queue_id =
            queue_id.as_ref().filter(|_| *role == Role::Agent).ok_or("only AGENT on a queue has a penalty")?;
        if !self.roles_on_queue(user_id.as_str(), queue_id.as_str()).contains(*role) {
            return Err(NOT_ASSIGNED);
        }
        self.penalties.set(user_id, queue_id, *penalty);
        Ok(())
    }

    pub(super) fn unassign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id, penalty: _ } = assignment;
        let before = match queue_id {
            None => self.organization_roles(user_id.as_str()),
            Some(queue_id) => self.roles_on_queue(user_id.as_str(), queue_id.as_str()),
        };
        if !before.contains(*role) {
            return Err(NOT_ASSIGNED);
        }
        self.set_roles(user_id, queue_id.as_ref(), before.without(*role))?;
        if let (Role::Agent, Some(queue_id)) = (role, queue_id) {
            self.penalties.set(user_id, queue_id, Penalty::default());
        }
        Ok(())
    }

    /// Set the roles that a user has for the organization, or on a queue.
    fn set_roles(&mut self, user_id: &UserId, queue_id: Option<&QueueId>, roles: RoleSet) -> Result<(), &'static str> {
        let mut user_state = self.users.get(user_id.as_str()).ok_or("no such user")?.clone();
        // Share the stored id: there may be millions of assignments.
        let own_id = user_state.user.user_id.clone();
        match queue_id {
            None => user_state.organization_roles = roles,
            Some(queue_id) => {
                let mut queue_state = self.queues.get(queue_id.as_str()).ok_or("no such queue")?.clone();
                user_state.set_on_queue(&queue_state, roles, &self.slots);
                keep(&mut queue_state.role_holders, &own_id, !roles.is_empty());
                self.queues.put(queue_state);
            }
        }
        self.role_holders.note(&own_id, user_state.roles_held());
        self.users.put(user_state);
        Ok(())
    }

    pub(super) fn start_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { user_id, queue_id, .. } = session;
        let (Some(user_state), Some(queue_state)) =
            (self.users.get(user_id.as_str()), self.queues.get(queue_id.as_str()))
        else {
            return Err("no such user or queue");
        };
        if user_state.recorded_session(queue_id.as_str()).is_some() {
            return Err("the user has a session on the queue already");
        }
        let mut user_state = user_state.clone();
        let own_id = user_state.user.user_id.clone();
        let session = Session {
            user_id: own_id.clone(),
            queue_id: queue_state.queue.queue_id.clone(),
            signed_in_by: if session.signed_in_by == own_id { own_id.clone() } else { session.signed_in_by.clone() },
            ..session.clone()
        };
        if !user_state.has_sessions() {
            self.session_holders.insert(own_id.clone());
        }
        self.session_holders_on.entry(queue_state.slot).or_default().insert(own_id);
        user_state.add_session(queue_state.slot, Arc::new(session));
        self.sessions += 1;
        self.users.put(user_state);
        Ok(())
    }

    pub(super) fn end_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { session_id, user_id, queue_id, .. } = session;
        let (Some(user_state), Some(queue_state)) =
            (self.users.get(user_id.as_str()), self.queues.get(queue_id.as_str()))
        else {
            return Err("no such session");
        };
        if user_state.recorded_session(queue_id.as_str()).is_none_or(|recorded| recorded.session_id != *session_id) {
            return Err("no such session");
        }
        let mut user_state = user_state.clone();
        user_state.remove_session(queue_state.slot);
        if let Some(holders) = self.session_holders_on.get_mut(&queue_state.slot) {
            holders.remove(user_id);
            if holders.is_empty() {
                self.session_holders_on.remove(&queue_state.slot);
            }
        }
        if !user_state.has_sessions() {
            self.session_holders.remove(user_id);
        }
        self.sessions -= 1;
        self.users.put(user_state);
        Ok(())
    }
}
