//! The queues of the PBX, and the applications that change their members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Semaphore, broadcast, watch};

/// The origin of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Static,
    Dynamic,
}

/// A change of a queue's members, as in the manager's event.
#[derive(Debug, Clone)]
pub struct Change {
    pub event: &'static str,
    pub queue: String,
    pub interface: String,
}

/// The PBX: its queues and their members.
pub struct Pbx {
    queues: Mutex<BTreeMap<String, BTreeMap<String, Membership>>>,
    /// The paused members, with the reason.
    pub paused_members: Mutex<BTreeMap<(String, String), String>>,
    /// The penalties of members that have one.
    pub penalties: Mutex<BTreeMap<(String, String), u32>>,
    /// The names of members that have one.
    pub names: Mutex<BTreeMap<(String, String), String>>,
    /// The states of custom devices. They survive a restart.
    pub devices: Mutex<BTreeMap<String, String>>,
    /// Whether the manager's user may not read or set devices.
    pub refuses_devices: AtomicBool,
    /// The executed applications, with their arguments.
    pub executed: Mutex<Vec<String>>,
    pub changes: broadcast::Sender<Change>,
    /// Whether `app_queue` is loaded. Otherwise its applications set no variables.
    pub has_queue_applications: AtomicBool,
    /// The number of paused calls (`Mishap::Paused`).
    pub paused: watch::Sender<usize>,
    /// A permit for each paused call that may continue.
    pub go_on: Semaphore,
    version: watch::Sender<u64>,
}

impl Pbx {
    pub fn new(queues: &[&str]) -> Arc<Self> {
        let queues = queues.iter().map(|queue| ((*queue).to_owned(), BTreeMap::new())).collect();
        Arc::new(Self {
            queues: Mutex::new(queues),
            paused_members: Mutex::default(),
            penalties: Mutex::default(),
            names: Mutex::default(),
            devices: Mutex::default(),
            refuses_devices: AtomicBool::new(false),
            executed: Mutex::default(),
            changes: broadcast::channel(10_000).0,
            has_queue_applications: AtomicBool::new(true),
            paused: watch::channel(0).0,
            go_on: Semaphore::new(0),
            version: watch::channel(0).0,
        })
    }

    pub fn queue_names(&self) -> Vec<String> {
        self.queues.lock().unwrap().keys().cloned().collect()
    }

    pub fn members_of(&self, queue: &str) -> Option<BTreeMap<String, Membership>> {
        self.queues.lock().unwrap().get(queue).cloned()
    }

    /// Return the members, each as a queue and an interface.
    pub fn members(&self) -> BTreeSet<(String, String)> {
        let queues = self.queues.lock().unwrap();
        let members =
            queues.iter().flat_map(|(queue, members)| members.keys().map(|member| (queue.clone(), member.clone())));
        members.collect()
    }

    pub fn add_static(&self, queue: &str, interface: &str) {
        let mut queues = self.queues.lock().unwrap();
        queues.get_mut(queue).unwrap().insert(interface.to_owned(), Membership::Static);
    }

    pub fn add_queue(&self, queue: &str) {
        self.queues.lock().unwrap().entry(queue.to_owned()).or_default();
    }

    pub fn drop_queue(&self, queue: &str) {
        self.queues.lock().unwrap().remove(queue);
    }

    /// Add a member, and return the AQMSTATUS.
    pub fn add(&self, queue: &str, interface: &str) -> &'static str {
        let mut queues = self.queues.lock().unwrap();
        let Some(members) = queues.get_mut(queue) else { return "NOSUCHQUEUE" };
        if members.contains_key(interface) {
            return "MEMBERALREADY";
        }
        members.insert(interface.to_owned(), Membership::Dynamic);
        drop(queues);
        self.publish("QueueMemberAdded", queue, interface);
        "ADDED"
    }

    /// Remove a member, and return the RQMSTATUS.
    pub fn remove(&self, queue: &str, interface: &str) -> &'static str {
        let mut queues = self.queues.lock().unwrap();
        let Some(members) = queues.get_mut(queue) else { return "NOSUCHQUEUE" };
        match members.get(interface) {
            None => return "NOTINQUEUE",
            Some(Membership::Static) => return "NOTDYNAMIC",
            Some(Membership::Dynamic) => members.remove(interface),
        };
        drop(queues);
        self.forget_state(queue, interface);
        self.publish("QueueMemberRemoved", queue, interface);
        "REMOVED"
    }

    /// Drop the pause and the penalty of a removed member.
    fn forget_state(&self, queue: &str, interface: &str) {
        let key = (queue.to_owned(), interface.to_owned());
        self.paused_members.lock().unwrap().remove(&key);
        self.penalties.lock().unwrap().remove(&key);
    }

    /// Set the penalty and the name of a member.
    pub fn describe(&self, queue: &str, interface: &str, penalty: u32, name: &str) {
        let key = (queue.to_owned(), interface.to_owned());
        self.penalties.lock().unwrap().insert(key.clone(), penalty);
        self.names.lock().unwrap().insert(key, name.to_owned());
        self.version.send_modify(|version| *version += 1);
    }

    /// Wait until a member has this penalty and this name.
    pub async fn until_described(&self, queue: &str, interface: &str, penalty: u32, name: &str) {
        let key = (queue.to_owned(), interface.to_owned());
        let described = || {
            let penalty = self.penalties.lock().unwrap().get(&key).copied();
            (penalty.unwrap_or_default(), self.names.lock().unwrap().get(&key).cloned().unwrap_or_default())
        };
        let mut versions = self.version.subscribe();
        let reached = versions.wait_for(|_| described() == (penalty, name.to_owned()));
        if tokio::time::timeout(crate::agi::EFFECT_TIMEOUT, reached).await.is_err() {
            panic!("{:?}, expected {penalty} {name}", described());
        }
    }

    pub fn is_paused(&self, queue: &str, interface: &str) -> bool {
        self.paused_members.lock().unwrap().contains_key(&(queue.to_owned(), interface.to_owned()))
    }

    pub fn pause(&self, queue: &str, interface: &str, reason: &str) {
        self.paused_members.lock().unwrap().insert((queue.to_owned(), interface.to_owned()), reason.to_owned());
    }

    /// Drop the dynamic members, as a restarted Asterisk does without `persistentmembers`.
    pub fn forget_dynamic_members(&self) {
        for members in self.queues.lock().unwrap().values_mut() {
            members.retain(|_, membership| *membership == Membership::Static);
        }
        self.paused_members.lock().unwrap().clear();
        self.penalties.lock().unwrap().clear();
        self.version.send_modify(|version| *version += 1);
    }

    /// Wait until the members are these.
    pub async fn until_members(&self, expected: &[(&str, &str)]) {
        let expected: BTreeSet<_> =
            expected.iter().map(|(queue, member)| ((*queue).to_owned(), (*member).to_owned())).collect();
        let mut versions = self.version.subscribe();
        let reached = versions.wait_for(|_| self.members() == expected);
        if tokio::time::timeout(crate::agi::EFFECT_TIMEOUT, reached).await.is_err() {
            panic!("members {:?}, expected {expected:?}", self.members());
        }
    }

    /// Set the state of a custom device.
    pub fn set_device(&self, device: &str, state: &str) {
        self.devices.lock().unwrap().insert(device.to_owned(), state.to_owned());
        self.version.send_modify(|version| *version += 1);
    }

    /// Wait until exactly these custom devices are in use.
    pub async fn until_lit(&self, expected: &[&str]) {
        let lit = || {
            let devices = self.devices.lock().unwrap();
            devices.iter().filter(|(_, state)| *state == "INUSE").map(|(device, _)| device.clone()).collect::<Vec<_>>()
        };
        let mut versions = self.version.subscribe();
        let reached = versions.wait_for(|_| lit() == expected);
        if tokio::time::timeout(crate::agi::EFFECT_TIMEOUT, reached).await.is_err() {
            panic!("lit {:?}, expected {expected:?}", lit());
        }
    }

    fn publish(&self, event: &'static str, queue: &str, interface: &str) {
        // There may be no receiver.
        let _ = self.changes.send(Change { event, queue: queue.to_owned(), interface: interface.to_owned() });
        self.version.send_modify(|version| *version += 1);
    }

    pub fn execute(&self, application: &str, arguments: &str, variables: &mut BTreeMap<String, String>) -> i32 {
        self.executed.lock().unwrap().push(format!("{application}({arguments})"));
        if !self.has_queue_applications.load(Ordering::SeqCst) {
            return -2;
        }
        let mut words = arguments.split(',');
        let (queue, interface) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match application {
            "AddQueueMember" => {
                let status = self.add(queue, interface);
                if status == "ADDED" {
                    let (penalty, name) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
                    self.describe(queue, interface, penalty.parse().unwrap_or_default(), name);
                }
                drop(variables.insert("AQMSTATUS".to_owned(), status.to_owned()));
            }
            "RemoveQueueMember" => {
                drop(variables.insert("RQMSTATUS".to_owned(), self.remove(queue, interface).to_owned()));
            }
            // Without a queue they change the member in all queues.
            "PauseQueueMember" | "UnpauseQueueMember" => {
                let is_pause = application == "PauseQueueMember";
                let members = self.members();
                let found: Vec<_> =
                    members.iter().filter(|(of, who)| (queue.is_empty() || of == queue) && who == interface).collect();
                let reason = words.nth(1).unwrap_or_default();
                for (of, who) in &found {
                    if is_pause {
                        self.pause(of, who, reason);
                    } else {
                        self.paused_members.lock().unwrap().remove(&(of.clone(), who.clone()));
                    }
                }
                let (variable, status) = match (is_pause, found.is_empty()) {
                    (true, false) => ("PQMSTATUS", "PAUSED"),
                    (true, true) => ("PQMSTATUS", "NOTFOUND"),
                    (false, false) => ("UPQMSTATUS", "UNPAUSED"),
                    (false, true) => ("UPQMSTATUS", "NOTFOUND"),
                };
                variables.insert(variable.to_owned(), status.to_owned());
            }
            _ => return -2,
        }
        0
    }
}
