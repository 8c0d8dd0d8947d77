//! FreeSWITCH: the event socket, which FreeSWITCH opens for a call (outbound) and the handler opens for reconciling
//! (inbound), and the verbs of mod_callcenter.
//!
//! A tier of mod_callcenter, an agent in a queue, is a member. The agent's name is the interface, and its contact is the
//! phone that rings. An agent has one status in all queues, so the last tier that is removed also logs the agent out.
//! An agent is never deleted: its settings, such as the wrap-up time, belong to the PBX's administrator.

mod message;
mod event_socket;
mod configuration;
mod callcenter;
mod start;
mod call;
mod changes;
mod inbound;
pub mod settings;

pub(super) use self::{call::CallSocket, inbound::InboundSocket};
