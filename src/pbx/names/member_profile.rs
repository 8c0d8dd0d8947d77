//! The attributes of a queue's member that queuegate gives: the penalty and the name for people.

use crate::rpc::proto::Session;

/// The penalty and the name of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberProfile {
    /// The penalty of the user's assignment to the queue.
    pub penalty: u32,
    /// The user's display name, without characters that the PBX reads as syntax.
    pub name: String,
}

impl MemberProfile {
    /// Return the attributes for a session.
    pub(crate) fn of(session: &Session) -> Self {
        let penalty = u32::try_from(session.penalty).unwrap_or_default();
        Self { penalty, name: plain(&session.user_display_name) }
    }
}

/// Replace characters that separate or quote arguments, or begin a variable, in a dialplan.
fn plain(name: &str) -> String {
    let is_syntax = |letter: char| letter.is_control() || ",;\"\\$|()[]{}&<>=".contains(letter);
    let replaced: String = name.chars().map(|letter| if is_syntax(letter) { ' ' } else { letter }).collect();
    replaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_letters_and_loses_the_syntax_of_a_dialplan() {
        for (name, is) in [
            ("Anna Berg", "Anna Berg"),
            ("Zoë O'Neil-Müller", "Zoë O'Neil-Müller"),
            ("Berg, Anna (\"Ann\")", "Berg Anna Ann"),
            ("${SHELL(rm)},1", "SHELL rm 1"),
            ("  ", ""),
        ] {
            assert_eq!(plain(name), is, "{name}");
        }
    }
}
