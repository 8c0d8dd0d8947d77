//! Asterisk's manager interface (AMI), as far as queues and their members go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use uuid::Uuid;

use super::{
    config::{Manager, Secret},
    lines::{self, Lines},
};

/// How long Asterisk may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a line may be, in bytes, and how many a message may have.
const LONGEST_LINE: usize = 16 * 1024;
const MOST_LINES: usize = 256;

/// Why the manager interface is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Lines(#[from] lines::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("Asterisk took too long")]
    Late,
    #[error("this is no Asterisk manager")]
    Stranger,
    #[error("Asterisk refused {action}: {message}")]
    Refused { action: &'static str, message: String },
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Lines(error.into())
    }
}

/// What Asterisk says in one piece: an answer, or an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Message(Vec<(String, String)>);

impl Message {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// A member of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    pub interface: String,
    /// Whether it was added while Asterisk ran, and can be removed again.
    pub is_dynamic: bool,
    pub standing: Standing,
    /// Whether Asterisk knows of no such phone.
    pub is_invalid: bool,
}

/// What a queue keeps of a member, and forgets with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    pub penalty: u32,
    pub is_paused: bool,
    pub pause_reason: String,
}

/// What `Status` says of a member whose phone there isn't.
const INVALID: &str = "4";

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Connection {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    begun: Message,
    /// Queues of which members came or went.
    touched: BTreeSet<String>,
}

impl Connection {
    /// Connects, and logs in.
    pub(super) async fn open(manager: &Manager) -> Result<Self, Error> {
        let stream = timeout(PATIENCE, TcpStream::connect(manager.address)).await.map_err(|_| Error::Late)??;
        let (reader, writer) = stream.into_split();
        let lines = Lines::new(reader, LONGEST_LINE);
        let mut connection = Self { lines, writer, begun: Message::default(), touched: BTreeSet::new() };
        let greeting = timeout(PATIENCE, connection.lines.next()).await.map_err(|_| Error::Late)??;
        if !greeting.ok_or(Error::Closed)?.starts_with("Asterisk Call Manager/") {
            return Err(Error::Stranger);
        }
        let Secret(secret) = &manager.secret;
        connection.ask("Login", &[("Username", &manager.user), ("Secret", secret), ("Events", "on")]).await?;
        Ok(connection)
    }

    /// The members of a queue, or of all, by the queue's name. Queues without any are there too.
    pub(super) async fn members(&mut self, queue: Option<&str>) -> Result<BTreeMap<String, Vec<Member>>, Error> {
        let fields: Vec<_> = queue.iter().map(|queue| ("Queue", *queue)).collect();
        let id = self.ask("QueueStatus", &fields).await?;
        let mut found: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        loop {
            let message = self.reply(&id).await?;
            let queue = message.get("Queue").to_owned();
            match message.get("Event") {
                "QueueParams" => drop(found.entry(queue).or_default()),
                "QueueMember" => found.entry(queue).or_default().push(Member {
                    interface: message.get("Location").to_owned(),
                    is_dynamic: message.get("Membership") == "dynamic",
                    standing: Standing {
                        penalty: message.get("Penalty").parse().unwrap_or_default(),
                        is_paused: message.get("Paused") == "1",
                        pause_reason: message.get("PausedReason").to_owned(),
                    },
                    is_invalid: message.get("Status") == INVALID,
                }),
                "QueueStatusComplete" => return Ok(found),
                _ => {}
            }
        }
    }

    /// Adds a member as it stood before. That it is there already is no error.
    pub(super) async fn add(
        &mut self,
        queue: &str,
        interface: &str,
        state: Option<&str>,
        standing: &Standing,
    ) -> Result<(), Error> {
        let Standing { penalty, is_paused, pause_reason } = standing;
        let penalty = penalty.to_string();
        let mut fields = vec![("Queue", queue), ("Interface", interface), ("Penalty", penalty.as_str())];
        fields.extend(state.map(|state| ("StateInterface", state)));
        fields.extend(is_paused.then_some(("Paused", "true")));
        unless(self.ask("QueueAdd", &fields).await, "Already there")?;
        if *is_paused && !pause_reason.is_empty() {
            let fields = [("Queue", queue), ("Interface", interface), ("Paused", "true"), ("Reason", pause_reason)];
            self.ask("QueuePause", &fields).await?;
        }
        Ok(())
    }

    /// Removes a member. That it isn't there is no error.
    pub(super) async fn remove(&mut self, queue: &str, interface: &str) -> Result<(), Error> {
        unless(self.ask("QueueRemove", &[("Queue", queue), ("Interface", interface)]).await, "Not there")
    }

    /// Waits until members came or went, and says in which queues. Giving up the wait loses nothing.
    pub(super) async fn touched(&mut self) -> Result<BTreeSet<String>, Error> {
        while self.touched.is_empty() {
            self.message().await?;
        }
        Ok(std::mem::take(&mut self.touched))
    }

    /// Asks for something, and gives the id that everything about it bears, once Asterisk has agreed.
    async fn ask(&mut self, action: &'static str, fields: &[(&str, &str)]) -> Result<String, Error> {
        // INVARIANT: nobody can guess it. What somebody dialed stands in events, line ends included, and may look like an answer.
        let id = format!("queuegate-{}", Uuid::new_v4().simple());
        let mut text = format!("Action: {action}\r\nActionID: {id}\r\n");
        for (name, value) in fields {
            // Nothing that is configured or read has a line end; one would begin another header.
            let value = value.replace(['\r', '\n'], "");
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        timeout(PATIENCE, self.writer.write_all(text.as_bytes())).await.map_err(|_| Error::Late)??;
        let answer = self.reply(&id).await?;
        if answer.get("Response") == "Success" {
            Ok(id)
        } else {
            Err(Error::Refused { action, message: answer.get("Message").to_owned() })
        }
    }

    /// The next message about something that was asked for.
    async fn reply(&mut self, id: &str) -> Result<Message, Error> {
        let wait = async {
            loop {
                let message = self.message().await?;
                if message.get("ActionID") == id {
                    return Ok(message);
                }
            }
        };
        timeout(PATIENCE, wait).await.map_err(|_| Error::Late)?
    }

    /// The next message. INVARIANT: giving up the wait loses nothing.
    async fn message(&mut self) -> Result<Message, Error> {
        loop {
            let line = self.lines.next().await?.ok_or(Error::Closed)?;
            if line.is_empty() {
                let message = std::mem::take(&mut self.begun);
                if matches!(message.get("Event"), "QueueMemberAdded" | "QueueMemberRemoved") {
                    self.touched.insert(message.get("Queue").to_owned());
                }
                return Ok(message);
            }
            if self.begun.0.len() >= MOST_LINES {
                return Err(Error::Stranger);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            self.begun.0.push((name.to_owned(), value.trim_start().to_owned()));
        }
    }
}

/// Success, or a refusal that comes to the same.
fn unless(asked: Result<String, Error>, harmless: &str) -> Result<(), Error> {
    match asked {
        Err(Error::Refused { message, .. }) if message.contains(harmless) => Ok(()),
        asked => asked.map(drop),
    }
}
