//! The commands `queues` and `agents`.

use clap::Args;

use super::{
    args::{Channel, Common, Name, all_pages, one_of},
    decision::print_hint,
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Arguments of `queues`.
#[derive(Args)]
pub(super) struct Queues {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    listing: Listing,
}

/// Arguments of `agents`.
#[derive(Args)]
pub(super) struct Agents {
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    #[command(flatten)]
    listing: Listing,
}

/// Arguments of both.
#[derive(Args)]
struct Listing {
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    #[command(flatten)]
    common: Common,
}

impl Queues {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Listing { channel, common } = self.listing;
        let request = proto::ListAccessibleQueuesRequest {
            organization_id: common.organization.clone(),
            user: Some(one_of!(self.user.clone(), list_accessible_queues_request::User)),
            channel: channel.into(),
            ..Default::default()
        };
        let mut client = common.connect().await?;
        let all = all_pages!(client.queue_access.list_accessible_queues(request), queues);
        if common.server.json {
            print::json(&all)?;
        } else {
            let rows = all.queues.iter().map(|queue| {
                let reason = print::reason(queue.reason);
                [queue.queue_id.clone(), queue.queue_extension.clone(), queue.display_name.clone(), reason]
            });
            print_rows("QUEUE", rows, "may sign in to no queue", all.denied_reason)?;
            let names = [None, Some(&self.user), None];
            print_hint(&mut client, &common.organization, all.denied_reason(), names).await?;
        }
        Ok(outcome(all.queues.len()))
    }
}

impl Agents {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Listing { channel, common } = self.listing;
        let request = proto::ListEligibleAgentsRequest {
            organization_id: common.organization.clone(),
            queue: Some(one_of!(self.queue.clone(), list_eligible_agents_request::Queue)),
            channel: channel.into(),
            ..Default::default()
        };
        let mut client = common.connect().await?;
        let all = all_pages!(client.queue_access.list_eligible_agents(request), agents);
        if common.server.json {
            print::json(&all)?;
        } else {
            let rows = all.agents.iter().map(|agent| {
                let reason = print::reason(agent.reason);
                [agent.user_id.clone(), agent.user_extension.clone(), agent.display_name.clone(), reason]
            });
            print_rows("USER", rows, "nobody may sign in", all.denied_reason)?;
            let names = [None, None, Some(&self.queue)];
            print_hint(&mut client, &common.organization, all.denied_reason(), names).await?;
        }
        Ok(outcome(all.agents.len()))
    }
}

/// Print the rows, or this text and the reason for an empty list.
fn print_rows(
    heading: &str,
    rows: impl ExactSizeIterator<Item = [String; 4]>,
    none: &str,
    denied_reason: i32,
) -> anyhow::Result<()> {
    if rows.len() > 0 {
        return print::table([heading, "EXTENSION", "NAME", "REASON"], rows);
    }
    let why = if denied_reason == 0 { String::new() } else { format!(" ({})", print::reason(denied_reason)) };
    print::line(&format!("{none}{why}"))
}

fn outcome(count: usize) -> Outcome {
    if count == 0 { Outcome::Denied } else { Outcome::Done }
}
