//! Plan a command: compute its changes and the answer to its caller.

use super::{
    actor,
    changes::Changes,
    planner::{Planner, ended},
    sessions,
};
use crate::domain::{
    change::{ActorRefusal, Change, Event},
    command::{Action, Command, Outcome, Rejection},
    model::EndReason,
    snapshot::Snapshot,
    time::Timestamp,
};

/// The external input of the rules.
#[derive(Debug, Clone)]
pub struct Context {
    /// The present time.
    pub now: Timestamp,
    /// The bits of the id of the first session that the command may create. Further ones count up. None of them was used
    /// before.
    pub new_session: u128,
}

/// The plan of a command: its changes are not applied yet.
#[derive(Debug)]
pub struct Plan {
    /// The changes.
    pub changes: Changes,
    /// The answer to the caller.
    pub outcome: Outcome,
}

/// Plan a command.
pub fn plan(snapshot: &Snapshot, command: &Command, context: &Context) -> Result<Plan, Rejection> {
    actor::authorize(snapshot, command, context.now)?;
    carry_out(snapshot, command, context)
}

/// Plan a command without a check of its acting user.
fn carry_out(snapshot: &Snapshot, command: &Command, context: &Context) -> Result<Plan, Rejection> {
    let mut planner = Planner::new(snapshot, &command.organization_id, context.now);
    let outcome = match &command.action {
        Action::SignIn { user, queue, channel, device } => {
            planner.sign_in(user, queue, *channel, device, context.new_session)
        }
        Action::SignInToAssignedQueues { user, channel, device } => {
            planner.sign_in_to_assigned_queues(user, *channel, device, context.new_session)
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
        Action::UpdateUser { user_id, patch, expected_etag } => {
            planner.update_user(user_id, patch, expected_etag.as_deref())
        }
        Action::DeleteUser { user_id, if_missing, expected_etag } => {
            planner.delete_user(user_id, *if_missing, expected_etag.as_deref())
        }
        Action::CreateQueue { queue } => planner.create_queue(queue),
        Action::UpdateQueue { queue_id, patch, expected_etag } => {
            planner.update_queue(queue_id, patch, expected_etag.as_deref())
        }
        Action::DeleteQueue { queue_id, if_missing, expected_etag } => {
            planner.delete_queue(queue_id, *if_missing, expected_etag.as_deref())
        }
        Action::AssignRole { user, role, queue, penalty } => planner.assign_role(user, *role, queue.as_ref(), *penalty),
        Action::UnassignRole { user, role, queue, sessions } => {
            planner.unassign_role(user, *role, queue.as_ref(), *sessions)
        }
        Action::SetPin { user, hash } => planner.set_pin(user, hash),
        Action::ClearPin { user } => planner.clear_pin(user),
        Action::VerifyPin { user, etag, is_equal } => planner.verify_pin(user, *etag, *is_equal),
        Action::UpdateSettings { patch, expected_etag } => planner.update_settings(patch, expected_etag.as_deref()),
        Action::Import { directory, missing } => planner.import(directory, *missing),
        Action::CutAuditLog { through, hash } => planner.cut_audit_log(*through, *hash),
    }?;
    Ok(Plan { changes: planner.changes(), outcome })
}

/// Plan the record of a refused write of an acting user.
pub fn plan_refusal(snapshot: &Snapshot, command: &Command, refusal: &ActorRefusal, context: &Context) -> Changes {
    // The last change is the wanted one; earlier ones only prepare it. A whole directory is too large to keep.
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

/// End up to `most` sessions whose expire time has passed.
pub fn plan_expirations(snapshot: &Snapshot, now: Timestamp, most: usize) -> Changes {
    let expired = snapshot.expired(now).take(most);
    let changes = expired.map(|(organization_id, session)| {
        let (_, event) = ended(session, EndReason::Expired, now, None, "");
        Change { organization_id: organization_id.clone(), event }
    });
    changes.collect::<Vec<_>>().into()
}
