//! The queues, agents and tiers of mod_callcenter, and the commands of the API.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::sync::{broadcast, watch};

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    pub contact: String,
    pub status: String,
}

/// FreeSWITCH.
pub struct Switch {
    queues: Mutex<BTreeSet<String>>,
    agents: Mutex<BTreeMap<String, Agent>>,
    /// The levels of tiers, by queue and agent.
    tiers: Mutex<BTreeMap<(String, String), u32>>,
    static_tiers: Mutex<BTreeSet<(String, String)>>,
    /// The published presences.
    presences: Mutex<BTreeMap<String, String>>,
    /// The executed commands of the API, with their arguments.
    pub executed: Mutex<Vec<String>>,
    /// The events, as texts.
    pub events: broadcast::Sender<String>,
    version: watch::Sender<u64>,
}

const NOT_FOUND: &str = "-ERR Agent not found!";

impl Switch {
    pub fn new(queues: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::new(queues.iter().map(|queue| (*queue).to_owned()).collect()),
            agents: Mutex::default(),
            tiers: Mutex::default(),
            static_tiers: Mutex::default(),
            presences: Mutex::default(),
            executed: Mutex::default(),
            events: broadcast::channel(10_000).0,
            version: watch::channel(0).0,
        })
    }

    /// Return the phones that ring, each as a queue's and a user's number.
    pub fn members(&self) -> BTreeSet<(String, String)> {
        let agents = self.agents.lock().unwrap();
        let rings = |agent: &str| {
            agents.get(agent).is_some_and(|agent| agent.status != "Logged Out" && !agent.contact.is_empty())
        };
        let number = |name: &str| name.split('@').next().unwrap().to_owned();
        let tiers = self.tiers.lock().unwrap();
        tiers.keys().filter(|(_, agent)| rings(agent)).map(|(queue, agent)| (number(queue), number(agent))).collect()
    }

    pub fn agent(&self, name: &str) -> Option<Agent> {
        self.agents.lock().unwrap().get(name).cloned()
    }

    pub fn level(&self, queue: &str, agent: &str) -> Option<u32> {
        self.tiers.lock().unwrap().get(&(queue.to_owned(), agent.to_owned())).copied()
    }

    /// Add a tier of the configuration, with its agent.
    pub fn add_static(&self, queue: &str, agent: &str) {
        self.add_agent(agent);
        let tier = (queue.to_owned(), agent.to_owned());
        self.tiers.lock().unwrap().insert(tier.clone(), 1);
        self.static_tiers.lock().unwrap().insert(tier);
    }

    /// Add an available agent.
    pub fn add_agent(&self, agent: &str) {
        let available = Agent { contact: format!("user/{agent}"), status: "Available".to_owned() };
        self.agents.lock().unwrap().insert(agent.to_owned(), available);
    }

    pub fn drop_queue(&self, queue: &str) {
        self.queues.lock().unwrap().remove(queue);
    }

    /// Drop the agents and the tiers, as a restarted FreeSWITCH does whose database was removed.
    pub fn forget(&self) {
        self.agents.lock().unwrap().clear();
        self.tiers.lock().unwrap().clear();
        self.version.send_modify(|version| *version += 1);
    }

    /// Publish a presence.
    pub fn publish(&self, presence: &str, state: &str) {
        self.presences.lock().unwrap().insert(presence.to_owned(), state.to_owned());
        self.version.send_modify(|version| *version += 1);
    }

    /// Forget the presences, as a phone that subscribes knows none, and ask for one.
    pub fn probe(&self, presence: &str) {
        self.presences.lock().unwrap().clear();
        let _ = self.events.send(format!("Event-Name: PRESENCE_PROBE\nto: {}\n", encoded(presence)));
    }

    /// Wait until something holds after a change.
    pub async fn until(&self, expected: &str, holds: impl Fn(&Self) -> bool) {
        let mut versions = self.version.subscribe();
        let reached = versions.wait_for(|_| holds(self));
        if tokio::time::timeout(super::super::EFFECT_TIMEOUT, reached).await.is_err() {
            panic!("members {:?}, presences {:?}, expected {expected}", self.members(), self.presences.lock().unwrap());
        }
    }

    /// Wait until the members are these.
    pub async fn until_members(&self, expected: &[(&str, &str)]) {
        let wanted: BTreeSet<_> =
            expected.iter().map(|(queue, user)| ((*queue).to_owned(), (*user).to_owned())).collect();
        self.until(&format!("{expected:?}"), |switch| switch.members() == wanted).await;
    }

    /// Wait until the presence has a state.
    pub async fn until_presence(&self, presence: &str, state: &str) {
        let has = |switch: &Self| switch.presences.lock().unwrap().get(presence).is_some_and(|found| found == state);
        self.until(&format!("{presence} {state}"), has).await;
    }

    /// Execute a command of the API, and report it.
    pub fn api(&self, command: &str) -> String {
        self.executed.lock().unwrap().push(command.to_owned());
        let (name, arguments) = command.split_once(' ').unwrap_or((command, ""));
        let answer = match name {
            "callcenter_config" => self.callcenter(&words(arguments)),
            "json" => self.json(arguments),
            "xml_locate" => self.configuration(),
            _ => return format!("-ERR {name} Command not found!\n"),
        };
        let event = format!("Event-Name: API\nAPI-Command: {name}\nAPI-Command-Argument: {}\n", encoded(arguments));
        // There may be no receiver.
        let _ = self.events.send(event);
        self.version.send_modify(|version| *version += 1);
        answer
    }

    fn callcenter(&self, words: &[String]) -> String {
        let mut agents = self.agents.lock().unwrap();
        let mut tiers = self.tiers.lock().unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = match words[..] {
            ["agent", "add", agent, "Callback"] if agents.contains_key(agent) => "-ERR Agent already exist!",
            ["agent", "add", agent, "Callback"] => {
                let new = Agent { contact: String::new(), status: "Logged Out".to_owned() };
                agents.insert(agent.to_owned(), new);
                "+OK"
            }
            ["agent", "del", agent] => {
                agents.remove(agent);
                tiers.retain(|(_, of), _| of != agent);
                "+OK"
            }
            ["agent", "set", key, agent, value] => match (agents.get_mut(agent), key) {
                (None, _) => NOT_FOUND,
                (Some(agent), "contact") => {
                    agent.contact = value.to_owned();
                    "+OK"
                }
                (Some(found), "status")
                    if ["Available", "Available (On Demand)", "On Break", "Logged Out"].contains(&value) =>
                {
                    found.status = value.to_owned();
                    let change =
                        "Event-Name: CUSTOM\nEvent-Subclass: callcenter%3A%3Ainfo\nCC-Action: agent-status-change\n";
                    let _ = self.events.send(format!(
                        "{change}CC-Agent: {}\nCC-Agent-Status: {}\n",
                        encoded(agent),
                        encoded(value)
                    ));
                    "+OK"
                }
                (Some(_), "status") => "-ERR Invalid Agent Status!",
                (Some(_), _) => "-ERR Invalid Agent Update KEY!",
            },
            ["agent", "list", agent] => {
                let Some(Agent { contact, status }) = agents.get(agent) else { return "+OK\n".to_owned() };
                let names = "name|instance_id|uuid|type|contact|status|state|max_no_answer";
                return format!("{names}\n{agent}|single_box||Callback|{contact}|{status}|Waiting|0\n+OK\n");
            }
            ["tier", "add", queue, _, ..] if !self.queues.lock().unwrap().contains(queue) => "-ERR Queue not found!",
            ["tier", "add", _, agent, ..] if !agents.contains_key(agent) => NOT_FOUND,
            ["tier", "add", queue, agent, level, _position] => {
                let tier = (queue.to_owned(), agent.to_owned());
                match tiers.entry(tier) {
                    Entry::Occupied(_) => "-ERR Tier already exist!",
                    Entry::Vacant(place) => {
                        place.insert(level.parse().unwrap());
                        "+OK"
                    }
                }
            }
            ["tier", "del", queue, agent] => {
                tiers.remove(&(queue.to_owned(), agent.to_owned()));
                "+OK"
            }
            ["tier", "set", "level", queue, agent, level] => {
                match tiers.get_mut(&(queue.to_owned(), agent.to_owned())) {
                    Some(present) => {
                        *present = level.parse().unwrap();
                        "+OK"
                    }
                    None => "-ERR Unknown Error!",
                }
            }
            _ => "-ERR Invalid!",
        };
        format!("{answer}\n")
    }

    fn json(&self, text: &str) -> String {
        let request: serde_json::Value = serde_json::from_str(text).unwrap();
        let agents = self.agents.lock().unwrap();
        let tiers = self.tiers.lock().unwrap();
        let rows: Vec<_> = match request["data"]["arguments"].as_str().unwrap() {
            "queue list" => self.queues.lock().unwrap().iter().map(|queue| json!({ "name": queue })).collect(),
            "agent list" => {
                let row = |(name, agent): (&String, &Agent)| match agent.contact.as_str() {
                    // A column without a value is absent.
                    "" => json!({ "name": name, "status": agent.status }),
                    contact => json!({ "name": name, "contact": contact, "status": agent.status }),
                };
                agents.iter().map(row).collect()
            }
            "tier list" => {
                let row = |((queue, agent), level): (&(String, String), &u32)| json!({ "queue": queue, "agent": agent, "level": level.to_string() });
                tiers.iter().map(row).collect()
            }
            other => panic!("{other}"),
        };
        json!({ "command": "callcenter_config", "status": "success", "response": rows }).to_string()
    }

    fn configuration(&self) -> String {
        let tiers = self.static_tiers.lock().unwrap();
        let tiers: String = tiers
            .iter()
            .map(|(queue, agent)| {
                format!("<tier agent=\"{agent}\" queue=\"{queue}\" level=\"1\" position=\"1\"></tier>\n")
            })
            .collect();
        format!("<configuration name=\"callcenter.conf\">\n  <tiers>\n{tiers}  </tiers>\n</configuration>\n")
    }
}

/// Encode a text as FreeSWITCH encodes the values of headers.
pub fn encoded(text: &str) -> String {
    let is_unsafe = |letter: char| letter.is_control() || " \"#%&+:;<=>?@[\\]^`{|}".contains(letter);
    let encode =
        |letter: char| if is_unsafe(letter) { format!("%{:02X}", u32::from(letter)) } else { letter.to_string() };
    text.chars().map(encode).collect()
}

/// Return the words of a command, as `switch_separate_string` reads them.
fn words(arguments: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in arguments.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words
}
