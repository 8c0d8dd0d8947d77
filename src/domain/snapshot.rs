//! The state at one revision, in memory, with the indexes that decisions need.
//!
//! INVARIANT: a snapshot changes only by [`Snapshot::apply`], so that the live state, a state loaded from the tables and
//! a state replayed from the log are built by the same code.
//! INVARIANT: cloning is cheap (the maps are persistent and share what didn't change), so a reader keeps a whole
//! snapshot for as long as it likes.

use std::{ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};

use super::{
    change::{Change, Etag, Event},
    ids::{Extension, Lineage, OrganizationId, QueueId, QueueRef, Revision, Sequence, UserId, UserRef},
    model::{Organization, Queue, Role, RoleAssignment, RoleSet, Session, User},
    settings::{PermissionSettings, Switch},
    time::Timestamp,
};

/// The state of the whole store at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    revision: Revision,
    tenants: OrdMap<OrganizationId, Arc<Tenant>>,
    /// Sessions that end by themselves, soonest first.
    expirations: OrdSet<(Timestamp, OrganizationId, UserId, QueueId)>,
    /// Where the audit logs that were cut begin: after these.
    audit_cuts: OrdMap<OrganizationId, Sequence>,
}

/// One organization and everything in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    organization: Organization,
    settings: PermissionSettings,
    settings_etag: Etag,
    users: OrdMap<UserId, Arc<User>>,
    user_extensions: OrdMap<Extension, UserId>,
    queues: OrdMap<QueueId, Arc<Queue>>,
    queue_extensions: OrdMap<Extension, QueueId>,
    roles: OrdMap<UserId, UserRoles>,
    queue_roles: OrdMap<QueueId, OrdMap<UserId, RoleSet>>,
    sessions: OrdMap<UserId, OrdMap<QueueId, Arc<Session>>>,
    queue_sessions: OrdMap<QueueId, OrdSet<UserId>>,
}

/// The roles of one user.
#[derive(Debug, Clone, PartialEq, Default)]
struct UserRoles {
    organization: RoleSet,
    queues: OrdMap<QueueId, RoleSet>,
    /// How many queues give each role, so that what is held needs no scan.
    agent_queues: u32,
    supervisor_queues: u32,
}

/// A change that doesn't fit the state: the store is damaged, or a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change {sequence} does not fit the state: {problem} (organization `{organization_id}`)")]
pub struct Inapplicable {
    /// The change's number.
    pub sequence: u64,
    /// The organization it is about.
    pub organization_id: OrganizationId,
    /// What doesn't fit.
    pub problem: &'static str,
}

impl Snapshot {
    /// The state before the first change.
    pub fn empty(lineage: Lineage) -> Self {
        Self {
            revision: Revision { lineage, sequence: Sequence(0) },
            tenants: OrdMap::new(),
            expirations: OrdSet::new(),
            audit_cuts: OrdMap::new(),
        }
    }

    /// The revision of this state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The same state at another place in the history: for a loader, which builds the state from tables and not from
    /// the changes that led to it.
    #[must_use]
    pub fn at(mut self, sequence: Sequence) -> Self {
        self.revision.sequence = sequence;
        self
    }

    /// An organization with everything in it.
    pub fn tenant(&self, organization_id: &str) -> Option<&Tenant> {
        self.tenants.get(organization_id).map(Arc::as_ref)
    }

    /// Organizations in order of their ids, from the one after `after`.
    pub fn tenants_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Tenant> {
        self.tenants.range::<_, str>(beyond(after)).map(|(_, tenant)| tenant.as_ref())
    }

    /// Sessions whose expire time has come, soonest first.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = (&OrganizationId, &Arc<Session>)> {
        self.expirations.iter().take_while(move |(expire_time, ..)| *expire_time <= now).filter_map(
            |(_, organization_id, user_id, queue_id)| {
                let session =
                    self.tenants.get(organization_id)?.recorded_session(user_id.as_str(), queue_id.as_str())?;
                Some((organization_id, session))
            },
        )
    }

    /// When the next session expires.
    pub fn next_expiration(&self) -> Option<Timestamp> {
        self.expirations.get_min().map(|(expire_time, ..)| *expire_time)
    }

    /// The last event that was cut off an organization's audit log; 0 if nothing ever was.
    pub fn audit_cut(&self, organization_id: &str) -> Sequence {
        self.audit_cuts.get(organization_id).copied().unwrap_or_default()
    }

    /// Applies one change and moves on to its revision. A change that doesn't fit leaves the state as it was.
    pub fn apply(&mut self, change: &Change) -> Result<(), Inapplicable> {
        let sequence = self.revision.sequence.next();
        self.apply_event(&change.organization_id, &change.event).map_err(|problem| Inapplicable {
            sequence: sequence.0,
            organization_id: change.organization_id.clone(),
            problem,
        })?;
        self.revision.sequence = sequence;
        Ok(())
    }

    fn apply_event(&mut self, organization_id: &OrganizationId, event: &Event) -> Result<(), &'static str> {
        match event {
            Event::OrganizationCreated { organization, settings, etag } => {
                if self.tenants.contains_key(organization_id) {
                    return Err("the organization exists already");
                }
                let tenant = Tenant::new(organization.clone(), *settings, *etag);
                self.tenants.insert(organization_id.clone(), Arc::new(tenant));
            }
            Event::OrganizationDeleted { .. } => {
                if !self.tenant_mut(organization_id)?.sessions.is_empty() {
                    return Err("the organization still has sessions");
                }
                self.tenants.remove(organization_id);
            }
            Event::OrganizationUpdated { before: _, organization } => {
                self.tenant_mut(organization_id)?.organization = organization.clone();
            }
            Event::SettingsUpdated { before: _, settings, etag } => {
                let tenant = self.tenant_mut(organization_id)?;
                (tenant.settings, tenant.settings_etag) = (*settings, *etag);
            }
            Event::UserCreated { user } => self.tenant_mut(organization_id)?.create_user(user)?,
            Event::UserUpdated { before: _, user } => self.tenant_mut(organization_id)?.update_user(user)?,
            Event::UserDeleted { user } => self.tenant_mut(organization_id)?.delete_user(&user.user_id)?,
            Event::QueueCreated { queue } => self.tenant_mut(organization_id)?.create_queue(queue)?,
            Event::QueueUpdated { before: _, queue } => self.tenant_mut(organization_id)?.update_queue(queue)?,
            Event::QueueDeleted { queue } => self.tenant_mut(organization_id)?.delete_queue(&queue.queue_id)?,
            Event::RoleAssigned { assignment } => self.tenant_mut(organization_id)?.assign_role(assignment)?,
            Event::RoleUnassigned { assignment } => self.tenant_mut(organization_id)?.unassign_role(assignment)?,
            Event::SessionStarted { session, justification: _ } => {
                self.tenant_mut(organization_id)?.start_session(session)?;
                if let Some(key) = expiration(organization_id, session) {
                    self.expirations.insert(key);
                }
            }
            Event::SessionEnded { session, supervisor_id: _, justification: _ } => {
                self.tenant_mut(organization_id)?.end_session(session)?;
                if let Some(key) = expiration(organization_id, session) {
                    self.expirations.remove(&key);
                }
            }
            // What was refused changed nothing, but for the log's own number.
            Event::AttemptRefused { .. } | Event::WriteRefused { .. } => {}
            Event::AuditLogCut { through, hash: _ } => {
                if *through <= self.audit_cut(organization_id.as_str()) {
                    return Err("the audit log was cut there before");
                }
                self.audit_cuts.insert(organization_id.clone(), *through);
            }
        }
        Ok(())
    }

    fn tenant_mut(&mut self, organization_id: &OrganizationId) -> Result<&mut Tenant, &'static str> {
        self.tenants.get_mut(organization_id).map(Arc::make_mut).ok_or("no such organization")
    }
}

/// Reading.
impl Tenant {
    /// The organization's own attributes.
    pub fn organization(&self) -> &Organization {
        &self.organization
    }

    /// What each role may do.
    pub fn settings(&self) -> &PermissionSettings {
        &self.settings
    }

    /// Whether supervisors reach only the queues on which they have an assignment.
    pub fn limits_supervisors(&self) -> bool {
        self.settings.is_on(Switch::LimitToAssignedQueues)
    }

    /// Names the state of the settings.
    pub fn settings_etag(&self) -> Etag {
        self.settings_etag
    }

    /// The user that a caller named.
    pub fn user(&self, user: &UserRef) -> Option<&Arc<User>> {
        match user {
            UserRef::Id(id) => self.users.get(id),
            UserRef::Extension(extension) => self.users.get(self.user_extensions.get(extension)?),
        }
    }

    /// The user with this id.
    pub fn user_by_id(&self, user_id: &str) -> Option<&Arc<User>> {
        self.users.get(user_id)
    }

    /// Whose extension this is.
    pub fn user_with_extension(&self, extension: &Extension) -> Option<&UserId> {
        self.user_extensions.get(extension)
    }

    /// Users in order of their ids, from the one after `after`.
    pub fn users_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Arc<User>> {
        self.users.range::<_, str>(beyond(after)).map(|(_, user)| user)
    }

    /// The queue that a caller named.
    pub fn queue(&self, queue: &QueueRef) -> Option<&Arc<Queue>> {
        match queue {
            QueueRef::Id(id) => self.queues.get(id),
            QueueRef::Extension(extension) => self.queues.get(self.queue_extensions.get(extension)?),
        }
    }

    /// The queue with this id.
    pub fn queue_by_id(&self, queue_id: &str) -> Option<&Arc<Queue>> {
        self.queues.get(queue_id)
    }

    /// Whose extension this is.
    pub fn queue_with_extension(&self, extension: &Extension) -> Option<&QueueId> {
        self.queue_extensions.get(extension)
    }

    /// Queues in order of their ids, from the one after `after`.
    pub fn queues_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Arc<Queue>> {
        self.queues.range::<_, str>(beyond(after)).map(|(_, queue)| queue)
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// On how many queues a user has a SUPERVISOR assignment.
    pub fn supervised_queues(&self, user_id: &str) -> usize {
        self.roles.get(user_id).map_or(0, |roles| roles.supervisor_queues as usize)
    }

    /// The roles that a user holds: those for the organization, and those that any queue assignment confers
    /// (`SEMANTICS.md` section 1).
    pub fn roles_held(&self, user_id: &str) -> RoleSet {
        self.roles.get(user_id).map(UserRoles::held).unwrap_or_default()
    }

    /// The roles that a user holds for the organization.
    pub fn organization_roles(&self, user_id: &str) -> RoleSet {
        self.roles.get(user_id).map(|roles| roles.organization).unwrap_or_default()
    }

    /// The roles that a user holds on one queue.
    pub fn roles_on_queue(&self, user_id: &str, queue_id: &str) -> RoleSet {
        self.roles.get(user_id).and_then(|roles| roles.queues.get(queue_id)).copied().unwrap_or_default()
    }

    /// Whether the user is assigned to the queue: has an AGENT assignment on it.
    pub fn is_assigned(&self, user_id: &str, queue_id: &str) -> bool {
        self.roles_on_queue(user_id, queue_id).contains(Role::Agent)
    }

    /// A user's roles on queues, in order of the queues' ids.
    pub fn queue_roles_of_user(&self, user_id: &str) -> impl Iterator<Item = (&QueueId, RoleSet)> {
        self.roles.get(user_id).into_iter().flat_map(|roles| roles.queues.iter()).map(|(id, roles)| (id, *roles))
    }

    /// A user's role assignments: those for the organization, then those for queues in order of the queues' ids.
    pub fn assignments_of_user<'s>(&'s self, user_id: &'s UserId) -> impl Iterator<Item = RoleAssignment> + 's {
        let assignment = |role, queue_id: Option<&QueueId>| RoleAssignment {
            user_id: user_id.clone(),
            role,
            queue_id: queue_id.cloned(),
        };
        let organization = self.organization_roles(user_id.as_str()).iter();
        let on_queues = self.queue_roles_of_user(user_id.as_str());
        organization.map(move |role| assignment(role, None)).chain(
            on_queues.flat_map(move |(queue_id, roles)| roles.iter().map(move |role| assignment(role, Some(queue_id)))),
        )
    }

    /// The role assignments on a queue, in order of the users' ids.
    pub fn assignments_on_queue<'s>(&'s self, queue_id: &'s QueueId) -> impl Iterator<Item = RoleAssignment> + 's {
        self.users_with_roles_on(queue_id.as_str(), None).flat_map(move |(user_id, roles)| {
            let queue_id = Some(queue_id.clone());
            roles.iter().map(move |role| RoleAssignment { user_id: user_id.clone(), role, queue_id: queue_id.clone() })
        })
    }

    /// The users with roles on a queue, in order of their ids, from the one after `after`.
    pub fn users_with_roles_on<'s>(
        &'s self,
        queue_id: &str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s UserId, RoleSet)> {
        let users = self.queue_roles.get(queue_id).into_iter();
        users.flat_map(move |users| users.range::<_, str>(beyond(after))).map(|(id, roles)| (id, *roles))
    }

    /// The users who hold any role, in order of their ids.
    pub fn users_with_roles<'s>(&'s self, from: Bound<&'s str>) -> impl Iterator<Item = &'s UserId> {
        self.roles.range::<_, str>((from, Bound::Unbounded)).map(|(user_id, _)| user_id)
    }

    /// The session of a user on a queue that has not been ended yet, live or expired. Decisions want
    /// [`Tenant::live_session`].
    pub fn recorded_session(&self, user_id: &str, queue_id: &str) -> Option<&Arc<Session>> {
        self.sessions.get(user_id)?.get(queue_id)
    }

    /// The live session of a user on a queue.
    pub fn live_session(&self, user_id: &str, queue_id: &str, now: Timestamp) -> Option<&Arc<Session>> {
        self.recorded_session(user_id, queue_id).filter(|session| session.is_live(now))
    }

    /// A user's sessions that have not been ended yet, in order of the queues' ids.
    pub fn sessions_of_user(&self, user_id: &str) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.get(user_id).into_iter().flat_map(|sessions| sessions.values())
    }

    /// A queue's sessions that have not been ended yet, in order of the users' ids, from the one after `after`.
    pub fn sessions_on_queue<'s>(
        &'s self,
        queue_id: &'s str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Arc<Session>> {
        let users = self.queue_sessions.get(queue_id).into_iter();
        users
            .flat_map(move |users| users.range::<_, str>(beyond(after)))
            .filter_map(move |user_id| self.recorded_session(user_id.as_str(), queue_id))
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many sessions there are that have not ended. Those past their expire time count until they are swept.
    pub fn session_count(&self) -> usize {
        self.queue_sessions.values().map(OrdSet::len).sum()
    }

    /// Every session that has not been ended yet, in order of users' and queues' ids, from the first after the session
    /// of `after`, a user and a queue.
    pub fn sessions_after<'s>(&'s self, after: Option<(&'s str, &'s str)>) -> impl Iterator<Item = &'s Arc<Session>> {
        let from = after.map_or(Bound::Unbounded, |(user_id, _)| Bound::Included(user_id));
        self.sessions.range::<_, str>((from, Bound::Unbounded)).flat_map(|(_, sessions)| sessions.values()).skip_while(
            move |session| after.is_some_and(|after| (session.user_id.as_str(), session.queue_id.as_str()) <= after),
        )
    }
}

/// Changing. Each either fits and is done whole, or changes nothing.
impl Tenant {
    fn new(organization: Organization, settings: PermissionSettings, settings_etag: Etag) -> Self {
        Self {
            organization,
            settings,
            settings_etag,
            users: OrdMap::new(),
            user_extensions: OrdMap::new(),
            queues: OrdMap::new(),
            queue_extensions: OrdMap::new(),
            roles: OrdMap::new(),
            queue_roles: OrdMap::new(),
            sessions: OrdMap::new(),
            queue_sessions: OrdMap::new(),
        }
    }

    fn create_user(&mut self, user: &User) -> Result<(), &'static str> {
        if self.users.contains_key(&user.user_id) {
            return Err("the user exists already");
        }
        move_extension(&mut self.user_extensions, &user.user_id, None, user.extension.as_ref())?;
        self.users.insert(user.user_id.clone(), Arc::new(user.clone()));
        Ok(())
    }

    fn update_user(&mut self, user: &User) -> Result<(), &'static str> {
        let before = self.users.get(&user.user_id).ok_or("no such user")?;
        if !user.contact_center_license && !self.roles_held(user.user_id.as_str()).is_empty() {
            return Err("a user who holds a role needs a licence");
        }
        let old = before.extension.clone();
        move_extension(&mut self.user_extensions, &user.user_id, old.as_ref(), user.extension.as_ref())?;
        self.users.insert(user.user_id.clone(), Arc::new(user.clone()));
        Ok(())
    }

    fn delete_user(&mut self, user_id: &UserId) -> Result<(), &'static str> {
        if self.sessions.contains_key(user_id) {
            return Err("the user still has sessions");
        }
        if self.roles.contains_key(user_id) {
            return Err("the user still has roles");
        }
        let user = self.users.remove(user_id).ok_or("no such user")?;
        if let Some(extension) = &user.extension {
            self.user_extensions.remove(extension);
        }
        Ok(())
    }

    fn create_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        if self.queues.contains_key(&queue.queue_id) {
            return Err("the queue exists already");
        }
        move_extension(&mut self.queue_extensions, &queue.queue_id, None, queue.extension.as_ref())?;
        self.queues.insert(queue.queue_id.clone(), Arc::new(queue.clone()));
        Ok(())
    }

    fn update_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        let old = self.queues.get(&queue.queue_id).ok_or("no such queue")?.extension.clone();
        move_extension(&mut self.queue_extensions, &queue.queue_id, old.as_ref(), queue.extension.as_ref())?;
        self.queues.insert(queue.queue_id.clone(), Arc::new(queue.clone()));
        Ok(())
    }

    fn delete_queue(&mut self, queue_id: &QueueId) -> Result<(), &'static str> {
        if self.queue_sessions.contains_key(queue_id) {
            return Err("the queue still has sessions");
        }
        if self.queue_roles.contains_key(queue_id) {
            return Err("the queue still has roles");
        }
        let queue = self.queues.remove(queue_id).ok_or("no such queue")?;
        if let Some(extension) = &queue.extension {
            self.queue_extensions.remove(extension);
        }
        Ok(())
    }

    fn assign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id } = assignment;
        let user = self.users.get(user_id).ok_or("no such user")?;
        if !user.contact_center_license {
            return Err("a user who holds a role needs a licence");
        }
        match queue_id {
            None => {
                if self.organization_roles(user_id.as_str()).contains(*role) {
                    return Err("the role is assigned already");
                }
                let roles = self.roles.entry(user_id.clone()).or_default();
                roles.organization = roles.organization.with(*role);
            }
            Some(_) if *role == Role::ContactAdmin => return Err("CONTACT_ADMIN is never given for a queue"),
            Some(queue_id) => {
                if !self.queues.contains_key(queue_id) {
                    return Err("no such queue");
                }
                let before = self.roles_on_queue(user_id.as_str(), queue_id.as_str());
                if before.contains(*role) {
                    return Err("the role is assigned already");
                }
                let after = before.with(*role);
                self.roles.entry(user_id.clone()).or_default().set_on_queue(queue_id, after);
                self.queue_roles.entry(queue_id.clone()).or_default().insert(user_id.clone(), after);
            }
        }
        Ok(())
    }

    fn unassign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id } = assignment;
        match queue_id {
            None => {
                if !self.organization_roles(user_id.as_str()).contains(*role) {
                    return Err("no such role assignment");
                }
                update_nested(&mut self.roles, user_id, UserRoles::is_empty, |roles| {
                    roles.organization = roles.organization.without(*role);
                });
            }
            Some(queue_id) => {
                let before = self.roles_on_queue(user_id.as_str(), queue_id.as_str());
                if !before.contains(*role) {
                    return Err("no such role assignment");
                }
                let after = before.without(*role);
                update_nested(&mut self.roles, user_id, UserRoles::is_empty, |roles| {
                    roles.set_on_queue(queue_id, after);
                });
                update_nested(&mut self.queue_roles, queue_id, OrdMap::is_empty, |users| {
                    if after.is_empty() {
                        users.remove(user_id);
                    } else {
                        users.insert(user_id.clone(), after);
                    }
                });
            }
        }
        Ok(())
    }

    fn start_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { user_id, queue_id, .. } = session;
        if !self.users.contains_key(user_id) || !self.queues.contains_key(queue_id) {
            return Err("no such user or queue");
        }
        if self.recorded_session(user_id.as_str(), queue_id.as_str()).is_some() {
            return Err("the user has a session on the queue already");
        }
        self.sessions.entry(user_id.clone()).or_default().insert(queue_id.clone(), Arc::new(session.clone()));
        self.queue_sessions.entry(queue_id.clone()).or_default().insert(user_id.clone());
        Ok(())
    }

    fn end_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { session_id, user_id, queue_id, .. } = session;
        let recorded = self.recorded_session(user_id.as_str(), queue_id.as_str());
        if recorded.is_none_or(|recorded| recorded.session_id != *session_id) {
            return Err("no such session");
        }
        update_nested(&mut self.sessions, user_id, OrdMap::is_empty, |sessions| {
            sessions.remove(queue_id);
        });
        update_nested(&mut self.queue_sessions, queue_id, OrdSet::is_empty, |users| {
            users.remove(user_id);
        });
        Ok(())
    }
}

impl UserRoles {
    fn held(&self) -> RoleSet {
        let mut held = self.organization;
        if self.supervisor_queues > 0 {
            held = held.with(Role::Supervisor);
        }
        if self.agent_queues > 0 {
            held = held.with(Role::Agent);
        }
        held
    }

    fn is_empty(&self) -> bool {
        self.organization.is_empty() && self.queues.is_empty()
    }

    fn set_on_queue(&mut self, queue_id: &QueueId, roles: RoleSet) {
        let before =
            if roles.is_empty() { self.queues.remove(queue_id) } else { self.queues.insert(queue_id.clone(), roles) };
        let before = before.unwrap_or_default();
        let recount = |count: u32, role| count + u32::from(roles.contains(role)) - u32::from(before.contains(role));
        self.agent_queues = recount(self.agent_queues, Role::Agent);
        self.supervisor_queues = recount(self.supervisor_queues, Role::Supervisor);
    }
}

fn beyond(after: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

fn expiration(
    organization_id: &OrganizationId,
    session: &Session,
) -> Option<(Timestamp, OrganizationId, UserId, QueueId)> {
    let expire_time = session.expire_time?;
    Some((expire_time, organization_id.clone(), session.user_id.clone(), session.queue_id.clone()))
}

/// Changes an inner collection in place and forgets it when it is empty, so that equal states are equal maps.
fn update_nested<K: Ord + Clone, V: Clone>(
    outer: &mut OrdMap<K, V>,
    key: &K,
    is_empty: impl Fn(&V) -> bool,
    update: impl FnOnce(&mut V),
) {
    if let Some(inner) = outer.get_mut(key) {
        update(inner);
        if is_empty(inner) {
            outer.remove(key);
        }
    }
}

fn move_extension<Id: Clone + PartialEq>(
    index: &mut OrdMap<Extension, Id>,
    owner: &Id,
    old: Option<&Extension>,
    new: Option<&Extension>,
) -> Result<(), &'static str> {
    if new.and_then(|new| index.get(new)).is_some_and(|other| other != owner) {
        return Err("the extension is in use");
    }
    if let Some(old) = old {
        index.remove(old);
    }
    if let Some(new) = new {
        index.insert(new.clone(), owner.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
