//! Compares the marked queues with the sessions, and corrects their members.

use std::{convert::Infallible, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    differences::{Correction, differences},
    lamps::Lamps,
    phones::{SessionPhones, SignedIn},
};
use crate::{
    domain::ids::{OrganizationId, QueueRef},
    pbx::{
        api::Failure,
        config::{Config, Manager},
        connection::{Member, MemberState, PbxConnection, PbxError},
        context::HandlerContext,
        key_locks::{LogicalTime, MemberKey},
        names::MemberProfile,
        queues::Marks,
    },
    rpc::proto,
};

/// The time limit of the requests to queuegate for one queue.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a comparison for which queuegate was unreachable.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The correction, in the metrics, of a member that would be removed after a plan.
const LEFT: &str = "leave";

/// The reason why a comparison was interrupted.
enum Interruption {
    Pbx(PbxError),
    Queuegate(Failure),
}

impl From<PbxError> for Interruption {
    fn from(error: PbxError) -> Self {
        Self::Pbx(error)
    }
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Queuegate(failure)
    }
}

/// The reconciliation over one connection to the PBX.
pub(super) struct Reconciler<'r> {
    context: &'r HandlerContext,
    manager: &'r Manager,
    pbx: PbxConnection,
    phones: SessionPhones,
    lamps: Lamps,
    /// Whether members are removed whose session the handler has never seen.
    removes: bool,
    /// Whether queuegate was unreachable for the last comparison.
    is_queuegate_down: bool,
}

impl<'r> Reconciler<'r> {
    /// Reconcile over a connection.
    pub(super) fn new(context: &'r HandlerContext, manager: &'r Manager, pbx: PbxConnection, removes: bool) -> Self {
        Self {
            context,
            manager,
            pbx,
            phones: SessionPhones::default(),
            lamps: Lamps::default(),
            removes,
            is_queuegate_down: false,
        }
    }

    /// Compare all queues, and then the marked ones, until the connection fails.
    pub(super) async fn run(&mut self) -> Result<Infallible, PbxError> {
        let dirty_queues = &self.context.dirty_queues;
        dirty_queues.mark_all();
        let mut next_interval = Instant::now() + self.manager.interval;
        loop {
            self.pbx.answer_lamps().await?;
            let marks = dirty_queues.take();
            match self.compare(&marks).await {
                Ok(()) => {
                    if std::mem::take(&mut self.is_queuegate_down) {
                        info!("queuegate is reachable again; members are reconciled");
                    }
                }
                Err(Interruption::Pbx(error)) => return Err(error),
                Err(Interruption::Queuegate(failure)) => {
                    let cause = failure.cause();
                    if !std::mem::replace(&mut self.is_queuegate_down, true) {
                        warn!(
                            reason = cause.reason,
                            error = cause.text,
                            "queuegate is unreachable; members are left unchanged"
                        );
                    }
                    // A new watch marks all queues, but the present watch may not have noticed the failure.
                    marks.queues.iter().for_each(|queue| dirty_queues.mark(queue));
                    if marks.all {
                        dirty_queues.mark_all();
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                queues = self.pbx.changed_queues() => queues?.iter().for_each(|queue| dirty_queues.mark(queue)),
                () = dirty_queues.marked() => {}
                () = tokio::time::sleep_until(next_interval) => {
                    next_interval = Instant::now() + self.manager.interval;
                    dirty_queues.mark_all();
                }
            }
        }
    }

    async fn compare(&mut self, marks: &Marks) -> Result<(), Interruption> {
        if marks.all {
            self.phones.forget();
            let time = self.context.key_locks.now();
            if self.manager.lamp.is_some() {
                self.lamps.read(&mut self.pbx).await?;
            }
            let found = self.pbx.members(None).await?;
            let is_on_pbx = |queue: &str| found.keys().any(|name| name.eq_ignore_ascii_case(queue));
            for queue in self.context.known_queues.newly_missing(is_on_pbx) {
                warn!(queue, "the PBX lacks a queue with sessions; add it to the PBX's configuration");
            }
            for (queue, members) in found {
                self.compare_queue(&queue, &members, time).await?;
            }
            return Ok(());
        }
        for queue in &marks.queues {
            let time = self.context.key_locks.now();
            for (queue, members) in self.pbx.members(Some(queue)).await? {
                self.compare_queue(&queue, &members, time).await?;
            }
        }
        Ok(())
    }

    /// Compare the members of one queue, read after `time`, with the sessions.
    async fn compare_queue(
        &mut self,
        pbx_queue: &str,
        members: &[Member],
        time: LogicalTime,
    ) -> Result<(), Interruption> {
        let (context, manager) = (self.context, self.manager);
        for organization in &manager.organizations {
            let Some(queue) = context.config.queue_name.queue(organization, pbx_queue) else { continue };
            let deadline = Instant::now() + REQUEST_TIMEOUT;
            let info = match context.queue(organization, &queue, deadline).await {
                Ok(found) => found.filter(|info| info.kind == proto::QueueKind::CallQueue),
                Err(failure) if failure.is_permanent() => None,
                Err(failure) => return Err(failure.into()),
            };
            let Config { interface, endpoints, .. } = &context.config;
            let members: Vec<Member> = match &info {
                Some(_) => members.to_vec(),
                None if !context.known_queues.contains(pbx_queue) => continue,
                // The queue isn't queuegate's any more, so other members of it aren't either.
                None => {
                    let is_ours =
                        |member: &&Member| interface.owner(organization, &member.interface, endpoints).is_some();
                    members.iter().filter(is_ours).cloned().collect()
                }
            };
            context.known_queues.add(pbx_queue);
            context.known_queues.remember_members(pbx_queue, &members);
            report_invalid(context, pbx_queue, &members);
            let mut signed_in = SignedIn::default();
            if let Some(info) = info {
                let Ok(queue) = info.id.parse().map(QueueRef::Id) else { continue };
                signed_in =
                    self.phones.of_queue(&context.config, &context.api, (organization, &queue, pbx_queue)).await?;
            }
            let with_session = signed_in.phones;
            context.known_queues.saw_sessions(with_session.keys());
            let pending = |key: &MemberKey| context.journal.get(key).map(|entry| entry.action);
            for (correction, key, interface) in differences(pbx_queue, &members, &with_session, pending) {
                let profile = with_session.get(&key).map(|phone| phone.profile.clone()).unwrap_or_default();
                self.correct((organization, pbx_queue), (&interface, profile), &key, time, correction).await?;
            }
            context.known_queues.forget_members(pbx_queue, |key| with_session.contains_key(key));
            if let Some(lamp) = &manager.lamp {
                self.lamps.show(&mut self.pbx, lamp, (organization, pbx_queue), &signed_in.extensions).await?;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Correct a member, unless a call has changed it or its session since `time`.
    async fn correct(
        &mut self,
        (organization, pbx_queue): (&OrganizationId, &str),
        (interface, profile): (&str, MemberProfile),
        key: &MemberKey,
        time: LogicalTime,
        correction: Correction,
    ) -> Result<(), Interruption> {
        let context = self.context;
        if correction == Correction::Remove && !self.removes && !context.known_queues.had_session(key) {
            if context.known_queues.is_newly_left(key) {
                context.metrics.corrected(LEFT);
                warn!(
                    queue = pbx_queue,
                    interface,
                    "a member without a session is left; reconciling would remove it, see the command `plan`"
                );
            }
            return Ok(());
        }
        let guard = context.key_locks.lock(key).await;
        if guard.is_changed_since(time) {
            guard.release_unchanged();
            context.dirty_queues.mark(pbx_queue);
            return Ok(());
        }
        let corrected = match correction {
            Correction::Add => {
                let device = context.config.member_device(organization, interface);
                let MemberProfile { penalty, name } = profile;
                let state = MemberState { penalty, name, ..context.known_queues.member_state(key) };
                self.pbx.add(pbx_queue, interface, device.as_deref(), &state).await
            }
            Correction::SetPenalty => self.pbx.set_penalty(pbx_queue, interface, profile.penalty).await,
            Correction::Remove => self.pbx.remove(pbx_queue, interface).await,
        };
        guard.release_unchanged();
        let correction = correction.as_str();
        match corrected {
            Ok(()) => {
                context.metrics.corrected(correction);
                info!(queue = pbx_queue, interface, correction, "a member was corrected");
            }
            Err(error @ PbxError::Refused { .. }) => {
                warn!(%error, queue = pbx_queue, interface, correction, "a member can't be corrected");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Warn once about each member whose phone doesn't exist on the PBX.
fn report_invalid(context: &HandlerContext, pbx_queue: &str, members: &[Member]) {
    for member in members.iter().filter(|member| member.is_invalid) {
        if context.known_queues.is_newly_invalid(&member.interface) {
            let interface = &member.interface;
            warn!(queue = pbx_queue, interface, "a member can't ring, because the PBX has no such phone");
        }
    }
}
