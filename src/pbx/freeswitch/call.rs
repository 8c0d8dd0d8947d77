//! The connection that FreeSWITCH opens for a call, by the dialplan's application `socket`.
//!
//! With `async` the application returns only if the handler asks for it (`resume`), and without it when the connection ends.
//! Either way the dialplan goes on after the call. The connection outlives the channel (`linger`), so that a call whose
//! caller hangs up is carried out to its end.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    callcenter::{Callcenter, NewTier, ON_BREAK, Pause},
    event_socket::{EventSocket, PEER},
    message::MessageKind,
    settings::{AgentStatus, FreeSwitch},
    start::{call_start, origin},
};
use crate::pbx::connection::{
    deadline::CallDeadline,
    error::PbxError,
    member::{ChannelOrigin, MemberChange, MemberState, MemberStatus},
    start::CallStart,
};

/// The time limit of a command that waits for a person: a prompt, or digits.
const PERSON_TIMEOUT: Duration = Duration::from_secs(60);

/// The time in seconds that the connection outlives the channel.
const LINGER_SECONDS: u32 = 60;

/// The variable for the digits that a caller enters.
const DIGITS: &str = "queuegate_digits";

/// The variable that keeps keys out of FreeSWITCH's log and the record of the call. They may be a PIN.
const SENSITIVE: &str = "sensitive_dtmf";

/// A call's connection to FreeSWITCH.
#[derive(Debug)]
pub(crate) struct CallSocket {
    socket: EventSocket,
    unique_id: String,
    origin: ChannelOrigin,
    status: AgentStatus,
    deadline: CallDeadline,
    has_caller: bool,
}

impl CallSocket {
    /// Start the time limit of a call. The time that a person takes doesn't count.
    pub(crate) fn new(stream: TcpStream, time_limit: Duration, settings: &FreeSwitch) -> Self {
        Self {
            socket: EventSocket::new(stream),
            unique_id: String::new(),
            origin: ChannelOrigin::Unverified,
            status: settings.status,
            deadline: CallDeadline::start(time_limit),
            has_caller: true,
        }
    }

    /// Return the deadline for requests to queuegate. It leaves time to report the result to FreeSWITCH.
    pub(crate) fn request_deadline(&self) -> Instant {
        self.deadline.of_requests()
    }

    /// Return whether the caller still listens, as far as FreeSWITCH has reported.
    pub(crate) fn has_caller(&self) -> bool {
        self.has_caller && !self.socket.is_broken()
    }

    /// Take over the call, and read the data of its channel.
    pub(crate) async fn start(&mut self) -> Result<CallStart, PbxError> {
        let end = self.deadline.end;
        let channel = self.socket.request("connect", end).await?.decoded();
        let start = call_start(&channel);
        // A peer that isn't FreeSWITCH sends no such data.
        if start.unique_id.is_empty() {
            return Err(PbxError::OtherPeer(PEER));
        }
        self.unique_id = start.unique_id.clone();
        self.origin = origin(&channel);
        // First of all, because FreeSWITCH closes the connection at a hang-up before it.
        self.socket.command("linger", &format!("linger {LINGER_SECONDS}"), end).await?;
        self.socket.command("myevents", "myevents", end).await?;
        if channel.get("Socket-Mode") == "async" {
            self.socket.command("resume", "resume", end).await?;
        }
        if channel.get("Control") != "full" {
            let message = "the dialplan's application `socket` lacks the argument `full`".to_owned();
            return Err(PbxError::Refused { action: "api", message });
        }
        Ok(start)
    }

    /// Return the origin of the call. `start` has read it together with the name of the channel.
    pub(crate) fn channel_origin(&self) -> ChannelOrigin {
        self.origin
    }

    /// Change a tier of a queue, or the status of its agent.
    pub(crate) async fn change_member(
        &mut self,
        queue: &str,
        agent: &str,
        change: MemberChange<'_>,
    ) -> Result<MemberStatus, PbxError> {
        let status = self.status;
        let mut callcenter = Callcenter::new(&mut self.socket, self.deadline.end);
        match change {
            // A tier has no name for people.
            MemberChange::Add { device, penalty, name: _ } => {
                let state = MemberState { penalty, ..MemberState::default() };
                let new = NewTier { queue, agent, contact: device, status, pause: Pause::Ends, state: &state };
                callcenter.add(new).await
            }
            MemberChange::Remove => callcenter.remove(queue, agent, status).await,
            // An agent has one status in all queues. A sign-in has ended a pause already.
            MemberChange::Pause { .. } | MemberChange::Unpause if !queue.is_empty() => Ok(MemberStatus::Unknown),
            MemberChange::Pause { .. } => {
                let is_member = callcenter.set_status(agent, ON_BREAK).await?;
                Ok(if is_member { MemberStatus::Paused } else { MemberStatus::NotMember })
            }
            MemberChange::Unpause => {
                let is_member = callcenter.set_status(agent, status.as_str()).await?;
                Ok(if is_member { MemberStatus::Unpaused } else { MemberStatus::NotMember })
            }
        }
    }

    /// Set a channel variable. A channel that is gone takes none, and is no error.
    pub(crate) async fn set(&mut self, name: &str, value: &str) -> Result<(), PbxError> {
        let command = format!("uuid_setvar {} {name} {value}", self.unique_id);
        self.socket.api(command.trim_end(), self.deadline.end).await.map(drop)
    }

    /// Play a sound if there is a caller.
    pub(crate) async fn play(&mut self, sound: &str) -> Result<(), PbxError> {
        if self.has_caller() { self.execute("playback", sound).await } else { Ok(()) }
    }

    /// Play a sound and read digits from the caller. Return `None` if there is no caller.
    pub(crate) async fn digits(
        &mut self,
        sound: &str,
        pause: Duration,
        max_digits: u32,
    ) -> Result<Option<String>, PbxError> {
        if !self.has_caller() {
            return Ok(None);
        }
        self.set(DIGITS, "").await?;
        self.set(SENSITIVE, "true").await?;
        self.execute("read", &format!("1 {max_digits} {sound} {DIGITS} {} #", pause.as_millis())).await?;
        if !self.has_caller() {
            return Ok(None);
        }
        let read = self.socket.api(&format!("uuid_getvar {} {DIGITS}", self.unique_id), self.deadline.end).await?;
        self.set(DIGITS, "").await?;
        self.set(SENSITIVE, "").await?;
        // Without digits the variable is absent.
        let is_entry = read.bytes().all(|letter| letter.is_ascii_digit() || letter == b'*');
        Ok(Some(if is_entry { read } else { String::new() }))
    }

    /// Execute an application that waits for a person, until its end or until the caller hangs up.
    async fn execute(&mut self, application: &str, argument: &str) -> Result<(), PbxError> {
        let started = Instant::now();
        let end = started + PERSON_TIMEOUT;
        let id = Uuid::new_v4();
        let command = format!(
            "sendmsg\ncall-command: execute\nexecute-app-name: {application}\nexecute-app-arg: {argument}\nEvent-UUID: {id}"
        );
        self.socket.command("sendmsg", &command, end).await?;
        let id = id.to_string();
        while self.has_caller {
            let message = timeout_at(end, self.socket.event()).await.map_err(|_| PbxError::TimedOut)??;
            let event = message.event();
            match event.get("Event-Name") {
                "CHANNEL_EXECUTE_COMPLETE" if event.get("Application-UUID") == id => break,
                "CHANNEL_HANGUP" => self.has_caller = false,
                _ if message.kind() == MessageKind::Disconnect => self.has_caller = false,
                _ => {}
            }
        }
        self.deadline.extend(started.elapsed());
        Ok(())
    }
}
