//! Decisions and their sessions, as the commands that sign in and out print them.

use super::{
    args::Name,
    exit::Outcome,
    hints::{self, Kind},
    print,
};
use crate::{client::Client, rpc::proto};

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

/// Print a hint if the decision is about an unknown name: of a supervisor, a user or a queue.
pub(super) async fn print_hint(
    client: &mut Client,
    organization: &str,
    reason: proto::Reason,
    [supervisor, user, queue]: [Option<&Name>; 3],
) -> anyhow::Result<()> {
    let (kind, unknown) = match reason {
        proto::Reason::UnknownSupervisor => (Kind::User, supervisor),
        proto::Reason::UnknownUser => (Kind::User, user),
        proto::Reason::UnknownQueue => (Kind::Queue, queue),
        _ => return Ok(()),
    };
    match unknown {
        Some(unknown) => hints::print(client, organization, kind, unknown).await,
        None => Ok(()),
    }
}
