//! Kills the server with SIGKILL again and again: under load, during its start, and during its stop. The clients log
//! the acknowledged writes: none is lost, there are no writes without a request, and the audit log is whole.
//!
//! `QUEUEGATE_KILLS=3000 cargo test --release --test it sigkill -- --nocapture` runs a campaign.

use std::{collections::BTreeMap, path::Path};

use queuegate::{
    client::Client, domain::ids::Sequence, domain::snapshot::Snapshot, rpc::proto::*, store::sqlite::Store,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::durability::Process;

/// The number of organizations, each with its own audit log.
const ORGANIZATIONS: usize = 4;

/// The number of writers per organization. Each has its own user, so that its last write determines that user's state.
const STREAMS: usize = 12;

const QUEUES: [&str; 3] = ["sales", "support", "billing"];

/// Start a new database after this many kills, so that verifying its whole log stays fast.
const KILLS_OF_A_DATABASE: usize = 25;

/// A user's session on a queue.
type SessionKey = (String, String, String);

/// The request of a writer.
#[derive(Clone)]
enum Asked {
    SignIn(SignInRequest),
    SignOut(SignOutRequest),
}

/// A request, its user, and the revision and session of its response, if any.
pub struct Sent {
    asked: Asked,
    key: SessionKey,
    answer: Option<(String, String)>,
}

impl Sent {
    fn action(&self) -> AuditAction {
        match self.asked {
            Asked::SignIn(_) => AuditAction::SignIn,
            Asked::SignOut(_) => AuditAction::SignOut,
        }
    }

    /// Sends the request, for the first time or as a retry.
    async fn send(&mut self, client: &mut Client) -> Result<(), tonic::Status> {
        let (revision, session) = match self.asked.clone() {
            Asked::SignIn(request) => {
                let answer = client.queue_access.sign_in(request).await?.into_inner();
                assert!(answer.created, "{:?}", self.key);
                (answer.revision, answer.session.unwrap().session_id)
            }
            Asked::SignOut(request) => {
                let answer = client.queue_access.sign_out(request).await?.into_inner();
                assert_eq!(answer.ended_sessions.len(), 1, "{:?}", self.key);
                (answer.revision, answer.ended_sessions[0].session_id.clone())
            }
        };
        self.answer = Some((revision, session));
        Ok(())
    }
}

/// Signs a user in and out, one call after the other, until a call fails. Reports each request with its response, and
/// the last one without.
async fn stream(
    mut client: Client,
    (organization_id, user): (String, String),
    mut signed_in: BTreeMap<SessionKey, String>,
    mut rng: StdRng,
    told: mpsc::UnboundedSender<Sent>,
) {
    loop {
        let queue = (*QUEUES.choose(&mut rng).unwrap()).to_owned();
        let key = (organization_id.clone(), user.clone(), queue.clone());
        let request_id = format!("{:032x}", rng.random::<u128>());
        let asked = if signed_in.contains_key(&key) {
            Asked::SignOut(SignOutRequest {
                organization_id: organization_id.clone(),
                user: Some(sign_out_request::User::UserId(user.clone())),
                queue: Some(sign_out_request::Queue::QueueId(queue)),
                request_id,
                ..Default::default()
            })
        } else {
            Asked::SignIn(SignInRequest {
                organization_id: organization_id.clone(),
                user: Some(sign_in_request::User::UserId(user.clone())),
                queue: Some(sign_in_request::Queue::QueueId(queue)),
                channel: Channel::FeatureCode.into(),
                request_id,
                ..Default::default()
            })
        };
        let mut sent = Sent { asked, key: key.clone(), answer: None };
        let failed = sent.send(&mut client).await.is_err();
        if let Some((_, session)) = &sent.answer
            && signed_in.remove(&key).is_none()
        {
            signed_in.insert(key, session.clone());
        }
        if told.send(sent).is_err() || failed {
            return;
        }
    }
}

/// The running writers.
pub struct Load {
    sent: Vec<Sent>,
    heard: mpsc::UnboundedReceiver<Sent>,
}

impl Load {
    /// Returns all requests, once every writer has failed.
    pub async fn end(mut self) -> Vec<Sent> {
        while let Some(last) = self.heard.recv().await {
            self.sent.push(last);
        }
        self.sent
    }
}

/// The statistics of a campaign.
#[derive(Debug, Default)]
pub struct Tally {
    kills_under_load: usize,
    kills_in_start: usize,
    kills_in_stop: usize,
    pub acknowledged: usize,
    unanswered: usize,
    /// Unanswered but applied.
    carried_out: usize,
    events_verified: usize,
}

impl Tally {
    fn kills(&self) -> usize {
        self.kills_under_load + self.kills_in_start + self.kills_in_stop
    }
}

/// A database, and its expected content.
pub struct Life {
    folder: TempDir,
    pub rng: StdRng,
    pub server: Option<Process>,
    /// The live sessions by user.
    live: BTreeMap<SessionKey, String>,
    /// The last checked revision of each organization's audit log.
    seen: BTreeMap<String, String>,
}

impl Life {
    pub async fn begin(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Process::start(&folder.path().join("kill.db"));
        let mut client = server.client().await;
        let mut life = Self {
            folder,
            rng: StdRng::seed_from_u64(seed),
            server: Some(server),
            live: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        for organization_id in organizations() {
            let queues: String =
                QUEUES.map(|queue| format!("  - {{ queue_id: {queue}, kind: CALL_QUEUE }}\n")).concat();
            let users: String = (0..STREAMS).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
            let request = ImportDirectoryRequest {
                organization_id: organization_id.clone(),
                document: format!("queues:\n{queues}users:\n{users}").into(),
                ..Default::default()
            };
            let mut answers =
                client.directory.import_directory(tokio_stream::once(request)).await.unwrap().into_inner();
            while answers.message().await.unwrap().is_some() {}
            let events = life.new_events(&mut client, &organization_id).await;
            assert_eq!(events.len(), 1 + QUEUES.len() + STREAMS);
        }
        life
    }

    pub fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("kill.db")
    }

    /// Load, a kill, perhaps more kills during the start, and a check of everything.
    async fn round(&mut self, tally: &mut Tally) {
        let sent = self.killed_under_load(tally).await;
        while self.rng.random_ratio(1, 4) {
            self.kill_in_start(tally);
        }
        let server = Process::start(&self.database());
        let mut client = server.client().await;
        self.server = Some(server);
        self.look(&mut client, sent, tally).await;
    }

    /// Starts every writer, and returns after some responses: from one batch of the server's writer to several.
    pub async fn load(&mut self, server: &Process) -> Load {
        let clients = [server.client().await, server.client().await];
        let (told, mut heard) = mpsc::unbounded_channel();
        for (number, organization_id) in organizations().enumerate() {
            for user in (0..STREAMS).map(|number| format!("u{number}")) {
                let own = |(organization, of, _): &SessionKey| *organization == organization_id && *of == user;
                let signed_in = self.live.iter().filter(|(key, _)| own(key));
                let signed_in = signed_in.map(|(key, session)| (key.clone(), session.clone())).collect();
                let rng = StdRng::seed_from_u64(self.rng.random());
                let client = clients[number % clients.len()].clone();
                tokio::spawn(stream(client, (organization_id.clone(), user), signed_in, rng, told.clone()));
            }
        }
        let mut sent = Vec::new();
        let enough = self.rng.random_range(1..200);
        while sent.len() < enough {
            sent.push(heard.recv().await.expect("the writers are still running"));
        }
        Load { sent, heard }
    }

    /// Kills the server while every writer waits for a response or has just received one. Returns the requests until
    /// then.
    async fn killed_under_load(&mut self, tally: &mut Tally) -> Vec<Sent> {
        let mut server = self.server.take().unwrap();
        let load = self.load(&server).await;
        if self.rng.random_ratio(1, 8) {
            // The server drains, writes the WAL back into the database, and is killed during that.
            server.ask_to_stop();
            server.after_system_calls(self.rng.random_range(0..400));
            tally.kills_in_stop += usize::from(server.kill());
        } else {
            tally.kills_under_load += usize::from(server.kill());
        }
        load.end().await
    }

    /// Kills the server while it opens its file and recovers from the previous kill.
    fn kill_in_start(&mut self, tally: &mut Tally) {
        let mut server = Process::spawn(&self.database(), &[]);
        server.after_system_calls(self.rng.random_range(0..300));
        tally.kills_in_start += usize::from(server.kill());
    }

    /// All acknowledged writes are present; every other write is present in full or not at all.
    pub async fn look(&mut self, client: &mut Client, sent: Vec<Sent>, tally: &mut Tally) {
        let mut events = BTreeMap::new();
        for organization_id in organizations() {
            events.extend(self.new_events(client, &organization_id).await);
        }
        let (acknowledged, unanswered): (Vec<Sent>, Vec<Sent>) =
            sent.into_iter().partition(|sent| sent.answer.is_some());
        tally.acknowledged += acknowledged.len();
        tally.unanswered += unanswered.len();
        // In the order of their revisions, regardless of the order of the responses.
        let mut there: BTreeMap<String, (SessionKey, AuditAction, String)> = BTreeMap::new();
        for sent in &acknowledged {
            let (revision, session) = sent.answer.clone().unwrap();
            let event = events.remove(&revision).unwrap_or_else(|| panic!("acknowledged and lost: {revision}"));
            assert_eq!(described(&event), (sent.key.clone(), sent.action(), session.clone()));
            there.insert(revision, described(&event));
        }
        // Every remaining event has exactly one unanswered request.
        let mut found: BTreeMap<SessionKey, (String, String)> = BTreeMap::new();
        for (revision, event) in events {
            let (key, action, session) = described(&event);
            let asked = unanswered.iter().any(|sent| sent.key == key && sent.action() == action);
            let before = found.insert(key.clone(), (revision.clone(), session.clone()));
            assert!(asked && before.is_none(), "{event:?} has no request");
            there.insert(revision, (key, action, session));
        }
        tally.carried_out += found.len();
        for (key, action, session) in there.into_values() {
            self.apply(key, action, session);
        }
        self.compare(client, tally).await;

        // Retries of unanswered requests return the first outcome or apply now, but never twice.
        for mut sent in unanswered {
            sent.send(client).await.unwrap();
            let (revision, session) = sent.answer.clone().unwrap();
            match found.remove(&sent.key) {
                Some(earlier) => assert_eq!((revision, session), earlier),
                None => self.apply(sent.key.clone(), sent.action(), session),
            }
        }
        self.compare(client, tally).await;
        for organization_id in organizations() {
            self.new_events(client, &organization_id).await;
        }
    }

    fn apply(&mut self, key: SessionKey, action: AuditAction, session: String) {
        let before = match action {
            AuditAction::SignIn => self.live.insert(key.clone(), session),
            _ => self.live.remove(&key).filter(|live| *live != session),
        };
        assert_eq!(before, None, "{key:?}");
    }

    /// Checks the sessions and the integrity of the audit logs.
    async fn compare(&self, client: &mut Client, tally: &mut Tally) {
        let mut live = BTreeMap::new();
        for organization_id in organizations() {
            let request = ListSessionsRequest {
                organization_id: organization_id.clone(),
                page_size: 1_000,
                ..Default::default()
            };
            let answer = client.queue_access.list_sessions(request).await.unwrap().into_inner();
            assert!(answer.next_page_token.is_empty());
            let sessions = answer.sessions.into_iter();
            live.extend(
                sessions
                    .map(|session| ((organization_id.clone(), session.user_id, session.queue_id), session.session_id)),
            );
            let request = VerifyAuditLogRequest { organization_id, ..Default::default() };
            let mut answers = client.audit.verify_audit_log(request).await.unwrap().into_inner();
            let mut last = None;
            while let Some(answer) = answers.message().await.unwrap() {
                last = Some(answer);
            }
            let last = last.unwrap();
            assert_eq!(last.verification.unwrap().valid, Some(true));
            tally.events_verified += usize::try_from(last.verified_events).unwrap();
        }
        assert!(live == self.live, "{live:?} is not {:?}", self.live);
    }

    /// The events of an organization since the last check, by their revisions.
    async fn new_events(&mut self, client: &mut Client, organization_id: &str) -> BTreeMap<String, AuditEvent> {
        let request = ListAuditEventsRequest {
            organization_id: organization_id.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let answer = client.audit.list_audit_events(request).await.unwrap().into_inner();
        let seen = self.seen.get(organization_id).cloned().unwrap_or_default();
        let reaches_back =
            answer.next_page_token.is_empty() || answer.events.iter().any(|event| event.revision == seen);
        assert!(reaches_back, "more events than fit one page");
        let new = answer.events.into_iter().filter(|event| event.revision > seen);
        let new: BTreeMap<_, _> = new.map(|event| (event.revision.clone(), event)).collect();
        if let Some((last, _)) = new.last_key_value() {
            self.seen.insert(organization_id.to_owned(), last.clone());
        }
        new
    }

    /// The log replays to the state, from the first change on.
    pub fn end(mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        replays(&self.database());
    }
}

pub fn organizations() -> impl Iterator<Item = String> {
    (0..ORGANIZATIONS).map(|number| format!("organization-{number}"))
}

fn described(event: &AuditEvent) -> (SessionKey, AuditAction, String) {
    let session = [&event.after, &event.before].into_iter().flatten().find_map(|state| state.session.as_ref());
    let key = (event.organization_id.clone(), event.user_id.clone(), event.queue_id.clone());
    (key, event.action(), session.expect("a session").session_id.clone())
}

fn replays(database: &Path) {
    let store = Store::open(database, 0).unwrap();
    let live = store.load().unwrap();
    let mut replayed = Snapshot::empty(live.revision().lineage);
    let log = store.log_reader().unwrap();
    for logged in log.records_since(Sequence(0), live.revision().sequence, None, u32::MAX).unwrap() {
        replayed.apply(&logged.record.change).unwrap();
    }
    assert!(replayed == live, "the log replays to another state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill_and_nothing_is_invented() {
    let kills: usize = std::env::var("QUEUEGATE_KILLS").ok().map_or(8, |text| text.parse().expect("a number"));
    let mut tally = Tally::default();
    let mut told = 0;
    for seed in 0.. {
        let mut life = Life::begin(seed).await;
        let enough = (tally.kills() + KILLS_OF_A_DATABASE).min(kills);
        while tally.kills() < enough {
            life.round(&mut tally).await;
        }
        life.end();
        if tally.kills() >= told + 500 {
            told = tally.kills();
            println!("{tally:?}");
        }
        if tally.kills() >= kills {
            break;
        }
    }
    assert!(tally.acknowledged > 0);
    println!("{} kills: {tally:?}; nothing lost, nothing invented", tally.kills());
}
