//! What Asterisk and a FastAGI server say to each other, line by line. PURE: no I/O.
//!
//! Asterisk opens with its environment (`agi_channel: PJSIP/101-00000001`, a line each, an empty one at the end), and then
//! answers each command with one reply. What somebody dialed stands in the environment too, line ends included if the
//! dialplan doesn't filter them, so its lines are believed only once the channel itself has said its name. Between replies
//! it may say `HANGUP` without being asked; from then on it answers 511 to what needs a caller, and still carries out the
//! rest, EXEC included.

use std::{collections::BTreeMap, fmt};

/// How long a line may be, in bytes. Asterisk reads commands into 2,048.
pub const LONGEST_LINE: usize = 2_047;

/// How many lines an environment may have. Asterisk sends some twenty, and one for each argument.
pub const MOST_ENTRIES: usize = 128;

/// How many lines the explanation of a wrong command may have.
pub const MOST_USAGE_LINES: usize = 128;

/// What the peer said that Asterisk doesn't say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A line of the environment is none.
    #[error("`{0}` is no line of an AGI environment")]
    Entry(String),
    /// A name comes twice, which Asterisk doesn't do; one of them was dialed.
    #[error("the environment has `{0}` twice")]
    Repeated(String),
    /// The environment doesn't end.
    #[error("the environment has more than {MOST_ENTRIES} lines")]
    TooManyEntries,
    /// A reply is none.
    #[error("`{0}` is no reply to an AGI command")]
    Reply(String),
}

/// What Asterisk says of a call before anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the next line. True once that was the last.
    pub fn take(&mut self, line: &str) -> Result<bool, Malformed> {
        if line.is_empty() {
            return Ok(true);
        }
        if self.0.len() >= MOST_ENTRIES {
            return Err(Malformed::TooManyEntries);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| Malformed::Entry(short(line)))?;
        if !name.starts_with("agi_") || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(Malformed::Entry(short(line)));
        }
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match self.0.insert(name.to_owned(), value) {
            None => Ok(false),
            Some(_) => Err(Malformed::Repeated(short(name))),
        }
    }

    /// A value, by its name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The arguments that the dialplan gave after the address, in order.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        (1..).map_while(|number| self.0.get(&format!("agi_arg_{number}")).map(String::as_str))
    }
}

/// The dialplan applications that this program ever asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// Makes a phone ring for a queue.
    AddQueueMember,
    /// Makes it ring no more.
    RemoveQueueMember,
    /// Ends its pause.
    UnpauseQueueMember,
}

impl Application {
    /// The channel variable in which it says how it went: EXEC itself says 0 whatever happened.
    pub fn status_variable(self) -> &'static str {
        match self {
            Self::AddQueueMember => "AQMSTATUS",
            Self::RemoveQueueMember => "RQMSTATUS",
            Self::UnpauseQueueMember => "UPQMSTATUS",
        }
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddQueueMember => "AddQueueMember",
            Self::RemoveQueueMember => "RemoveQueueMember",
            Self::UnpauseQueueMember => "UnpauseQueueMember",
        })
    }
}

/// What Asterisk sets on a channel that somebody transferred, or forwarded, to where it is. All are empty on a channel whose
/// phone dialed.
const TRANSFERS: [&str; 5] =
    ["${BLINDTRANSFER}", "${ATTENDEDTRANSFER}", "${TRANSFERERNAME}", "${FORWARDERNAME}", "${REDIRECTING(from-num)}"];

/// What a FastAGI server asks of Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'c> {
    /// Runs a dialplan application. Works on a channel that was hung up, too.
    Exec(Application, &'c str),
    /// Reads a channel variable. Works on a channel that was hung up, too.
    GetVariable(&'c str),
    /// Reads the channel's name, directly behind it the marks of a transfer or a forward, if there was one, and then a word
    /// that Asterisk can only have from this question. Works on a channel that was hung up, too.
    GetChannel(&'c str),
    /// Sets a channel variable. Works on a channel that was hung up, too.
    SetVariable(&'c str, &'c str),
    /// Plays a sound to its end, or until a key is pressed.
    StreamFile(&'c str),
    /// Plays a sound and takes digits until `#`, a pause in milliseconds, or so many.
    GetData(&'c str, u64, u32),
}

impl Command<'_> {
    /// Whether a person is waited for.
    pub fn waits_for_a_person(&self) -> bool {
        match self {
            Self::StreamFile(_) | Self::GetData(..) => true,
            Self::Exec(..) | Self::GetVariable(_) | Self::GetChannel(_) | Self::SetVariable(..) => false,
        }
    }

    /// The line to send; none if it would not be one, or be too long for Asterisk.
    pub fn line(&self) -> Option<String> {
        let line = match self {
            Self::Exec(application, arguments) => format!("EXEC {application} {}", quoted(arguments)),
            Self::GetVariable(name) => format!("GET VARIABLE {}", quoted(name)),
            Self::GetChannel(word) => {
                let text = format!("${{CHANNEL(name)}}{} {word}", TRANSFERS.concat());
                format!("GET FULL VARIABLE {}", quoted(&text))
            }
            Self::SetVariable(name, value) => format!("SET VARIABLE {} {}", quoted(name), quoted(value)),
            // Any key ends it: whoever knows the prompt need not hear it out.
            Self::StreamFile(sound) => format!("STREAM FILE {} \"0123456789*#\"", quoted(sound)),
            Self::GetData(sound, pause_ms, most) => format!("GET DATA {} {pause_ms} {most}", quoted(sound)),
        };
        let is_one = line.len() < LONGEST_LINE && !line.contains(char::is_control);
        is_one.then(|| format!("{line}\n"))
    }
}

/// A word as Asterisk reads it back.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A line that Asterisk sent after its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The caller has hung up. Not a reply to anything.
    Hangup,
    /// The reply to the command.
    Reply(Reply),
    /// The command was wrong; how it should be follows, until [`is_end_of_usage`].
    UsageFollows,
}

/// How Asterisk answered a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out. What that came to, and what stood in brackets behind it.
    Done(String, Option<String>),
    /// It needs a caller, and there is none any more (511).
    NoCaller,
    /// Asterisk doesn't know the command, or not like this (510, 520).
    Refused(u16),
}

impl Line {
    /// Reads a line.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        if text == "HANGUP" {
            return Ok(Self::Hangup);
        }
        let malformed = || Malformed::Reply(short(text));
        let number = text.get(..3).ok_or_else(malformed)?;
        let rest = text.get(3..).unwrap_or_default();
        if number == "520" && rest.starts_with('-') {
            return Ok(Self::UsageFollows);
        }
        if !rest.is_empty() && !rest.starts_with(' ') {
            return Err(malformed());
        }
        match number {
            "200" => {
                let result = rest.strip_prefix(" result=").ok_or_else(malformed)?;
                let (value, more) = result.split_once(' ').unwrap_or((result, ""));
                let in_brackets = more.strip_prefix('(').and_then(|more| more.rsplit_once(')'));
                Ok(Self::Reply(Reply::Done(value.to_owned(), in_brackets.map(|(text, _)| text.to_owned()))))
            }
            "511" => Ok(Self::Reply(Reply::NoCaller)),
            "510" => Ok(Self::Reply(Reply::Refused(510))),
            "520" => Ok(Self::Reply(Reply::Refused(520))),
            _ => Err(malformed()),
        }
    }
}

/// Whether the explanation of a wrong command ends here.
pub fn is_end_of_usage(line: &str) -> bool {
    line.starts_with("520 ")
}

fn short(text: &str) -> String {
    crate::domain::ids::shortened(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Environment, Malformed> {
        let mut environment = Environment::default();
        for line in lines {
            environment.take(line)?;
        }
        Ok(environment)
    }

    #[test]
    fn an_environment_is_read_as_asterisk_sends_it() {
        let environment = read(&[
            "agi_network: yes",
            "agi_network_script: sign-in?queue=801",
            "agi_channel: PJSIP/101-00000001",
            "agi_callerid: ",
            "agi_accountcode:",
            "agi_arg_1: organization=acme",
            "agi_arg_2: a: b",
        ])
        .unwrap();
        assert_eq!(environment.get("agi_channel"), "PJSIP/101-00000001");
        assert_eq!((environment.get("agi_callerid"), environment.get("agi_accountcode")), ("", ""));
        assert_eq!(environment.arguments().collect::<Vec<_>>(), ["organization=acme", "a: b"]);
        assert!(Environment::default().take("").unwrap());
    }

    #[test]
    fn an_environment_that_asterisk_does_not_send_is_refused() {
        for line in ["GET / HTTP/1.1", "agi_channel", "agi_a b: c", "host: x", " agi_channel: x"] {
            assert!(matches!(read(&[line]), Err(Malformed::Entry(_))), "{line}");
        }
        let many: Vec<String> = (0..=MOST_ENTRIES).map(|number| format!("agi_arg_{number}: x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(read(&many), Err(Malformed::TooManyEntries));
        // Nobody talks over what Asterisk says, neither after it nor before.
        let twice = read(&["agi_channel: PJSIP/101-1", "agi_channel: PJSIP/102-1"]);
        assert_eq!(twice, Err(Malformed::Repeated("agi_channel".to_owned())));
    }

    #[test]
    fn commands_are_lines_that_asterisk_reads_back_word_by_word() {
        let exec = Command::Exec(Application::AddQueueMember, "801,PJSIP/101");
        assert_eq!(exec.line().unwrap(), "EXEC AddQueueMember \"801,PJSIP/101\"\n");
        assert_eq!(Command::GetVariable("AQMSTATUS").line().unwrap(), "GET VARIABLE \"AQMSTATUS\"\n");
        assert_eq!(
            Command::GetChannel("x1").line().unwrap(),
            "GET FULL VARIABLE \"${CHANNEL(name)}${BLINDTRANSFER}${ATTENDEDTRANSFER}${TRANSFERERNAME}${FORWARDERNAME}${REDIRECTING(from-num)} x1\"\n"
        );
        assert_eq!(
            Command::SetVariable("A", "a \"b\" \\c").line().unwrap(),
            "SET VARIABLE \"A\" \"a \\\"b\\\" \\\\c\"\n"
        );
        assert_eq!(Command::GetData("beep", 5_000, 15).line().unwrap(), "GET DATA \"beep\" 5000 15\n");
        assert_eq!(Command::SetVariable("A", "b\nEXEC System \"rm\"").line(), None);
        assert_eq!(Command::SetVariable("A", &"b".repeat(3_000)).line(), None);
    }

    #[test]
    fn replies_are_told_apart() {
        let done =
            |value: &str, more: Option<&str>| Line::Reply(Reply::Done(value.to_owned(), more.map(str::to_owned)));
        for (text, line) in [
            ("200 result=0", done("0", None)),
            ("200 result=1 (ADDED)", done("1", Some("ADDED"))),
            ("200 result=1 (a (b) c)", done("1", Some("a (b) c"))),
            ("200 result=801 (timeout)", done("801", Some("timeout"))),
            ("200 result= (timeout)", done("", Some("timeout"))),
            ("200 result=", done("", None)),
            ("200 result=-1", done("-1", None)),
            ("200 result=0 endpos=8000", done("0", None)),
            ("511 Command Not Permitted on a dead channel or intercept routine", Line::Reply(Reply::NoCaller)),
            ("510 Invalid or unknown command", Line::Reply(Reply::Refused(510))),
            ("520 Invalid command syntax.  Proper usage not available.", Line::Reply(Reply::Refused(520))),
            ("520-Invalid command syntax.  Proper usage follows:", Line::UsageFollows),
            ("HANGUP", Line::Hangup),
        ] {
            assert_eq!(Line::read(text), Ok(line), "{text}");
        }
        assert!(is_end_of_usage("520 End of proper usage."));
        for text in ["", "2", "200", "200result=1", "404 no", "HANGUP ", "hangup", "5110 x", "é00 result=1"] {
            assert!(Line::read(text).is_err(), "{text}");
        }
    }
}
