//! A server with a sample contact center, and a day in it, over real gRPC.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::sync::oneshot;

use super::{exit::Outcome, print, serve::stop_signal};
use crate::{
    client::Client,
    console::Changes,
    rpc::proto::{self, Channel, UnassignedQueueSignIn, sign_in_request, sign_out_request, supervisor_sign_in_request},
    server,
    state::clock::SystemClock,
};

const DIRECTORY: &str = include_str!("../../examples/acme.yaml");
const ORGANIZATION: &str = "acme";

/// Arguments of `demo`.
#[derive(Args)]
pub(super) struct Demo {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_LISTEN", default_value = "127.0.0.1:50051", value_parser = super::args::address)]
    listen: SocketAddr,
    /// Address to serve the console on. Absent: 127.0.0.1:8080, or another port if that one is taken.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_CONSOLE_LISTEN", value_parser = super::args::address)]
    console_listen: Option<SocketAddr>,
    /// Time between two steps of the story, to watch it in the console.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Exit at the end of the story, instead of serving on.
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("demo.db");
        let config = server::Config {
            drain_deadline: Duration::from_secs(2),
            console: Some(server::ConsoleConfig {
                listen: console_listener(self.console_listen)?,
                origin: None,
                changes: Changes::Allowed,
            }),
            ..server::Config::new(self.listen, database, Arc::new(SystemClock::start()))
        };
        let asked_to_stop = stop_signal()?;
        let server = server::start(config).await?;
        let address = server.address();
        let console = server.console_address().map(|(_, origin)| origin.to_owned()).unwrap_or_default();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async {
            // A dropped sender also stops the server.
            let _ = stopped.await;
        }));
        let story = async {
            play(address, &console, self.pause).await?;
            if !self.exit {
                print_what_to_try(address, &console)?;
                asked_to_stop.await;
            }
            anyhow::Ok(())
        };
        let told = story.await;
        // The server may already have failed.
        let _ = stop.send(());
        serving.await??;
        told?;
        Ok(Outcome::Done)
    }
}

/// Listen for browsers. A first try of the program must not fail because another one has the port.
fn console_listener(address: Option<SocketAddr>) -> std::io::Result<server::Listen> {
    if let Some(address) = address {
        return Ok(server::Listen::At(address));
    }
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, 8_080));
    usual.or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map(server::Listen::Inherited)
}

async fn play(address: SocketAddr, console: &str, pause: Duration) -> anyhow::Result<()> {
    print::line(&format!("A queuegate server on {address}, with a temporary database."))?;
    print::line(&format!("Its console, to watch in a browser: {console}/\n"))?;
    let mut story = Story { client: ready(address).await?, chapter: 0, pause };

    story.chapter("A contact center is loaded: 5 queues and 6 people.", "import examples/acme.yaml").await?;
    story.import().await?;

    story.chapter("Anna dials *13 801. Sales is one of her queues.", "sign-in ext:101 ext:801").await?;
    story.sign_in("101", "801").await?;

    story
        .chapter("Bo dials *13 801. Sales is not his queue, but the organization allows it.", "sign-in ext:102 ext:801")
        .await?;
    story.sign_in("102", "801").await?;

    let preview = "settings preview organization.unassigned_queue_sign_in=RESTRICTED";
    story.chapter("The administrator previews the restriction of sign-in to assigned queues.", preview).await?;
    story.preview().await?;

    let set = "settings set organization.unassigned_queue_sign_in=RESTRICTED";
    story.chapter("The administrator restricts sign-in.", set).await?;
    story.restrict().await?;

    story
        .chapter("Bo is signed in and stays signed in: a change of policy ends no session.", "check ext:102 ext:801")
        .await?;
    story.check("102", "801").await?;

    story.chapter("Cleo dials *13 801, and is refused.", "sign-in ext:103 ext:801").await?;
    story.sign_in("103", "801").await?;

    let command = "supervisor-sign-in ext:201 ext:103 ext:801 --ttl 8h --justification 'peak hours'";
    story.chapter("Sam, who supervises Sales, signs Cleo in for today.", command).await?;
    story.supervisor_sign_in("201", "103", "801").await?;

    story.chapter("Who is signed in now?", "sessions").await?;
    story.sessions().await?;

    story.chapter("Cleo signs out.", "sign-out ext:103 ext:801").await?;
    story.sign_out("103", "801").await?;

    story.chapter("Cleo dials *13 801 again, and is refused as before.", "sign-in ext:103 ext:801").await?;
    story.sign_in("103", "801").await?;

    let list = "audit list --user ext:103 --queue ext:801 --denied";
    story.chapter("Why couldn't Cleo sign in to Sales?", list).await?;
    story.refusals("103", "801").await
}

/// A client, once the server has loaded its database.
async fn ready(address: SocketAddr) -> anyhow::Result<Client> {
    let mut client = Client::connect(&address.to_string()).await?;
    loop {
        let probe = proto::ListOrganizationsRequest::default();
        match client.directory.list_organizations(probe).await {
            Ok(_) => return Ok(client),
            Err(status) if status.code() == tonic::Code::Unavailable => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

struct Story {
    client: Client,
    chapter: u32,
    /// The time between two chapters.
    pause: Duration,
}

impl Story {
    /// Print the title of a chapter, and the command with the same effect.
    async fn chapter(&mut self, title: &str, command: &str) -> anyhow::Result<()> {
        let dim = print::DIM;
        if self.chapter > 0 {
            tokio::time::sleep(self.pause).await;
        }
        self.chapter += 1;
        print::line(&format!("\n{}. {title}", self.chapter))?;
        print::line(&format!("{dim}$ queuegate {command} --organization {ORGANIZATION}{dim:#}"))
    }

    async fn import(&mut self) -> anyhow::Result<()> {
        let request = proto::ImportDirectoryRequest {
            organization_id: ORGANIZATION.to_owned(),
            document: DIRECTORY.as_bytes().to_vec(),
            ..Default::default()
        };
        let mut answers = self.client.directory.import_directory(tokio_stream::once(request)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(report) = answer.report {
                print::line(&super::transfer::summary(&report))?;
            }
        }
        Ok(())
    }

    async fn sign_in(&mut self, user: &str, queue: &str) -> anyhow::Result<()> {
        let request = proto::SignInRequest {
            organization_id: ORGANIZATION.to_owned(),
            user: Some(sign_in_request::User::UserExtension(user.to_owned())),
            queue: Some(sign_in_request::Queue::QueueExtension(queue.to_owned())),
            channel: Channel::FeatureCode.into(),
            ..Default::default()
        };
        let answer = self.client.queue_access.sign_in(request).await?.into_inner();
        answer.decision.as_ref().map_or(Ok(()), print::decision)?;
        answer.session.as_ref().map_or(Ok(()), print::session)
    }

    async fn preview(&mut self) -> anyhow::Result<()> {
        let request = proto::PreviewPermissionSettingsRequest {
            organization_id: ORGANIZATION.to_owned(),
            settings: Some(restricted()),
            ..Default::default()
        };
        let answer = self.client.permission.preview_permission_settings(request).await?.into_inner();
        let paths = [super::settings::UNASSIGNED_QUEUE_SIGN_IN.to_owned()];
        super::settings::print_impact(answer.impact.unwrap_or_default(), &paths)
    }

    async fn refusals(&mut self, user: &str, queue: &str) -> anyhow::Result<()> {
        let request = proto::ListAuditEventsRequest {
            organization_id: ORGANIZATION.to_owned(),
            user: Some(proto::list_audit_events_request::User::UserExtension(user.to_owned())),
            queue: Some(proto::list_audit_events_request::Queue::QueueExtension(queue.to_owned())),
            allowed: Some(false),
            ..Default::default()
        };
        let answer = self.client.audit.list_audit_events(request).await?.into_inner();
        answer.events.iter().try_for_each(super::audit::print_event)
    }

    async fn restrict(&mut self) -> anyhow::Result<()> {
        let request = proto::UpdatePermissionSettingsRequest {
            organization_id: ORGANIZATION.to_owned(),
            settings: Some(restricted()),
            ..Default::default()
        };
        let answer = self.client.permission.update_permission_settings(request).await?.into_inner();
        let paths = [super::settings::UNASSIGNED_QUEUE_SIGN_IN.to_owned()];
        super::settings::print_some(answer.settings.unwrap_or_default(), &paths, "is")
    }

    async fn check(&mut self, user: &str, queue: &str) -> anyhow::Result<()> {
        let request = proto::CheckQueueAccessRequest {
            organization_id: ORGANIZATION.to_owned(),
            user: Some(proto::check_queue_access_request::User::UserExtension(user.to_owned())),
            queue: Some(proto::check_queue_access_request::Queue::QueueExtension(queue.to_owned())),
            channel: Channel::FeatureCode.into(),
            ..Default::default()
        };
        let answer = self.client.queue_access.check_queue_access(request).await?.into_inner();
        answer.decision.as_ref().map_or(Ok(()), print::decision)
    }

    async fn supervisor_sign_in(&mut self, supervisor: &str, user: &str, queue: &str) -> anyhow::Result<()> {
        use supervisor_sign_in_request::{Queue, Supervisor, User};
        let request = proto::SupervisorSignInRequest {
            organization_id: ORGANIZATION.to_owned(),
            supervisor: Some(Supervisor::SupervisorExtension(supervisor.to_owned())),
            user: Some(User::UserExtension(user.to_owned())),
            queue: Some(Queue::QueueExtension(queue.to_owned())),
            ttl: Some(prost_types::Duration { seconds: 8 * 60 * 60, nanos: 0 }),
            justification: "peak hours".to_owned(),
            request_id: String::new(),
        };
        let answer = self.client.queue_access.supervisor_sign_in(request).await?.into_inner();
        answer.decision.as_ref().map_or(Ok(()), print::decision)?;
        answer.session.as_ref().map_or(Ok(()), print::session)
    }

    async fn sessions(&mut self) -> anyhow::Result<()> {
        let request = proto::ListSessionsRequest { organization_id: ORGANIZATION.to_owned(), ..Default::default() };
        let answer = self.client.queue_access.list_sessions(request).await?.into_inner();
        super::sessions::print_sessions(&answer.sessions)
    }

    async fn sign_out(&mut self, user: &str, queue: &str) -> anyhow::Result<()> {
        let request = proto::SignOutRequest {
            organization_id: ORGANIZATION.to_owned(),
            user: Some(sign_out_request::User::UserExtension(user.to_owned())),
            queue: Some(sign_out_request::Queue::QueueExtension(queue.to_owned())),
            ..Default::default()
        };
        let answer = self.client.queue_access.sign_out(request).await?.into_inner();
        print::line("signed out")?;
        answer.ended_sessions.iter().try_for_each(print::session)
    }
}

/// The only setting in the story.
fn restricted() -> proto::PermissionSettings {
    let organization =
        proto::OrganizationSettings { unassigned_queue_sign_in: UnassignedQueueSignIn::Restricted.into() };
    proto::PermissionSettings { organization: Some(organization), ..Default::default() }
}

fn print_what_to_try(address: SocketAddr, console: &str) -> anyhow::Result<()> {
    let grpcurl = "grpcurl -plaintext";
    print::line(&format!(
        "\nThe server goes on until Ctrl-C. The console is at {console}/. In another terminal, try:

  {grpcurl} {address} list
  {grpcurl} {address} describe queuegate.v1.QueueAccessService.CheckQueueAccess
  {grpcurl} -d '{{\"organization_id\": \"acme\", \"user_extension\": \"103\", \"queue_extension\": \"801\", \
         \"channel\": \"CHANNEL_FEATURE_CODE\", \"explain\": true}}' {address} \
         queuegate.v1.QueueAccessService/CheckQueueAccess
  {grpcurl} -d '{{\"organization_id\": \"acme\"}}' {address} queuegate.v1.QueueAccessService/WatchSessions"
    ))
}
