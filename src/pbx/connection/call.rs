//! The connection of one call.

use std::time::Duration;

use tokio::{net::TcpStream, time::Instant};

use super::{
    error::PbxError,
    member::{ChannelOrigin, MemberChange, MemberStatus},
    start::CallStart,
};
use crate::pbx::{
    asterisk::agi::{AgiConnection, AgiError},
    config::{Config, PbxKind},
    freeswitch::CallSocket,
};

/// A failure after which the connection is unusable. Whether the PBX carried out the last command is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Agi(#[from] AgiError),
    #[error(transparent)]
    EventSocket(#[from] PbxError),
}

/// A call's connection to the PBX.
#[derive(Debug)]
pub(crate) enum CallConnection {
    Agi(AgiConnection),
    EventSocket(CallSocket),
}

impl CallConnection {
    /// Start the time limit of a call. The time that a person takes doesn't count.
    pub(crate) fn new(stream: TcpStream, config: &Config) -> Self {
        match &config.kind {
            PbxKind::Asterisk { .. } => Self::Agi(AgiConnection::new(stream, config.deadline)),
            PbxKind::FreeSwitch(settings) => Self::EventSocket(CallSocket::new(stream, config.deadline, settings)),
        }
    }

    /// Return the deadline for requests to queuegate. It leaves time to report the result to the PBX.
    pub(crate) fn request_deadline(&self) -> Instant {
        match self {
            Self::Agi(agi) => agi.request_deadline(),
            Self::EventSocket(socket) => socket.request_deadline(),
        }
    }

    /// Return whether the caller still listens, as far as the PBX has reported.
    pub(crate) fn has_caller(&self) -> bool {
        match self {
            Self::Agi(agi) => agi.has_caller(),
            Self::EventSocket(socket) => socket.has_caller(),
        }
    }

    /// Read the start of the call.
    pub(crate) async fn start(&mut self) -> Result<CallStart, CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.start().await?),
            Self::EventSocket(socket) => Ok(socket.start().await?),
        }
    }

    /// Ask the PBX whether this is the channel of the call's start, and whether its phone dialed.
    pub(crate) async fn channel_origin(&mut self, channel: &str) -> Result<ChannelOrigin, CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.channel_origin(channel).await?),
            Self::EventSocket(socket) => Ok(socket.channel_origin()),
        }
    }

    /// Change a member of a queue. An empty queue stands for all queues; only a pause and its end take it.
    pub(crate) async fn change_member(
        &mut self,
        queue: &str,
        interface: &str,
        change: MemberChange<'_>,
    ) -> Result<MemberStatus, CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.change_member(queue, interface, change).await?),
            Self::EventSocket(socket) => Ok(socket.change_member(queue, interface, change).await?),
        }
    }

    /// Set a channel variable.
    pub(crate) async fn set(&mut self, name: &str, value: &str) -> Result<(), CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.set(name, value).await?),
            Self::EventSocket(socket) => Ok(socket.set(name, value).await?),
        }
    }

    /// Play a sound if there is a caller.
    pub(crate) async fn play(&mut self, sound: &str) -> Result<(), CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.play(sound).await?),
            Self::EventSocket(socket) => Ok(socket.play(sound).await?),
        }
    }

    /// Play a sound and read digits from the caller. Return `None` if there is no caller.
    pub(crate) async fn digits(
        &mut self,
        sound: &str,
        pause: Duration,
        max_digits: u32,
    ) -> Result<Option<String>, CallError> {
        match self {
            Self::Agi(agi) => Ok(agi.digits(sound, pause, max_digits).await?),
            Self::EventSocket(socket) => Ok(socket.digits(sound, pause, max_digits).await?),
        }
    }
}
