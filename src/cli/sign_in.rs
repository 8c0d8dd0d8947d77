//! The commands `sign-in` and `sign-out`.

use clap::Args;

use super::{
    args::{Channel, Common, Name, Retry, Wrong, one_of},
    decision::{outcome, print_hint, print_outcome},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

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
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

impl SignIn {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::SignInRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user.clone(), sign_in_request::User)),
            queue: Some(one_of!(self.queue.clone(), sign_in_request::Queue)),
            channel: self.channel.into(),
            device: self.device,
            request_id: self.retry.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.sign_in(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.session.iter())?;
            let reason = response.decision.as_ref().map(proto::Decision::reason).unwrap_or_default();
            let names = [None, Some(&self.user), Some(&self.queue)];
            print_hint(&mut client, &self.common.organization, reason, names).await?;
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
    #[command(flatten)]
    retry: Retry,
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
            request_id: self.retry.request_id,
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
