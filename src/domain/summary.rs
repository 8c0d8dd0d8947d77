//! The summary of an audit event: the action, its outcome, the actor, and the user and queue that it concerned.

use super::{
    change::{Event, Origin, RefusedAttempt, RefusedWrite},
    ids::{QueueId, QueueRef, UserId, UserRef},
    model::{Basis, EndReason, Role, RoleAssignment},
    vocabulary::{AuditAction, Reason},
};

/// The outcome of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was carried out.
    Allowed,
    /// It was refused.
    Denied,
}

impl Verdict {
    /// Return whether it was carried out.
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

/// The action of one event, its actor and its subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The action.
    pub action: AuditAction,
    /// Allowed or denied.
    pub verdict: Verdict,
    /// The actor: the user themselves, the supervisor, or the acting user. `None`: a system on its own behalf.
    pub actor: Option<UserRef>,
    /// The user that it concerned.
    pub user: Option<UserRef>,
    /// The queue that it concerned.
    pub queue: Option<QueueRef>,
    /// The role that was given or taken.
    pub role: Option<Role>,
    /// The rule of queue access that decided, or `None`.
    pub reason: Option<Reason>,
}

impl Summary {
    /// Summarize an event.
    pub fn of(event: &Event, origin: &Origin) -> Self {
        let acting = origin.actor.clone().map(UserRef::Id);
        let done = |action| Self {
            action,
            verdict: Verdict::Allowed,
            actor: acting.clone(),
            user: None,
            queue: None,
            role: None,
            reason: None,
        };
        let about_user = |action, user_id: &UserId| Self { user: Some(UserRef::Id(user_id.clone())), ..done(action) };
        let about_queue =
            |action, queue_id: &QueueId| Self { queue: Some(QueueRef::Id(queue_id.clone())), ..done(action) };
        let about_role = |action, assignment: &RoleAssignment| Self {
            queue: assignment.queue_id.clone().map(QueueRef::Id),
            role: Some(assignment.role),
            ..about_user(action, &assignment.user_id)
        };
        match event {
            Event::OrganizationCreated { .. } => done(AuditAction::CreateOrganization),
            Event::OrganizationUpdated { .. } => done(AuditAction::UpdateOrganization),
            Event::OrganizationDeleted { .. } => done(AuditAction::DeleteOrganization),
            Event::SettingsUpdated { .. } => done(AuditAction::UpdateSettings),
            Event::UserCreated { user } => about_user(AuditAction::CreateUser, &user.user_id),
            Event::UserUpdated { before: _, user } => about_user(AuditAction::UpdateUser, &user.user_id),
            Event::UserDeleted { user } => about_user(AuditAction::DeleteUser, &user.user_id),
            Event::QueueCreated { queue } => about_queue(AuditAction::CreateQueue, &queue.queue_id),
            Event::QueueUpdated { before: _, queue } => about_queue(AuditAction::UpdateQueue, &queue.queue_id),
            Event::QueueDeleted { queue } => about_queue(AuditAction::DeleteQueue, &queue.queue_id),
            Event::RoleAssigned { assignment } | Event::RoleAssignmentUpdated { before: _, assignment } => {
                about_role(AuditAction::AssignRole, assignment)
            }
            Event::RoleUnassigned { assignment } => about_role(AuditAction::UnassignRole, assignment),
            Event::PinSet { user_id, .. } => about_user(AuditAction::SetPin, user_id),
            Event::PinCleared { user_id } => about_user(AuditAction::ClearPin, user_id),
            Event::PinAccepted { user_id } => {
                Self { actor: Some(UserRef::Id(user_id.clone())), ..about_user(AuditAction::VerifyPin, user_id) }
            }
            Event::PinRefused { user_id, .. } => Self {
                verdict: Verdict::Denied,
                actor: Some(UserRef::Id(user_id.clone())),
                ..about_user(AuditAction::VerifyPin, user_id)
            },
            Event::SessionStarted { session, justification: _ } => {
                let (action, reason) = match session.basis {
                    Basis::Assigned => (AuditAction::SignIn, Reason::Assigned),
                    Basis::UnassignedAllowed => (AuditAction::SignIn, Reason::UnassignedAllowed),
                    Basis::Supervisor => (AuditAction::SupervisorSignIn, Reason::SupervisorSignIn),
                };
                Self {
                    actor: Some(UserRef::Id(session.signed_in_by.clone())),
                    queue: Some(QueueRef::Id(session.queue_id.clone())),
                    reason: Some(reason),
                    ..about_user(action, &session.user_id)
                }
            }
            Event::SessionEnded { session, supervisor_id, justification: _ } => {
                let by = |user_id: &UserId| Some(UserRef::Id(user_id.clone()));
                let (action, actor, reason) = match session.end.map(|end| end.reason) {
                    Some(EndReason::SignedOut) => (AuditAction::SignOut, by(&session.user_id), None),
                    Some(EndReason::SignedOutBySupervisor) => {
                        let supervisor = supervisor_id.as_ref().and_then(by);
                        (AuditAction::SupervisorSignOut, supervisor, Some(Reason::SupervisorSignOut))
                    }
                    Some(
                        EndReason::Expired
                        | EndReason::UserRemoved
                        | EndReason::UserDisabled
                        | EndReason::QueueRemoved
                        | EndReason::OrganizationRemoved
                        | EndReason::AssignmentRemoved,
                    )
                    | None => (AuditAction::EndSession, acting.clone(), None),
                };
                Self {
                    actor,
                    queue: Some(QueueRef::Id(session.queue_id.clone())),
                    reason,
                    ..about_user(action, &session.user_id)
                }
            }
            Event::AttemptRefused { attempt } => {
                let RefusedAttempt { action, user, queue, supervisor, reason, .. } = attempt;
                Self {
                    verdict: Verdict::Denied,
                    actor: Some(supervisor.clone().unwrap_or_else(|| user.clone())),
                    user: Some(user.clone()),
                    queue: queue.clone(),
                    reason: Some(*reason),
                    ..done(*action)
                }
            }
            Event::WriteRefused { attempt } => {
                let RefusedWrite { action, refusal, user, queue, role, wanted: _ } = attempt;
                Self {
                    verdict: Verdict::Denied,
                    actor: Some(UserRef::Id(refusal.actor.clone())),
                    user: user.clone(),
                    queue: queue.clone(),
                    role: *role,
                    ..done(*action)
                }
            }
            Event::AuditLogCut { .. } => done(AuditAction::CutAuditLog),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        change::ActorRefusal,
        fixture::{Fixture, by_queue_id, by_user_id, now, queue},
        ids::Caller,
        model::{Penalty, QueueKind, Session, SessionEnd, SignInChannel},
    };

    #[test]
    fn a_summary_names_action_actor_and_subjects() {
        let (ann, q1) = (by_user_id("ann"), by_queue_id("q1"));
        let attempt = RefusedAttempt {
            action: AuditAction::SupervisorSignIn,
            user: ann.clone(),
            queue: Some(q1.clone()),
            supervisor: Some(by_user_id("sue")),
            channel: None,
            device: String::new(),
            reason: Reason::SupervisorQueueNotAssigned,
            explanation: String::new(),
            justification: String::new(),
        };
        let refusal =
            ActorRefusal { actor: "bob".parse().unwrap(), permission: None, reason: None, explanation: String::new() };
        let write = RefusedWrite {
            action: AuditAction::AssignRole,
            refusal,
            user: Some(ann.clone()),
            queue: Some(q1.clone()),
            role: Some(Role::Agent),
            wanted: None,
        };
        let assignment = RoleAssignment {
            user_id: "ann".parse().unwrap(),
            role: Role::Agent,
            queue_id: Some("q1".parse().unwrap()),
            penalty: Penalty::default(),
        };
        let origin = Origin { caller: Caller::server(), actor: Some("ada".parse().unwrap()) };
        let of = |event| Summary::of(&event, &origin);
        let base = of(Event::QueueCreated { queue: queue("q1", None, QueueKind::CallQueue) });
        assert_eq!((&base.queue, &base.user, &base.actor), (&Some(q1.clone()), &None, &Some(by_user_id("ada"))));
        assert!(base.action == AuditAction::CreateQueue && base.verdict.is_allowed());
        let given = of(Event::RoleAssigned { assignment });
        assert_eq!((given.user, given.queue, given.role), (Some(ann.clone()), Some(q1.clone()), Some(Role::Agent)));
        let refused = of(Event::AttemptRefused { attempt });
        assert!(!refused.verdict.is_allowed() && refused.actor == Some(by_user_id("sue")));
        assert_eq!((refused.user, refused.queue), (Some(ann.clone()), Some(q1.clone())));
        assert_eq!(refused.reason, Some(Reason::SupervisorQueueNotAssigned));
        let refused = of(Event::WriteRefused { attempt: write });
        assert!(!refused.verdict.is_allowed() && refused.actor == Some(by_user_id("bob")));
        assert_eq!((refused.user, refused.queue, refused.role), (Some(ann), Some(q1), Some(Role::Agent)));
    }

    #[test]
    fn a_supervisor_is_the_actor_of_the_session_that_they_end() {
        let mut fixture = Fixture::new();
        fixture.sign_in("ann", "q1", SignInChannel::FeatureCode);
        let session = Session::clone(fixture.organization().recorded_session("ann", "q1").unwrap());
        let end = Some(SessionEnd { time: now(), reason: EndReason::SignedOutBySupervisor });
        let origin = Origin { caller: Caller::server(), actor: None };
        let event = Event::SessionEnded {
            session: Session { end, ..session },
            supervisor_id: Some("sue".parse().unwrap()),
            justification: String::new(),
        };
        let Summary { action, verdict, actor, user, queue, role, reason } = Summary::of(&event, &origin);
        assert_eq!((action, verdict, role), (AuditAction::SupervisorSignOut, Verdict::Allowed, None));
        assert_eq!((actor, user, queue), (Some(by_user_id("sue")), Some(by_user_id("ann")), Some(by_queue_id("q1"))));
        assert_eq!(reason, Some(Reason::SupervisorSignOut));
    }
}
