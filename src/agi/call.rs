//! One call: the connection that Asterisk opened for it, with a deadline, since Asterisk itself waits for ever.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    lines::{self, Lines},
    protocol::{self, Application, Command, Environment, LONGEST_LINE, Line, MOST_USAGE_LINES, Malformed, Reply},
};

/// How long a person may take for a prompt, or for digits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which part of the time is kept for telling Asterisk the answer, whatever became of the question.
const KEPT: u32 = 4;

/// Why nothing more can be said to Asterisk. What it was asked last may have been carried out or not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Lines(#[from] lines::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("Asterisk took too long")]
    Late,
    #[error("`{0}` can't be said to Asterisk")]
    Unspeakable(String),
}

/// How the queue took a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberStatus {
    Added,
    AlreadyMember,
    Removed,
    NotMember,
    NoSuchQueue,
    /// The member is written down in `queues.conf`, and stays.
    NotDynamic,
    /// The member takes calls again.
    Unpaused,
    /// Nothing that Asterisk is known to say.
    Other,
}

/// What Asterisk says of a call's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouched {
    /// It is the channel that the environment named, and its phone dialed.
    Dialed,
    /// It is that channel, and somebody else sent it here.
    Transferred,
    /// It is another channel, or Asterisk doesn't say.
    Stranger,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    deadline: Instant,
    time: Duration,
    has_caller: bool,
    is_lost: bool,
}

impl Call {
    /// A call that has so much time, not counting what its caller takes.
    pub(super) fn new(connection: TcpStream, time: Duration) -> Self {
        let (reader, writer) = connection.into_split();
        let lines = Lines::new(reader, LONGEST_LINE);
        Self { lines, writer, deadline: Instant::now() + time, time, has_caller: true, is_lost: false }
    }

    /// Until when others may be asked, so that there is time to tell Asterisk.
    pub(super) fn question_deadline(&self) -> Instant {
        self.deadline - self.time / KEPT
    }

    /// Whether the caller still listens, as far as it is known.
    pub(super) fn has_caller(&self) -> bool {
        self.has_caller && !self.is_lost
    }

    /// Reads what Asterisk says of the call.
    pub(super) async fn environment(&mut self) -> Result<Environment, Lost> {
        let mut environment = Environment::default();
        let deadline = self.deadline;
        while !environment.take(&self.line(deadline).await?)? {}
        Ok(environment)
    }

    /// Whether the channel is the one that the environment named, and dialed by itself. What was dialed could have said another
    /// channel, and could have ended the environment early; what Asterisk says then is no reply, or not to this question.
    pub(super) async fn vouched(&mut self, channel: &str) -> Result<Vouched, Lost> {
        let word = Uuid::new_v4().simple().to_string();
        let Reply::Done(_, Some(said)) = self.ask(Command::GetChannel(&word)).await? else {
            return Ok(Vouched::Stranger);
        };
        let marks = said.strip_suffix(&format!(" {word}")).and_then(|said| said.strip_prefix(channel));
        Ok(match marks {
            Some("") => Vouched::Dialed,
            Some(_) => Vouched::Transferred,
            None => Vouched::Stranger,
        })
    }

    /// Adds a member to a queue, or removes one, and reads how that went.
    pub(super) async fn change_member(
        &mut self,
        application: Application,
        arguments: &str,
    ) -> Result<MemberStatus, Lost> {
        // A status from before, of another queue, must not be taken for this one's.
        self.set(application.status_variable(), "").await?;
        match self.ask(Command::Exec(application, arguments)).await? {
            Reply::Done(..) => {}
            Reply::NoCaller | Reply::Refused(_) => return Ok(MemberStatus::Other),
        }
        let status = match self.ask(Command::GetVariable(application.status_variable())).await? {
            Reply::Done(_, status) => status.unwrap_or_default(),
            Reply::NoCaller | Reply::Refused(_) => String::new(),
        };
        Ok(match status.as_str() {
            "ADDED" => MemberStatus::Added,
            "MEMBERALREADY" => MemberStatus::AlreadyMember,
            "REMOVED" => MemberStatus::Removed,
            "NOTINQUEUE" => MemberStatus::NotMember,
            "NOSUCHQUEUE" => MemberStatus::NoSuchQueue,
            "NOTDYNAMIC" => MemberStatus::NotDynamic,
            "UNPAUSED" => MemberStatus::Unpaused,
            "NOTFOUND" => MemberStatus::NotMember,
            _ => MemberStatus::Other,
        })
    }

    /// Sets a channel variable.
    pub(super) async fn set(&mut self, name: &str, value: &str) -> Result<(), Lost> {
        self.ask(Command::SetVariable(name, value)).await.map(drop)
    }

    /// Plays a sound, if there is somebody to hear it.
    pub(super) async fn play(&mut self, sound: &str) -> Result<(), Lost> {
        if self.has_caller() { self.ask(Command::StreamFile(sound)).await.map(drop) } else { Ok(()) }
    }

    /// Asks the caller for digits; none if there is no caller any more.
    pub(super) async fn digits(&mut self, sound: &str, pause: Duration, most: u32) -> Result<Option<String>, Lost> {
        if !self.has_caller() {
            return Ok(None);
        }
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        match self.ask(Command::GetData(sound, pause_ms, most)).await? {
            Reply::Done(digits, _) if digits != "-1" => Ok(Some(digits)),
            Reply::Done(..) | Reply::NoCaller | Reply::Refused(_) => Ok(None),
        }
    }

    /// One command, and its reply.
    async fn ask(&mut self, command: Command<'_>) -> Result<Reply, Lost> {
        if self.is_lost {
            return Err(Lost::Closed);
        }
        let line =
            command.line().ok_or_else(|| Lost::Unspeakable(crate::domain::ids::shortened(&format!("{command:?}"))))?;
        let begun = Instant::now();
        let by = if command.waits_for_a_person() { begun + PATIENCE } else { self.deadline };
        // INVARIANT: after a failure it isn't known what the next reply would belong to, so there is none.
        self.is_lost = true;
        let sent = timeout_at(by, self.writer.write_all(line.as_bytes())).await;
        sent.map_err(|_| Lost::Late)?.map_err(lines::Error::Io)?;
        let reply = self.reply(by).await?;
        self.is_lost = false;
        if reply == Reply::NoCaller {
            self.has_caller = false;
        }
        if command.waits_for_a_person() {
            self.deadline += begun.elapsed();
        }
        Ok(reply)
    }

    async fn reply(&mut self, by: Instant) -> Result<Reply, Lost> {
        loop {
            match Line::read(&self.line(by).await?)? {
                // Not the reply, which is still to come.
                Line::Hangup => self.has_caller = false,
                Line::Reply(reply) => return Ok(reply),
                Line::UsageFollows => {
                    for _ in 0..MOST_USAGE_LINES {
                        if protocol::is_end_of_usage(&self.line(by).await?) {
                            return Ok(Reply::Refused(520));
                        }
                    }
                    return Err(Malformed::Reply("520-".to_owned()).into());
                }
            }
        }
    }

    async fn line(&mut self, by: Instant) -> Result<String, Lost> {
        let line = timeout_at(by, self.lines.next()).await.map_err(|_| Lost::Late)?;
        line?.ok_or(Lost::Closed)
    }
}
