//! The commands that a FastAGI server sends. PURE.

use std::fmt;

use crate::pbx::connection::member::MemberChange;

/// The length of a line, in bytes. Asterisk reads commands into a buffer of 2,048.
pub(crate) const MAX_LINE_BYTES: usize = 2_047;

/// The dialplan applications that this handler executes. It executes no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberApplication {
    /// Adds a member to a queue.
    Add,
    /// Removes a member from a queue.
    Remove,
    /// Pauses a member.
    Pause,
    /// Ends the pause of a member.
    Unpause,
}

impl MemberApplication {
    /// Return the application that makes a change.
    pub(crate) fn of(change: MemberChange<'_>) -> Self {
        match change {
            MemberChange::Add { .. } => Self::Add,
            MemberChange::Remove => Self::Remove,
            MemberChange::Pause { .. } => Self::Pause,
            MemberChange::Unpause => Self::Unpause,
        }
    }

    /// Return the channel variable that holds the application's result. The reply to EXEC is 0 in any case.
    pub(crate) fn status_variable(self) -> &'static str {
        match self {
            Self::Add => "AQMSTATUS",
            Self::Remove => "RQMSTATUS",
            Self::Pause => "PQMSTATUS",
            Self::Unpause => "UPQMSTATUS",
        }
    }
}

impl fmt::Display for MemberApplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "AddQueueMember",
            Self::Remove => "RemoveQueueMember",
            Self::Pause => "PauseQueueMember",
            Self::Unpause => "UnpauseQueueMember",
        })
    }
}

/// The variables that Asterisk sets on a channel after a transfer or a forward. All are empty on a channel whose phone
/// dialed.
const TRANSFERS: [&str; 5] =
    ["${BLINDTRANSFER}", "${ATTENDEDTRANSFER}", "${TRANSFERERNAME}", "${FORWARDERNAME}", "${REDIRECTING(from-num)}"];

/// A command for Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'c> {
    /// Execute a dialplan application. Works on a dead channel too.
    Exec(MemberApplication, &'c str),
    /// Read a channel variable. Works on a dead channel too.
    GetVariable(&'c str),
    /// Read the channel's name, the transfer variables and the given nonce as one text. Only a reply to this command
    /// can contain the nonce. Works on a dead channel too.
    GetChannel(&'c str),
    /// Set a channel variable. Works on a dead channel too.
    SetVariable(&'c str, &'c str),
    /// Play a sound to its end, or until the caller presses a key.
    StreamFile(&'c str),
    /// Play a sound and read digits until `#`, a pause in milliseconds, or the given number of digits.
    GetData(&'c str, u64, u32),
}

impl Command<'_> {
    /// Return whether the command waits for a person.
    pub(crate) fn waits_for_a_person(&self) -> bool {
        match self {
            Self::StreamFile(_) | Self::GetData(..) => true,
            Self::Exec(..) | Self::GetVariable(_) | Self::GetChannel(_) | Self::SetVariable(..) => false,
        }
    }

    /// Encode the command as a line, or return `None` if it contains control characters or is too long for Asterisk.
    pub(crate) fn encode(&self) -> Option<String> {
        let line = match self {
            Self::Exec(application, arguments) => format!("EXEC {application} {}", quoted(arguments)),
            Self::GetVariable(name) => format!("GET VARIABLE {}", quoted(name)),
            Self::GetChannel(nonce) => {
                let text = format!("${{CHANNEL(name)}}{} {nonce}", TRANSFERS.concat());
                format!("GET FULL VARIABLE {}", quoted(&text))
            }
            Self::SetVariable(name, value) => format!("SET VARIABLE {} {}", quoted(name), quoted(value)),
            // Any key skips the prompt.
            Self::StreamFile(sound) => format!("STREAM FILE {} \"0123456789*#\"", quoted(sound)),
            Self::GetData(sound, pause_ms, max_digits) => format!("GET DATA {} {pause_ms} {max_digits}", quoted(sound)),
        };
        let is_valid = line.len() < MAX_LINE_BYTES && !line.contains(char::is_control);
        is_valid.then(|| format!("{line}\n"))
    }
}

/// Quote a word so that Asterisk reads it back unchanged.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines_that_asterisk_reads_back_word_by_word() {
        let exec = Command::Exec(MemberApplication::Add, "801,PJSIP/101");
        assert_eq!(exec.encode().unwrap(), "EXEC AddQueueMember \"801,PJSIP/101\"\n");
        assert_eq!(Command::GetVariable("AQMSTATUS").encode().unwrap(), "GET VARIABLE \"AQMSTATUS\"\n");
        assert_eq!(
            Command::GetChannel("x1").encode().unwrap(),
            "GET FULL VARIABLE \"${CHANNEL(name)}${BLINDTRANSFER}${ATTENDEDTRANSFER}${TRANSFERERNAME}${FORWARDERNAME}${REDIRECTING(from-num)} x1\"\n"
        );
        assert_eq!(
            Command::SetVariable("A", "a \"b\" \\c").encode().unwrap(),
            "SET VARIABLE \"A\" \"a \\\"b\\\" \\\\c\"\n"
        );
        assert_eq!(Command::GetData("beep", 5_000, 15).encode().unwrap(), "GET DATA \"beep\" 5000 15\n");
        assert_eq!(Command::SetVariable("A", "b\nEXEC System \"rm\"").encode(), None);
        assert_eq!(Command::SetVariable("A", &"b".repeat(3_000)).encode(), None);
    }
}
