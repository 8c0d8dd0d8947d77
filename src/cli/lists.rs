//! The commands `queues` and `agents`.

use clap::Args;

use super::{
    args::{Channel, Common, Name, one_of},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Arguments of `queues`.
#[derive(Args)]
pub(super) struct Queues {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    #[command(flatten)]
    common: Common,
}

impl Queues {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut request = proto::ListAccessibleQueuesRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, list_accessible_queues_request::User)),
            channel: self.channel.into(),
            page_size: 1_000,
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut all = proto::ListAccessibleQueuesResponse::default();
        loop {
            let page = client.queue_access.list_accessible_queues(request.clone()).await?.into_inner();
            all.queues.extend(page.queues);
            (all.denied_reason, all.revision) = (page.denied_reason, page.revision);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if self.common.server.json {
            print::json(&all)?;
        } else if all.queues.is_empty() {
            print_none("may sign in to no queue", all.denied_reason)?;
        } else {
            let rows = all.queues.iter().map(|queue| {
                let reason = print::reason(queue.reason);
                [queue.queue_id.clone(), queue.queue_extension.clone(), queue.display_name.clone(), reason]
            });
            print::table(["QUEUE", "EXTENSION", "NAME", "REASON"], rows)?;
        }
        Ok(if all.queues.is_empty() { Outcome::Denied } else { Outcome::Done })
    }
}

/// Arguments of `agents`.
#[derive(Args)]
pub(super) struct Agents {
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    #[command(flatten)]
    common: Common,
}

impl Agents {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut request = proto::ListEligibleAgentsRequest {
            organization_id: self.common.organization.clone(),
            queue: Some(one_of!(self.queue, list_eligible_agents_request::Queue)),
            channel: self.channel.into(),
            page_size: 1_000,
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut all = proto::ListEligibleAgentsResponse::default();
        loop {
            let page = client.queue_access.list_eligible_agents(request.clone()).await?.into_inner();
            all.agents.extend(page.agents);
            (all.denied_reason, all.revision) = (page.denied_reason, page.revision);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if self.common.server.json {
            print::json(&all)?;
        } else if all.agents.is_empty() {
            print_none("nobody may sign in", all.denied_reason)?;
        } else {
            let rows = all.agents.iter().map(|agent| {
                let reason = print::reason(agent.reason);
                [agent.user_id.clone(), agent.user_extension.clone(), agent.display_name.clone(), reason]
            });
            print::table(["USER", "EXTENSION", "NAME", "REASON"], rows)?;
        }
        Ok(if all.agents.is_empty() { Outcome::Denied } else { Outcome::Done })
    }
}

fn print_none(text: &str, denied_reason: i32) -> anyhow::Result<()> {
    let why = if denied_reason == 0 { String::new() } else { format!(" ({})", print::reason(denied_reason)) };
    print::line(&format!("{text}{why}"))
}
