//! `queuegate agi`, against a PBX that behaves as Asterisk does.

mod asterisk;
mod campaign;
mod dialplan;
mod flow;
mod latency;
mod limits;
mod manager;
mod mishaps;
mod phones;
mod program;
mod reconcile;
mod wire;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use queuegate::{
    agi::{
        self, Config,
        config::{Manager, Members, Playing, Prompts, Secret},
        names::Endpoints,
    },
    client::{Client, Credentials},
    domain::ids::OrganizationId,
    rpc::proto::Session,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use self::{
    asterisk::{Call, Ended, Pbx},
    manager::{ManagerPort, SECRET},
    wire::Wire,
};
use crate::support::{ACME, TestServer};

/// How long an effect may take to come before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A contact center: queuegate, a PBX, and what is between them.
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
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Agi {
    async fn start(config: impl Fn() -> Config, queuegate: SocketAddr) -> Self {
        let client = Client::prepare_as(&queuegate.to_string(), Credentials::default()).unwrap();
        // Whoever had the journal before may not be quite gone.
        let begun = tokio::time::Instant::now();
        let server = loop {
            match agi::start(config(), client.clone()).await {
                Ok(server) => break server,
                Err(agi::Error::Journal(_)) if begun.elapsed() < PATIENCE => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, stop, running }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
    }

    /// As SIGKILL does it.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// As the program has it by default, but with time enough for a busy machine.
fn config(folder: &TempDir) -> Config {
    let technologies = ["PJSIP", "SIP", "IAX2"].map(str::to_owned).to_vec();
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow: Vec::new(),
        calls: 10_000,
        deadline: Duration::from_secs(40),
        drain_deadline: Duration::from_secs(60),
        organization: Some(acme()),
        endpoints: Endpoints { technologies, ..Endpoints::default() },
        queue_name: "{extension}".parse().unwrap(),
        interface: "PJSIP/{endpoint}".parse().unwrap(),
        state_interface: None,
        members: Members::Here,
        playing: Playing::Here,
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

    /// With members kept in line.
    async fn kept() -> Self {
        Self::open_with(true, |_| {}).await
    }

    async fn open_as(change: impl Fn(&mut Config)) -> Self {
        Self::open_with(false, change).await
    }

    async fn open_with(is_kept: bool, change: impl Fn(&mut Config)) -> Self {
        let server = TestServer::acme().await;
        let wire = Wire::to(server.address).await;
        let pbx = Pbx::new(&["801", "802", "lobby"]);
        let manager = ManagerPort::open(Arc::clone(&pbx)).await;
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            let mut config = config(&folder);
            config.manager = is_kept.then(|| manager_of(manager.address));
            change(&mut config);
            config
        };
        let deadline = make().deadline;
        let agi = Agi::start(make, wire.address).await;
        Self { server, pbx, manager, wire, agi, deadline, folder }
    }

    async fn dial(&self, call: Call) -> Ended {
        call.run(&self.pbx, self.agi.address).await
    }

    /// Who is signed in: a queue's number and an interface each.
    async fn sessions(&mut self) -> BTreeSet<(String, String)> {
        let sessions = self.server.sessions().await;
        let named = |name: &str| {
            let names = [("sales", "801"), ("support", "802"), ("anna", "101"), ("bo", "102"), ("cleo", "103")];
            let known = names.iter().find(|(id, _)| *id == name).map(|(_, number)| *number);
            // Of a campaign: `q901` and `u2001`.
            known.unwrap_or_else(|| name.trim_start_matches(['q', 'u'])).to_owned()
        };
        let phone = |session: &Session| match session.device.contains('/') {
            true => session.device.clone(),
            // Whom a supervisor signed in.
            false => format!("PJSIP/{}", named(&session.user_id)),
        };
        sessions.iter().map(|session| (named(&session.queue_id), phone(session))).collect()
    }

    /// What queuegate is still to be told, as it stands in the journal.
    fn owed(&self) -> BTreeSet<String> {
        let mut owed = BTreeSet::new();
        for line in std::fs::read_to_string(self.folder.path().join("agi.journal")).unwrap().lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let key = |entry: &serde_json::Value| format!("{} {}", entry["pbx_queue"], entry["interface"]);
            match entry.get("Owed") {
                Some(debt) => owed.insert(key(debt)),
                None => owed.remove(&key(&entry["Paid"])),
            };
        }
        owed
    }

    /// Waits until nothing is owed.
    async fn until_settled(&self) {
        let come = async {
            while !self.owed().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, come).await.is_err() {
            panic!("{:?} is owed", self.owed());
        }
    }

    /// Another FastAGI server, on the journal of the one before, which has ended.
    async fn restart_agi(&mut self, is_kept: bool) {
        let make = || Config {
            deadline: self.deadline,
            manager: is_kept.then(|| manager_of(self.manager.address)),
            ..config(&self.folder)
        };
        self.agi = Agi::start(make, self.wire.address).await;
    }

    /// Takes the FastAGI server away.
    fn take_agi(&mut self) -> Agi {
        let (stop, _) = oneshot::channel();
        let gone = Agi { address: self.agi.address, stop, running: tokio::spawn(async {}) };
        std::mem::replace(&mut self.agi, gone)
    }

    /// The same center after its FastAGI server was killed and another one started.
    async fn killed(mut self, is_kept: bool) -> Self {
        self.take_agi().kill().await;
        self.restart_agi(is_kept).await;
        self
    }

    /// Whether exactly those ring who are signed in.
    async fn agree(&mut self) -> bool {
        self.pbx.members() == self.sessions().await
    }

    /// Waits until exactly those ring who are signed in.
    async fn until_agreed(&mut self) {
        let come = async { while !self.agree().await {} };
        if tokio::time::timeout(PATIENCE, come).await.is_err() {
            panic!("{:?} ring, and {:?} are signed in", self.pbx.members(), self.sessions().await);
        }
    }
}

fn manager_of(address: SocketAddr) -> Manager {
    Manager {
        address,
        user: "queuegate".to_owned(),
        secret: Secret(SECRET.to_owned()),
        organizations: vec![acme()],
        interval: Duration::from_secs(3_600),
    }
}
