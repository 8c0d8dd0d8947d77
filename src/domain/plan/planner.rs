//! A command in progress: the state so far, and the changes that led to it.

use std::sync::Arc;

use super::{changes::Changes, lookup::found_organization};
use crate::domain::{
    chain::Digest,
    change::{Change, Event},
    command::{Outcome, Rejection},
    ids::{OrganizationId, Revision, Sequence, UserId},
    model::{EndReason, RoleAssignment, Session, SessionEnd},
    settings::Etag,
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
};

/// A command in progress: the state so far, and the changes that led to it.
pub(super) struct Planner<'c> {
    pub(super) before: &'c Snapshot,
    /// The state with the changes so far. `None` while nothing has changed, and after the last changes, which
    /// nothing reads: the first write to a cloned snapshot costs more than the rest of a sign-in.
    pub(super) draft: Option<Snapshot>,
    pub(super) changes: Vec<Change>,
    pub(super) organization_id: &'c OrganizationId,
    pub(super) now: Timestamp,
}

impl<'c> Planner<'c> {
    pub(super) fn new(before: &'c Snapshot, organization_id: &'c OrganizationId, now: Timestamp) -> Self {
        Self { before, draft: None, changes: Vec::new(), organization_id, now }
    }

    pub(super) fn changes(self) -> Changes {
        Changes { in_order: self.changes, after: self.draft }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        debug_assert!(self.draft.is_some() || self.changes.is_empty(), "the state is read after its last change");
        self.draft.as_ref().unwrap_or(self.before)
    }

    pub(super) fn organization(&self) -> Result<&OrganizationState, Rejection> {
        found_organization(self.snapshot(), self.organization_id)
    }

    /// Make a change.
    pub(super) fn push(&mut self, event: Event) -> Result<(), Rejection> {
        let mut draft = self.draft.take().unwrap_or_else(|| self.snapshot().clone());
        let change = Change { organization_id: self.organization_id.clone(), event };
        draft.apply(&change)?;
        self.draft = Some(draft);
        self.changes.push(change);
        Ok(())
    }

    /// Make the last changes, on which nothing depends.
    pub(super) fn push_last(&mut self, events: impl IntoIterator<Item = Event>) {
        let organization_id = self.organization_id;
        let changes = events.into_iter().map(|event| Change { organization_id: organization_id.clone(), event });
        self.changes.extend(changes);
        self.draft = None;
    }

    /// End a session that has not been ended yet. If its expire time has passed, it ends as EXPIRED at that time, for
    /// any given reason.
    pub(super) fn end_session(&mut self, session: &Session, reason: EndReason) -> Result<Session, Rejection> {
        let (session, event) = ended(session, reason, self.now, None, "");
        self.push(event)?;
        Ok(session)
    }

    pub(super) fn end_sessions(
        &mut self,
        sessions: &[Arc<Session>],
        reason: EndReason,
    ) -> Result<Vec<Session>, Rejection> {
        sessions.iter().map(|session| self.end_session(session, reason)).collect()
    }

    /// Take roles one by one before their user or queue is deleted, so that each loss is recorded.
    pub(super) fn take_roles(&mut self, assignments: Vec<RoleAssignment>) -> Result<(), Rejection> {
        assignments.into_iter().try_for_each(|assignment| self.push(Event::RoleUnassigned { assignment }))
    }

    pub(super) fn cut_audit_log(&mut self, through: Sequence, hash: Digest) -> Result<Outcome, Rejection> {
        if through <= self.snapshot().audit_cut(self.organization_id.as_str()) {
            return Err(Rejection::AlreadyCut);
        }
        self.push(Event::AuditLogCut { through, hash })?;
        Ok(Outcome::AuditLogCut)
    }

    pub(super) fn next_etag(&self) -> Etag {
        let now = self.snapshot().revision();
        Etag::at(Revision { sequence: now.sequence.next(), ..now })
    }
}

/// Return the session with its end, and the event of that end.
pub(super) fn ended(
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
