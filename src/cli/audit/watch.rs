//! `audit watch`.

use clap::Args;

use super::{
    super::{args::Common, exit::Outcome, print, resume::Resume},
    event::print_event,
};
use crate::rpc::proto;

/// Arguments of `audit watch`.
#[derive(Args)]
pub(crate) struct Watch {
    /// Resume after this revision instead of starting now.
    #[arg(long, value_name = "REVISION", default_value = "", hide_default_value = true)]
    from: String,
    #[command(flatten)]
    common: Common,
}

impl Watch {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut request = proto::WatchAuditEventsRequest {
            organization_id: self.common.organization.clone(),
            start_revision: self.from.clone(),
        };
        let mut client = self.common.connect().await?;
        let mut resume = Resume::new(&client);
        loop {
            let begun = client.audit.watch_audit_events(request.clone()).await.inspect_err(|_| resume.print());
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
                if message.event.is_some() || self.from.is_empty() {
                    resume.reached(&message.revision);
                }
                if self.common.server.json {
                    print::json_line(&message)?;
                } else if let Some(event) = &message.event {
                    print_event(event)?;
                }
            }
        }
    }
}
