//! Sign-in and sign-out: `docs/semantics.md` section 3.

use std::{sync::Arc, time::Duration};

use super::{
    lookup::{resolved_queue, resolved_user},
    planner::{Planner, ended},
};
use crate::domain::{
    change::{Event, RefusedAttempt},
    command::{DecisionRecord, Outcome, QueueSelection, Rejection},
    decide::{AccessRequest, Decision, SupervisorAction, SupervisorRequest, decide, decide_supervisor},
    explain::{explain, explain_supervisor},
    ids::{QueueRef, SessionId, UserId, UserRef},
    model::{Basis, Channel, EndReason, Session, SignInChannel},
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
        let decision = decide(self.organization()?, AccessRequest { user, queue, channel }, self.now);
        let record = record(&decision, explain(&decision, user, queue, channel));
        let basis = match decision.reason {
            Reason::Assigned => Basis::Assigned,
            Reason::UnassignedAllowed => Basis::UnassignedAllowed,
            reason => {
                let attempt = RefusedAttempt {
                    action: AuditAction::SignIn,
                    user: resolved_user(self.organization()?, user),
                    queue: resolved_queue(self.organization()?, queue),
                    supervisor: None,
                    channel: Some(channel),
                    device: device.to_owned(),
                    reason,
                    explanation: record.explanation.clone(),
                    justification: String::new(),
                };
                return self.not_created(attempt, record);
            }
        };
        let session = decision.user.zip(decision.queue).map(|(user, queue)| Session {
            session_id: SessionId::from_bits(new_session),
            user_id: user.user_id.clone(),
            queue_id: queue.queue_id.clone(),
            channel: channel.into(),
            basis,
            signed_in_by: user.user_id.clone(),
            sign_in_time: self.now,
            expire_time: None,
            device: device.to_owned(),
            end: None,
        });
        self.created(record, session, "")
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
        let record = record(&decision, explain_supervisor(&decision, &request));
        if decision.reason != Reason::SupervisorSignIn {
            let attempt = self.refused_supervisor(AuditAction::SupervisorSignIn, names, &record, justification)?;
            return self.not_created(attempt, record);
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
        self.created(record, session, justification)
    }

    pub(super) fn supervisor_sign_out(&mut self, names: Names<'_>, justification: &str) -> Result<Outcome, Rejection> {
        let request = names.request(SupervisorAction::SignOut);
        let decision = decide_supervisor(self.organization()?, request, self.now);
        let record = record(&decision, explain_supervisor(&decision, &request));
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

    /// Start the session. First end an expired session on the same queue that has not been ended yet.
    fn created(
        &mut self,
        decision: DecisionRecord,
        session: Option<Session>,
        justification: &str,
    ) -> Result<Outcome, Rejection> {
        if let Some(session) = &session {
            let stale = self.organization()?.recorded_session(session.user_id.as_str(), session.queue_id.as_str());
            let end = stale.map(|stale| ended(stale, EndReason::Expired, self.now, None, "").1);
            let start = Event::SessionStarted { session: session.clone(), justification: justification.to_owned() };
            self.push_last(end.into_iter().chain([start]));
        }
        let created = session.is_some();
        Ok(Outcome::SignIn { decision, session, created })
    }

    /// Create no session: there is one already, or the attempt is refused and recorded.
    fn not_created(&mut self, attempt: RefusedAttempt, decision: DecisionRecord) -> Result<Outcome, Rejection> {
        let session = if decision.reason.is_allowed() {
            decision.session.clone()
        } else {
            self.push_last([Event::AttemptRefused { attempt }]);
            None
        };
        Ok(Outcome::SignIn { decision, session, created: false })
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
            queue: resolved_queue(organization, names.queue),
            supervisor: Some(resolved_user(organization, names.supervisor)),
            channel: None,
            device: String::new(),
            reason: decision.reason,
            explanation: decision.explanation.clone(),
            justification: justification.to_owned(),
        })
    }
}

fn record(decision: &Decision<'_>, explanation: String) -> DecisionRecord {
    let session = decision.session.filter(|_| shows_session(decision.reason));
    DecisionRecord { reason: decision.reason, explanation, session: session.map(|session| (**session).clone()) }
}

/// Return whether the reason is shown with the live session.
pub(super) fn shows_session(reason: Reason) -> bool {
    reason == Reason::AlreadySignedIn
}
