//! The live floor of an organization: its queues and sessions, followed once for all open pages.
//!
//! A hub follows WatchSessions for sessions. Names, settings and assignments change the floor too, so it also follows
//! WatchAuditEvents, and begins anew after such a change. It ends with its last page.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tonic::{Status, Streaming};
use tracing::debug;

use super::api::{Api, Connect};
use crate::{
    auth::Identity,
    domain::{
        ids::{OrganizationId, Revision, Sequence},
        language::Language,
    },
    rpc::proto::{self, AuditAction, WatchSessionsType, get_user_request},
};

/// The shortest time between two states of a floor.
const SETTLE: Duration = Duration::from_millis(200);

/// How long a directory that changes may go on changing before the hub begins anew.
const SETTLE_DIRECTORY: Duration = Duration::from_millis(250);

/// The time between two attempts to reach the API.
const RETRY: Duration = Duration::from_secs(1);

/// How long a hub outlives its last page.
const LINGER: Duration = Duration::from_secs(30);

/// The most concurrent reads of names.
const MOST_READS: usize = 64;

/// The hubs of the organizations with open pages.
pub struct Hubs {
    connect: Connect,
    open: Mutex<HashMap<OrganizationId, Weak<Hub>>>,
}

/// The live floor of one organization.
pub struct Hub {
    floor: watch::Receiver<Arc<Floor>>,
    following: AbortHandle,
}

/// A floor at one moment.
#[derive(Clone, Default)]
pub struct Floor {
    /// The queues by id.
    pub queues: BTreeMap<String, Arc<QueueFloor>>,
    /// The revision up to which the floor is known; `None`: it isn't loaded yet.
    pub sequence: Option<Sequence>,
    /// Grows with each change of the directory or the settings.
    pub generation: u64,
    /// Whether the hub follows the API now.
    pub is_connected: bool,
}

/// A queue and the agents who are signed in to it.
#[derive(Clone, Default)]
pub struct QueueFloor {
    pub queue: proto::Queue,
    /// The agents by user id.
    pub agents: BTreeMap<String, Arc<AgentOnFloor>>,
    /// The rendered queue in each language, once a page has needed it.
    pub rendered: Rendered,
}

/// An agent who is signed in.
pub struct AgentOnFloor {
    pub session: proto::Session,
    pub display_name: String,
    pub extension: String,
    /// The name of the supervisor who signed the agent in; otherwise the agent's own.
    pub signed_in_by: String,
    /// The rendered row in each language, once a page has needed it.
    pub rendered: Rendered,
}

/// A rendered part of the floor in each language.
pub type Rendered = [OnceLock<Arc<str>>; Language::ALL.len()];

impl Hubs {
    pub fn new(connect: Connect) -> Self {
        Self { connect, open: Mutex::default() }
    }

    /// Return the hub of an organization, and keep it for some time.
    pub fn of(&self, organization_id: &OrganizationId) -> Arc<Hub> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, hub| hub.strong_count() > 0);
        let found = open.get(organization_id).and_then(Weak::upgrade).filter(|hub| !hub.following.is_finished());
        let hub = found.unwrap_or_else(|| {
            let hub = Arc::new(Hub::open(&self.connect, organization_id.clone()));
            open.insert(organization_id.clone(), Arc::downgrade(&hub));
            hub
        });
        let kept = Arc::clone(&hub);
        tokio::spawn(async move {
            sleep(LINGER).await;
            drop(kept);
        });
        hub
    }
}

impl Hub {
    fn open(connect: &Connect, organization_id: OrganizationId) -> Self {
        let (sender, floor) = watch::channel(Arc::default());
        let api = Api::new(connect, Identity::of_console(Some(organization_id.clone())));
        let follower = Follower { api, organization_id, floor: Floor::default(), names: HashMap::new(), sender };
        Self { floor, following: tokio::spawn(follower.run()).abort_handle() }
    }

    /// Subscribe to the floor.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Floor>> {
        self.floor.clone()
    }

    /// Return the floor at `revision` or later, or the present one if that takes longer than `patience`.
    pub async fn floor(&self, revision: Option<Sequence>, patience: Duration) -> Arc<Floor> {
        let mut floor = self.floor.clone();
        let reached = floor.wait_for(|floor| floor.sequence.is_some_and(|known| Some(known) >= revision));
        // After a failure the last known floor is the answer, and the page says that it isn't live.
        let _ = tokio::time::timeout(patience, reached).await;
        Arc::clone(&floor.borrow())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Keeps a floor up to date.
struct Follower {
    api: Api,
    organization_id: OrganizationId,
    floor: Floor,
    /// The names and extensions of users.
    names: HashMap<String, (String, String)>,
    sender: watch::Sender<Arc<Floor>>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            if let Err(status) = self.follow().await {
                debug!(%status, "the console's floor can't be followed");
                if self.floor.is_connected {
                    self.floor.is_connected = false;
                    self.publish();
                }
                sleep(RETRY).await;
            }
        }
    }

    fn publish(&self) {
        self.sender.send_replace(Arc::new(self.floor.clone()));
    }

    /// Load the floor and follow it, until the directory changes.
    async fn follow(&mut self) -> Result<(), Status> {
        let organization_id = self.organization_id.to_string();
        let request =
            proto::WatchAuditEventsRequest { organization_id: organization_id.clone(), start_revision: String::new() };
        let mut events = self.api.audit().watch_audit_events(request).await?.into_inner();
        // The first message says where the watch begins. The rest is read after that.
        next(&mut events).await?;
        let mut queues = self.queues().await?;
        let request = proto::WatchSessionsRequest { organization_id, ..Default::default() };
        let mut sessions = self.api.queue_access().watch_sessions(request).await?.into_inner();
        let mut initial = Vec::new();
        let sequence = loop {
            let message = next(&mut sessions).await?;
            match (message.r#type(), message.session) {
                (WatchSessionsType::Checkpoint, _) => break sequence(&message.revision)?,
                (_, Some(session)) => initial.push(session),
                (_, None) => {}
            }
        };
        self.read_names(initial.iter().flat_map(people)).await?;
        for session in initial {
            self.sign_in(&mut queues, session);
        }
        self.floor.queues = queues.into_iter().map(|(id, queue)| (id, Arc::new(queue))).collect();
        self.floor.sequence = Some(sequence);
        self.floor.generation += 1;
        self.floor.is_connected = true;
        self.publish();
        self.keep_up(&mut sessions, &mut events).await
    }

    async fn keep_up(
        &mut self,
        sessions: &mut Streaming<proto::WatchSessionsResponse>,
        events: &mut Streaming<proto::WatchAuditEventsResponse>,
    ) -> Result<(), Status> {
        let (mut publish_at, mut begin_anew_at) = (None::<Instant>, None::<Instant>);
        loop {
            tokio::select! {
                message = next(sessions) => {
                    let message = message?;
                    self.floor.sequence = Some(sequence(&message.revision)?);
                    match (message.r#type(), message.session) {
                        (WatchSessionsType::SignedIn, Some(session)) => {
                            self.read_names(people(&session)).await?;
                            self.change(&session.queue_id.clone(), |this, queues| this.sign_in(queues, session));
                        }
                        (WatchSessionsType::SignedOut, Some(session)) => {
                            self.change(&session.queue_id.clone(), |_, queues| sign_out(queues, &session));
                        }
                        _ => {}
                    }
                    publish_at.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                message = next(events) => {
                    if let Some(event) = message?.event.filter(changes_floor) {
                        if is_about_users(event.action()) {
                            self.names.remove(&event.user_id);
                        }
                        begin_anew_at.get_or_insert_with(|| Instant::now() + SETTLE_DIRECTORY);
                    }
                }
                () = until(publish_at) => {
                    publish_at = None;
                    self.publish();
                }
                () = until(begin_anew_at) => return Ok(()),
            }
        }
    }

    /// Change one queue of the floor.
    fn change(&mut self, queue_id: &str, change: impl FnOnce(&Self, &mut BTreeMap<String, QueueFloor>)) {
        // A queue that is missing was created just now: the hub is about to begin anew.
        let Some(queue) = self.floor.queues.get(queue_id) else { return };
        let changed = QueueFloor { queue: queue.queue.clone(), agents: queue.agents.clone(), ..Default::default() };
        let mut queues = BTreeMap::from([(queue_id.to_owned(), changed)]);
        change(self, &mut queues);
        self.floor.queues.extend(queues.into_iter().map(|(id, queue)| (id, Arc::new(queue))));
    }

    fn sign_in(&self, queues: &mut BTreeMap<String, QueueFloor>, session: proto::Session) {
        let Some(queue) = queues.get_mut(&session.queue_id) else { return };
        let (display_name, extension) = self.names.get(&session.user_id).cloned().unwrap_or_default();
        let (supervisor, _) = self.names.get(&session.signed_in_by).cloned().unwrap_or_default();
        let signed_in_by = if supervisor.is_empty() { session.signed_in_by.clone() } else { supervisor };
        let agent = AgentOnFloor { display_name, extension, signed_in_by, session, rendered: Rendered::default() };
        queue.agents.insert(agent.session.user_id.clone(), Arc::new(agent));
    }

    async fn queues(&self) -> Result<BTreeMap<String, QueueFloor>, Status> {
        let organization_id = self.organization_id.to_string();
        let mut request = proto::ListQueuesRequest { organization_id, page_size: 1_000, ..Default::default() };
        let mut queues = BTreeMap::new();
        loop {
            let page = self.api.directory().list_queues(request.clone()).await?.into_inner();
            let found = page.queues.into_iter();
            queues.extend(found.map(|queue| (queue.queue_id.clone(), QueueFloor { queue, ..Default::default() })));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(queues);
            }
        }
    }

    /// Read the names of users that aren't known yet.
    async fn read_names(&mut self, users: impl IntoIterator<Item = String>) -> Result<(), Status> {
        let mut unknown: Vec<String> = users.into_iter().filter(|user| !self.names.contains_key(user)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let (mut unknown, mut reading) = (unknown.into_iter(), JoinSet::new());
        loop {
            while reading.len() < MOST_READS
                && let Some(user_id) = unknown.next()
            {
                let (mut directory, organization_id) = (self.api.directory(), self.organization_id.to_string());
                let user = Some(get_user_request::User::UserId(user_id.clone()));
                let request = proto::GetUserRequest { organization_id, user, at_least_revision: String::new() };
                reading.spawn(async move { (user_id, directory.get_user(request).await) });
            }
            let Some(read) = reading.join_next().await else { return Ok(()) };
            let (user_id, answer) = read.map_err(|_| Status::internal("the read of a name ended"))?;
            match answer {
                Ok(answer) => {
                    let user = answer.into_inner().user.unwrap_or_default();
                    self.names.insert(user_id, (user.display_name().to_owned(), user.extension().to_owned()));
                }
                // The user was deleted just now.
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => return Err(status),
            }
        }
    }
}

/// The users that a session names.
fn people(session: &proto::Session) -> [String; 2] {
    [session.user_id.clone(), session.signed_in_by.clone()]
}

fn sign_out(queues: &mut BTreeMap<String, QueueFloor>, session: &proto::Session) {
    let Some(queue) = queues.get_mut(&session.queue_id) else { return };
    // A newer session of the same user stays.
    let is_it = |agent: &Arc<AgentOnFloor>| agent.session.session_id == session.session_id;
    if queue.agents.get(&session.user_id).is_some_and(is_it) {
        queue.agents.remove(&session.user_id);
    }
}

/// Return whether an event changes the floor in another way than by a session.
fn changes_floor(event: &proto::AuditEvent) -> bool {
    let of_session = [
        AuditAction::SignIn,
        AuditAction::SignOut,
        AuditAction::SupervisorSignIn,
        AuditAction::SupervisorSignOut,
        AuditAction::EndSession,
        AuditAction::CutAuditLog,
        AuditAction::SetPin,
        AuditAction::ClearPin,
        AuditAction::VerifyPin,
    ];
    event.allowed() && !of_session.contains(&event.action())
}

fn is_about_users(action: AuditAction) -> bool {
    [AuditAction::CreateUser, AuditAction::UpdateUser, AuditAction::DeleteUser].contains(&action)
}

async fn next<T>(messages: &mut Streaming<T>) -> Result<T, Status> {
    messages.message().await?.ok_or_else(|| Status::unavailable("the watch ended"))
}

/// Read the sequence of a revision.
pub fn sequence(revision: &str) -> Result<Sequence, Status> {
    let revision: Revision = revision.parse().map_err(|_| Status::internal("a malformed revision"))?;
    Ok(revision.sequence)
}

/// Wait until an instant, or forever.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
