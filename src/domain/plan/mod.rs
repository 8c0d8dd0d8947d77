//! What a command would change: a pure function from a snapshot, a command and an instant to changes.
//!
//! INVARIANT: a rejection changes nothing; an acceptance yields every change of the command, in the order in which they
//! are applied and logged. What the rules deny is an acceptance with a record of the denial.

mod actor;
mod directory;
mod import;
mod sessions;

use std::sync::Arc;

pub use import::problems as import_problems;

use super::{
    chain::Digest,
    change::{ActorRefusal, Change, Event, Inapplicable},
    command::{Action, Command, Outcome, Rejection, Resource},
    ids::{OrganizationId, QueueRef, Revision, Sequence, UserId, UserRef},
    model::{EndReason, Queue, RoleAssignment, Session, SessionEnd, User},
    settings::Etag,
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
    vocabulary::Reason,
};

/// What the rules are given from outside.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time now.
    pub now: Timestamp,
    /// The bits of the id of the session that the command may create. Never used before.
    pub new_session: u128,
}

/// A command carried out on paper.
#[derive(Debug)]
pub struct Plan {
    /// What changes.
    pub changes: Changes,
    /// What the caller is told.
    pub outcome: Outcome,
}

/// What changes, in order; nothing may.
#[derive(Debug)]
pub struct Changes {
    in_order: Vec<Change>,
    /// The state with the changes, if planning them took one.
    after: Option<Snapshot>,
}

impl Changes {
    /// Makes the state for which they were planned the state with the changes. If one of them doesn't fit, the state stays as it
    /// was.
    pub fn apply_to(self, state: &mut Snapshot) -> Result<Vec<Change>, Inapplicable> {
        match (self.after, self.in_order.as_slice()) {
            (Some(after), _) => *state = after,
            // Most commands change one thing, which needs no copy.
            (None, [change]) => state.apply(change)?,
            (None, changes) => {
                let mut after = state.clone();
                changes.iter().try_for_each(|change| after.apply(change))?;
                *state = after;
            }
        }
        Ok(self.in_order)
    }
}

impl From<Vec<Change>> for Changes {
    fn from(in_order: Vec<Change>) -> Self {
        Self { in_order, after: None }
    }
}

/// Works out what a command changes.
pub fn plan(snapshot: &Snapshot, command: &Command, context: &Context) -> Result<Plan, Rejection> {
    actor::authorize(snapshot, command, context.now)?;
    carry_out(snapshot, command, context)
}

/// Works out what a command changes, whoever asks.
fn carry_out(snapshot: &Snapshot, command: &Command, context: &Context) -> Result<Plan, Rejection> {
    let mut planner = Planner::new(snapshot, &command.organization_id, context.now);
    let outcome = match &command.action {
        Action::SignIn { user, queue, channel, device } => {
            planner.sign_in(user, queue, *channel, device, context.new_session)
        }
        Action::SignOut { user, queues } => planner.sign_out(user, queues),
        Action::SupervisorSignIn { supervisor, user, queue, ttl, justification } => {
            let names = sessions::Names { supervisor, user, queue };
            planner.supervisor_sign_in(names, *ttl, justification, context.new_session)
        }
        Action::SupervisorSignOut { supervisor, user, queue, justification } => {
            planner.supervisor_sign_out(sessions::Names { supervisor, user, queue }, justification)
        }
        Action::CreateOrganization { display_name, unassigned_queue_sign_in } => {
            planner.create_organization(display_name, *unassigned_queue_sign_in)
        }
        Action::UpdateOrganization { display_name } => planner.update_organization(display_name.as_deref()),
        Action::DeleteOrganization { if_missing } => planner.delete_organization(*if_missing),
        Action::CreateUser { user } => planner.create_user(user),
        Action::UpdateUser { user_id, patch } => planner.update_user(user_id, patch),
        Action::DeleteUser { user_id, if_missing } => planner.delete_user(user_id, *if_missing),
        Action::CreateQueue { queue } => planner.create_queue(queue),
        Action::UpdateQueue { queue_id, patch } => planner.update_queue(queue_id, patch),
        Action::DeleteQueue { queue_id, if_missing } => planner.delete_queue(queue_id, *if_missing),
        Action::AssignRole { user, role, queue } => planner.assign_role(user, *role, queue.as_ref()),
        Action::UnassignRole { user, role, queue, sessions } => {
            planner.unassign_role(user, *role, queue.as_ref(), *sessions)
        }
        Action::UpdateSettings { patch, expected_etag } => planner.update_settings(patch, expected_etag.as_deref()),
        Action::Import { directory, missing } => planner.import(directory, *missing),
        Action::CutAuditLog { through, hash } => planner.cut_audit_log(*through, *hash),
    }?;
    Ok(Plan { changes: planner.changes(), outcome })
}

/// Records that an acting user was not permitted what a command asks for.
pub fn plan_refusal(snapshot: &Snapshot, command: &Command, refusal: &ActorRefusal, context: &Context) -> Changes {
    // What it would have come to is its last change; those before it only make way. A whole directory is too much to keep.
    let wanted = match &command.action {
        Action::Import { .. } => None,
        _ => carry_out(snapshot, command, context).ok().and_then(|plan| plan.changes.in_order.into_iter().last()),
    };
    let wanted = wanted.map(|change| change.event);
    let change = Change {
        organization_id: command.organization_id.clone(),
        event: Event::WriteRefused { attempt: actor::refused_write(snapshot, command, refusal, wanted) },
    };
    vec![change].into()
}

/// Ends up to `most` sessions whose expire time has come.
pub fn plan_expirations(snapshot: &Snapshot, now: Timestamp, most: usize) -> Changes {
    let expired = snapshot.expired(now).take(most);
    let changes = expired.map(|(organization_id, session)| {
        let (_, event) = ended(session, EndReason::Expired, now, None, "");
        Change { organization_id: organization_id.clone(), event }
    });
    changes.collect::<Vec<_>>().into()
}

/// The organization, which must exist.
pub fn found_organization<'s>(
    snapshot: &'s Snapshot,
    organization_id: &OrganizationId,
) -> Result<&'s OrganizationState, Rejection> {
    snapshot.organization(organization_id.as_str()).ok_or_else(|| no_organization(organization_id))
}

/// There is no such organization.
pub fn no_organization(organization_id: &OrganizationId) -> Rejection {
    Rejection::NotFound {
        resource: Resource::Organization,
        name: organization_id.to_string(),
        description: format!("there is no organization `{organization_id}`"),
    }
}

/// The user, who must exist.
pub fn found_user<'s>(organization: &'s OrganizationState, user: &UserRef) -> Result<&'s User, Rejection> {
    organization.user(user).ok_or_else(|| Rejection::NotFound {
        resource: Resource::User,
        name: user.name(),
        description: format!("there is no user {user}"),
    })
}

/// The queue, which must exist.
pub fn found_queue<'s>(organization: &'s OrganizationState, queue: &QueueRef) -> Result<&'s Queue, Rejection> {
    organization.queue(queue).ok_or_else(|| Rejection::NotFound {
        resource: Resource::Queue,
        name: queue.name(),
        description: format!("there is no queue {queue}"),
    })
}

/// The user by id if there is one, and otherwise as named: who it was then must be told later, whoever has the extension
/// by that time.
fn resolved_user(organization: &OrganizationState, user: &UserRef) -> UserRef {
    organization.user(user).map_or_else(|| user.clone(), |user| UserRef::Id(user.user_id.clone()))
}

/// The queue by id if there is one, and otherwise as named.
fn resolved_queue(organization: &OrganizationState, queue: &QueueRef) -> QueueRef {
    organization.queue(queue).map_or_else(|| queue.clone(), |queue| QueueRef::Id(queue.queue_id.clone()))
}

/// A command under way: the state as it is so far, and what changed.
struct Planner<'c> {
    before: &'c Snapshot,
    /// The state with the changes so far. None while nothing has changed, or once nothing depends on it any more: to change a
    /// copy that shares everything with the state before costs more than all the rest of a sign-in.
    draft: Option<Snapshot>,
    changes: Vec<Change>,
    organization_id: &'c OrganizationId,
    now: Timestamp,
}

impl<'c> Planner<'c> {
    fn new(before: &'c Snapshot, organization_id: &'c OrganizationId, now: Timestamp) -> Self {
        Self { before, draft: None, changes: Vec::new(), organization_id, now }
    }

    fn changes(self) -> Changes {
        Changes { in_order: self.changes, after: self.draft }
    }

    fn snapshot(&self) -> &Snapshot {
        debug_assert!(self.draft.is_some() || self.changes.is_empty(), "the state is read after its last change");
        self.draft.as_ref().unwrap_or(self.before)
    }

    fn organization(&self) -> Result<&OrganizationState, Rejection> {
        found_organization(self.snapshot(), self.organization_id)
    }

    /// Changes something.
    fn push(&mut self, event: Event) -> Result<(), Rejection> {
        let mut draft = self.draft.take().unwrap_or_else(|| self.snapshot().clone());
        let change = Change { organization_id: self.organization_id.clone(), event };
        draft.apply(&change)?;
        self.draft = Some(draft);
        self.changes.push(change);
        Ok(())
    }

    /// Changes the last things: nothing depends on them any more.
    fn conclude(&mut self, events: impl IntoIterator<Item = Event>) {
        let organization_id = self.organization_id;
        let changes = events.into_iter().map(|event| Change { organization_id: organization_id.clone(), event });
        self.changes.extend(changes);
        self.draft = None;
    }

    /// Ends a session that has not been ended yet; one that is past its expire time ends as EXPIRED, whatever the reason
    /// given, because that is when it ended.
    fn end_session(&mut self, session: &Session, reason: EndReason) -> Result<Session, Rejection> {
        let (session, event) = ended(session, reason, self.now, None, "");
        self.push(event)?;
        Ok(session)
    }

    fn end_sessions(&mut self, sessions: &[Arc<Session>], reason: EndReason) -> Result<Vec<Session>, Rejection> {
        sessions.iter().map(|session| self.end_session(session, reason)).collect()
    }

    /// Takes roles singly before their user or queue goes, so that each loss is recorded.
    fn take_roles(&mut self, assignments: Vec<RoleAssignment>) -> Result<(), Rejection> {
        assignments.into_iter().try_for_each(|assignment| self.push(Event::RoleUnassigned { assignment }))
    }

    fn cut_audit_log(&mut self, through: Sequence, hash: Digest) -> Result<Outcome, Rejection> {
        if through <= self.snapshot().audit_cut(self.organization_id.as_str()) {
            return Err(Rejection::AlreadyCut);
        }
        self.push(Event::AuditLogCut { through, hash })?;
        Ok(Outcome::AuditLogCut)
    }

    fn next_etag(&self) -> Etag {
        let now = self.snapshot().revision();
        Etag::at(Revision { sequence: now.sequence.next(), ..now })
    }
}

/// The session with its end, and the event that says so.
fn ended(
    session: &Session,
    reason: EndReason,
    now: Timestamp,
    supervisor_id: Option<UserId>,
    justification: &str,
) -> (Session, Event) {
    let end = match session.expire_time {
        Some(expire_time) if expire_time <= now => SessionEnd { time: expire_time, reason: EndReason::Expired },
        Some(_) | None => SessionEnd { time: now, reason },
    };
    let session = Session { end: Some(end), ..session.clone() };
    let event =
        Event::SessionEnded { session: session.clone(), supervisor_id, justification: justification.to_owned() };
    (session, event)
}

/// Whether the reason shows the live session beside it.
fn shows_session(reason: Reason) -> bool {
    reason == Reason::AlreadySignedIn
}

#[cfg(test)]
mod tests;
