//! The specification, as plainly as it can be written.

use std::collections::{BTreeMap, BTreeSet};

use queuegate::rpc::proto::*;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

pub const USERS: [&str; 5] = ["u1", "u2", "u3", "u4", "nobody"];
pub const QUEUES: [&str; 4] = ["q1", "q2", "q3", "nowhere"];
pub const EXTENSIONS: [&str; 4] = ["", "01", "1", "2"];
pub const KINDS: [QueueKind; 4] = [QueueKind::CallQueue, QueueKind::Inbox, QueueKind::Campaign, QueueKind::RingGroup];
pub const ROLES: [Role; 3] = [Role::ContactAdmin, Role::Supervisor, Role::Agent];

#[derive(Clone, Default, PartialEq, Debug)]
pub struct UserM {
    pub extension: String,
    pub license: bool,
    pub disabled: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct QueueM {
    pub extension: String,
    pub kind: QueueKind,
}

#[derive(Clone, PartialEq, Debug)]
pub struct SessionM {
    pub channel: Channel,
    pub basis: Basis,
    pub by: String,
    pub expires: Option<i64>,
}

/// The specification, as plainly as it can be written: lists of facts, searched from end to end.
#[derive(Default, Debug)]
pub struct Model {
    pub now: i64,
    pub restricted: bool,
    pub unlimited_supervisors: bool,
    pub users: BTreeMap<String, UserM>,
    pub queues: BTreeMap<String, QueueM>,
    /// User, queue (empty: the organization), role.
    pub roles: BTreeSet<(String, String, i32)>,
    pub sessions: BTreeMap<(String, String), SessionM>,
    /// How many documents were imported.
    pub imports: usize,
    /// The reasons that writes were answered with.
    pub reasons: BTreeSet<Reason>,
    /// What a watch must have sent: in or out, user, queue, end reason.
    pub events: Vec<(WatchSessionsType, String, String, EndReason)>,
}

impl Model {
    pub fn holds(&self, user: &str, role: Role) -> bool {
        self.roles.iter().any(|(u, _, r)| u == user && *r == i32::from(role))
    }

    pub fn has(&self, user: &str, queue: &str, role: Role) -> bool {
        self.roles.contains(&(user.into(), queue.into(), role.into()))
    }

    pub fn user(&self, name: &Name) -> Option<String> {
        self.users.iter().find(|(id, user)| name.is(id, &user.extension)).map(|(id, _)| id.clone())
    }

    pub fn queue(&self, name: &Name) -> Option<String> {
        self.queues.iter().find(|(id, queue)| name.is(id, &queue.extension)).map(|(id, _)| id.clone())
    }

    pub fn decide(&self, user: &Name, queue: &Name, channel: Channel, with_session: bool) -> Reason {
        let Some(user) = self.user(user) else { return Reason::UnknownUser };
        if self.users[&user].disabled {
            return Reason::UserDisabled;
        }
        let Some(queue) = self.queue(queue) else { return Reason::UnknownQueue };
        let reached = match self.queues[&queue].kind {
            QueueKind::CallQueue => true,
            QueueKind::Inbox | QueueKind::Campaign => channel == Channel::AgentDashboard,
            _ => false,
        };
        if !reached {
            return Reason::QueueKindNotSupported;
        }
        if channel == Channel::AgentDashboard && !self.holds(&user, Role::Agent) {
            return Reason::AgentRoleRequired;
        }
        if with_session && self.sessions.contains_key(&(user.clone(), queue.clone())) {
            return Reason::AlreadySignedIn;
        }
        if self.has(&user, &queue, Role::Agent) {
            return Reason::Assigned;
        }
        if self.restricted { Reason::UnassignedRestricted } else { Reason::UnassignedAllowed }
    }

    pub fn decide_supervisor(&self, supervisor: &Name, user: &Name, queue: &Name, sign_in: bool) -> Reason {
        let Some(supervisor) = self.user(supervisor) else { return Reason::UnknownSupervisor };
        if self.users[&supervisor].disabled {
            return Reason::SupervisorDisabled;
        }
        let Some(user) = self.user(user) else { return Reason::UnknownUser };
        if sign_in && self.users[&user].disabled {
            return Reason::UserDisabled;
        }
        let Some(queue) = self.queue(queue) else { return Reason::UnknownQueue };
        if self.queues[&queue].kind == QueueKind::RingGroup {
            return Reason::QueueKindNotSupported;
        }
        let admin = self.holds(&supervisor, Role::ContactAdmin);
        if !admin && !self.holds(&supervisor, Role::Supervisor) {
            return Reason::SupervisorRoleRequired;
        }
        if !admin && !self.unlimited_supervisors && !self.has(&supervisor, &queue, Role::Supervisor) {
            return Reason::SupervisorQueueNotAssigned;
        }
        match (sign_in, self.sessions.contains_key(&(user, queue))) {
            (true, true) => Reason::AlreadySignedIn,
            (true, false) => Reason::SupervisorSignIn,
            (false, _) => Reason::SupervisorSignOut,
        }
    }

    pub fn retained(&self, (user, queue): &(String, String), session: &SessionM) -> bool {
        session.basis != Basis::Supervisor
            && self.decide(&Name::Id(user.clone()), &Name::Id(queue.clone()), session.channel, false)
                == Reason::UnassignedRestricted
    }

    pub fn start(&mut self, user: String, queue: String, session: SessionM) {
        self.events.push((WatchSessionsType::SignedIn, user.clone(), queue.clone(), EndReason::Unspecified));
        assert!(self.sessions.insert((user, queue), session).is_none());
    }

    pub fn end(&mut self, wanted: impl Fn(&str, &str) -> bool, reason: EndReason) -> Vec<(String, String)> {
        let ended: Vec<_> = self.sessions.keys().filter(|(user, queue)| wanted(user, queue)).cloned().collect();
        for (user, queue) in &ended {
            self.sessions.remove(&(user.clone(), queue.clone()));
            self.events.push((WatchSessionsType::SignedOut, user.clone(), queue.clone(), reason));
        }
        ended
    }

    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
        let mut due: Vec<_> =
            self.sessions.iter().filter_map(|(key, session)| Some((session.expires?, key.clone()))).collect();
        due.retain(|(expires, _)| *expires <= self.now);
        due.sort();
        for (_, (user, queue)) in due {
            self.end(|u, q| u == user && q == queue, EndReason::Expired);
        }
    }
}

#[derive(Clone, Debug)]
pub enum Name {
    Id(String),
    Extension(String),
}

impl Name {
    pub fn is(&self, id: &str, extension: &str) -> bool {
        match self {
            Self::Id(name) => name == id,
            Self::Extension(name) => name == extension,
        }
    }

    pub fn random(rng: &mut StdRng, ids: &[&str]) -> Self {
        // The last of the ids is one that nobody ever has.
        let known = &ids[..ids.len() - 1];
        if rng.random_bool(0.85) {
            Self::Id((*known.choose(rng).unwrap()).into())
        } else if rng.random_bool(0.5) {
            Self::Id((*ids.last().unwrap()).into())
        } else {
            Self::Extension((*EXTENSIONS[1..].choose(rng).unwrap()).into())
        }
    }
}
