//! Commands that check access, sign in and out, and list accessible queues and eligible agents.

use clap::Args;

use super::{
    args::{Channel, Common, Name, Wrong, one_of},
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
    common: Common,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let names = [self.user.clone(), self.queue.clone()];
        let request = proto::CheckQueueAccessRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, check_queue_access_request::User)),
            queue: Some(one_of!(self.queue, check_queue_access_request::Queue)),
            channel: self.channel.into(),
            explain: self.explain,
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.check_queue_access(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else if let Some(decision) = &response.decision {
            print::decision(decision)?;
            print_hint(decision, &names)?;
            if let Some(facts) = &decision.facts {
                print_facts(facts)?;
            }
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

/// Arguments of `sign-in`.
#[derive(Args)]
pub(super) struct SignIn {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    /// The device that signs in, such as PJSIP/101.
    #[arg(long, default_value = "", hide_default_value = true)]
    device: String,
    /// Make a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

impl SignIn {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let names = [self.user.clone(), self.queue.clone()];
        let request = proto::SignInRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, sign_in_request::User)),
            queue: Some(one_of!(self.queue, sign_in_request::Queue)),
            channel: self.channel.into(),
            device: self.device,
            request_id: self.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.sign_in(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.session.iter())?;
            response.decision.as_ref().map_or(Ok(()), |decision| print_hint(decision, &names))?;
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

/// Arguments of `sign-out`.
#[derive(Args)]
pub(super) struct SignOut {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    #[arg(conflicts_with = "all_queues")]
    queue: Option<Name>,
    /// Sign out of every queue.
    #[arg(long)]
    all_queues: bool,
    /// Make a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

impl SignOut {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        if self.queue.is_none() && !self.all_queues {
            return Err(Wrong("name the queue, or give --all-queues".to_owned()).into());
        }
        let request = proto::SignOutRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, sign_out_request::User)),
            queue: self.queue.map(|queue| one_of!(queue, sign_out_request::Queue)),
            all_queues: self.all_queues,
            request_id: self.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.sign_out(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            match response.ended_sessions.len() {
                0 => print::line("was not signed in")?,
                1 => print::line("signed out")?,
                n => print::line(&format!("signed out of {n} queues"))?,
            }
            response.ended_sessions.iter().try_for_each(print::session)?;
        }
        Ok(Outcome::Done)
    }
}

/// Arguments of `supervisor-sign-in`.
#[derive(Args)]
pub(super) struct SupervisorSignIn {
    /// The supervisor: an id, or ext:NUMBER.
    supervisor: Name,
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// Duration of the session, such as 30m or 8h. Absent: until sign-out.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<std::time::Duration>,
    /// The supervisor's reason, for the history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    justification: String,
    /// Make a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

impl SupervisorSignIn {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let ttl = self.ttl.map(prost_types::Duration::try_from).transpose();
        let request = proto::SupervisorSignInRequest {
            organization_id: self.common.organization.clone(),
            supervisor: Some(one_of!(self.supervisor, supervisor_sign_in_request::Supervisor)),
            user: Some(one_of!(self.user, supervisor_sign_in_request::User)),
            queue: Some(one_of!(self.queue, supervisor_sign_in_request::Queue)),
            ttl: ttl.map_err(|_| Wrong("--ttl is too long".to_owned()))?,
            justification: self.justification,
            request_id: self.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.supervisor_sign_in(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.session.iter())?;
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

/// Arguments of `supervisor-sign-out`.
#[derive(Args)]
pub(super) struct SupervisorSignOut {
    /// The supervisor: an id, or ext:NUMBER.
    supervisor: Name,
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The supervisor's reason, for the history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    justification: String,
    /// Make a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

impl SupervisorSignOut {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::SupervisorSignOutRequest {
            organization_id: self.common.organization.clone(),
            supervisor: Some(one_of!(self.supervisor, supervisor_sign_out_request::Supervisor)),
            user: Some(one_of!(self.user, supervisor_sign_out_request::User)),
            queue: Some(one_of!(self.queue, supervisor_sign_out_request::Queue)),
            justification: self.justification,
            request_id: self.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.supervisor_sign_out(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.ended_sessions.iter())?;
            let allowed = response.decision.as_ref().is_some_and(|decision| decision.allowed());
            if allowed && response.ended_sessions.is_empty() {
                print::line("was not signed in")?;
            }
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

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

fn outcome(decision: Option<&proto::Decision>) -> Outcome {
    if decision.is_some_and(|decision| decision.allowed()) { Outcome::Done } else { Outcome::Denied }
}

fn print_outcome<'s>(
    decision: Option<&proto::Decision>,
    mut sessions: impl Iterator<Item = &'s proto::Session>,
) -> anyhow::Result<()> {
    decision.map_or(Ok(()), print::decision)?;
    sessions.try_for_each(print::session)
}

/// Prints a hint for users who wrote an extension without `ext:`.
fn print_hint(decision: &proto::Decision, [user, queue]: &[Name; 2]) -> anyhow::Result<()> {
    let hint = match decision.reason() {
        proto::Reason::UnknownUser => user.hint(),
        proto::Reason::UnknownQueue => queue.hint(),
        _ => None,
    };
    hint.map_or(Ok(()), |hint| print::line(&hint))
}

fn print_none(text: &str, denied_reason: i32) -> anyhow::Result<()> {
    let why = if denied_reason == 0 { String::new() } else { format!(" ({})", print::reason(denied_reason)) };
    print::line(&format!("{text}{why}"))
}

fn print_facts(facts: &proto::Facts) -> anyhow::Result<()> {
    let roles = facts.roles().map(|role| print::short(role.as_str_name(), "ROLE_")).collect::<Vec<_>>().join(", ");
    let setting = facts.unassigned_queue_sign_in().as_str_name();
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let signed_in = facts.session.as_ref().map_or_else(
        || "no".to_owned(),
        |session| {
            let kept = if session.retained { ", retained" } else { "" };
            let since = print::time(session.sign_in_time.as_ref());
            format!("since {since} ({}{kept})", print::basis(session.basis))
        },
    );
    let rows = [
        ["user".to_owned(), named(&facts.user_id, &facts.user_extension, &facts.user_display_name)],
        ["disabled".to_owned(), yes_no(facts.user_disabled)],
        ["licence".to_owned(), yes_no(facts.contact_center_license)],
        ["roles".to_owned(), if roles.is_empty() { "none".to_owned() } else { roles }],
        ["queue".to_owned(), named(&facts.queue_id, &facts.queue_extension, &facts.queue_display_name)],
        ["kind".to_owned(), print::short(facts.queue_kind().as_str_name(), "QUEUE_KIND_")],
        ["assigned".to_owned(), yes_no(facts.assigned)],
        ["unassigned sign-in".to_owned(), print::short(setting, "UNASSIGNED_QUEUE_SIGN_IN_")],
        ["signed in".to_owned(), signed_in],
        ["decided at".to_owned(), print::time(facts.decision_time.as_ref())],
    ];
    print::table(["FACT", "VALUE"], rows)
}

fn named(id: &str, extension: &str, name: &str) -> String {
    let parts = [id, extension, name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "unknown".to_owned() } else { parts.join(", ") }
}
