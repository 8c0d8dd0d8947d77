//! The connection beside the calls, for reconciling.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    error::PbxError,
    member::{Member, MemberState},
};
use crate::pbx::{
    asterisk::manager::ManagerConnection,
    config::{Config, Manager, PbxKind},
    freeswitch::InboundSocket,
};

/// A connection to the PBX after the login.
#[derive(Debug)]
pub(crate) enum PbxConnection {
    Manager(ManagerConnection),
    EventSocket(InboundSocket),
}

impl PbxConnection {
    /// Connect, and log in.
    pub(crate) async fn open(config: &Config, manager: &Manager) -> Result<Self, PbxError> {
        match &config.kind {
            PbxKind::Asterisk { .. } => Ok(Self::Manager(ManagerConnection::open(manager).await?)),
            PbxKind::FreeSwitch(settings) => Ok(Self::EventSocket(InboundSocket::open(manager, settings).await?)),
        }
    }

    /// Return the members of a queue, or of all queues, by the queue's name. Queues without members are included.
    pub(crate) async fn members(&mut self, queue: Option<&str>) -> Result<BTreeMap<String, Vec<Member>>, PbxError> {
        match self {
            Self::Manager(manager) => manager.members(queue).await,
            Self::EventSocket(socket) => socket.members(queue).await,
        }
    }

    /// Add a member with a state, and with its device from [`Config::member_device`]. An existing member isn't changed,
    /// and is no error.
    pub(crate) async fn add(
        &mut self,
        queue: &str,
        interface: &str,
        device: Option<&str>,
        state: &MemberState,
    ) -> Result<(), PbxError> {
        match self {
            Self::Manager(manager) => manager.add(queue, interface, device, state).await,
            Self::EventSocket(socket) => socket.add(queue, interface, device, state).await,
        }
    }

    /// Set the penalty of a member. A missing member is no error.
    pub(crate) async fn set_penalty(&mut self, queue: &str, interface: &str, penalty: u32) -> Result<(), PbxError> {
        match self {
            Self::Manager(manager) => manager.set_penalty(queue, interface, penalty).await,
            Self::EventSocket(socket) => socket.set_penalty(queue, interface, penalty).await,
        }
    }

    /// Remove a member. A missing member is no error.
    pub(crate) async fn remove(&mut self, queue: &str, interface: &str) -> Result<(), PbxError> {
        match self {
            Self::Manager(manager) => manager.remove(queue, interface).await,
            Self::EventSocket(socket) => socket.remove(queue, interface).await,
        }
    }

    /// Return the lamps that are lit.
    pub(crate) async fn lit_lamps(&mut self) -> Result<BTreeSet<String>, PbxError> {
        match self {
            Self::Manager(manager) => manager.devices_in_use().await,
            Self::EventSocket(socket) => Ok(socket.lit_lamps()),
        }
    }

    /// Light a lamp, or put it out.
    pub(crate) async fn set_lamp(&mut self, lamp: &str, is_lit: bool) -> Result<(), PbxError> {
        match self {
            Self::Manager(manager) => manager.set_device(lamp, is_lit).await,
            Self::EventSocket(socket) => socket.set_lamp(lamp, is_lit).await,
        }
    }

    /// Show the lamps again for which a phone has asked. Asterisk answers such phones itself.
    pub(crate) async fn answer_lamps(&mut self) -> Result<(), PbxError> {
        match self {
            Self::Manager(_) => Ok(()),
            Self::EventSocket(socket) => socket.answer_lamps().await,
        }
    }

    /// Wait until members are added or removed, and return their queues. It is cancel-safe.
    pub(crate) async fn changed_queues(&mut self) -> Result<BTreeSet<String>, PbxError> {
        match self {
            Self::Manager(manager) => manager.changed_queues().await,
            Self::EventSocket(socket) => socket.changed_queues().await,
        }
    }
}
