//! The lines that Asterisk sends after its environment. PURE.

use super::malformed::Malformed;
use crate::domain::ids::shortened;

/// The number of lines that the explanation of a wrong command may have.
pub(super) const MAX_USAGE_LINES: usize = 128;

/// A line from Asterisk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The caller has hung up. It is no reply.
    Hangup,
    /// The reply to the command.
    Reply(Reply),
    /// The command was wrong. Its explanation follows, until [`is_end_of_usage`].
    UsageFollows,
}

/// The reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Asterisk carried out the command. It has a result, and may have a text in parentheses.
    Done(String, Option<String>),
    /// The command needs a caller, and the channel is dead (511).
    DeadChannel,
    /// Asterisk doesn't know the command or its syntax (510, 520).
    Refused(u16),
}

impl Line {
    /// Parse a line.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "HANGUP" {
            return Ok(Self::Hangup);
        }
        let malformed = || Malformed::Reply(shortened(text));
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
                let in_parentheses = more.strip_prefix('(').and_then(|more| more.rsplit_once(')'));
                Ok(Self::Reply(Reply::Done(value.to_owned(), in_parentheses.map(|(text, _)| text.to_owned()))))
            }
            "511" => Ok(Self::Reply(Reply::DeadChannel)),
            "510" => Ok(Self::Reply(Reply::Refused(510))),
            "520" => Ok(Self::Reply(Reply::Refused(520))),
            _ => Err(malformed()),
        }
    }
}

/// Return whether a line ends the explanation of a wrong command.
pub(super) fn is_end_of_usage(line: &str) -> bool {
    line.starts_with("520 ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_distinguished() {
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
            ("511 Command Not Permitted on a dead channel or intercept routine", Line::Reply(Reply::DeadChannel)),
            ("510 Invalid or unknown command", Line::Reply(Reply::Refused(510))),
            ("520 Invalid command syntax.  Proper usage not available.", Line::Reply(Reply::Refused(520))),
            ("520-Invalid command syntax.  Proper usage follows:", Line::UsageFollows),
            ("HANGUP", Line::Hangup),
        ] {
            assert_eq!(Line::parse(text), Ok(line), "{text}");
        }
        assert!(is_end_of_usage("520 End of proper usage."));
        for text in ["", "2", "200", "200result=1", "404 no", "HANGUP ", "hangup", "5110 x", "é00 result=1"] {
            assert!(Line::parse(text).is_err(), "{text}");
        }
    }
}
