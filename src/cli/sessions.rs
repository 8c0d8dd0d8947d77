//! Commands that list and follow live sessions.

use clap::Args;

use super::{
    args::{Common, Name, all_pages, one_of},
    exit::Outcome,
    print,
    resume::Resume,
};
use crate::rpc::proto;

/// Arguments of `sessions`.
#[derive(Args)]
pub(super) struct Sessions {
    /// Only this user's sessions: an id, or ext:NUMBER.
    #[arg(long)]
    user: Option<Name>,
    /// Only sessions on this queue: an id, or ext:NUMBER.
    #[arg(long)]
    queue: Option<Name>,
    /// Only retained sessions, whose users couldn't sign in again now.
    #[arg(long)]
    retained: bool,
    #[command(flatten)]
    common: Common,
}

impl Sessions {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::ListSessionsRequest {
            organization_id: self.common.organization.clone(),
            user: self.user.map(|user| one_of!(user, list_sessions_request::User)),
            queue: self.queue.map(|queue| one_of!(queue, list_sessions_request::Queue)),
            retained_only: self.retained,
            ..Default::default()
        };
        let mut client = self.common.connect().await?;
        let all = all_pages!(client.queue_access.list_sessions(request), sessions);
        if self.common.server.json {
            print::json(&all)?;
        } else {
            print_sessions(&all.sessions)?;
        }
        Ok(Outcome::Done)
    }
}

pub(super) fn print_sessions(sessions: &[proto::Session]) -> anyhow::Result<()> {
    if sessions.is_empty() {
        return print::line("nobody is signed in");
    }
    let rows = sessions.iter().map(|session| {
        [
            session.user_id.clone(),
            session.queue_id.clone(),
            print::time(session.sign_in_time.as_ref()),
            print::time(session.expire_time.as_ref()),
            print::channel(session.channel),
            print::basis(session.basis),
            session.signed_in_by.clone(),
            if session.retained { "yes" } else { "" }.to_owned(),
        ]
    });
    print::table(["USER", "QUEUE", "SINCE", "UNTIL", "CHANNEL", "BASIS", "BY", "RETAINED"], rows)
}

/// Arguments of `watch`.
#[derive(Args)]
pub(super) struct Watch {
    /// Only this user's sessions: an id, or ext:NUMBER.
    #[arg(long)]
    user: Option<Name>,
    /// Only sessions on this queue: an id, or ext:NUMBER.
    #[arg(long)]
    queue: Option<Name>,
    /// Resume after this revision instead of starting with the live sessions.
    #[arg(long, value_name = "REVISION", default_value = "", hide_default_value = true)]
    from: String,
    #[command(flatten)]
    common: Common,
}

impl Watch {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut request = proto::WatchSessionsRequest {
            organization_id: self.common.organization.clone(),
            user: self.user.map(|user| one_of!(user, watch_sessions_request::User)),
            queue: self.queue.map(|queue| one_of!(queue, watch_sessions_request::Queue)),
            start_revision: self.from,
        };
        let mut client = self.common.connect().await?;
        let mut resume = Resume::new(&client);
        loop {
            let begun = client.queue_access.watch_sessions(request.clone()).await.inspect_err(|_| resume.print());
            let mut messages = begun?.into_inner();
            loop {
                let message = match messages.message().await {
                    Ok(Some(message)) => message,
                    Ok(None) => return Ok(Outcome::Done),
                    Err(status) => {
                        request.start_revision = resume.after(status)?;
                        break;
                    }
                };
                if message.r#type() != proto::WatchSessionsType::Initial {
                    resume.reached(&message.revision);
                }
                if self.common.server.json {
                    print::json_line(&message)?;
                } else {
                    print_message(&message)?;
                }
            }
        }
    }
}

fn print_message(message: &proto::WatchSessionsResponse) -> anyhow::Result<()> {
    let name = print::short(message.r#type().as_str_name(), "WATCH_SESSIONS_TYPE_");
    let style = match message.r#type() {
        proto::WatchSessionsType::SignedIn => print::GREEN,
        proto::WatchSessionsType::SignedOut => print::RED,
        proto::WatchSessionsType::Initial
        | proto::WatchSessionsType::Checkpoint
        | proto::WatchSessionsType::Unspecified => print::DIM,
    };
    let text = match &message.session {
        None => "everything so far has been sent".to_owned(),
        Some(session) if session.end_time.is_some() => format!(
            "{} off {} at {} ({})",
            session.user_id,
            session.queue_id,
            print::time(session.end_time.as_ref()),
            print::end_reason(session.end_reason)
        ),
        Some(session) => format!(
            "{} on {} since {} ({})",
            session.user_id,
            session.queue_id,
            print::time(session.sign_in_time.as_ref()),
            print::basis(session.basis)
        ),
    };
    let (dim, revision) = (print::DIM, &message.revision);
    print::line(&format!("{style}{name:<10}{style:#}  {text}  {dim}{revision}{dim:#}"))
}
