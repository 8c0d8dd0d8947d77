//! The commands `queue add`, `get`, `list`, `set` and `remove`.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    args::{Acting, Common, Name, Retry, all_pages, one_of},
    confirm::Confirmation,
    exit::Outcome,
    print,
};
use crate::{client::Client, rpc::proto};

/// Subcommands of `queue`.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// Add a queue.
    Add(Add),
    /// Print a queue.
    Get(Get),
    /// List the queues.
    List(List),
    /// Change attributes of a queue. Ends no session.
    Set(Set),
    /// Remove a queue with the roles on it. Ends its sessions.
    Remove(Remove),
}

/// Arguments of `queue add`.
#[derive(Args)]
pub(super) struct Add {
    /// The id: 1 to 64 of a-z 0-9 . _ -
    queue_id: String,
    /// The kind of contacts.
    #[arg(long, value_enum)]
    kind: Kind,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `queue get`.
#[derive(Args)]
pub(super) struct Get {
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `queue list`.
#[derive(Args)]
pub(super) struct List {
    /// Only queues whose id, extension or name begins with this text.
    #[arg(long, default_value = "", hide_default_value = true)]
    text: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `queue set`.
#[derive(Args)]
#[command(mut_group("Attributes", |group| group.required(true).arg("kind")))]
pub(super) struct Set {
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The kind of contacts.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `queue remove`.
#[derive(Args)]
pub(super) struct Remove {
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// The attributes of a queue, besides its kind.
#[derive(Args)]
struct Attributes {
    /// The name that people see.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The number to dial after *13, 1 to 15 digits. An empty one removes it.
    #[arg(long, value_name = "NUMBER")]
    extension: Option<String>,
}

/// The kind of contacts that a queue distributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Inbound calls.
    CallQueue,
    /// Messages and chats.
    Inbox,
    /// Outbound calls.
    Campaign,
    /// Phones that ring together.
    RingGroup,
}

impl From<Kind> for proto::QueueKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::CallQueue => Self::CallQueue,
            Kind::Inbox => Self::Inbox,
            Kind::Campaign => Self::Campaign,
            Kind::RingGroup => Self::RingGroup,
        }
    }
}

impl Queue {
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
    fn of(self, queue_id: String, kind: Option<Kind>) -> proto::Queue {
        let Self { name, extension } = self;
        let kind = kind.map_or(proto::QueueKind::Unspecified, Into::into);
        proto::Queue { queue_id, display_name: name, extension, kind: kind.into(), etag: String::new() }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::CreateQueueRequest {
            organization_id: self.common.organization.clone(),
            queue: Some(self.attributes.of(self.queue_id, Some(self.kind))),
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let response = client.directory.create_queue(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_queues(response.queue.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Get {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.common.connect().await?;
        let response = get(&mut client, &self.common.organization, self.queue).await?;
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_queues(response.queue.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::ListQueuesRequest {
            organization_id: self.common.organization.clone(),
            text: self.text,
            ..Default::default()
        };
        let mut client = self.common.connect().await?;
        let all = all_pages!(client.directory.list_queues(request), queues);
        if self.common.server.json {
            print::json(&all)?
        } else {
            print_queues(&all.queues)?
        }
        Ok(Outcome::Done)
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let queue_id = id(&mut client, &self.common.organization, self.queue).await?;
        let request = proto::UpdateQueueRequest {
            organization_id: self.common.organization.clone(),
            queue: Some(self.attributes.of(queue_id, self.kind)),
            update_mask: None,
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let response = client.directory.update_queue(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?
        } else {
            print_queues(response.queue.as_slice())?
        }
        Ok(Outcome::Done)
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let queue_id = id(&mut client, &self.common.organization, self.queue).await?;
        let effect = format!("removes queue `{queue_id}` with the roles on it, and ends its sessions");
        if !self.confirmation.ask(&effect)? {
            return Ok(Outcome::Denied);
        }
        let request = proto::DeleteQueueRequest {
            organization_id: self.common.organization.clone(),
            queue_id: queue_id.clone(),
            allow_missing: false,
            etag: String::new(),
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let response = client.directory.delete_queue(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("queue `{queue_id}` is removed"))?;
        }
        Ok(Outcome::Done)
    }
}

/// Return the id of a queue. The server is asked only for an extension, so that a repeated removal by id succeeds.
async fn id(client: &mut Client, organization: &str, queue: Name) -> anyhow::Result<String> {
    match queue {
        Name::Id(id) => Ok(id),
        Name::Extension(_) => Ok(get(client, organization, queue).await?.queue.unwrap_or_default().queue_id),
    }
}

async fn get(client: &mut Client, organization: &str, queue: Name) -> Result<proto::GetQueueResponse, tonic::Status> {
    let request = proto::GetQueueRequest {
        organization_id: organization.to_owned(),
        queue: Some(one_of!(queue, get_queue_request::Queue)),
        at_least_revision: String::new(),
    };
    Ok(client.directory.get_queue(request).await?.into_inner())
}

fn print_queues(queues: &[proto::Queue]) -> anyhow::Result<()> {
    if queues.is_empty() {
        return print::line("there are no queues");
    }
    let rows = queues.iter().map(|queue| {
        [
            queue.queue_id.clone(),
            queue.extension().to_owned(),
            queue.display_name().to_owned(),
            print::short(queue.kind().as_str_name(), "QUEUE_KIND_"),
        ]
    });
    print::table(["QUEUE", "EXTENSION", "NAME", "KIND"], rows)
}
