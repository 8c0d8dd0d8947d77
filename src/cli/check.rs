//! The command `check`.

use clap::Args;

use super::{
    args::{Channel, Common, Explanations, Name, one_of},
    decision::{outcome, print_hint},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Arguments of `check`.
#[derive(Args)]
pub(super) struct Check {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    /// Also print the facts behind the decision.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { user, queue, channel, explain, explanations, common } = self;
        let request = request(&common.organization, &user, &queue, channel, explain);
        let mut client = explanations.of(common.connect().await?);
        let response = client.queue_access.check_queue_access(request).await?.into_inner();
        if common.server.json {
            print::json(&response)?;
        } else if let Some(decision) = &response.decision {
            print::decision(decision)?;
            let names = [None, Some(&user), Some(&queue)];
            print_hint(&mut client, &common.organization, decision.reason(), names).await?;
            if let Some(facts) = &decision.facts {
                print_facts(facts)?;
            }
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

pub(super) fn request(
    organization: &str,
    user: &Name,
    queue: &Name,
    channel: Channel,
    explain: bool,
) -> proto::CheckQueueAccessRequest {
    proto::CheckQueueAccessRequest {
        organization_id: organization.to_owned(),
        user: Some(one_of!(user.clone(), check_queue_access_request::User)),
        queue: Some(one_of!(queue.clone(), check_queue_access_request::Queue)),
        channel: channel.into(),
        explain,
        at_least_revision: String::new(),
    }
}

fn print_facts(facts: &proto::Facts) -> anyhow::Result<()> {
    let setting = facts.unassigned_queue_sign_in().as_str_name();
    let rows = [
        ["user".to_owned(), named(&facts.user_id, &facts.user_extension, &facts.user_display_name)],
        ["disabled".to_owned(), print::yes_no(facts.user_disabled)],
        ["licence".to_owned(), print::yes_no(facts.contact_center_license)],
        ["roles".to_owned(), print::roles(facts.roles())],
        ["queue".to_owned(), named(&facts.queue_id, &facts.queue_extension, &facts.queue_display_name)],
        ["kind".to_owned(), print::short(facts.queue_kind().as_str_name(), "QUEUE_KIND_")],
        ["assigned".to_owned(), print::yes_no(facts.assigned)],
        ["unassigned sign-in".to_owned(), print::short(setting, "UNASSIGNED_QUEUE_SIGN_IN_")],
        ["signed in".to_owned(), signed_in(facts)],
        ["decided at".to_owned(), print::time(facts.decision_time.as_ref())],
    ];
    print::table(["FACT", "VALUE"], rows)
}

/// The start of the live session, or `no`.
pub(super) fn signed_in(facts: &proto::Facts) -> String {
    facts.session.as_ref().map_or_else(
        || "no".to_owned(),
        |session| {
            let kept = if session.retained { ", retained" } else { "" };
            let since = print::time(session.sign_in_time.as_ref());
            format!("since {since} ({}{kept})", print::basis(session.basis))
        },
    )
}

pub(super) fn named(id: &str, extension: &str, name: &str) -> String {
    let parts = [id, extension, name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "unknown".to_owned() } else { parts.join(", ") }
}
