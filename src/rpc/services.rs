//! The services of one caller, and the resources that all services share.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::Guard;
use tokio::sync::watch as signal;
use tonic::codec::CompressionEncoding;

use super::{
    error::Error,
    from_proto,
    imports::Imports,
    permits::{MAX_LONG_READS, Permits},
    proto::{
        self, audit_service_server::AuditServiceServer, console_service_server::ConsoleServiceServer,
        directory_service_server::DirectoryServiceServer, permission_service_server::PermissionServiceServer,
        queue_access_service_server::QueueAccessServiceServer,
    },
    revisions::own_revision,
    scan::Scans,
    to_proto,
};
use crate::{
    auth::{ActsFor, Identity, Links, Scope},
    domain::{
        command::{Action, Command, DecisionRecord, Outcome},
        ids::{OrganizationId, UserId, UserRef},
        language::Language,
        model::Session,
        plan::{Context, Plan, plan},
        snapshot::Snapshot,
        time::Timestamp,
    },
    state::{Done, ReplyBatches, State},
    telemetry::metrics::Metrics,
};

/// The longest wait of a read for its `at_least_revision`, if its deadline isn't earlier.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The time limits of streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamTimes {
    /// The longest wait of a message for its reader. Then the stream is cut off.
    pub patience: Duration,
    /// The time without messages after which a watch sends a CHECKPOINT.
    pub quiet: Duration,
}

/// The resources that all services share.
#[derive(Clone)]
pub struct Rpc {
    /// Empty until the database is loaded.
    pub(super) state: Arc<OnceLock<State>>,
    /// True once the server drains.
    pub(super) draining: signal::Receiver<bool>,
    pub(super) metrics: Arc<Metrics>,
    /// Opened by the first call that waits for a reply there.
    pub(super) replies: Arc<OnceLock<ReplyBatches>>,
    pub(super) imports: Imports,
    /// Permits for exports and verifications: each takes a thread and some memory.
    pub(super) long_reads: Permits,
    pub(super) scans: Scans,
    pub(super) times: StreamTimes,
    /// `None`: the server has no console.
    pub(super) links: Option<Arc<Links>>,
}

impl Rpc {
    /// Create the services of `state`, which may still be loading. `draining` ends the watches when it turns true.
    pub fn new(
        state: Arc<OnceLock<State>>,
        draining: signal::Receiver<bool>,
        metrics: Arc<Metrics>,
        times: StreamTimes,
        links: Option<Arc<Links>>,
    ) -> Self {
        Self {
            state,
            draining,
            metrics,
            replies: Arc::default(),
            imports: Imports::new(),
            long_reads: Permits::new(MAX_LONG_READS),
            scans: Scans::new(),
            times,
            links,
        }
    }

    /// Return the same resources for another runtime.
    #[must_use]
    pub fn for_another_runtime(&self) -> Self {
        Self { replies: Arc::default(), ..self.clone() }
    }

    /// Return the services of one caller.
    pub fn services(&self, caller: Arc<Identity>) -> CallerServices {
        CallerServices { rpc: self.clone(), caller }
    }

    pub(super) fn state(&self) -> Result<&State, Error> {
        let state = self.state.get().filter(|state| state.is_usable()).ok_or(Error::Loading)?;
        if state.refuses_reads() { Err(Error::Stale) } else { Ok(state) }
    }

    /// Return the channel on which replies to commands arrive.
    pub(super) fn replies(&self) -> &ReplyBatches {
        self.replies.get_or_init(ReplyBatches::open)
    }

    /// Return the state at `at_least_revision` or later.
    pub(super) async fn snapshot(&self, at_least_revision: &str) -> Result<Arc<Snapshot>, Error> {
        self.borrow_snapshot(at_least_revision).await.map(Guard::into_inner)
    }

    /// Borrow the state at `at_least_revision` or later. Hold it only for a moment.
    pub(super) async fn borrow_snapshot(&self, at_least_revision: &str) -> Result<Guard<Arc<Snapshot>>, Error> {
        let state = self.state()?;
        let snapshot = state.borrow_snapshot();
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
        Ok(state.borrow_snapshot())
    }

    /// Run work on a background thread when its owner, an organization or a caller, has its turn.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        owner: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.scans.run(owner, &self.metrics, work).await
    }

    /// Convert the sessions of an outcome, as of now.
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

    /// Convert the decision of an outcome, with its explanation in a language.
    pub(super) fn decision(
        &self,
        organization_id: &OrganizationId,
        record: &DecisionRecord,
        language: Language,
    ) -> Result<proto::Decision, Error> {
        let state = self.state()?;
        let (snapshot, now) = (state.snapshot(), state.now());
        self.metrics.decided(record.reason as usize);
        let organization = snapshot.organization(organization_id.as_str());
        Ok(to_proto::recorded_decision(organization_id, organization, record, language, now))
    }
}

/// The services of one caller.
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
    /// Return QueueAccessService: decisions and sessions.
    pub fn queue_access(&self) -> QueueAccessServiceServer<Self> {
        QueueAccessServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Return PermissionService: permission checks and settings.
    pub fn permission(&self) -> PermissionServiceServer<Self> {
        PermissionServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Return DirectoryService: organizations, users, queues and role assignments.
    pub fn directory(&self) -> DirectoryServiceServer<Self> {
        DirectoryServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Return AuditService: the audit log.
    pub fn audit(&self) -> AuditServiceServer<Self> {
        AuditServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Return ConsoleService: links into the console.
    pub fn console(&self) -> ConsoleServiceServer<Self> {
        ConsoleServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Execute a command, unless a field of its request is malformed. A refusal is explained in the language.
    pub(super) async fn execute(
        &self,
        language: Language,
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
        let done = self.state()?.execute(self.replies(), command, caller, request_id).await;
        Ok((organization_id, done.map_err(|error| Error::from(error).in_language(language))?))
    }
}

/// Refuse administration that this caller may do only on behalf of an acting user (`docs/semantics.md` section 5.2).
pub(super) fn require_actor(caller: &Identity, actor: Option<&UserId>) -> Result<(), Error> {
    if actor.is_none() && !caller.holds(Scope::Admin) {
        return Err(Error::ActorRequired);
    }
    Ok(())
}

/// Refuse a command without the acting user that it needs, or on behalf of another user than the caller acts for.
pub(super) fn authorize(caller: &Identity, command: &Command) -> Result<(), Error> {
    let (user, actor) = (command.action.acting_user(), command.actor.as_ref());
    let may_act = match caller.acts_for() {
        ActsFor::Anybody => true,
        ActsFor::User(own) => {
            // An extension may move to another user.
            let is_own = |user: &UserRef| matches!(user, UserRef::Id(user_id) if user_id == own);
            user.is_none_or(is_own) && actor.is_none_or(|actor| actor == own)
        }
        ActsFor::Nobody => user.is_none() && actor.is_none(),
    };
    if !may_act {
        return Err(Error::NotTheUser);
    }
    if command.action.is_administration() { require_actor(caller, command.actor.as_ref()) } else { Ok(()) }
}

/// Create the error of an outcome that belongs to another command.
pub(super) fn unexpected(outcome: &Outcome) -> Error {
    Error::Internal(format!("unexpected outcome {outcome:?}"))
}

/// Plan a command without a change of the state.
pub(super) fn try_out(snapshot: &Snapshot, command: &Command, now: Timestamp) -> Result<Plan, Error> {
    // A plan that isn't committed creates no session, so the id is never used.
    let context = Context { now, new_session: 0 };
    Ok(plan(snapshot, command, &context)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{command::QueueSelection, ids::QueueRef};

    #[test]
    fn a_person_in_the_console_acts_as_that_person_alone() {
        let id = |text: &str| text.parse::<UserId>().unwrap();
        let sam = UserRef::Id(id("sam"));
        let (other, extension) = (UserRef::Id(id("petra")), UserRef::Extension("201".parse().unwrap()));
        let queue = QueueRef::Id("sales".parse().unwrap());
        let (person, console) = (
            Identity::of_person("acme".parse().unwrap(), id("sam")),
            Identity::of_console(Some("acme".parse().unwrap())),
        );
        let anybody = Identity::anyone_at("127.0.0.1");
        let command = |action: Action, actor: Option<&str>| Command {
            organization_id: "acme".parse().unwrap(),
            action,
            actor: actor.map(id),
        };
        let supervise = |supervisor: &UserRef| {
            let (supervisor, user, queue) = (supervisor.clone(), other.clone(), queue.clone());
            command(Action::SupervisorSignOut { supervisor, user, queue, justification: String::new() }, None)
        };
        let sign_out =
            |user: &UserRef| command(Action::SignOut { user: user.clone(), queues: QueueSelection::All }, None);
        let delete =
            |actor| command(Action::DeleteOrganization { if_missing: crate::domain::command::IfMissing::Fail }, actor);
        for (command, may) in [
            (supervise(&sam), true),
            (supervise(&other), false),
            (supervise(&extension), false),
            (sign_out(&sam), true),
            (sign_out(&other), false),
            (delete(Some("sam")), true),
            (delete(Some("petra")), false),
            (delete(None), false),
        ] {
            assert_eq!(authorize(&person, &command).is_ok(), may, "{command:?}");
            assert!(authorize(&console, &command).is_err(), "{command:?}");
            assert!(authorize(&anybody, &command).is_ok(), "{command:?}");
        }
    }
}
