//! The commands `user add`, `get`, `list`, `set` and `remove`.

use clap::{Args, Subcommand};

use super::{
    args::{Acting, Common, Name, Retry, all_pages, one_of},
    confirm::Confirmation,
    exit::Outcome,
    print,
};
use crate::{client::Client, rpc::proto};

/// Subcommands of `user`.
#[derive(Subcommand)]
pub(super) enum User {
    /// Add a user.
    Add(Add),
    /// Print a user.
    Get(Get),
    /// List the users.
    List(List),
    /// Change attributes of a user. Disabling a user ends their sessions.
    Set(Set),
    /// Remove a user with their roles. Ends their sessions.
    Remove(Remove),
}

/// Arguments of `user add`.
#[derive(Args)]
pub(super) struct Add {
    /// The id: 1 to 64 of a-z 0-9 . _ -
    user_id: String,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user get`.
#[derive(Args)]
pub(super) struct Get {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user list`.
#[derive(Args)]
pub(super) struct List {
    /// Only users whose id, extension or name begins with this text.
    #[arg(long, default_value = "", hide_default_value = true)]
    text: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user set`.
#[derive(Args)]
#[command(mut_group("Attributes", |group| group.required(true)))]
pub(super) struct Set {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `user remove`.
#[derive(Args)]
pub(super) struct Remove {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// The attributes of a user.
#[derive(Args)]
struct Attributes {
    /// The name that people see.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The user's number in the PBX, 1 to 15 digits. An empty one removes it.
    #[arg(long, value_name = "NUMBER")]
    extension: Option<String>,
    /// Whether the user has a contact-center licence, which a role needs.
    #[arg(long, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    license: Option<bool>,
    /// Whether the user is disabled, and can't sign in to any queue.
    #[arg(long, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disabled: Option<bool>,
    /// The user's name at an identity provider. An empty one removes it.
    #[arg(long, value_name = "TEXT")]
    login: Option<String>,
}

impl User {
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

impl Attributes {
    fn of(self, user_id: String) -> proto::User {
        let Self { name, extension, license, disabled, login } = self;
        proto::User {
            user_id,
            display_name: name,
            extension,
            contact_center_license: license,
            disabled,
            etag: String::new(),
            login,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::CreateUserRequest {
            organization_id: self.common.organization.clone(),
            user: Some(self.attributes.of(self.user_id)),
            request_id: self.retry.request_id,
            actor_user_id: String::new(),
        };
        let mut client = self.common.connect().await?;
        let response = client.directory.create_user(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_users(response.user.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Get {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.common.connect().await?;
        let response = get(&mut client, &self.common.organization, self.user).await?;
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_users(response.user.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::ListUsersRequest {
            organization_id: self.common.organization.clone(),
            text: self.text,
            ..Default::default()
        };
        let mut client = self.common.connect().await?;
        let all = all_pages!(client.directory.list_users(request), users);
        if self.common.server.json {
            print::json(&all)?
        } else {
            print_users(&all.users)?
        }
        Ok(Outcome::Done)
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let user_id = id(&mut client, &self.common.organization, self.user).await?;
        let disables = self.attributes.disabled == Some(true);
        if disables && !self.confirmation.ask(&format!("disables user `{user_id}` and ends their sessions"))? {
            return Ok(Outcome::Denied);
        }
        let request = proto::UpdateUserRequest {
            organization_id: self.common.organization.clone(),
            user: Some(self.attributes.of(user_id)),
            update_mask: None,
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let response = client.directory.update_user(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_users(response.user.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.common.connect().await?;
        let user_id = id(&mut client, &self.common.organization, self.user).await?;
        let effect = format!("removes user `{user_id}` with their roles, and ends their sessions");
        if !self.confirmation.ask(&effect)? {
            return Ok(Outcome::Denied);
        }
        let request = proto::DeleteUserRequest {
            organization_id: self.common.organization.clone(),
            user_id: user_id.clone(),
            allow_missing: false,
            etag: String::new(),
            request_id: self.retry.request_id,
            actor_user_id: String::new(),
        };
        let response = client.directory.delete_user(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("user `{user_id}` is removed"))?;
        }
        Ok(Outcome::Done)
    }
}

/// Return the id of a user. The server is asked only for an extension, so that a repeated removal by id succeeds.
async fn id(client: &mut Client, organization: &str, user: Name) -> anyhow::Result<String> {
    match user {
        Name::Id(id) => Ok(id),
        Name::Extension(_) => Ok(get(client, organization, user).await?.user.unwrap_or_default().user_id),
    }
}

async fn get(client: &mut Client, organization: &str, user: Name) -> Result<proto::GetUserResponse, tonic::Status> {
    let request = proto::GetUserRequest {
        organization_id: organization.to_owned(),
        user: Some(one_of!(user, get_user_request::User)),
        at_least_revision: String::new(),
    };
    Ok(client.directory.get_user(request).await?.into_inner())
}

fn print_users(users: &[proto::User]) -> anyhow::Result<()> {
    if users.is_empty() {
        return print::line("there are no users");
    }
    let rows = users.iter().map(|user| {
        [
            user.user_id.clone(),
            user.extension().to_owned(),
            user.display_name().to_owned(),
            print::yes_no(user.contact_center_license()),
            print::yes_no(user.disabled()),
        ]
    });
    print::table(["USER", "EXTENSION", "NAME", "LICENCE", "DISABLED"], rows)
}
