//! The connection to FreeSWITCH's event socket beside the calls, for reconciling and lamps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    callcenter::{Callcenter, LOGGED_OUT, NewTier, ON_BREAK, Pause},
    changes::{EVENTS, FILTERS, QueuesOfAgents},
    event_socket::{EventSocket, PEER},
    message::MessageKind,
    settings::{AgentStatus, FreeSwitch},
};
use crate::pbx::{
    config::{Manager, Secret},
    connection::{
        error::PbxError,
        member::{Member, MemberState, MemberStatus},
    },
};

/// The time limit of an answer from FreeSWITCH.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection after the login.
#[derive(Debug)]
pub(crate) struct InboundSocket {
    socket: EventSocket,
    status: AgentStatus,
    known: QueuesOfAgents,
    /// The lamps that this connection has set, and whether they are lit.
    lamps: BTreeMap<String, bool>,
    /// The lamps whose state a phone has asked for.
    asked_lamps: BTreeSet<String>,
}

impl InboundSocket {
    /// Connect, log in, and ask for events.
    pub(crate) async fn open(manager: &Manager, settings: &FreeSwitch) -> Result<Self, PbxError> {
        let deadline = deadline();
        let connect = timeout_at(deadline, TcpStream::connect(manager.address)).await;
        let mut socket = EventSocket::new(connect.map_err(|_| PbxError::TimedOut)??);
        let greeting = timeout_at(deadline, socket.message()).await.map_err(|_| PbxError::TimedOut)??;
        match greeting.kind() {
            MessageKind::PasswordRequest => {}
            _ if greeting.get("Content-Type") == "text/rude-rejection" => {
                let message = "this address; see `apply-inbound-acl` in event_socket.conf.xml".to_owned();
                return Err(PbxError::Refused { action: "the connection", message });
            }
            _ => return Err(PbxError::OtherPeer(PEER)),
        }
        let Secret(password) = &manager.secret;
        if password.contains(char::is_control) {
            let message = "the password has a control character".to_owned();
            return Err(PbxError::Refused { action: "auth", message });
        }
        socket.command("auth", &format!("auth {password}"), deadline).await?;
        for filter in FILTERS {
            socket.command("filter", &format!("filter {filter}"), deadline).await?;
        }
        socket.command("event", EVENTS, deadline).await?;
        Ok(Self {
            socket,
            status: settings.status,
            known: QueuesOfAgents::default(),
            lamps: BTreeMap::new(),
            asked_lamps: BTreeSet::new(),
        })
    }

    /// Return the members of a queue, or of all queues, by the queue's name. Queues without members are included.
    pub(crate) async fn members(&mut self, queue: Option<&str>) -> Result<BTreeMap<String, Vec<Member>>, PbxError> {
        let mut callcenter = Callcenter::new(&mut self.socket, deadline());
        let queues = callcenter.queues().await?;
        let agents = callcenter.agents().await?;
        let tiers = callcenter.tiers().await?;
        let in_configuration = callcenter.static_tiers().await?;
        let agents: BTreeMap<&str, _> = agents.iter().map(|agent| (agent.name.as_str(), agent)).collect();
        let mut found: BTreeMap<String, Vec<Member>> =
            queues.iter().map(|queue| (queue.name.clone(), Vec::new())).collect();
        self.known = QueuesOfAgents { queues: found.keys().cloned().collect(), by_agent: BTreeMap::new() };
        for tier in tiers {
            let Some(members) = found.get_mut(&tier.queue) else { continue };
            self.known.by_agent.entry(tier.agent.clone()).or_default().insert(tier.queue.clone());
            let agent = agents.get(tier.agent.as_str());
            members.push(Member {
                is_dynamic: !in_configuration.contains(&(tier.queue, tier.agent.clone())),
                state: MemberState {
                    penalty: tier.level.parse::<u32>().unwrap_or(1).saturating_sub(1),
                    name: String::new(),
                    is_paused: agent.is_some_and(|agent| agent.status == ON_BREAK),
                    pause_reason: String::new(),
                },
                is_invalid: false,
                is_logged_out: agent.is_none_or(|agent| agent.status == LOGGED_OUT || agent.contact.is_empty()),
                interface: tier.agent,
            });
        }
        found.retain(|name, _| queue.is_none_or(|queue| queue.eq_ignore_ascii_case(name)));
        Ok(found)
    }

    /// Add a tier with a state. An existing tier isn't changed, and is no error.
    pub(crate) async fn add(
        &mut self,
        queue: &str,
        agent: &str,
        contact: Option<&str>,
        state: &MemberState,
    ) -> Result<(), PbxError> {
        let new = NewTier { queue, agent, contact, status: self.status, pause: Pause::Stays, state };
        match Callcenter::new(&mut self.socket, deadline()).add(new).await? {
            MemberStatus::NoSuchQueue => {
                Err(PbxError::Refused { action: "tier add", message: "Queue not found!".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Set the penalty of a tier. A missing one is no error.
    pub(crate) async fn set_penalty(&mut self, queue: &str, agent: &str, penalty: u32) -> Result<(), PbxError> {
        Callcenter::new(&mut self.socket, deadline()).set_penalty(queue, agent, penalty).await
    }

    /// Remove a tier. A missing one is no error.
    pub(crate) async fn remove(&mut self, queue: &str, agent: &str) -> Result<(), PbxError> {
        Callcenter::new(&mut self.socket, deadline()).remove(queue, agent, self.status).await.map(drop)
    }

    /// Return the lamps that this connection has lit. FreeSWITCH keeps none, so all are set again after a new connection.
    pub(crate) fn lit_lamps(&self) -> BTreeSet<String> {
        self.lamps.iter().filter(|(_, is_lit)| **is_lit).map(|(lamp, _)| lamp.clone()).collect()
    }

    /// Light a lamp, or put it out: publish the presence of `USER@DOMAIN` or `PROTOCOL+USER@DOMAIN`.
    pub(crate) async fn set_lamp(&mut self, lamp: &str, is_lit: bool) -> Result<(), PbxError> {
        self.lamps.insert(lamp.to_owned(), is_lit);
        let (protocol, user) = lamp.split_once('+').unwrap_or(("sip", lamp));
        let (status, rpid, channel, answer) = if is_lit {
            ("Signed in", "active", "CS_ROUTING", "confirmed")
        } else {
            ("Idle", "unknown", "CS_HANGUP", "terminated")
        };
        let command = format!(
            "sendevent PRESENCE_IN\nproto: {protocol}\nlogin: {user}\nfrom: {user}\nforce-status: {status}\nrpid: {rpid}\n\
             event_type: presence\nalt_event_type: dialog\nevent_count: 0\nchannel-state: {channel}\nanswer-state: {answer}\n\
             unique-id: {lamp}\npresence-call-direction: inbound"
        );
        self.socket.command("sendevent", &command, deadline()).await
    }

    /// Publish the lamps again for which a phone has asked.
    pub(crate) async fn answer_lamps(&mut self) -> Result<(), PbxError> {
        for lamp in std::mem::take(&mut self.asked_lamps) {
            if let Some(is_lit) = self.lamps.get(&lamp).copied() {
                self.set_lamp(&lamp, is_lit).await?;
            }
        }
        Ok(())
    }

    /// Wait until members or lamps may have changed, and return the queues of such members. It is cancel-safe.
    pub(crate) async fn changed_queues(&mut self) -> Result<BTreeSet<String>, PbxError> {
        loop {
            let event = self.socket.event().await?.event();
            if event.get("Event-Name") == "PRESENCE_PROBE" {
                self.asked_lamps.insert(event.get("to").to_owned());
                return Ok(BTreeSet::new());
            }
            let queues = self.known.changed_by(&event);
            if !queues.is_empty() {
                return Ok(queues);
            }
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + RESPONSE_TIMEOUT
}
