//! A client of Asterisk's manager interface (AMI), for queues and their members.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::pbx::{
    config::{Manager, Secret},
    connection::{
        error::PbxError,
        member::{Member, MemberState},
    },
    lines::Lines,
    names::CUSTOM,
};

/// The time limit of a response from Asterisk.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The expected peer.
const PEER: &str = "an Asterisk manager";

/// The length of a line, in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The number of lines of a message.
const MAX_LINES: usize = 256;

/// A message from Asterisk: a response or an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Message(Vec<(String, String)>);

impl Message {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// The `Status` of a member whose phone doesn't exist.
const INVALID: &str = "4";

/// The state of a device that a lamp shows as lit.
const IN_USE: &str = "INUSE";

/// A connection in plain text or with TLS.
trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Stream for S {}

/// A connection after the login.
#[derive(Debug)]
pub(crate) struct ManagerConnection {
    lines: Lines<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
    partial: Message,
    /// The queues to which members were added, or from which they were removed.
    changed_queues: BTreeSet<String>,
}

impl ManagerConnection {
    /// Connect, and log in.
    pub(crate) async fn open(manager: &Manager) -> Result<Self, PbxError> {
        let stream =
            timeout(RESPONSE_TIMEOUT, TcpStream::connect(manager.address)).await.map_err(|_| PbxError::TimedOut)??;
        let stream: Box<dyn Stream> = match &manager.tls {
            None => Box::new(stream),
            Some(tls) => {
                let encrypted = timeout(RESPONSE_TIMEOUT, tls.connect(stream)).await;
                Box::new(encrypted.map_err(|_| PbxError::TimedOut)?.map_err(PbxError::Tls)?)
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let lines = Lines::new(reader, MAX_LINE_BYTES);
        let mut connection = Self { lines, writer, partial: Message::default(), changed_queues: BTreeSet::new() };
        let greeting = timeout(RESPONSE_TIMEOUT, connection.lines.next()).await.map_err(|_| PbxError::TimedOut)??;
        if !greeting.ok_or(PbxError::Closed)?.starts_with("Asterisk Call Manager/") {
            return Err(PbxError::OtherPeer(PEER));
        }
        let Secret(secret) = &manager.secret;
        connection.request("Login", &[("Username", &manager.user), ("Secret", secret), ("Events", "on")]).await?;
        Ok(connection)
    }

    /// Return the members of a queue, or of all queues, by the queue's name. Queues without members are included.
    pub(crate) async fn members(&mut self, queue: Option<&str>) -> Result<BTreeMap<String, Vec<Member>>, PbxError> {
        let fields: Vec<_> = queue.iter().map(|queue| ("Queue", *queue)).collect();
        let id = self.request("QueueStatus", &fields).await?;
        let mut found: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        loop {
            let message = self.next_about(&id).await?;
            let queue = message.get("Queue").to_owned();
            match message.get("Event") {
                "QueueParams" => drop(found.entry(queue).or_default()),
                "QueueMember" => found.entry(queue).or_default().push(Member {
                    interface: message.get("Location").to_owned(),
                    is_dynamic: message.get("Membership") == "dynamic",
                    state: MemberState {
                        penalty: message.get("Penalty").parse().unwrap_or_default(),
                        name: message.get("Name").to_owned(),
                        is_paused: message.get("Paused") == "1",
                        pause_reason: message.get("PausedReason").to_owned(),
                    },
                    is_invalid: message.get("Status") == INVALID,
                    is_logged_out: false,
                }),
                "QueueStatusComplete" => return Ok(found),
                _ => {}
            }
        }
    }

    /// Add a member with a state. An existing member isn't changed, and is no error.
    pub(crate) async fn add(
        &mut self,
        queue: &str,
        interface: &str,
        state_interface: Option<&str>,
        state: &MemberState,
    ) -> Result<(), PbxError> {
        let MemberState { penalty, name, is_paused, pause_reason } = state;
        let penalty = penalty.to_string();
        let mut fields = vec![("Queue", queue), ("Interface", interface), ("Penalty", penalty.as_str())];
        fields.extend((!name.is_empty()).then_some(("MemberName", name.as_str())));
        fields.extend(state_interface.map(|device| ("StateInterface", device)));
        fields.extend(is_paused.then_some(("Paused", "true")));
        unless(self.request("QueueAdd", &fields).await, "Already there")?;
        if *is_paused && !pause_reason.is_empty() {
            let fields = [("Queue", queue), ("Interface", interface), ("Paused", "true"), ("Reason", pause_reason)];
            self.request("QueuePause", &fields).await?;
        }
        Ok(())
    }

    /// Set the penalty of a member. A missing member is no error.
    pub(crate) async fn set_penalty(&mut self, queue: &str, interface: &str, penalty: u32) -> Result<(), PbxError> {
        let penalty = penalty.to_string();
        let fields = [("Queue", queue), ("Interface", interface), ("Penalty", penalty.as_str())];
        unless(self.request("QueuePenalty", &fields).await, "Invalid interface")
    }

    /// Remove a member. A missing member is no error.
    pub(crate) async fn remove(&mut self, queue: &str, interface: &str) -> Result<(), PbxError> {
        unless(self.request("QueueRemove", &[("Queue", queue), ("Interface", interface)]).await, "Not there")
    }

    /// Return the custom devices that are in use.
    pub(crate) async fn devices_in_use(&mut self) -> Result<BTreeSet<String>, PbxError> {
        let id = self.request("DeviceStateList", &[]).await?;
        let mut found = BTreeSet::new();
        loop {
            let message = self.next_about(&id).await?;
            match message.get("Event") {
                "DeviceStateChange" if message.get("Device").starts_with(CUSTOM) && message.get("State") == IN_USE => {
                    found.insert(message.get("Device").to_owned());
                }
                "DeviceStateListComplete" => return Ok(found),
                _ => {}
            }
        }
    }

    /// Set the state of a custom device.
    pub(crate) async fn set_device(&mut self, device: &str, is_in_use: bool) -> Result<(), PbxError> {
        let variable = format!("DEVICE_STATE({device})");
        let state = if is_in_use { IN_USE } else { "NOT_INUSE" };
        self.request("Setvar", &[("Variable", &variable), ("Value", state)]).await.map(drop)
    }

    /// Wait until members are added or removed, and return their queues. It is cancel-safe.
    pub(crate) async fn changed_queues(&mut self) -> Result<BTreeSet<String>, PbxError> {
        while self.changed_queues.is_empty() {
            self.message().await?;
        }
        Ok(std::mem::take(&mut self.changed_queues))
    }

    /// Send an action, and return its id once Asterisk has accepted it. All messages about the action contain the id.
    async fn request(&mut self, action: &'static str, fields: &[(&str, &str)]) -> Result<String, PbxError> {
        // INVARIANT: nobody can guess the id. Events contain dialed text with its line ends, which could imitate a
        // response.
        let id = format!("queuegate-{}", Uuid::new_v4().simple());
        let mut text = format!("Action: {action}\r\nActionID: {id}\r\n");
        for (name, value) in fields {
            // No configured or received value has a line end. One would start another header.
            let value = value.replace(['\r', '\n'], "");
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let send = async {
            self.writer.write_all(text.as_bytes()).await?;
            self.writer.flush().await
        };
        timeout(RESPONSE_TIMEOUT, send).await.map_err(|_| PbxError::TimedOut)??;
        let response = self.next_about(&id).await?;
        if response.get("Response") == "Success" {
            Ok(id)
        } else {
            Err(PbxError::Refused { action, message: response.get("Message").to_owned() })
        }
    }

    /// Wait for the next message about an action.
    async fn next_about(&mut self, id: &str) -> Result<Message, PbxError> {
        let wait = async {
            loop {
                let message = self.message().await?;
                if message.get("ActionID") == id {
                    return Ok(message);
                }
            }
        };
        timeout(RESPONSE_TIMEOUT, wait).await.map_err(|_| PbxError::TimedOut)?
    }

    /// Wait for the next message. INVARIANT: it is cancel-safe. Received lines stay in `partial`.
    async fn message(&mut self) -> Result<Message, PbxError> {
        loop {
            let line = self.lines.next().await?.ok_or(PbxError::Closed)?;
            if line.is_empty() {
                let message = std::mem::take(&mut self.partial);
                if matches!(message.get("Event"), "QueueMemberAdded" | "QueueMemberRemoved") {
                    self.changed_queues.insert(message.get("Queue").to_owned());
                }
                return Ok(message);
            }
            if self.partial.0.len() >= MAX_LINES {
                return Err(PbxError::OtherPeer(PEER));
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            self.partial.0.push((name.to_owned(), value.trim_start().to_owned()));
        }
    }
}

/// Treat a refusal with a harmless message as success.
fn unless(response: Result<String, PbxError>, harmless: &str) -> Result<(), PbxError> {
    match response {
        Err(PbxError::Refused { message, .. }) if message.contains(harmless) => Ok(()),
        response => response.map(drop),
    }
}
