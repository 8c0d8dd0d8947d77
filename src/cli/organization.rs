//! The commands `organization add`, `get`, `list`, `set` and `remove`.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    args::{Retry, Server, all_pages},
    confirm::Confirmation,
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Subcommands of `organization`.
#[derive(Subcommand)]
pub(super) enum Organization {
    /// Add an organization.
    Add(Add),
    /// Print an organization.
    Get(Get),
    /// List the organizations.
    List(List),
    /// Change the name of an organization.
    Set(Set),
    /// Remove an organization with everything in it. Ends its sessions.
    Remove(Remove),
}

/// Arguments of `organization add`.
#[derive(Args)]
pub(super) struct Add {
    /// The id: 1 to 64 of a-z 0-9 . _ -
    organization_id: String,
    /// The name that people see.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Whether agents may sign in to queues that are not assigned to them.
    #[arg(long, value_enum, default_value = "allowed")]
    unassigned_queue_sign_in: UnassignedQueueSignIn,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `organization get`.
#[derive(Args)]
pub(super) struct Get {
    /// The id.
    organization_id: String,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `organization list`.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
}

/// Arguments of `organization set`.
#[derive(Args)]
pub(super) struct Set {
    /// The id.
    organization_id: String,
    /// The name that people see.
    #[arg(long, value_name = "TEXT")]
    name: String,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `organization remove`.
#[derive(Args)]
pub(super) struct Remove {
    /// The id.
    organization_id: String,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    server: Server,
}

/// The setting at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnassignedQueueSignIn {
    /// Anyone who can reach a queue may sign in to it.
    Allowed,
    /// Only assigned agents may sign in.
    Restricted,
}

impl From<UnassignedQueueSignIn> for i32 {
    fn from(setting: UnassignedQueueSignIn) -> Self {
        match setting {
            UnassignedQueueSignIn::Allowed => proto::UnassignedQueueSignIn::Allowed.into(),
            UnassignedQueueSignIn::Restricted => proto::UnassignedQueueSignIn::Restricted.into(),
        }
    }
}

impl Organization {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Add(add) => add.run().await,
            Self::Get(get) => get.run().await,
            Self::List(list) => list.run().await,
            Self::Set(set) => set.run().await,
            Self::Remove(remove) => remove.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::CreateOrganizationRequest {
            organization: Some(proto::Organization { organization_id: self.organization_id, display_name: self.name }),
            unassigned_queue_sign_in: self.unassigned_queue_sign_in.into(),
            request_id: self.retry.request_id,
            actor_user_id: String::new(),
        };
        let mut client = self.server.connect().await?;
        let response = client.directory.create_organization(request).await?.into_inner();
        if self.server.json {
            print::json(&response)?
        } else {
            print_organizations(response.organization.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Get {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request =
            proto::GetOrganizationRequest { organization_id: self.organization_id, at_least_revision: String::new() };
        let mut client = self.server.connect().await?;
        let response = client.directory.get_organization(request).await?.into_inner();
        if self.server.json {
            print::json(&response)?
        } else {
            print_organizations(response.organization.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.server.connect().await?;
        let request = proto::ListOrganizationsRequest::default();
        let all = all_pages!(client.directory.list_organizations(request), organizations);
        if self.server.json {
            print::json(&all)?
        } else {
            print_organizations(&all.organizations)?
        }
        Ok(Outcome::Done)
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::UpdateOrganizationRequest {
            organization: Some(proto::Organization {
                organization_id: self.organization_id,
                display_name: Some(self.name),
            }),
            update_mask: None,
            request_id: self.retry.request_id,
            actor_user_id: String::new(),
        };
        let mut client = self.server.connect().await?;
        let response = client.directory.update_organization(request).await?.into_inner();
        if self.server.json {
            print::json(&response)?
        } else {
            print_organizations(response.organization.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<Outcome> {
        let id = &self.organization_id;
        let effect = format!("removes organization `{id}` with everything in it, and ends its sessions");
        if !self.confirmation.ask(&effect)? {
            return Ok(Outcome::Denied);
        }
        let request = proto::DeleteOrganizationRequest {
            organization_id: id.clone(),
            allow_missing: false,
            request_id: self.retry.request_id,
            actor_user_id: String::new(),
        };
        let mut client = self.server.connect().await?;
        let response = client.directory.delete_organization(request).await?.into_inner();
        if self.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("organization `{id}` is removed"))?;
        }
        Ok(Outcome::Done)
    }
}

fn print_organizations(organizations: &[proto::Organization]) -> anyhow::Result<()> {
    if organizations.is_empty() {
        return print::line("there are no organizations");
    }
    let rows = organizations
        .iter()
        .map(|organization| [organization.organization_id.clone(), organization.display_name().to_owned()]);
    print::table(["ORGANIZATION", "NAME"], rows)
}
