//! `queuegate esl`, against a PBX that behaves as FreeSWITCH does. The flow of a call, the journal and reconciling are those
//! of `agi`, whose tests have their cases; these are about FreeSWITCH's protocol and verbs.

mod calls;
mod freeswitch;
mod mishaps;
mod program;
mod reconcile;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use queuegate::{
    client::{Client, Credentials},
    domain::ids::OrganizationId,
    pbx::{
        self, Config,
        config::{DoneBy, Identify, Manager, PbxKind, Removal, Secret},
        freeswitch::settings::{AgentStatus, FreeSwitch},
        names::{Endpoints, Lamp},
        prompts::Prompts,
    },
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use self::freeswitch::{Call, Ended, EventSocketPort, PASSWORD, Switch};
use crate::{
    support::{ACME, TestServer},
    wire::Wire,
};

/// The time limit for an expected effect.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);

/// A contact center: queuegate, FreeSWITCH, and the handler between them.
struct Center {
    server: TestServer,
    switch: Arc<Switch>,
    port: Option<EventSocketPort>,
    wire: Wire,
    handler: Option<(SocketAddr, oneshot::Sender<()>, JoinHandle<()>)>,
    folder: TempDir,
}

fn acme() -> OrganizationId {
    ACME.parse().unwrap()
}

impl Center {
    async fn open() -> Self {
        let server = TestServer::acme().await;
        let wire = Wire::to(server.address).await;
        let switch = Switch::new(&["801@default", "802@default", "lobby@default"]);
        let port = EventSocketPort::open(Arc::clone(&switch)).await;
        let folder = tempfile::tempdir().unwrap();
        let mut center = Self { server, switch, port: Some(port), wire, handler: None, folder };
        center.start(|_| {}).await;
        center
    }

    /// Return the program's default configuration, but with time limits for a busy machine.
    fn config(&self) -> Config {
        let domain = "pbx.example.com";
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics_listen: None,
            allow: Vec::new(),
            max_calls: 10_000,
            deadline: Duration::from_secs(40),
            drain_deadline: Duration::from_secs(60),
            organization: Some(acme()),
            endpoints: Endpoints { domain: Some(domain.parse().unwrap()), ..Endpoints::default() },
            queue_name: "{extension}@default".parse().unwrap(),
            interface: format!("{{endpoint}}@{domain}").parse().unwrap(),
            identify: Identify::ByEndpoint,
            pbx: None,
            kind: PbxKind::FreeSwitch(FreeSwitch {
                contact: format!("user/{{endpoint}}@{domain}").parse().unwrap(),
                status: AgentStatus::Available,
            }),
            members: DoneBy::Handler,
            prompting: DoneBy::Handler,
            prompts: Prompts::with_freeswitch([]),
            digit_pause: Duration::from_secs(3),
            journal: self.folder.path().join("esl.journal"),
            manager: Some(self.manager()),
        }
    }

    fn manager(&self) -> Manager {
        Manager {
            address: self.port.as_ref().unwrap().address,
            tls: None,
            user: String::new(),
            secret: Secret(PASSWORD.to_owned()),
            organizations: vec![acme()],
            interval: Duration::from_secs(3_600),
            removal: Removal::Always,
            lamp: Some(Lamp::presence("queuegate+{extension}-{queue}@pbx.example.com").unwrap()),
        }
    }

    /// Start the handler.
    async fn start(&mut self, change: impl Fn(&mut Config)) {
        let client = Client::prepare_as(&self.wire.address.to_string(), Credentials::default()).unwrap();
        let make = || {
            let mut config = self.config();
            change(&mut config);
            config
        };
        let server = loop {
            match pbx::start(make(), client.clone()).await {
                Ok(server) => break server,
                // The handler before this one may still have the journal open.
                Err(pbx::Error::Journal(error)) if error.to_string().contains("another process") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        self.handler = Some((address, stop, running));
    }

    /// Stop the handler, and wait until it is gone.
    async fn stop(&mut self) {
        let (_, stop, running) = self.handler.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap();
    }

    async fn dial(&self, call: Call) -> Ended {
        let (address, ..) = self.handler.as_ref().unwrap();
        call.run(&self.switch, *address).await
    }

    /// Return the sessions, each as a queue's and a user's number.
    async fn sessions(&mut self) -> BTreeSet<(String, String)> {
        let number = |name: &str| {
            let names = [("sales", "801"), ("support", "802"), ("anna", "101"), ("bo", "102"), ("cleo", "103")];
            names.iter().find(|(id, _)| *id == name).unwrap().1.to_owned()
        };
        let sessions = self.server.sessions().await;
        sessions.iter().map(|session| (number(&session.queue_id), number(&session.user_id))).collect()
    }

    /// Wait until the members and the sessions are the same.
    async fn until_agreed(&mut self) {
        let agreed = async { while self.switch.members() != self.sessions().await {} };
        if tokio::time::timeout(EFFECT_TIMEOUT, agreed).await.is_err() {
            panic!("members {:?}, sessions {:?}", self.switch.members(), self.sessions().await);
        }
    }
}
