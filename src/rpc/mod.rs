//! The gRPC services: the only room that knows protobuf. A request becomes domain values, the rules or the writer answer,
//! and the answer becomes a message. Every error becomes a status in [`status`], and nowhere else.

/// The messages and services of `proto/queuegate/v1`, as generated; their documentation is in the `.proto` files.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("queuegate.v1");
}

mod audit;
mod audit_watch;
mod batch;
pub mod code;
mod directory;
mod from_proto;
pub mod methods;
mod page;
mod permission;
mod permits;
mod queue_access;
pub mod reflection;
mod scan;
pub mod status;
mod stream;
mod to_proto;
mod transfer;
mod watch;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::Guard;
use tokio::sync::watch as signal;
use tonic::{Code, body::Body, codegen};

pub use self::stream::StreamTimes;
use self::{
    permits::Permits,
    proto::{
        audit_service_server::AuditServiceServer, directory_service_server::DirectoryServiceServer,
        permission_service_server::PermissionServiceServer, queue_access_service_server::QueueAccessServiceServer,
    },
    status::Error,
};
use crate::{
    auth::{Identity, Scope},
    domain::{
        command::{Action, Command, DecisionRecord, Outcome},
        ids::{OrganizationId, Revision},
        model::Session,
        plan::{Context, Plan, plan},
        snapshot::Snapshot,
        time::Timestamp,
        vocabulary::Reason,
    },
    state::{Done, ReplyBatches, State},
    telemetry::metrics::{CallLabels, Metrics},
};

/// What the services are, comments included, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/queuegate_descriptor.bin"));

/// The names of the services, as health checks ask for them.
pub const SERVICE_NAMES: [&str; 4] = [
    "queuegate.v1.QueueAccessService",
    "queuegate.v1.PermissionService",
    "queuegate.v1.DirectoryService",
    "queuegate.v1.AuditService",
];

/// What the names of the API's values have before those of the rules.
const PERMISSION_PREFIX: &str = "PERMISSION_";
const AUDIT_ACTION_PREFIX: &str = "AUDIT_ACTION_";

/// How long a read waits for its `at_least_revision` if its caller's deadline doesn't come before.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// What calls are counted by: a method by its place in [`methods::METHODS`], codes and reasons by their own numbers.
pub fn call_labels() -> CallLabels {
    CallLabels {
        methods: methods::METHODS.iter().map(|method| method.path).collect(),
        codes: (0..=Code::Unauthenticated as i32).map(|code| code::name(code.into())).collect(),
        reasons: Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
    }
}

/// What every service works with.
#[derive(Clone)]
pub struct Rpc {
    /// Empty until the database is loaded.
    state: Arc<OnceLock<State>>,
    /// True once the server is going to stop.
    draining: signal::Receiver<bool>,
    metrics: Arc<Metrics>,
    /// Opened by the first who waits for an answer there.
    replies: Arc<OnceLock<ReplyBatches>>,
    imports: transfer::Imports,
    /// Exports and verifications in flight: each has a thread, and some memory.
    long_reads: Permits,
    scans: scan::Scans,
    times: StreamTimes,
}

impl Rpc {
    /// Serves `state`, as soon as it is there, until `draining` turns true, which ends the watches.
    pub fn new(
        state: Arc<OnceLock<State>>,
        draining: signal::Receiver<bool>,
        metrics: Arc<Metrics>,
        times: StreamTimes,
    ) -> Self {
        Self {
            state,
            draining,
            metrics,
            replies: Arc::default(),
            imports: transfer::Imports::new(),
            long_reads: Permits::new(stream::MOST_LONG_READS),
            scans: scan::Scans::new(),
            times,
        }
    }

    /// The same, for a runtime of its own.
    #[must_use]
    pub fn for_another_runtime(&self) -> Self {
        Self { replies: Arc::default(), ..self.clone() }
    }

    /// The services, for one caller.
    pub fn services(&self, caller: Arc<Identity>) -> CallerServices {
        CallerServices { rpc: self.clone(), caller }
    }

    fn state(&self) -> Result<&State, Error> {
        self.state.get().ok_or(Error::Loading)
    }

    /// Where the answers to changes arrive.
    fn replies(&self) -> &ReplyBatches {
        self.replies.get_or_init(ReplyBatches::open)
    }

    /// The state, at `at_least_revision` or later.
    async fn snapshot(&self, at_least_revision: &str) -> Result<Arc<Snapshot>, Error> {
        self.glance(at_least_revision).await.map(Guard::into_inner)
    }

    /// The same, for a moment.
    async fn glance(&self, at_least_revision: &str) -> Result<Guard<Arc<Snapshot>>, Error> {
        let state = self.state()?;
        let snapshot = state.glance();
        if at_least_revision.is_empty() {
            return Ok(snapshot);
        }
        let wanted = own_revision("at_least_revision", at_least_revision, &snapshot)?;
        drop(snapshot);
        let mut draining = self.draining.clone();
        tokio::select! {
            () = state.reach(wanted.sequence) => {}
            () = tokio::time::sleep(LONGEST_WAIT) => return Err(Error::RevisionNotReached),
            _ = draining.wait_for(|draining| *draining) => return Err(Error::Stopping),
        }
        Ok(state.glance())
    }

    /// Sessions of an outcome, as they are read now.
    fn sessions<'o>(
        &self,
        organization_id: &OrganizationId,
        sessions: impl IntoIterator<Item = &'o Session>,
    ) -> Result<Vec<proto::Session>, Error> {
        let state = self.state()?;
        let (snapshot, now) = (state.snapshot(), state.now());
        let organization = snapshot.organization(organization_id.as_str());
        let read = sessions.into_iter().map(|session| to_proto::session(organization_id, organization, session, now));
        Ok(read.collect())
    }

    /// The decision of an outcome.
    fn decision(&self, organization_id: &OrganizationId, record: &DecisionRecord) -> Result<proto::Decision, Error> {
        let state = self.state()?;
        let (snapshot, now) = (state.snapshot(), state.now());
        self.metrics.decided(record.reason as usize);
        Ok(to_proto::recorded_decision(organization_id, snapshot.organization(organization_id.as_str()), record, now))
    }
}

/// The services as one caller has them.
#[derive(Clone)]
pub struct CallerServices {
    rpc: Rpc,
    caller: Arc<Identity>,
}

impl Deref for CallerServices {
    type Target = Rpc;

    fn deref(&self) -> &Rpc {
        &self.rpc
    }
}

impl CallerServices {
    /// The service that decides and keeps sessions.
    pub fn queue_access(&self) -> QueueAccessServiceServer<Self> {
        QueueAccessServiceServer::new(self.clone())
    }

    /// The service that keeps permission settings.
    pub fn permission(&self) -> PermissionServiceServer<Self> {
        PermissionServiceServer::new(self.clone())
    }

    /// The service that keeps the directory.
    pub fn directory(&self) -> DirectoryServiceServer<Self> {
        DirectoryServiceServer::new(self.clone())
    }

    /// The service that tells what happened.
    pub fn audit(&self) -> AuditServiceServer<Self> {
        AuditServiceServer::new(self.clone())
    }

    /// Answers a call of WatchSessions like [`CallerServices::queue_access`], but encodes each change once for all who watch.
    pub async fn watch_sessions<B>(self, request: http::Request<B>) -> http::Response<Body>
    where
        B: codegen::Body + Send + 'static,
        B::Error: Into<codegen::StdError> + Send,
    {
        watch::serve(self, request).await
    }

    /// Carries out a command, unless any field of its request is wrong.
    async fn execute(
        &self,
        organization_id: Result<OrganizationId, Error>,
        action: Result<Action, Error>,
        actor_user_id: &str,
        request_id: &str,
    ) -> Result<(OrganizationId, Done), Error> {
        let (organization_id, action, actor, request_id) = from_proto::all((
            organization_id,
            action,
            from_proto::optional("actor_user_id", actor_user_id),
            from_proto::optional("request_id", request_id),
        ))?;
        let command = Command { organization_id: organization_id.clone(), action, actor };
        authorize(&self.caller, &command)?;
        let caller = self.caller.caller().clone();
        Ok((organization_id, self.state()?.execute(self.replies(), command, caller, request_id).await?))
    }
}

/// A watch that is being sent.
struct Watcher(Arc<Metrics>);

impl Watcher {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.watchers.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.dec();
    }
}

/// Refuses a change that its caller may ask for only on behalf of an acting user (`docs/semantics.md` section 5.2).
fn authorize(caller: &Identity, command: &Command) -> Result<(), Error> {
    if command.actor.is_none() && command.action.is_administration() && !caller.holds(Scope::Admin) {
        return Err(Error::ActorRequired);
    }
    Ok(())
}

/// A revision of this store.
fn own_revision(field: &'static str, text: &str, snapshot: &Snapshot) -> Result<Revision, Error> {
    let revision: Revision = text.parse().map_err(|error| Error::invalid(field, &error))?;
    if revision.lineage == snapshot.revision().lineage {
        Ok(revision)
    } else {
        Err(Error::invalid(field, &format_args!("is a revision of another store: `{revision}`")))
    }
}

/// A revision of this store's history, of this epoch or one before a backup was restored. It names an event only together
/// with the event's hash: what was recorded after the backup is lost, and its numbers are given again.
fn revision_of_history(field: &'static str, text: &str, snapshot: &Snapshot) -> Result<Revision, Error> {
    let revision: Revision = text.parse().map_err(|error| Error::invalid(field, &error))?;
    let (of, own) = (revision.lineage, snapshot.revision().lineage);
    if of.store_id == own.store_id && of.epoch <= own.epoch {
        Ok(revision)
    } else {
        Err(Error::invalid(field, &format_args!("is a revision of another store: `{revision}`")))
    }
}

/// A command answered with what only another command answers with.
fn unexpected(outcome: &Outcome) -> Error {
    Error::Internal(format!("unexpected outcome {outcome:?}"))
}

/// Does work that takes a while off the threads that answer calls.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.to_string()))
}

/// Carries out a command on a copy of the state, which changes nothing.
fn try_out(snapshot: &Snapshot, command: &Command, now: Timestamp) -> Result<Plan, Error> {
    // What is tried out creates no session, so the id is never used.
    let context = Context { now, new_session: 0 };
    Ok(plan(snapshot, command, &context)?)
}
