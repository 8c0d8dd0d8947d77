//! Errors of the peer: text that Asterisk doesn't send. PURE.

/// The number of lines that an environment may have. Asterisk sends some twenty, and one for each argument.
pub(super) const MAX_ENTRIES: usize = 128;

/// Text from the peer that isn't FastAGI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A line is no entry of an environment.
    #[error("`{0}` is no line of an AGI environment")]
    Entry(String),
    /// A name occurs twice. Asterisk doesn't send that, so the caller dialed one of them.
    #[error("the environment has `{0}` twice")]
    Repeated(String),
    /// The environment has too many lines.
    #[error("the environment has more than {MAX_ENTRIES} lines")]
    TooManyEntries,
    /// A line is no reply.
    #[error("`{0}` is no reply to an AGI command")]
    Reply(String),
}
