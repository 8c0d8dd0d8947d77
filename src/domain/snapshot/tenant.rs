//! One organization and everything in it, with the indexes that decisions need.

use std::{ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};

use super::{
    Member,
    named::{HasNames, Named, after_in, in_either},
    role_holders::{RoleHolders, keep},
    slots::{Slot, Slots},
};
use crate::domain::{
    change::Etag,
    ids::{Extension, QueueId, QueueRef, UserId, UserRef},
    model::{Organization, Queue, Role, RoleAssignment, RoleSet, Session, User},
    settings::{PermissionSettings, Switch},
    time::Timestamp,
};

/// One organization and everything in it.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub(super) organization: Organization,
    pub(super) settings: PermissionSettings,
    pub(super) settings_etag: Etag,
    pub(super) members: Named<Member>,
    pub(super) queues: Named<Place>,
    pub(super) slots: Slots,
    pub(super) role_holders: RoleHolders,
    /// Whoever has a session that has not been ended yet.
    pub(super) session_holders: OrdSet<UserId>,
    /// The same by queue. INVARIANT: a queue on which nobody has one isn't there. They aren't kept with the queue, because then
    /// it would be copied, and found anew, whenever somebody signs in.
    pub(super) session_holders_on: OrdMap<Slot, OrdSet<UserId>>,
    /// How many sessions there are.
    pub(super) sessions: usize,
}

/// A queue, and who has a role on it.
#[derive(Debug, Clone)]
pub struct Place {
    pub(super) queue: Queue,
    /// What members name it by.
    pub(super) slot: Slot,
    pub(super) role_holders: OrdSet<UserId>,
}

impl HasNames for Member {
    type Id = UserId;

    fn id(&self) -> &UserId {
        &self.user().user_id
    }

    fn extension(&self) -> &Option<Extension> {
        &self.user().extension
    }
}

impl HasNames for Place {
    type Id = QueueId;

    fn id(&self) -> &QueueId {
        &self.queue.queue_id
    }

    fn extension(&self) -> &Option<Extension> {
        &self.queue.extension
    }
}

impl Place {
    /// The queue's own attributes.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// The same organization, with the same in it. Queues may have other slots.
impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            organization,
            settings,
            settings_etag,
            members,
            queues,
            slots,
            role_holders,
            session_holders,
            session_holders_on,
            sessions,
        } = self;
        let is_same_queue = |own: &Place, others: &Place| {
            let Place { queue, slot, role_holders } = own;
            (queue, role_holders, session_holders_on.get(slot))
                == (&others.queue, &others.role_holders, other.session_holders_on.get(&others.slot))
        };
        *organization == other.organization
            && *settings == other.settings
            && *settings_etag == other.settings_etag
            && members.is_same(&other.members, |one, another| one.is_same(slots, another, &other.slots))
            && queues.is_same(&other.queues, is_same_queue)
            && *role_holders == other.role_holders
            && *session_holders == other.session_holders
            && session_holders_on.len() == other.session_holders_on.len()
            && *sessions == other.sessions
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

    /// The user that a caller named, with everything that hangs on them.
    pub fn member(&self, user: &UserRef) -> Option<&Member> {
        match user {
            UserRef::Id(id) => self.members.get(id.as_str()),
            UserRef::Extension(extension) => self.members.with_extension(extension),
        }
    }

    /// The user with this id, with everything that hangs on them.
    pub fn member_by_id(&self, user_id: &str) -> Option<&Member> {
        self.members.get(user_id)
    }

    /// The user that a caller named.
    pub fn user(&self, user: &UserRef) -> Option<&User> {
        self.member(user).map(Member::user)
    }

    /// The user with this id.
    pub fn user_by_id(&self, user_id: &str) -> Option<&User> {
        self.members.get(user_id).map(Member::user)
    }

    /// Whose extension this is.
    pub fn user_with_extension(&self, extension: &Extension) -> Option<&UserId> {
        self.members.with_extension(extension).map(HasNames::id)
    }

    /// Users in order of their ids, from the one after `after`, with everything that hangs on them.
    pub fn members_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Member> {
        self.members.after(after)
    }

    /// Users in order of their ids, from the one after `after`.
    pub fn users_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s User> {
        self.members.after(after).map(Member::user)
    }

    /// The queue that a caller named, with who has a role on it.
    pub fn place(&self, queue: &QueueRef) -> Option<&Place> {
        match queue {
            QueueRef::Id(id) => self.queues.get(id.as_str()),
            QueueRef::Extension(extension) => self.queues.with_extension(extension),
        }
    }

    /// The queue with this id, with who has a role on it.
    pub fn place_by_id(&self, queue_id: &str) -> Option<&Place> {
        self.queues.get(queue_id)
    }

    /// The queue that a caller named.
    pub fn queue(&self, queue: &QueueRef) -> Option<&Queue> {
        self.place(queue).map(Place::queue)
    }

    /// The queue with this id.
    pub fn queue_by_id(&self, queue_id: &str) -> Option<&Queue> {
        self.queues.get(queue_id).map(Place::queue)
    }

    /// Whose extension this is.
    pub fn queue_with_extension(&self, extension: &Extension) -> Option<&QueueId> {
        self.queues.with_extension(extension).map(HasNames::id)
    }

    /// Queues in order of their ids, from the one after `after`, with who has a role on them.
    pub fn places_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Place> {
        self.queues.after(after)
    }

    /// Queues in order of their ids, from the one after `after`.
    pub fn queues_after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s Queue> {
        self.queues.after(after).map(Place::queue)
    }

    /// The queues on which a member has a role or a session, in order of their ids, from the one after `after`.
    pub fn places_of<'s>(&'s self, member: &'s Member, after: Option<&'s str>) -> impl Iterator<Item = &'s Place> {
        let ids = member.queues(&self.slots).filter(move |id| after.is_none_or(|after| id.as_str() > after));
        ids.filter_map(|id| self.queues.get(id.as_str()))
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// On how many queues a user has a SUPERVISOR assignment.
    pub fn supervised_queues(&self, user_id: &str) -> usize {
        self.members.get(user_id).map_or(0, Member::supervised_queues)
    }

    /// The roles that a user holds: those for the organization, and those that any queue assignment confers
    /// (`SEMANTICS.md` section 1).
    pub fn roles_held(&self, user_id: &str) -> RoleSet {
        self.members.get(user_id).map(Member::roles_held).unwrap_or_default()
    }

    /// The roles that a user holds for the organization.
    pub fn organization_roles(&self, user_id: &str) -> RoleSet {
        self.members.get(user_id).map(|member| member.organization_roles).unwrap_or_default()
    }

    /// The roles that a user holds on one queue.
    pub fn roles_on_queue(&self, user_id: &str, queue_id: &str) -> RoleSet {
        let found = self.members.get(user_id).zip(self.queues.get(queue_id));
        found.map(|(member, place)| member.roles_on(place)).unwrap_or_default()
    }

    /// Whether the user is assigned to the queue: has an AGENT assignment on it.
    pub fn is_assigned(&self, user_id: &str, queue_id: &str) -> bool {
        self.roles_on_queue(user_id, queue_id).contains(Role::Agent)
    }

    /// A user's roles on queues, in order of the queues' ids.
    pub fn queue_roles_of_user(&self, user_id: &str) -> impl Iterator<Item = (&QueueId, RoleSet)> {
        self.members.get(user_id).into_iter().flat_map(|member| member.queue_roles(&self.slots))
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
        queue_id: &'s str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s UserId, RoleSet)> {
        let roles_on =
            |place, user_id: &UserId| self.members.get(user_id.as_str()).map(|member| member.roles_on(place));
        self.queues.get(queue_id).into_iter().flat_map(move |place| {
            let holders = after_in(&place.role_holders, after);
            holders.map(move |user_id| (user_id, roles_on(place, user_id).unwrap_or_default()))
        })
    }

    /// The users with roles or a session on a queue, in order of their ids, from the one after `after`.
    pub fn members_on<'s>(&'s self, place: &'s Place, after: Option<&'s str>) -> impl Iterator<Item = &'s Member> {
        let ids = in_either(after_in(&place.role_holders, after), self.session_holders_on(place, after));
        ids.filter_map(|user_id| self.members.get(user_id.as_str()))
    }

    fn session_holders_on<'s>(
        &'s self,
        place: &Place,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s UserId> + use<'s> {
        self.session_holders_on.get(&place.slot).into_iter().flat_map(move |holders| after_in(holders, after))
    }

    /// The users who hold any role, in order of their ids.
    pub fn users_with_roles<'s>(&'s self, from: Bound<&'s str>) -> impl Iterator<Item = &'s UserId> {
        self.role_holders.of_any(from)
    }

    /// The users who hold this role, in order of their ids.
    pub fn users_with_role<'s>(&'s self, role: Role, from: Bound<&'s str>) -> impl Iterator<Item = &'s UserId> {
        self.role_holders.of(role, from)
    }

    /// The session of a user on a queue that has not been ended yet, live or expired. Decisions want
    /// [`Tenant::live_session`].
    pub fn recorded_session(&self, user_id: &str, queue_id: &str) -> Option<&Arc<Session>> {
        self.members.get(user_id)?.recorded_session(queue_id)
    }

    /// The live session of a user on a queue.
    pub fn live_session(&self, user_id: &str, queue_id: &str, now: Timestamp) -> Option<&Arc<Session>> {
        self.recorded_session(user_id, queue_id).filter(|session| session.is_live(now))
    }

    /// A user's sessions that have not been ended yet, in order of the queues' ids.
    pub fn sessions_of_user(&self, user_id: &str) -> impl Iterator<Item = &Arc<Session>> {
        self.members.get(user_id).into_iter().flat_map(Member::sessions)
    }

    /// A queue's sessions that have not been ended yet, in order of the users' ids, from the one after `after`.
    pub fn sessions_on_queue<'s>(
        &'s self,
        queue_id: &'s str,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Arc<Session>> {
        let holders =
            self.queues.get(queue_id).into_iter().flat_map(move |place| self.session_holders_on(place, after));
        holders.filter_map(move |user_id| self.recorded_session(user_id.as_str(), queue_id))
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.members.len()
    }

    /// How many sessions there are that have not ended. Those past their expire time count until they are swept.
    pub fn session_count(&self) -> usize {
        self.sessions
    }

    /// Every session that has not been ended yet, in order of users' and queues' ids, from the first after the session
    /// of `after`, a user and a queue.
    pub fn sessions_after<'s>(&'s self, after: Option<(&'s str, &'s str)>) -> impl Iterator<Item = &'s Arc<Session>> {
        let from = after.map_or(Bound::Unbounded, |(user_id, _)| Bound::Included(user_id));
        let holders = self.session_holders.range::<_, str>((from, Bound::Unbounded));
        holders.flat_map(|user_id| self.sessions_of_user(user_id.as_str())).skip_while(move |session| {
            after.is_some_and(|after| (session.user_id.as_str(), session.queue_id.as_str()) <= after)
        })
    }
}

/// Changing. Each either fits and is done whole, or changes nothing.
impl Tenant {
    pub(super) fn new(organization: Organization, settings: PermissionSettings, settings_etag: Etag) -> Self {
        Self {
            organization,
            settings,
            settings_etag,
            members: Named::new(),
            queues: Named::new(),
            slots: Slots::default(),
            role_holders: RoleHolders::default(),
            session_holders: OrdSet::new(),
            session_holders_on: OrdMap::new(),
            sessions: 0,
        }
    }

    pub(super) fn create_user(&mut self, user: &User) -> Result<(), &'static str> {
        if self.members.contains(user.user_id.as_str()) {
            return Err("the user exists already");
        }
        self.members.insert(Member::new(user.clone()))
    }

    pub(super) fn update_user(&mut self, user: &User) -> Result<(), &'static str> {
        let member = self.members.get(user.user_id.as_str()).ok_or("no such user")?;
        if !user.contact_center_license && member.has_roles() {
            return Err("a user who holds a role needs a licence");
        }
        let mut member = member.clone();
        member.user = User { user_id: member.user.user_id.clone(), ..user.clone() };
        self.members.replace(member)
    }

    pub(super) fn delete_user(&mut self, user_id: &UserId) -> Result<(), &'static str> {
        let member = self.members.get(user_id.as_str()).ok_or("no such user")?;
        if member.has_sessions() {
            return Err("the user still has sessions");
        }
        if member.has_roles() {
            return Err("the user still has roles");
        }
        self.members.remove(user_id.as_str());
        Ok(())
    }

    pub(super) fn create_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        if self.queues.contains(queue.queue_id.as_str()) {
            return Err("the queue exists already");
        }
        let slot = self.slots.next()?;
        self.queues.insert(Place { queue: queue.clone(), slot, role_holders: OrdSet::new() })?;
        self.slots.take(queue.queue_id.clone());
        Ok(())
    }

    pub(super) fn update_queue(&mut self, queue: &Queue) -> Result<(), &'static str> {
        let place = self.queues.get(queue.queue_id.as_str()).ok_or("no such queue")?;
        let queue = Queue { queue_id: place.queue.queue_id.clone(), ..queue.clone() };
        self.queues.replace(Place { queue, ..place.clone() })
    }

    pub(super) fn delete_queue(&mut self, queue_id: &QueueId) -> Result<(), &'static str> {
        let place = self.queues.get(queue_id.as_str()).ok_or("no such queue")?;
        if self.session_holders_on.contains_key(&place.slot) {
            return Err("the queue still has sessions");
        }
        if !place.role_holders.is_empty() {
            return Err("the queue still has roles");
        }
        self.slots.give_back(place.slot);
        self.queues.remove(queue_id.as_str());
        Ok(())
    }

    pub(super) fn assign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id } = assignment;
        let member = self.members.get(user_id.as_str()).ok_or("no such user")?;
        if !member.user.contact_center_license {
            return Err("a user who holds a role needs a licence");
        }
        match queue_id {
            None => {
                if member.organization_roles.contains(*role) {
                    return Err("the role is assigned already");
                }
                let roles = member.organization_roles.with(*role);
                self.set_roles(user_id, None, roles)
            }
            Some(_) if *role == Role::ContactAdmin => Err("CONTACT_ADMIN is never given for a queue"),
            Some(queue_id) => {
                let before = self.roles_on_queue(user_id.as_str(), queue_id.as_str());
                if before.contains(*role) {
                    return Err("the role is assigned already");
                }
                self.set_roles(user_id, Some(queue_id), before.with(*role))
            }
        }
    }

    pub(super) fn unassign_role(&mut self, assignment: &RoleAssignment) -> Result<(), &'static str> {
        let RoleAssignment { user_id, role, queue_id } = assignment;
        let before = match queue_id {
            None => self.organization_roles(user_id.as_str()),
            Some(queue_id) => self.roles_on_queue(user_id.as_str(), queue_id.as_str()),
        };
        if !before.contains(*role) {
            return Err("no such role assignment");
        }
        self.set_roles(user_id, queue_id.as_ref(), before.without(*role))
    }

    /// Says which roles a user has for the organization, or on a queue.
    fn set_roles(&mut self, user_id: &UserId, queue_id: Option<&QueueId>, roles: RoleSet) -> Result<(), &'static str> {
        let mut member = self.members.get(user_id.as_str()).ok_or("no such user")?.clone();
        // Kept are the ids that are there already: there may be millions of assignments.
        let own_id = member.user.user_id.clone();
        match queue_id {
            None => member.organization_roles = roles,
            Some(queue_id) => {
                let mut place = self.queues.get(queue_id.as_str()).ok_or("no such queue")?.clone();
                member.set_on_queue(&place, roles, &self.slots);
                keep(&mut place.role_holders, &own_id, !roles.is_empty());
                self.queues.put(place);
            }
        }
        self.role_holders.note(&own_id, member.roles_held());
        self.members.put(member);
        Ok(())
    }

    pub(super) fn start_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { user_id, queue_id, .. } = session;
        let (Some(member), Some(place)) = (self.members.get(user_id.as_str()), self.queues.get(queue_id.as_str()))
        else {
            return Err("no such user or queue");
        };
        if member.recorded_session(queue_id.as_str()).is_some() {
            return Err("the user has a session on the queue already");
        }
        let mut member = member.clone();
        let own_id = member.user.user_id.clone();
        let session = Session {
            user_id: own_id.clone(),
            queue_id: place.queue.queue_id.clone(),
            signed_in_by: if session.signed_in_by == own_id { own_id.clone() } else { session.signed_in_by.clone() },
            ..session.clone()
        };
        if !member.has_sessions() {
            self.session_holders.insert(own_id.clone());
        }
        self.session_holders_on.entry(place.slot).or_default().insert(own_id);
        member.add_session(place.slot, Arc::new(session));
        self.sessions += 1;
        self.members.put(member);
        Ok(())
    }

    pub(super) fn end_session(&mut self, session: &Session) -> Result<(), &'static str> {
        let Session { session_id, user_id, queue_id, .. } = session;
        let (Some(member), Some(place)) = (self.members.get(user_id.as_str()), self.queues.get(queue_id.as_str()))
        else {
            return Err("no such session");
        };
        if member.recorded_session(queue_id.as_str()).is_none_or(|recorded| recorded.session_id != *session_id) {
            return Err("no such session");
        }
        let mut member = member.clone();
        member.remove_session(place.slot);
        if let Some(holders) = self.session_holders_on.get_mut(&place.slot) {
            holders.remove(user_id);
            if holders.is_empty() {
                self.session_holders_on.remove(&place.slot);
            }
        }
        if !member.has_sessions() {
            self.session_holders.remove(user_id);
        }
        self.sessions -= 1;
        self.members.put(member);
        Ok(())
    }
}
