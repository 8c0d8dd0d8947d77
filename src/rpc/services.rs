//! The services, for one caller each, and what all of them work with.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::Guard;
use tokio::sync::watch as signal;

use super::{
    error::Error,
    from_proto,
    imports::Imports,
    permits::{MOST_LONG_READS, Permits},
    proto::{
        self, audit_service_server::AuditServiceServer, directory_service_server::DirectoryServiceServer,
        permission_service_server::PermissionServiceServer, queue_access_service_server::QueueAccessServiceServer,
    },
    revisions::own_revision,
    scan::Scans,
    to_proto,
};
use crate::{
    auth::{Identity, Scope},
    domain::{
        command::{Action, Command, DecisionRecord, Outcome},
        ids::{OrganizationId, UserId},
        model::Session,
        plan::{Context, Plan, plan},
        snapshot::Snapshot,
        time::Timestamp,
    },
    state::{Done, ReplyBatches, State},
    telemetry::metrics::Metrics,
};

/// How long a read waits for its `at_least_revision` if its caller's deadline doesn't come before.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// How long streams wait.
#[derive(Debug, Clone, Copy)]
pub struct StreamTimes {
    /// How long a message may wait for its reader before the stream is cut off.
    pub patience: Duration,
    /// How long a watch says nothing before it sends a CHECKPOINT.
    pub quiet: Duration,
}

/// What every service works with.
#[derive(Clone)]
pub struct Rpc {
    /// Empty until the database is loaded.
    pub(super) state: Arc<OnceLock<State>>,
    /// True once the server is going to stop.
    pub(super) draining: signal::Receiver<bool>,
    pub(super) metrics: Arc<Metrics>,
    /// Opened by the first who waits for an answer there.
    pub(super) replies: Arc<OnceLock<ReplyBatches>>,
    pub(super) imports: Imports,
    /// Exports and verifications in flight: each has a thread, and some memory.
    pub(super) long_reads: Permits,
    pub(super) scans: Scans,
    pub(super) times: StreamTimes,
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
            imports: Imports::new(),
            long_reads: Permits::new(MOST_LONG_READS),
            scans: Scans::new(),
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

    pub(super) fn state(&self) -> Result<&State, Error> {
        self.state.get().ok_or(Error::Loading)
    }

    /// Where the answers to changes arrive.
    pub(super) fn replies(&self) -> &ReplyBatches {
        self.replies.get_or_init(ReplyBatches::open)
    }

    /// The state, at `at_least_revision` or later.
    pub(super) async fn snapshot(&self, at_least_revision: &str) -> Result<Arc<Snapshot>, Error> {
        self.glance(at_least_revision).await.map(Guard::into_inner)
    }

    /// The same, for a moment.
    pub(super) async fn glance(&self, at_least_revision: &str) -> Result<Guard<Arc<Snapshot>>, Error> {
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

    /// Run work on a background thread, when it is the turn of its owner: an organization, or a caller.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        owner: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.scans.run(owner, &self.metrics, work).await
    }

    /// Sessions of an outcome, as they are read now.
    pub(super) fn sessions<'o>(
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
    pub(super) fn decision(
        &self,
        organization_id: &OrganizationId,
        record: &DecisionRecord,
    ) -> Result<proto::Decision, Error> {
        let state = self.state()?;
        let (snapshot, now) = (state.snapshot(), state.now());
        self.metrics.decided(record.reason as usize);
        Ok(to_proto::recorded_decision(organization_id, snapshot.organization(organization_id.as_str()), record, now))
    }
}

/// The services as one caller has them.
#[derive(Clone)]
pub struct CallerServices {
    pub(super) rpc: Rpc,
    pub(super) caller: Arc<Identity>,
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

    /// Carries out a command, unless any field of its request is wrong.
    pub(super) async fn execute(
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

/// Refuse administration that its caller may ask for only on behalf of an acting user (`docs/semantics.md` section 5.2).
pub(super) fn require_actor(caller: &Identity, actor: Option<&UserId>) -> Result<(), Error> {
    if actor.is_none() && !caller.holds(Scope::Admin) {
        return Err(Error::ActorRequired);
    }
    Ok(())
}

/// Refuse a command without the acting user that it needs.
pub(super) fn authorize(caller: &Identity, command: &Command) -> Result<(), Error> {
    if command.action.is_administration() { require_actor(caller, command.actor.as_ref()) } else { Ok(()) }
}

/// A command answered with what only another command answers with.
pub(super) fn unexpected(outcome: &Outcome) -> Error {
    Error::Internal(format!("unexpected outcome {outcome:?}"))
}

/// Carries out a command on a copy of the state, which changes nothing.
pub(super) fn try_out(snapshot: &Snapshot, command: &Command, now: Timestamp) -> Result<Plan, Error> {
    // What is tried out creates no session, so the id is never used.
    let context = Context { now, new_session: 0 };
    Ok(plan(snapshot, command, &context)?)
}
