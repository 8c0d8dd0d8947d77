//! Links into the console.

use clap::{Args, Subcommand};

use super::{
    args::{Common, Name, one_of},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Subcommands of `console`.
#[derive(Subcommand)]
pub(super) enum Console {
    /// Print a one-time link with which a user enters the console. It is valid for five minutes.
    Link(Link),
}

/// Arguments of `console link`.
#[derive(Args)]
pub(super) struct Link {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    common: Common,
}

impl Console {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self::Link(Link { user, common }) = self;
        let request = proto::CreateConsoleLinkRequest {
            organization_id: common.organization.clone(),
            user: Some(one_of!(user, create_console_link_request::User)),
        };
        let answer = common.connect().await?.console.create_console_link(request).await?.into_inner();
        if common.server.json {
            print::json(&answer)?;
        } else {
            print::line(&answer.link)?;
        }
        Ok(Outcome::Done)
    }
}
