//! The commands `sign-in` and `sign-out`.

use clap::Args;

use super::{
    args::{Channel, Common, Explanations, Name, Retry, Wrong, one_of},
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
    #[arg(conflicts_with = "all_assigned")]
    queue: Option<Name>,
    /// Sign in to every queue that is assigned to the user.
    #[arg(long)]
    all_assigned: bool,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    /// The device that signs in, such as PJSIP/101.
    #[arg(long, default_value = "", hide_default_value = true)]
    device: String,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

impl SignIn {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        if self.queue.is_none() && !self.all_assigned {
            return Err(Wrong("name the queue, or give --all-assigned".to_owned()).into());
        }
        let request = proto::SignInRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user.clone(), sign_in_request::User)),
            queue: self.queue.clone().map(|queue| one_of!(queue, sign_in_request::Queue)),
            channel: self.channel.into(),
            device: self.device,
            request_id: self.retry.request_id,
            all_assigned_queues: self.all_assigned,
        };
        let mut client = self.explanations.of(self.common.connect().await?);
        let response = client.queue_access.sign_in(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_outcome(response.decision.as_ref(), response.session.iter())?;
            let reason = response.decision.as_ref().map(proto::Decision::reason).unwrap_or_default();
            let names = [None, Some(&self.user), self.queue.as_ref()];
            print_hint(&mut client, &self.common.organization, reason, names).await?;
            for sign_in in &response.queue_sign_ins {
                print_outcome(sign_in.decision.as_ref(), sign_in.session.iter())?;
            }
            if response.decision.is_none() && response.queue_sign_ins.is_empty() {
                print::line("no queue is assigned to this user")?;
            }
        }
        let on_queues = response.queue_sign_ins.iter().filter_map(|sign_in| sign_in.decision.as_ref());
        Ok(outcome(response.decision.iter().chain(on_queues).find(|decision| decision.allowed())))
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
