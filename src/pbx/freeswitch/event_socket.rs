//! The event socket of either direction: commands and their replies, and events between them.
//!
//! FreeSWITCH replies to commands in their order. Its headers are encoded, so dialed text can't imitate a reply.

use std::collections::VecDeque;

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout_at},
};

use super::message::{Message, MessageKind};
use crate::pbx::{connection::error::PbxError, lines::Lines};

/// The length of a line, in bytes. FreeSWITCH sends each variable of a channel in one.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// The number of headers of a message.
const MAX_HEADERS: usize = 8_192;

/// The length of a body, in bytes. A list of 10,000 agents has 6 MB.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The number of events that may wait while a reply is awaited.
const MAX_EVENTS: usize = 10_000;

/// The expected peer.
pub(super) const PEER: &str = "FreeSWITCH's event socket";

/// A connection.
#[derive(Debug)]
pub(super) struct EventSocket {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    partial: Message,
    /// The length of the body that follows the headers in `partial`.
    body_bytes: Option<usize>,
    events: VecDeque<Message>,
    is_broken: bool,
}

impl EventSocket {
    /// Use a connection.
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            lines: Lines::new(reader, MAX_LINE_BYTES),
            writer,
            partial: Message::default(),
            body_bytes: None,
            events: VecDeque::new(),
            is_broken: false,
        }
    }

    /// Return whether a command failed, after which the connection is unusable.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Send a command, and return its reply. The command's lines have no empty line among them.
    pub(super) async fn request(&mut self, command: &str, deadline: Instant) -> Result<Message, PbxError> {
        if self.is_broken {
            return Err(PbxError::Closed);
        }
        // INVARIANT: after a failure the next reply could belong to either command, so no further command is sent.
        self.is_broken = true;
        let exchange = async {
            self.writer.write_all(format!("{command}\n\n").as_bytes()).await?;
            loop {
                let message = self.message().await?;
                match message.kind() {
                    MessageKind::Reply | MessageKind::Answer => return Ok(message),
                    MessageKind::Event | MessageKind::Disconnect if self.events.len() < MAX_EVENTS => {
                        self.events.push_back(message);
                    }
                    _ => return Err(PbxError::OtherPeer(PEER)),
                }
            }
        };
        let reply = timeout_at(deadline, exchange).await.map_err(|_| PbxError::TimedOut)??;
        self.is_broken = false;
        Ok(reply)
    }

    /// Send a command that FreeSWITCH must accept.
    pub(super) async fn command(
        &mut self,
        action: &'static str,
        command: &str,
        deadline: Instant,
    ) -> Result<(), PbxError> {
        let reply = self.request(command, deadline).await?;
        let text = reply.get("Reply-Text");
        if text.starts_with("+OK") {
            return Ok(());
        }
        Err(PbxError::Refused { action, message: text.to_owned() })
    }

    /// Send a command of the API, and return its answer without the line end. A failure of the command is an answer too.
    pub(super) async fn api(&mut self, command: &str, deadline: Instant) -> Result<String, PbxError> {
        if command.contains(char::is_control) {
            return Err(PbxError::Refused { action: "api", message: "the command has a control character".to_owned() });
        }
        let reply = self.request(&format!("api {command}"), deadline).await?;
        match reply.kind() {
            MessageKind::Answer => Ok(reply.body.trim_end().to_owned()),
            _ => Err(PbxError::Refused { action: "api", message: reply.get("Reply-Text").to_owned() }),
        }
    }

    /// Wait for the next event or the notice that the channel is gone. It is cancel-safe.
    pub(super) async fn event(&mut self) -> Result<Message, PbxError> {
        loop {
            let message = match self.events.pop_front() {
                Some(message) => message,
                None => self.message().await?,
            };
            if matches!(message.kind(), MessageKind::Event | MessageKind::Disconnect) {
                return Ok(message);
            }
        }
    }

    /// Wait for the next message. INVARIANT: it is cancel-safe. Received parts stay in `partial`.
    pub(super) async fn message(&mut self) -> Result<Message, PbxError> {
        loop {
            if let Some(bytes) = self.body_bytes {
                let body = self.lines.bytes(bytes).await?.ok_or(PbxError::Closed)?;
                self.body_bytes = None;
                return Ok(Message { body, ..std::mem::take(&mut self.partial) });
            }
            let line = self.lines.next().await?.ok_or(PbxError::Closed)?;
            if !line.is_empty() {
                if self.partial.headers.len() >= MAX_HEADERS {
                    return Err(PbxError::OtherPeer(PEER));
                }
                self.partial.add_line(&line);
                continue;
            }
            match self.partial.get("Content-Length") {
                "" if self.partial.headers.is_empty() => {}
                "" | "0" => return Ok(std::mem::take(&mut self.partial)),
                length => {
                    let bytes = length.parse().ok().filter(|bytes| *bytes <= MAX_BODY_BYTES);
                    self.body_bytes = Some(bytes.ok_or(PbxError::OtherPeer(PEER))?);
                }
            }
        }
    }
}
