//! `audit list`.

use clap::Args;

use super::{
    super::{
        args::{Common, Name, Wrong, one_of},
        exit::Outcome,
        print,
        when::{self, When},
    },
    event::{action_name, print_event},
};
use crate::rpc::proto;

/// Arguments of `audit list`.
#[derive(Args)]
pub(crate) struct List {
    /// Only events that affect this user: an id, or ext:NUMBER.
    #[arg(long)]
    user: Option<Name>,
    /// Only events on this queue: an id, or ext:NUMBER.
    #[arg(long)]
    queue: Option<Name>,
    /// Only actions and attempts of this user.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "USER_ID")]
    actor: String,
    /// Only this action, such as sign-in or ASSIGN_ROLE.
    #[arg(long)]
    action: Option<String>,
    /// Only actions that were done.
    #[arg(long, conflicts_with = "denied")]
    allowed: bool,
    /// Only refusals.
    #[arg(long)]
    denied: bool,
    /// Only in this minute, second or day: 9:03, 2026-11-22 9:03, 2026-11-22T09:03:00Z, 2026-11-22.
    #[arg(long, value_name = "TIME", value_parser = when::past, conflicts_with_all = ["since", "until"])]
    at: Option<When>,
    /// Only at this time or later, such as 9:00 or 2026-11-22, or a time span before now, such as 90m.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    since: Option<When>,
    /// Only before this time, such as 17:00 or 2026-11-22, or a time span before now, such as 90m.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    until: Option<When>,
    /// Maximum number of events; 0 for all.
    #[arg(long, default_value = "100", value_name = "NUMBER")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let action = match &self.action {
            Some(text) => action(text)?,
            None => proto::AuditAction::Unspecified,
        };
        let start = self.at.or(self.since);
        let end = self.at.map(When::end).or(self.until.map(When::start));
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut request = proto::ListAuditEventsRequest {
            organization_id: self.common.organization.clone(),
            user: self.user.map(|user| one_of!(user, list_audit_events_request::User)),
            queue: self.queue.clone().map(|queue| one_of!(queue, list_audit_events_request::Queue)),
            actor_user_id: self.actor,
            action: action.into(),
            allowed: (self.allowed || self.denied).then_some(self.allowed),
            start_time: start.map(When::start),
            end_time: end,
            page_size: 0,
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut all = proto::ListAuditEventsResponse::default();
        loop {
            request.page_size = i32::try_from((limit - all.events.len()).min(1_000)).unwrap_or(1_000);
            let page = client.audit.list_audit_events(request.clone()).await?.into_inner();
            all.events.extend(page.events);
            (all.revision, all.next_page_token) = (page.revision, page.next_page_token);
            if all.next_page_token.is_empty() || all.events.len() >= limit {
                break;
            }
            request.page_token.clone_from(&all.next_page_token);
        }
        if self.common.server.json {
            print::json(&all)?;
            return Ok(Outcome::Done);
        }
        if all.events.is_empty() {
            print_nothing(start.map(|when| when.start), request.end_time.as_ref(), self.queue.as_ref())?;
        }
        all.events.iter().try_for_each(print_event)?;
        if !all.next_page_token.is_empty() {
            print::line(&format!("there are more; these are the newest {limit} (--limit 0 prints all)"))?;
        }
        Ok(Outcome::Done)
    }
}

/// Print the times of an empty search, so that the user notices a wrong day.
fn print_nothing(
    start: Option<jiff::Timestamp>,
    end: Option<&prost_types::Timestamp>,
    queue: Option<&Name>,
) -> anyhow::Result<()> {
    let since = start.map_or_else(String::new, |start| format!(" from {start}"));
    let until = end.map_or_else(String::new, |end| format!(" before {end}"));
    print::line(&format!("no matching events{since}{until}"))?;
    match queue {
        Some(_) => print::line("a number without a queue is recorded as dialed; try without --queue"),
        None => Ok(()),
    }
}

fn action(text: &str) -> Result<proto::AuditAction, Wrong> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let name = if name.starts_with("AUDIT_ACTION_") { name } else { format!("AUDIT_ACTION_{name}") };
    let known = proto::AuditAction::from_str_name(&name).filter(|known| *known != proto::AuditAction::Unspecified);
    known.ok_or_else(|| {
        let all = (1..).map_while(|number| proto::AuditAction::try_from(number).ok());
        let all: Vec<String> = all.map(|action| action_name(action).to_ascii_lowercase().replace('_', "-")).collect();
        Wrong(format!("--action: there is no action `{text}`; the actions are {}", all.join(", ")))
    })
}
