//! Sign-in and sign-out: `docs/semantics.md` section 3.

use std::{sync::Arc, time::Duration};

use super::{
    lookup::{resolved_queue, resolved_user},
    planner::{Planner, ended},
};
use crate::domain::{
    change::{Event, RefusedAttempt},
    command::{DecisionRecord, Outcome, QueueSelection, QueueSignIn, Rejection},
    decide::{AccessRequest, Decision, SupervisorAction, SupervisorRequest, decide, decide_supervisor},
    explain::AccessExplanation,
    ids::{QueueRef, SessionId, UserId, UserRef},
    list::denied_everywhere,
    model::{Basis, Channel, EndReason, Role, Session, SignInChannel},
    snapshot::OrganizationState,
    time::Timestamp,
    vocabulary::{AuditAction, Reason},
};

/// The users and the queue that a supervisor's command names.
#[derive(Clone, Copy)]
pub(super) struct Names<'c> {
    pub supervisor: &'c UserRef,
    pub user: &'c UserRef,
    pub queue: &'c QueueRef,
}

impl<'c> Names<'c> {
    fn request(&self, action: SupervisorAction) -> SupervisorRequest<'c> {
        SupervisorRequest { supervisor: self.supervisor, user: self.user, queue: self.queue, action }
    }
}

impl Planner<'_> {
    pub(super) fn sign_in(
        &mut self,
        user: &UserRef,
        queue: &QueueRef,
        channel: SignInChannel,
        device: &str,
        new_session: u128,
    ) -> Result<Outcome, Rejection> {
        let request = AccessRequest { user, queue, channel };
        let sign_in = own_sign_in(self.organization()?, request, device, new_session, self.now);
        Ok(self.signed_in(sign_in))
    }

    /// Sign a user in to every queue that is assigned to them. No sign-in changes the decision about another queue.
    pub(super) fn sign_in_to_assigned_queues(
        &mut self,
        user: &UserRef,
        channel: SignInChannel,
        device: &str,
        first_session: u128,
    ) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        let found = organization.user(user);
        if let Some(reason) = denied_everywhere(organization, user, channel) {
            let explanation = AccessExplanation::denied_everywhere(reason, found, user);
            let denied = DecisionRecord::new(reason, explanation, None);
            let attempt = refused_sign_in(resolved_user(organization, user), None, channel, device, &denied);
            self.push_last([Event::AttemptRefused { attempt }]);
            return Ok(Outcome::AssignedSignIns { denied: Some(denied), sign_ins: Vec::new() });
        }
        let queue_roles = found.into_iter().flat_map(|user| organization.queue_roles_of_user(user.user_id.as_str()));
        let assigned = queue_roles.filter(|(_, roles)| roles.contains(Role::Agent)).map(|(queue_id, _)| queue_id);
        let (mut sign_ins, mut all_events, mut new_session) = (Vec::new(), Vec::new(), first_session);
        for queue_id in assigned {
            let queue = QueueRef::Id(queue_id.clone());
            let request = AccessRequest { user, queue: &queue, channel };
            let PlannedSignIn { decision, session, created, events } =
                own_sign_in(organization, request, device, new_session, self.now);
            new_session += u128::from(created);
            sign_ins.push(QueueSignIn { queue_id: queue_id.clone(), decision, session, created });
            all_events.extend(events);
        }
        self.push_last(all_events);
        Ok(Outcome::AssignedSignIns { denied: None, sign_ins })
    }

    pub(super) fn sign_out(&mut self, user: &UserRef, queues: &QueueSelection) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        let Some(user) = organization.user(user) else {
            return Ok(Outcome::SessionsEnded { ended: Vec::new() });
        };
        let user_id = user.user_id.as_str();
        let live: Vec<Arc<Session>> = match queues {
            QueueSelection::All => {
                organization.sessions_of_user(user_id).filter(|session| session.is_live(self.now)).cloned().collect()
            }
            QueueSelection::One(queue) => {
                let queue = organization.queue(queue);
                let session =
                    queue.and_then(|queue| organization.live_session(user_id, queue.queue_id.as_str(), self.now));
                session.cloned().into_iter().collect()
            }
        };
        let end = |session: &Arc<Session>| ended(session, EndReason::SignedOut, self.now, None, "");
        let (ended, events): (Vec<Session>, Vec<Event>) = live.iter().map(end).unzip();
        self.push_last(events);
        Ok(Outcome::SessionsEnded { ended })
    }

    pub(super) fn supervisor_sign_in(
        &mut self,
        names: Names<'_>,
        ttl: Option<Duration>,
        justification: &str,
        new_session: u128,
    ) -> Result<Outcome, Rejection> {
        let request = names.request(SupervisorAction::SignIn);
        let decision = decide_supervisor(self.organization()?, request, self.now);
        let record = record(&decision, AccessExplanation::of_supervisor(&decision, &request));
        if decision.reason != Reason::SupervisorSignIn {
            let attempt = self.refused_supervisor(AuditAction::SupervisorSignIn, names, &record, justification)?;
            return Ok(self.signed_in(not_created(attempt, record)));
        }
        let people = decision.supervisor.zip(decision.user).zip(decision.queue);
        let session = people.map(|((supervisor, user), queue)| Session {
            session_id: SessionId::from_bits(new_session),
            user_id: user.user_id.clone(),
            queue_id: queue.queue_id.clone(),
            channel: Channel::Supervisor,
            basis: Basis::Supervisor,
            signed_in_by: supervisor.user_id.clone(),
            sign_in_time: self.now,
            expire_time: ttl.map(|ttl| self.now.plus(ttl)),
            device: String::new(),
            end: None,
        });
        let sign_in = created(self.organization()?, record, session, justification, self.now);
        Ok(self.signed_in(sign_in))
    }

    pub(super) fn supervisor_sign_out(&mut self, names: Names<'_>, justification: &str) -> Result<Outcome, Rejection> {
        let request = names.request(SupervisorAction::SignOut);
        let decision = decide_supervisor(self.organization()?, request, self.now);
        let record = record(&decision, AccessExplanation::of_supervisor(&decision, &request));
        if !decision.reason.is_allowed() {
            let attempt = self.refused_supervisor(AuditAction::SupervisorSignOut, names, &record, justification)?;
            self.push_last([Event::AttemptRefused { attempt }]);
            return Ok(Outcome::SupervisorSignOut { decision: record, ended: Vec::new() });
        }
        let supervisor_id: Option<UserId> = decision.supervisor.map(|supervisor| supervisor.user_id.clone());
        let live = decision.session.filter(|_| decision.reason == Reason::SupervisorSignOut).cloned();
        let mut all_ended = Vec::new();
        if let Some(session) = live {
            let reason = EndReason::SignedOutBySupervisor;
            let (session, event) = ended(&session, reason, self.now, supervisor_id, justification);
            self.push_last([event]);
            all_ended.push(session);
        }
        Ok(Outcome::SupervisorSignOut { decision: record, ended: all_ended })
    }

    fn signed_in(&mut self, sign_in: PlannedSignIn) -> Outcome {
        let PlannedSignIn { decision, session, created, events } = sign_in;
        self.push_last(events);
        Outcome::SignIn { decision, session, created }
    }

    fn refused_supervisor(
        &self,
        action: AuditAction,
        names: Names<'_>,
        decision: &DecisionRecord,
        justification: &str,
    ) -> Result<RefusedAttempt, Rejection> {
        let organization = self.organization()?;
        Ok(RefusedAttempt {
            action,
            user: resolved_user(organization, names.user),
            queue: Some(resolved_queue(organization, names.queue)),
            supervisor: Some(resolved_user(organization, names.supervisor)),
            channel: None,
            device: String::new(),
            reason: decision.reason,
            explanation: decision.explanation.clone(),
            justification: justification.to_owned(),
        })
    }
}

/// A sign-in to one queue, with its events.
struct PlannedSignIn {
    decision: DecisionRecord,
    session: Option<Session>,
    created: bool,
    events: Vec<Event>,
}

/// Plan a user's own sign-in to one queue.
fn own_sign_in(
    organization: &OrganizationState,
    request: AccessRequest<'_>,
    device: &str,
    new_session: u128,
    now: Timestamp,
) -> PlannedSignIn {
    let AccessRequest { user, queue, channel } = request;
    let decision = decide(organization, request, now);
    let record = record(&decision, AccessExplanation::new(&decision, request));
    let basis = match decision.reason {
        Reason::Assigned => Basis::Assigned,
        Reason::UnassignedAllowed => Basis::UnassignedAllowed,
        _ => {
            let (user, queue) = (resolved_user(organization, user), resolved_queue(organization, queue));
            return not_created(refused_sign_in(user, Some(queue), channel, device, &record), record);
        }
    };
    let session = decision.user.zip(decision.queue).map(|(user, queue)| Session {
        session_id: SessionId::from_bits(new_session),
        user_id: user.user_id.clone(),
        queue_id: queue.queue_id.clone(),
        channel: channel.into(),
        basis,
        signed_in_by: user.user_id.clone(),
        sign_in_time: now,
        expire_time: None,
        device: device.to_owned(),
        end: None,
    });
    created(organization, record, session, "", now)
}

/// Start the session. First end an expired session on the same queue that has not been ended yet.
fn created(
    organization: &OrganizationState,
    decision: DecisionRecord,
    session: Option<Session>,
    justification: &str,
    now: Timestamp,
) -> PlannedSignIn {
    let started = session.as_ref().map(|session| {
        let stale = organization.recorded_session(session.user_id.as_str(), session.queue_id.as_str());
        let end = stale.map(|stale| ended(stale, EndReason::Expired, now, None, "").1);
        let start = Event::SessionStarted { session: session.clone(), justification: justification.to_owned() };
        end.into_iter().chain([start])
    });
    let events = started.into_iter().flatten().collect();
    PlannedSignIn { decision, created: session.is_some(), session, events }
}

/// Create no session: there is one already, or the attempt is refused and recorded.
fn not_created(attempt: RefusedAttempt, decision: DecisionRecord) -> PlannedSignIn {
    let (session, events) = match decision.reason.is_allowed() {
        true => (decision.session.clone(), Vec::new()),
        false => (None, vec![Event::AttemptRefused { attempt }]),
    };
    PlannedSignIn { decision, session, created: false, events }
}

/// Record a user's own attempt.
fn refused_sign_in(
    user: UserRef,
    queue: Option<QueueRef>,
    channel: SignInChannel,
    device: &str,
    decision: &DecisionRecord,
) -> RefusedAttempt {
    RefusedAttempt {
        action: AuditAction::SignIn,
        user,
        queue,
        supervisor: None,
        channel: Some(channel),
        device: device.to_owned(),
        reason: decision.reason,
        explanation: decision.explanation.clone(),
        justification: String::new(),
    }
}

fn record(decision: &Decision<'_>, explanation: AccessExplanation<'_>) -> DecisionRecord {
    let session = decision.session.filter(|_| shows_session(decision.reason));
    DecisionRecord::new(decision.reason, explanation, session.map(|session| (**session).clone()))
}

/// Return whether the reason is shown with the live session.
pub(super) fn shows_session(reason: Reason) -> bool {
    reason == Reason::AlreadySignedIn
}
