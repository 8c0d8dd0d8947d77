//! The verbs of mod_callcenter, over an event socket of either direction. Each result is checked.

use std::collections::BTreeSet;

use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    configuration::{Tier, static_tiers},
    event_socket::EventSocket,
    settings::AgentStatus,
};
use crate::pbx::{
    connection::{
        error::PbxError,
        member::{MemberState, MemberStatus},
    },
    names::is_plain,
};

/// The status of an agent without calls.
pub(super) const LOGGED_OUT: &str = "Logged Out";

/// The status of an agent with a pause.
pub(super) const ON_BREAK: &str = "On Break";

/// The pause of an agent who gets a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// It ends, because the agent signs in.
    Ends,
    /// It stays, or begins if the member had one when it was last seen.
    Stays,
}

/// An agent that gets a tier.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewTier<'n> {
    pub queue: &'n str,
    pub agent: &'n str,
    /// The phone that rings. `None`: that of the present agent.
    pub contact: Option<&'n str>,
    /// The status of an agent who takes calls.
    pub status: AgentStatus,
    pub pause: Pause,
    pub state: &'n MemberState,
}

/// A row of the list of tiers.
#[derive(Debug, Deserialize)]
pub(super) struct TierRow {
    pub queue: String,
    pub agent: String,
    #[serde(default)]
    pub level: String,
}

/// A row of the list of agents.
#[derive(Debug, Deserialize)]
pub(super) struct AgentRow {
    pub name: String,
    #[serde(default)]
    pub contact: String,
    #[serde(default)]
    pub status: String,
}

/// A row of the list of queues.
#[derive(Debug, Deserialize)]
pub(super) struct QueueRow {
    pub name: String,
}

/// The answer of `api json`.
#[derive(Deserialize)]
struct JsonAnswer<T> {
    response: Option<T>,
}

/// The result of a command that changes something.
enum Done {
    Yes,
    /// The reason, such as `Tier already exist!`.
    No(String),
}

/// mod_callcenter, for some commands with a common deadline.
#[derive(Debug)]
pub(super) struct Callcenter<'s> {
    socket: &'s mut EventSocket,
    deadline: Instant,
}

impl<'s> Callcenter<'s> {
    /// Use a socket.
    pub(super) fn new(socket: &'s mut EventSocket, deadline: Instant) -> Self {
        Self { socket, deadline }
    }

    /// Add a tier and a missing agent, and make the agent available.
    pub(super) async fn add(&mut self, new: NewTier<'_>) -> Result<MemberStatus, PbxError> {
        let NewTier { queue, agent, contact, status, pause, state } = new;
        let (queue, name) = (word(queue)?, word(agent)?);
        let add_tier = format!("tier add {queue} {name} {} 1", level(state.penalty));
        let mut added = self.change(&add_tier).await?;
        if let Done::No(reason) = &added
            && reason.contains("Agent not found")
        {
            unless(self.change(&format!("agent add {name} Callback")).await?, "already exist", "agent add")?;
            added = self.change(&add_tier).await?;
        }
        let result = match added {
            Done::Yes => MemberStatus::Added,
            Done::No(reason) if reason.contains("already exist") => MemberStatus::AlreadyMember,
            Done::No(reason) if reason.contains("Queue not found") => return Ok(MemberStatus::NoSuchQueue),
            Done::No(message) => return Err(PbxError::Refused { action: "tier add", message }),
        };
        let Some(present) = self.agent(agent).await? else { return Ok(MemberStatus::Unknown) };
        // The end of an earlier handler may have left an agent without a contact.
        if let Some(contact) = contact.filter(|_| present.contact.is_empty()) {
            self.set(agent, "contact", contact).await?;
        }
        let wanted = match (pause, present.status.as_str()) {
            (Pause::Stays, ON_BREAK) => ON_BREAK,
            (Pause::Stays, _) if state.is_paused => ON_BREAK,
            (Pause::Stays | Pause::Ends, _) => status.as_str(),
        };
        // Setting a status that the agent has would hang up the call that rings now.
        if present.status != wanted {
            self.set(agent, "status", wanted).await?;
        }
        Ok(result)
    }

    /// Set the level of a tier. A missing one is no error.
    pub(super) async fn set_penalty(&mut self, queue: &str, agent: &str, penalty: u32) -> Result<(), PbxError> {
        let set = format!("tier set level {} {} {}", word(queue)?, word(agent)?, level(penalty));
        unless(self.change(&set).await?, "not found", "tier set")
    }

    /// Remove a tier. Log the agent out if it was the last one.
    pub(super) async fn remove(
        &mut self,
        queue: &str,
        agent: &str,
        status: AgentStatus,
    ) -> Result<MemberStatus, PbxError> {
        let own = |tier: &TierRow| tier.queue == queue && tier.agent == agent;
        if !self.tiers().await?.iter().any(own) {
            return Ok(MemberStatus::NotMember);
        }
        if self.static_tiers().await?.contains(&(queue.to_owned(), agent.to_owned())) {
            return Ok(MemberStatus::NotDynamic);
        }
        let delete = format!("tier del {} {}", word(queue)?, word(agent)?);
        unless(self.change(&delete).await?, "not found", "tier del")?;
        let has_tier = |tiers: &[TierRow]| tiers.iter().any(|tier| tier.agent == agent);
        if !has_tier(&self.tiers().await?) {
            self.set(agent, "status", LOGGED_OUT).await?;
            // INVARIANT: a sign-in adds its tier before it looks at the status. So either it sees the log-out, or this sees
            // its tier.
            if has_tier(&self.tiers().await?) {
                self.set(agent, "status", status.as_str()).await?;
            }
        }
        Ok(MemberStatus::Removed)
    }

    /// Set the status of an agent. Return `false` for an agent without a tier, or one that is logged out.
    pub(super) async fn set_status(&mut self, agent: &str, status: &str) -> Result<bool, PbxError> {
        let has_tier = self.tiers().await?.iter().any(|tier| tier.agent == agent);
        let Some(present) = self.agent(agent).await?.filter(|present| has_tier && present.status != LOGGED_OUT) else {
            return Ok(false);
        };
        if present.status != status {
            self.set(agent, "status", status).await?;
        }
        Ok(true)
    }

    /// Return all tiers.
    pub(super) async fn tiers(&mut self) -> Result<Vec<TierRow>, PbxError> {
        self.list("tier list").await
    }

    /// Return all agents.
    pub(super) async fn agents(&mut self) -> Result<Vec<AgentRow>, PbxError> {
        self.list("agent list").await
    }

    /// Return all queues.
    pub(super) async fn queues(&mut self) -> Result<Vec<QueueRow>, PbxError> {
        self.list("queue list").await
    }

    /// Return the tiers that are in the configuration, and come back at the next start.
    pub(super) async fn static_tiers(&mut self) -> Result<BTreeSet<Tier>, PbxError> {
        let located = "xml_locate configuration configuration name callcenter.conf";
        Ok(static_tiers(&self.socket.api(located, self.deadline).await?))
    }

    /// Return an agent, or `None` if it doesn't exist.
    async fn agent(&mut self, agent: &str) -> Result<Option<AgentRow>, PbxError> {
        let listed = self.socket.api(&format!("callcenter_config agent list {}", word(agent)?), self.deadline).await?;
        Ok(agent_row(&listed))
    }

    async fn set(&mut self, agent: &str, key: &'static str, value: &str) -> Result<(), PbxError> {
        let command = format!("agent set {key} {} {}", word(agent)?, word(value)?);
        match self.change(&command).await? {
            Done::Yes => Ok(()),
            Done::No(message) => Err(PbxError::Refused { action: "agent set", message }),
        }
    }

    async fn change(&mut self, arguments: &str) -> Result<Done, PbxError> {
        let answer = self.socket.api(&format!("callcenter_config {arguments}"), self.deadline).await?;
        Ok(if answer == "+OK" { Done::Yes } else { Done::No(answer.trim_start_matches("-ERR ").to_owned()) })
    }

    /// Return a list as JSON. The texts of a plain list could contain its separator.
    async fn list<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<Vec<T>, PbxError> {
        let command = format!(r#"json {{"command":"callcenter_config","data":{{"arguments":"{what}"}}}}"#);
        let answer = self.socket.api(&command, self.deadline).await?;
        let rows = serde_json::from_str(&answer).ok().and_then(|answer: JsonAnswer<Vec<T>>| answer.response);
        rows.ok_or_else(|| PbxError::Refused { action: what, message: "is mod_callcenter loaded?".to_owned() })
    }
}

/// Return the level of a tier. The penalty 0 is the first level.
fn level(penalty: u32) -> u32 {
    penalty.saturating_add(1)
}

/// Return the row of a list with one agent. Its contact may contain the separator.
fn agent_row(listed: &str) -> Option<AgentRow> {
    let mut lines = listed.lines();
    let names: Vec<&str> = lines.next()?.split('|').collect();
    let values: Vec<&str> = lines.next()?.split('|').collect();
    let place = |wanted: &str| names.iter().position(|name| *name == wanted);
    let more = values.len().checked_sub(names.len())?;
    let contact = place("contact")?;
    Some(AgentRow {
        name: (*values.get(place("name")?)?).to_owned(),
        contact: values.get(contact..=contact + more)?.join("|"),
        status: (*values.get(place("status")? + more)?).to_owned(),
    })
}

/// Treat a refusal with a harmless reason as success.
fn unless(done: Done, harmless: &str, action: &'static str) -> Result<(), PbxError> {
    match done {
        Done::No(message) if !message.contains(harmless) => Err(PbxError::Refused { action, message }),
        Done::Yes | Done::No(_) => Ok(()),
    }
}

/// Return a text as one word of a command, in quotes if it needs them.
fn word(text: &str) -> Result<String, PbxError> {
    if is_plain(text) {
        return Ok(text.to_owned());
    }
    if text.contains(|letter: char| letter.is_control() || "'\"\\".contains(letter)) {
        let message = format!("`{text}` can't be written in a command");
        return Err(PbxError::Refused { action: "callcenter_config", message });
    }
    Ok(format!("'{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_may_contain_the_separator() {
        let listed =
            "name|instance_id|contact|status|state\n101@pbx|single_box|[a|b]user/101@pbx|On Break|Waiting\n+OK";
        let AgentRow { name, contact, status } = agent_row(listed).unwrap();
        assert_eq!((name.as_str(), contact.as_str(), status.as_str()), ("101@pbx", "[a|b]user/101@pbx", ON_BREAK));
        assert!(agent_row("+OK").is_none());
    }

    #[test]
    fn a_name_is_one_word_of_a_command() {
        assert_eq!(word("101@pbx").unwrap(), "101@pbx");
        assert_eq!(word("Available (On Demand)").unwrap(), "'Available (On Demand)'");
        for text in ["a'b", "a\nb", "a\\b", "\""] {
            assert!(word(text).is_err(), "{text}");
        }
    }
}
