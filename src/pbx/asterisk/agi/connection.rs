//! The connection that Asterisk opens for a call. It has a deadline, because Asterisk itself has none.

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
    command::{Command, MAX_LINE_BYTES, MemberApplication},
    environment::{Environment, Progress},
    malformed::Malformed,
    reply::{Line, MAX_USAGE_LINES, Reply, is_end_of_usage},
};
use crate::{
    domain::ids::shortened,
    pbx::{
        connection::{
            deadline::CallDeadline,
            member::{ChannelOrigin, MemberChange, MemberStatus},
            start::CallStart,
        },
        lines::{self, Lines},
    },
};

/// The time limit of a command that waits for a person: a prompt, or digits.
const PERSON_TIMEOUT: Duration = Duration::from_secs(60);

/// A failure after which the connection is unusable. Whether Asterisk carried out the last command is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgiError {
    #[error("{0}")]
    Lines(#[from] lines::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("Asterisk did not reply in time")]
    TimedOut,
    #[error("`{0}` can't be encoded as an AGI command")]
    NotEncodable(String),
}

/// A call's connection to Asterisk.
#[derive(Debug)]
pub(crate) struct AgiConnection {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    deadline: CallDeadline,
    has_caller: bool,
    is_broken: bool,
}

impl AgiConnection {
    /// Start the time limit of a call. The time that a person takes doesn't count.
    pub(crate) fn new(stream: TcpStream, time_limit: Duration) -> Self {
        let (reader, writer) = stream.into_split();
        let lines = Lines::new(reader, MAX_LINE_BYTES);
        Self { lines, writer, deadline: CallDeadline::start(time_limit), has_caller: true, is_broken: false }
    }

    /// Return the deadline for requests to queuegate. It leaves time to report the result to Asterisk.
    pub(crate) fn request_deadline(&self) -> Instant {
        self.deadline.of_requests()
    }

    /// Return whether the caller still listens, as far as Asterisk has reported.
    pub(crate) fn has_caller(&self) -> bool {
        self.has_caller && !self.is_broken
    }

    /// Read the environment.
    pub(crate) async fn start(&mut self) -> Result<CallStart, AgiError> {
        let mut environment = Environment::default();
        let deadline = self.deadline.end;
        while environment.add_line(&self.line(deadline).await?)? == Progress::Incomplete {}
        Ok(CallStart {
            channel: environment.get("agi_channel").to_owned(),
            unique_id: environment.get("agi_uniqueid").to_owned(),
            script: environment.get("agi_network_script").to_owned(),
            arguments: environment.arguments().map(str::to_owned).collect(),
            user: None,
        })
    }

    /// Ask Asterisk whether this is the channel of the environment, and whether its phone dialed.
    ///
    /// Dialed text can contain another channel and an early end of the environment. Then the rest of Asterisk's
    /// environment is no reply, or doesn't contain the nonce.
    pub(crate) async fn channel_origin(&mut self, channel: &str) -> Result<ChannelOrigin, AgiError> {
        let nonce = Uuid::new_v4().simple().to_string();
        let Reply::Done(_, Some(text)) = self.run(Command::GetChannel(&nonce)).await? else {
            return Ok(ChannelOrigin::Unverified);
        };
        let transfers = text.strip_suffix(&format!(" {nonce}")).and_then(|text| text.strip_prefix(channel));
        Ok(match transfers {
            Some("") => ChannelOrigin::Dialed,
            Some(_) => ChannelOrigin::Transferred,
            None => ChannelOrigin::Unverified,
        })
    }

    /// Execute an application that changes a member, and read its status.
    pub(crate) async fn change_member(
        &mut self,
        queue: &str,
        interface: &str,
        change: MemberChange<'_>,
    ) -> Result<MemberStatus, AgiError> {
        let application = MemberApplication::of(change);
        let member = format!("{queue},{interface}");
        let arguments = match change {
            MemberChange::Add { device, penalty, name } => {
                let penalty = if penalty == 0 { String::new() } else { penalty.to_string() };
                let arguments = format!("{member},{penalty},,{name},{}", device.unwrap_or_default());
                // A dialplan or a log has no empty arguments at its end either.
                arguments.trim_end_matches(',').to_owned()
            }
            MemberChange::Pause { reason } => format!("{member},,{reason}"),
            MemberChange::Remove | MemberChange::Unpause => member,
        };
        // An earlier application may have left its status in the variable.
        self.set(application.status_variable(), "").await?;
        match self.run(Command::Exec(application, &arguments)).await? {
            Reply::Done(..) => {}
            Reply::DeadChannel | Reply::Refused(_) => return Ok(MemberStatus::Unknown),
        }
        let status = match self.run(Command::GetVariable(application.status_variable())).await? {
            Reply::Done(_, status) => status.unwrap_or_default(),
            Reply::DeadChannel | Reply::Refused(_) => String::new(),
        };
        Ok(match status.as_str() {
            "ADDED" => MemberStatus::Added,
            "MEMBERALREADY" => MemberStatus::AlreadyMember,
            "REMOVED" => MemberStatus::Removed,
            "NOTINQUEUE" => MemberStatus::NotMember,
            "NOSUCHQUEUE" => MemberStatus::NoSuchQueue,
            "NOTDYNAMIC" => MemberStatus::NotDynamic,
            "PAUSED" => MemberStatus::Paused,
            "UNPAUSED" => MemberStatus::Unpaused,
            "NOTFOUND" => MemberStatus::NotMember,
            _ => MemberStatus::Unknown,
        })
    }

    /// Set a channel variable.
    pub(crate) async fn set(&mut self, name: &str, value: &str) -> Result<(), AgiError> {
        self.run(Command::SetVariable(name, value)).await.map(drop)
    }

    /// Play a sound if there is a caller.
    pub(crate) async fn play(&mut self, sound: &str) -> Result<(), AgiError> {
        if self.has_caller() { self.run(Command::StreamFile(sound)).await.map(drop) } else { Ok(()) }
    }

    /// Play a sound and read digits from the caller. Return `None` if there is no caller.
    pub(crate) async fn digits(
        &mut self,
        sound: &str,
        pause: Duration,
        max_digits: u32,
    ) -> Result<Option<String>, AgiError> {
        if !self.has_caller() {
            return Ok(None);
        }
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        match self.run(Command::GetData(sound, pause_ms, max_digits)).await? {
            Reply::Done(digits, _) if digits != "-1" => Ok(Some(digits)),
            Reply::Done(..) | Reply::DeadChannel | Reply::Refused(_) => Ok(None),
        }
    }

    /// Send a command and read its reply.
    async fn run(&mut self, command: Command<'_>) -> Result<Reply, AgiError> {
        if self.is_broken {
            return Err(AgiError::Closed);
        }
        let line = command.encode().ok_or_else(|| AgiError::NotEncodable(shortened(&format!("{command:?}"))))?;
        let started = Instant::now();
        let deadline = if command.waits_for_a_person() { started + PERSON_TIMEOUT } else { self.deadline.end };
        // INVARIANT: after a failure the next reply could belong to either command, so no further command is sent.
        self.is_broken = true;
        let sent = timeout_at(deadline, self.writer.write_all(line.as_bytes())).await;
        sent.map_err(|_| AgiError::TimedOut)?.map_err(lines::Error::Io)?;
        let reply = self.reply(deadline).await?;
        self.is_broken = false;
        if reply == Reply::DeadChannel {
            self.has_caller = false;
        }
        if command.waits_for_a_person() {
            self.deadline.extend(started.elapsed());
        }
        Ok(reply)
    }

    async fn reply(&mut self, deadline: Instant) -> Result<Reply, AgiError> {
        loop {
            match Line::parse(&self.line(deadline).await?)? {
                // The reply follows.
                Line::Hangup => self.has_caller = false,
                Line::Reply(reply) => return Ok(reply),
                Line::UsageFollows => {
                    for _ in 0..MAX_USAGE_LINES {
                        if is_end_of_usage(&self.line(deadline).await?) {
                            return Ok(Reply::Refused(520));
                        }
                    }
                    return Err(Malformed::Reply("520-".to_owned()).into());
                }
            }
        }
    }

    async fn line(&mut self, deadline: Instant) -> Result<String, AgiError> {
        let line = timeout_at(deadline, self.lines.next()).await.map_err(|_| AgiError::TimedOut)?;
        line?.ok_or(AgiError::Closed)
    }
}
