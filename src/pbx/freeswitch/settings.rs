//! The settings of a handler beside FreeSWITCH.

use crate::pbx::names::Interface;

/// The settings that only FreeSWITCH has.
#[derive(Debug, Clone)]
pub struct FreeSwitch {
    /// The template of the contacts that ring, such as `user/{endpoint}@pbx.example.com`.
    pub contact: Interface,
    /// The status of agents who are signed in.
    pub status: AgentStatus,
}

/// The status of an agent who takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    /// The next call comes after the wrap-up time.
    Available,
    /// The next call comes once a program has set the agent's state to waiting.
    OnDemand,
}

impl AgentStatus {
    /// Return the name of mod_callcenter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::OnDemand => "Available (On Demand)",
        }
    }
}
