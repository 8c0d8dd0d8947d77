//! The specification as a naive model.

use std::collections::{BTreeMap, BTreeSet};

use queuegate::rpc::proto::*;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

pub const USERS: [&str; 5] = ["u1", "u2", "u3", "u4", "nobody"];
pub const QUEUES: [&str; 4] = ["q1", "q2", "q3", "nowhere"];
pub const EXTENSIONS: [&str; 4] = ["", "01", "1", "2"];
pub const KINDS: [QueueKind; 4] = [QueueKind::CallQueue, QueueKind::Inbox, QueueKind::Campaign, QueueKind::RingGroup];
pub const ROLES: [Role; 3] = [Role::ContactAdmin, Role::Supervisor, Role::Agent];

/// Every boolean setting.
pub const SWITCHES: [&str; 11] = [
    "supervisor.access_configuration_portal",
    "supervisor.limit_to_assigned_queues",
    "supervisor.view_queue_settings",
    "supervisor.manage_queue_settings",
    "supervisor.view_pause_reasons",
    "supervisor.manage_pause_reasons",
    "supervisor.view_skills",
    "supervisor.manage_skills",
    "agent.manage_prerecorded_messages",
    "agent.manage_public_canned_messages",
    "agent.create_custom_tags",
];

type Rules = &'static [(Role, &'static [&'static str])];
const A: Role = Role::ContactAdmin;
const S: Role = Role::Supervisor;
const G: Role = Role::Agent;

/// Every permission, whether it is on a queue, and the roles that have it: always, or by any of these settings.
pub const PERMISSIONS: &[(&str, bool, Rules)] = &[
    ("MANAGE_PERMISSIONS", false, &[(A, &[])]),
    ("ASSIGN_LICENSES", false, &[(A, &[])]),
    ("ASSIGN_ROLES", false, &[(A, &[])]),
    ("CONFIGURE_QUEUES", false, &[(A, &[])]),
    ("VIEW_ANALYTICS", false, &[(A, &[]), (S, &[])]),
    ("ACCESS_CONFIGURATION_PORTAL", false, &[(A, &[]), (S, &["supervisor.access_configuration_portal"])]),
    ("VIEW_QUEUE_SETTINGS", true, &[(A, &[]), (S, &[])]),
    ("MANAGE_QUEUE_SETTINGS", true, &[(A, &[]), (S, &["supervisor.manage_queue_settings"])]),
    (
        "VIEW_PAUSE_REASONS",
        false,
        &[(A, &[]), (S, &["supervisor.view_pause_reasons", "supervisor.manage_pause_reasons"])],
    ),
    ("MANAGE_PAUSE_REASONS", false, &[(A, &[]), (S, &["supervisor.manage_pause_reasons"])]),
    ("VIEW_SKILLS", false, &[(A, &[]), (S, &["supervisor.view_skills", "supervisor.manage_skills"])]),
    ("MANAGE_SKILLS", false, &[(A, &[]), (S, &["supervisor.manage_skills"])]),
    ("MONITOR_QUEUE", true, &[(A, &[]), (S, &[])]),
    ("SIGN_IN_AGENTS", true, &[(A, &[]), (S, &[])]),
    ("VIEW_REPORTS", true, &[(S, &[])]),
    ("LISTEN_CALLS", true, &[(S, &[])]),
    ("WHISPER_CALLS", true, &[(S, &[])]),
    ("BARGE_CALLS", true, &[(S, &[])]),
    ("USE_AGENT_DASHBOARD", false, &[(G, &[])]),
    ("ACCEPT_DIRECT_CALLS", false, &[(G, &[])]),
    ("PLACE_OUTBOUND_CALLS", false, &[(G, &[])]),
    ("SERVE_QUEUE", true, &[(G, &[])]),
    ("MANAGE_PRERECORDED_MESSAGES", false, &[(G, &["agent.manage_prerecorded_messages"])]),
    ("MANAGE_PUBLIC_CANNED_MESSAGES", false, &[(G, &["agent.manage_public_canned_messages"])]),
    ("CREATE_CUSTOM_TAGS", false, &[(G, &["agent.create_custom_tags"])]),
];

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

/// The specification as a naive model: lists of facts, searched linearly.
#[derive(Clone, Debug)]
pub struct Model {
    pub now: i64,
    pub restricted: bool,
    /// The settings that are on, except the one above.
    pub on: BTreeSet<&'static str>,
    pub users: BTreeMap<String, UserM>,
    pub queues: BTreeMap<String, QueueM>,
    /// User, queue (empty: the organization), role.
    pub roles: BTreeSet<(String, String, i32)>,
    /// The penalties that aren't 0, of AGENT on a queue: user, queue.
    pub penalties: BTreeMap<(String, String), i32>,
    pub sessions: BTreeMap<(String, String), SessionM>,
    /// The number of imported documents.
    pub imports: usize,
    /// The reasons of the responses to writes.
    pub reasons: BTreeSet<Reason>,
    /// The expected messages of a watch: in or out, user, queue, end reason.
    pub events: Vec<(WatchSessionsType, String, String, EndReason)>,
    /// The effects in previews.
    pub foretold: BTreeSet<&'static str>,
    /// The refusals that the audit log must have.
    pub refusals: Vec<Told>,
    /// The actor of the current write: an acting user or a supervisor. Empty: the system on its own.
    pub actor: String,
}

impl Model {
    /// Set a penalty. Only an AGENT assignment on a queue has one.
    pub fn set_penalty(&mut self, user: &str, queue: &str, penalty: i32) {
        self.penalties.insert((user.into(), queue.into()), penalty);
        self.penalties.retain(|_, penalty| *penalty != 0);
    }

    /// Forget the penalties of assignments that are gone.
    pub fn settle_penalties(&mut self) {
        let roles = &self.roles;
        self.penalties.retain(|(user, queue), _| roles.contains(&(user.clone(), queue.clone(), Role::Agent.into())));
    }
}

/// An event of the audit log: the action, whether it was done, the actor, the user, the queue, and the reason.
pub type Told = (String, bool, String, String, String, String);

impl Default for Model {
    fn default() -> Self {
        Self {
            now: 0,
            restricted: false,
            on: ["supervisor.limit_to_assigned_queues", "supervisor.view_queue_settings"].into(),
            users: BTreeMap::new(),
            queues: BTreeMap::new(),
            roles: BTreeSet::new(),
            penalties: BTreeMap::new(),
            sessions: BTreeMap::new(),
            imports: 0,
            reasons: BTreeSet::new(),
            events: Vec::new(),
            foretold: BTreeSet::new(),
            refusals: Vec::new(),
            actor: String::new(),
        }
    }
}

impl Model {
    /// The reason why a user has a permission or not.
    pub fn permission(&self, user: &str, permission: &str, queue: &str) -> &'static str {
        let (_, about_queue, rules) = PERMISSIONS.iter().find(|(name, ..)| *name == permission).unwrap();
        match self.users.get(user) {
            None => return "UNKNOWN_USER",
            Some(found) if found.disabled => return "USER_DISABLED",
            Some(_) => {}
        }
        if *about_queue && !self.queues.contains_key(queue) {
            return "UNKNOWN_QUEUE";
        }
        let mut answer = "ROLE_REQUIRED";
        for (role, settings) in *rules {
            if !self.holds(user, *role) {
                continue;
            }
            let on = settings.is_empty() || settings.iter().any(|setting| self.on.contains(setting));
            let reached = !about_queue
                || match role {
                    Role::ContactAdmin => true,
                    Role::Supervisor => {
                        !self.on.contains("supervisor.limit_to_assigned_queues")
                            || self.has(user, queue, Role::Supervisor)
                    }
                    _ => {
                        self.has(user, queue, Role::Agent)
                            || self.sessions.contains_key(&(user.to_owned(), queue.to_owned()))
                    }
                };
            answer = match (on, reached) {
                (true, true) => return "GRANTED",
                (true, false) => "QUEUE_NOT_ASSIGNED",
                (false, _) => "SETTING_DISABLED",
            };
        }
        answer
    }

    /// Whether the acting user may not do this; if so, records the refusal.
    pub fn refuses(&mut self, action: &str, permission: Option<&str>, user: &str, queue: &str) -> bool {
        let why = match permission {
            _ if self.actor.is_empty() => return false,
            None => "",
            Some(permission) => match self.permission(&self.actor, permission, "") {
                "GRANTED" => return false,
                why => why,
            },
        };
        let told = (action.to_owned(), false, self.actor.clone(), user.to_owned(), queue.to_owned(), why.to_owned());
        self.refusals.push(told);
        true
    }

    /// The id that a name stands for, or the name itself.
    pub fn user_key(&self, name: &Name) -> String {
        self.user(name).unwrap_or_else(|| name.key())
    }

    pub fn queue_key(&self, name: &Name) -> String {
        self.queue(name).unwrap_or_else(|| name.key())
    }

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
        if !admin
            && self.on.contains("supervisor.limit_to_assigned_queues")
            && !self.has(&supervisor, &queue, Role::Supervisor)
        {
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
    pub fn key(&self) -> String {
        match self {
            Self::Id(name) => name.clone(),
            Self::Extension(name) => format!("ext:{name}"),
        }
    }

    pub fn is(&self, id: &str, extension: &str) -> bool {
        match self {
            Self::Id(name) => name == id,
            Self::Extension(name) => name == extension,
        }
    }

    pub fn random(rng: &mut StdRng, ids: &[&str]) -> Self {
        // No user ever has the last of the ids.
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
