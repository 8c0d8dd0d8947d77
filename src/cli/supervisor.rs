//! The commands `supervisor-sign-in` and `supervisor-sign-out`.

use clap::Args;

use super::{
    args::{Common, Explanations, Name, Retry, Wrong, one_of},
    decision::{outcome, print_hint, print_outcome},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Arguments of `supervisor-sign-in`.
#[derive(Args)]
pub(super) struct SupervisorSignIn {
    #[command(flatten)]
    supervision: Supervision,
    /// Duration of the session, such as 30m or 8h. Absent: until sign-out.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<std::time::Duration>,
}

/// Arguments of `supervisor-sign-out`.
#[derive(Args)]
pub(super) struct SupervisorSignOut {
    #[command(flatten)]
    supervision: Supervision,
}

/// Arguments of both.
#[derive(Args)]
struct Supervision {
    /// The supervisor: an id, or ext:NUMBER.
    supervisor: Name,
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The supervisor's reason, for the history.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    justification: String,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

impl SupervisorSignIn {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Supervision { supervisor, user, queue, justification, retry, explanations, common } = self.supervision;
        let ttl = self.ttl.map(prost_types::Duration::try_from).transpose();
        let request = proto::SupervisorSignInRequest {
            organization_id: common.organization.clone(),
            supervisor: Some(one_of!(supervisor.clone(), supervisor_sign_in_request::Supervisor)),
            user: Some(one_of!(user.clone(), supervisor_sign_in_request::User)),
            queue: Some(one_of!(queue.clone(), supervisor_sign_in_request::Queue)),
            ttl: ttl.map_err(|_| Wrong("--ttl is too long".to_owned()))?,
            justification,
            request_id: retry.request_id,
        };
        let mut client = explanations.of(common.connect().await?);
        let response = client.queue_access.supervisor_sign_in(request).await?.into_inner();
        if common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.session.iter())?;
            let reason = response.decision.as_ref().map(proto::Decision::reason).unwrap_or_default();
            let names = [Some(&supervisor), Some(&user), Some(&queue)];
            print_hint(&mut client, &common.organization, reason, names).await?;
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

impl SupervisorSignOut {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Supervision { supervisor, user, queue, justification, retry, explanations, common } = self.supervision;
        let request = proto::SupervisorSignOutRequest {
            organization_id: common.organization.clone(),
            supervisor: Some(one_of!(supervisor.clone(), supervisor_sign_out_request::Supervisor)),
            user: Some(one_of!(user.clone(), supervisor_sign_out_request::User)),
            queue: Some(one_of!(queue.clone(), supervisor_sign_out_request::Queue)),
            justification,
            request_id: retry.request_id,
        };
        let mut client = explanations.of(common.connect().await?);
        let response = client.queue_access.supervisor_sign_out(request).await?.into_inner();
        if common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.ended_sessions.iter())?;
            let reason = response.decision.as_ref().map(proto::Decision::reason).unwrap_or_default();
            let names = [Some(&supervisor), Some(&user), Some(&queue)];
            print_hint(&mut client, &common.organization, reason, names).await?;
            let allowed = response.decision.as_ref().is_some_and(|decision| decision.allowed());
            if allowed && response.ended_sessions.is_empty() {
                print::line("was not signed in")?;
            }
        }
        Ok(outcome(response.decision.as_ref()))
    }
}
