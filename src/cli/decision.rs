//! Decisions and their sessions, as the commands that sign in and out print them.

use super::{args::Name, exit::Outcome, print};
use crate::rpc::proto;

pub(super) fn outcome(decision: Option<&proto::Decision>) -> Outcome {
    if decision.is_some_and(|decision| decision.allowed()) { Outcome::Done } else { Outcome::Denied }
}

pub(super) fn print_outcome<'s>(
    decision: Option<&proto::Decision>,
    mut sessions: impl Iterator<Item = &'s proto::Session>,
) -> anyhow::Result<()> {
    decision.map_or(Ok(()), print::decision)?;
    sessions.try_for_each(print::session)
}

/// Print a hint for users who wrote an extension without `ext:`.
pub(super) fn print_hint(decision: &proto::Decision, [user, queue]: &[Name; 2]) -> anyhow::Result<()> {
    let hint = match decision.reason() {
        proto::Reason::UnknownUser => user.hint(),
        proto::Reason::UnknownQueue => queue.hint(),
        _ => None,
    };
    hint.map_or(Ok(()), |hint| print::line(&hint))
}
