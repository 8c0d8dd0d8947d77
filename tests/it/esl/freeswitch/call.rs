//! A call: the dialplan's application `socket`.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::switch::{Switch, encoded};

const ID: &str = "0333a48a-b3f0-49d6-9c27-78dbbe9b8dec";

/// A failure during a call, at the command with a number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mishap {
    #[default]
    None,
    /// The caller hangs up just before the command is carried out.
    HangUp(usize),
    /// The connection breaks before the command is carried out.
    Cut(usize),
    /// The connection breaks between the command and its reply.
    CutAfter(usize),
}

/// A call from a phone.
#[derive(Debug, Clone)]
pub struct Call {
    /// The data of the channel, without encoding.
    pub channel: BTreeMap<String, String>,
    pub digits: VecDeque<String>,
    pub mishap: Mishap,
}

/// The outcome of a call for the dialplan.
#[derive(Debug, Default)]
pub struct Ended {
    pub variables: BTreeMap<String, String>,
    pub sounds: Vec<String>,
    pub commands: Vec<String>,
    /// Whether the dialplan goes on although the application had the argument `async`.
    pub is_resumed: bool,
    /// The digits in the record of the call.
    pub recorded_digits: String,
}

impl Ended {
    pub fn get(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Return the status, the reason and the prompt.
    pub fn answer(&self) -> (&str, &str, &str) {
        (self.get("QUEUEGATE_STATUS"), self.get("QUEUEGATE_REASON"), self.get("QUEUEGATE_PROMPT"))
    }
}

impl Call {
    /// Return a call from an extension's own phone.
    pub fn from(extension: &str, path: &str) -> Self {
        let channel = [
            ("Channel-Name", "sofia/internal/102@198.51.100.7"),
            ("Unique-ID", ID),
            ("Call-Direction", "inbound"),
            ("Caller-Source", "mod_sofia"),
            // The phone chooses the caller id. This one is another user's.
            ("Caller-Caller-ID-Number", "102"),
            ("variable_sip_from_user", "102"),
            ("variable_sip_authorized", "true"),
            ("variable_sip_auth_username", extension),
            ("variable_user_name", extension),
            ("variable_domain_name", "pbx.example.com"),
            ("variable_socket_path", path),
            ("Socket-Mode", "static"),
            ("Control", "full"),
        ];
        let channel = channel.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { channel: channel.into(), digits: VecDeque::new(), mishap: Mishap::None }
    }

    pub fn with(mut self, mishap: Mishap) -> Self {
        self.mishap = mishap;
        self
    }

    pub fn dialing(mut self, digits: &[&str]) -> Self {
        self.digits = digits.iter().map(|digits| (*digits).to_owned()).collect();
        self
    }

    /// Change the data of the channel.
    pub fn having(mut self, name: &str, value: &str) -> Self {
        self.channel.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Run `socket(…)` until the handler closes the connection.
    pub async fn run(mut self, switch: &Switch, handler: SocketAddr) -> Ended {
        let mut ended = Ended::default();
        let Ok(connection) = TcpStream::connect(handler).await else { return ended };
        connection.set_nodelay(true).unwrap();
        let (reader, mut writer) = connection.into_split();
        let mut lines = BufReader::new(reader).lines();
        let (mut is_dead, mut lingers) = (false, false);
        let mut command: Vec<String> = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            if !line.is_empty() {
                command.push(line);
                continue;
            }
            let command = std::mem::take(&mut command);
            let number = ended.commands.len();
            ended.commands.push(command[0].clone());
            match self.mishap {
                Mishap::HangUp(at) if at == number => {
                    is_dead = true;
                    if !lingers {
                        return ended;
                    }
                    let notice = format!(
                        "Content-Type: text/disconnect-notice\nControlled-Session-UUID: {ID}\nContent-Disposition: linger\n\
                         Linger-Time: 60\nContent-Length: 0\n\n"
                    );
                    let _ = writer.write_all(notice.as_bytes()).await;
                }
                Mishap::Cut(at) if at == number => return ended,
                _ => {}
            }
            lingers |= command[0].starts_with("linger");
            let reply = self.reply(&command, switch, &mut ended, is_dead);
            if self.mishap == Mishap::CutAfter(number) {
                return ended;
            }
            let _ = writer.write_all(reply.as_bytes()).await;
        }
        ended
    }

    fn reply(&mut self, command: &[String], switch: &Switch, ended: &mut Ended, is_dead: bool) -> String {
        let reply = |text: &str| format!("Content-Type: command/reply\nReply-Text: {text}\n\n");
        let is_full = self.channel["Control"] == "full";
        match command[0].split_once(' ').unwrap_or((&command[0], "")) {
            ("connect", _) => {
                let headers = self.channel.iter().map(|(name, value)| format!("{name}: {}\n", encoded(value)));
                format!("{}Content-Type: command/reply\nReply-Text: %2BOK%0A\n\n", headers.collect::<String>())
            }
            ("linger", seconds) => reply(&format!("+OK will linger {seconds} seconds")),
            ("myevents", _) => reply("+OK Events Enabled"),
            ("resume", _) => {
                ended.is_resumed = true;
                reply("+OK")
            }
            // A channel that is gone executes nothing, and reports nothing.
            ("sendmsg", _) if is_dead => reply("+OK"),
            ("sendmsg", _) => {
                let header = |name: &str| command.iter().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
                let (application, arguments) = (header("execute-app-name: "), header("execute-app-arg: "));
                let words: Vec<&str> = arguments.split(' ').collect();
                match application.as_str() {
                    "playback" => ended.sounds.push(arguments.clone()),
                    "read" => {
                        ended.sounds.push(words[2].to_owned());
                        if let Some(digits) = self.digits.pop_front() {
                            if ended.get("sensitive_dtmf") != "true" {
                                ended.recorded_digits.push_str(&digits);
                            }
                            ended.variables.insert(words[3].to_owned(), digits);
                        }
                    }
                    other => panic!("{other}"),
                }
                let event = format!(
                    "Event-Name: CHANNEL_EXECUTE_COMPLETE\nApplication: {application}\nApplication-UUID: {}\n\n",
                    header("Event-UUID: ")
                );
                let event = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{event}", event.len());
                format!("{}{event}", reply("+OK"))
            }
            ("api", command) if is_full => {
                let words: Vec<&str> = command.splitn(4, ' ').collect();
                let answer = match words[..] {
                    ["uuid_setvar" | "uuid_getvar", id, ..] if id != ID || is_dead => {
                        "-ERR No such channel!\n".to_owned()
                    }
                    ["uuid_setvar", _, name] => {
                        ended.variables.remove(name);
                        "+OK\n".to_owned()
                    }
                    ["uuid_setvar", _, name, value] => {
                        ended.variables.insert(name.to_owned(), value.to_owned());
                        "+OK\n".to_owned()
                    }
                    ["uuid_getvar", _, name] => {
                        ended.variables.get(name).cloned().unwrap_or_else(|| "_undef_".to_owned())
                    }
                    _ => switch.api(command),
                };
                format!("Content-Type: api/response\nContent-Length: {}\n\n{answer}", answer.len())
            }
            _ => reply("-ERR command not found"),
        }
    }
}
