//! `queuegate agi`, against a PBX that behaves as Asterisk does.

mod adoption;
mod all_queues;
mod asterisk;
mod campaign;
mod dialplan;
mod flow;
mod hot_desks;
mod lamps;
mod latency;
mod limits;
mod manager;
mod manager_tls;
mod metrics;
mod mishaps;
mod pauses;
mod phones;
mod profiles;
mod program;
mod reconcile;
mod several_pbxs;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use queuegate::{
    client::{Client, Credentials},
    domain::ids::OrganizationId,
    pbx::{
        self, Config,
        config::{DoneBy, Identify, Manager, PbxKind, Removal, Secret},
        names::Endpoints,
        prompts::Prompts,
    },
    rpc::proto::Session,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use self::{
    asterisk::{Call, Ended, Pbx},
    manager::{ManagerPort, SECRET},
};
use crate::{
    support::{ACME, TestServer},
    wire::Wire,
};

/// The time limit for an expected effect.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);

/// A contact center: queuegate, a PBX, and the handler between them.
struct Center {
    server: TestServer,
    pbx: Arc<Pbx>,
    manager: ManagerPort,
    wire: Wire,
    agi: Agi,
    deadline: Duration,
    folder: TempDir,
}

/// A FastAGI server in this process.
struct Agi {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Agi {
    async fn start(config: impl Fn() -> Config, queuegate: &str) -> Self {
        let client = Client::prepare_as(queuegate, Credentials::default()).unwrap();
        // The handler before this one may still have the journal open.
        let begun = tokio::time::Instant::now();
        let server = loop {
            match pbx::start(config(), client.clone()).await {
                Ok(server) => break server,
                Err(pbx::Error::Journal(_)) if begun.elapsed() < EFFECT_TIMEOUT => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let (address, metrics) = (server.address(), server.metrics_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, metrics, stop, running }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
    }

    /// End it as SIGKILL does.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// Return the program's default configuration, but with time limits for a busy machine.
fn config(folder: &TempDir) -> Config {
    let technologies = ["PJSIP", "SIP", "IAX2"].map(str::to_owned).to_vec();
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics_listen: None,
        allow: Vec::new(),
        max_calls: 10_000,
        deadline: Duration::from_secs(40),
        drain_deadline: Duration::from_secs(60),
        organization: Some(acme()),
        endpoints: Endpoints { technologies, ..Endpoints::default() },
        queue_name: "{extension}".parse().unwrap(),
        interface: "PJSIP/{endpoint}".parse().unwrap(),
        identify: Identify::ByEndpoint,
        pbx: None,
        kind: PbxKind::Asterisk { state_interface: None },
        members: DoneBy::Handler,
        prompting: DoneBy::Handler,
        prompts: Prompts::default(),
        digit_pause: Duration::from_secs(3),
        journal: folder.path().join("agi.journal"),
        manager: None,
    }
}

fn acme() -> OrganizationId {
    ACME.parse().unwrap()
}

impl Center {
    /// Without the manager interface.
    async fn open() -> Self {
        Self::open_as(|_| {}).await
    }

    /// With reconciliation.
    async fn reconciled() -> Self {
        Self::open_with(true, |_| {}).await
    }

    async fn open_as(change: impl Fn(&mut Config)) -> Self {
        Self::open_with(false, change).await
    }

    async fn open_with(is_reconciled: bool, change: impl Fn(&mut Config)) -> Self {
        let server = TestServer::acme().await;
        let wire = Wire::to(server.address).await;
        let pbx = Pbx::new(&["801", "802", "lobby"]);
        let manager = ManagerPort::open(Arc::clone(&pbx)).await;
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            let mut config = config(&folder);
            config.manager = is_reconciled.then(|| manager_of(manager.address));
            change(&mut config);
            config
        };
        let deadline = make().deadline;
        let agi = Agi::start(make, &wire.address.to_string()).await;
        Self { server, pbx, manager, wire, agi, deadline, folder }
    }

    async fn dial(&self, call: Call) -> Ended {
        call.run(&self.pbx, self.agi.address).await
    }

    /// Return the sessions, each as a queue's number and an interface.
    async fn sessions(&mut self) -> BTreeSet<(String, String)> {
        let sessions = self.server.sessions().await;
        let named = |name: &str| {
            let names = [("sales", "801"), ("support", "802"), ("anna", "101"), ("bo", "102"), ("cleo", "103")];
            let known = names.iter().find(|(id, _)| *id == name).map(|(_, number)| *number);
            // The ids of the campaign are `q901` and `u2001`.
            known.unwrap_or_else(|| name.trim_start_matches(['q', 'u'])).to_owned()
        };
        let phone = |session: &Session| match session.device.contains('/') {
            true => session.device.clone(),
            // A supervisor's sign-in has no device.
            false => format!("PJSIP/{}", named(&session.user_id)),
        };
        sessions.iter().map(|session| (named(&session.queue_id), phone(session))).collect()
    }

    /// Return the members with a pending operation in the journal.
    fn pending(&self) -> BTreeSet<String> {
        let journal = rusqlite::Connection::open(self.folder.path().join("agi.journal")).unwrap();
        let mut statement = journal.prepare("SELECT pbx_queue || ' ' || interface FROM pending").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Wait until no operation is pending.
    async fn until_replayed(&self) {
        let replayed = async {
            while !self.pending().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(EFFECT_TIMEOUT, replayed).await.is_err() {
            panic!("still pending: {:?}", self.pending());
        }
    }

    /// Start another FastAGI server with the journal of the one before, which has ended.
    async fn restart_agi(&mut self, is_reconciled: bool) {
        self.restart_agi_with(is_reconciled, &self.wire.address.to_string()).await;
    }

    /// Start another FastAGI server like [`Self::restart_agi`], with the addresses of these servers.
    async fn restart_agi_with(&mut self, is_reconciled: bool, servers: &str) {
        let make = || Config {
            deadline: self.deadline,
            manager: is_reconciled.then(|| manager_of(self.manager.address)),
            ..config(&self.folder)
        };
        self.agi = Agi::start(make, servers).await;
    }

    /// Start another reconciling FastAGI server like [`Self::restart_agi`], with a changed configuration.
    async fn restart_agi_as(&mut self, change: impl Fn(&mut Config)) {
        let make = || {
            let mut config = Config {
                deadline: self.deadline,
                manager: Some(manager_of(self.manager.address)),
                ..config(&self.folder)
            };
            change(&mut config);
            config
        };
        self.agi = Agi::start(make, &self.wire.address.to_string()).await;
    }

    /// Remove the FastAGI server, and return it.
    fn take_agi(&mut self) -> Agi {
        let (stop, _) = oneshot::channel();
        let gone = Agi { address: self.agi.address, metrics: None, stop, running: tokio::spawn(async {}) };
        std::mem::replace(&mut self.agi, gone)
    }

    /// Kill the FastAGI server, and start another one.
    async fn killed(mut self, is_reconciled: bool) -> Self {
        self.take_agi().kill().await;
        self.restart_agi(is_reconciled).await;
        self
    }

    /// Tell whether the members and the sessions are the same.
    async fn agree(&mut self) -> bool {
        self.pbx.members() == self.sessions().await
    }

    /// Wait until the members and the sessions are the same.
    async fn until_agreed(&mut self) {
        let agreed = async { while !self.agree().await {} };
        if tokio::time::timeout(EFFECT_TIMEOUT, agreed).await.is_err() {
            panic!("members {:?}, sessions {:?}", self.pbx.members(), self.sessions().await);
        }
    }
}

fn manager_of(address: SocketAddr) -> Manager {
    Manager {
        address,
        tls: None,
        user: "queuegate".to_owned(),
        secret: Secret(SECRET.to_owned()),
        organizations: vec![acme()],
        interval: Duration::from_secs(3_600),
        removal: Removal::Always,
        lamp: None,
    }
}
