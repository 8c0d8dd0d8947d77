//! Converts enumerations, times, counts and revisions.

use super::super::{
    names::{AUDIT_ACTION_PREFIX, PERMISSION_PREFIX},
    proto,
};
use crate::domain::{
    ids::{Lineage, Revision, Sequence},
    model::{Basis, Channel, EndReason, QueueKind, Role},
    pin::PinReason,
    settings::UnassignedQueueSignIn,
    time::Timestamp,
    vocabulary::{AuditAction, Permission, PermissionReason, Reason},
};

pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let ms = time.unix_ms();
    let nanos = i32::try_from(ms.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

pub fn count(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

pub fn reason(reason: Reason) -> proto::Reason {
    match reason {
        Reason::UnknownUser => proto::Reason::UnknownUser,
        Reason::UserDisabled => proto::Reason::UserDisabled,
        Reason::UnknownQueue => proto::Reason::UnknownQueue,
        Reason::QueueKindNotSupported => proto::Reason::QueueKindNotSupported,
        Reason::AgentRoleRequired => proto::Reason::AgentRoleRequired,
        Reason::AlreadySignedIn => proto::Reason::AlreadySignedIn,
        Reason::Assigned => proto::Reason::Assigned,
        Reason::UnassignedAllowed => proto::Reason::UnassignedAllowed,
        Reason::UnassignedRestricted => proto::Reason::UnassignedRestricted,
        Reason::UnknownSupervisor => proto::Reason::UnknownSupervisor,
        Reason::SupervisorDisabled => proto::Reason::SupervisorDisabled,
        Reason::SupervisorRoleRequired => proto::Reason::SupervisorRoleRequired,
        Reason::SupervisorQueueNotAssigned => proto::Reason::SupervisorQueueNotAssigned,
        Reason::SupervisorSignIn => proto::Reason::SupervisorSignIn,
        Reason::SupervisorSignOut => proto::Reason::SupervisorSignOut,
    }
}

pub fn channel(channel: Channel) -> proto::Channel {
    match channel {
        Channel::FeatureCode => proto::Channel::FeatureCode,
        Channel::AgentDashboard => proto::Channel::AgentDashboard,
        Channel::Supervisor => proto::Channel::Supervisor,
    }
}

pub fn basis(basis: Basis) -> proto::Basis {
    match basis {
        Basis::Assigned => proto::Basis::Assigned,
        Basis::UnassignedAllowed => proto::Basis::UnassignedAllowed,
        Basis::Supervisor => proto::Basis::Supervisor,
    }
}

pub fn end_reason(reason: EndReason) -> proto::EndReason {
    match reason {
        EndReason::SignedOut => proto::EndReason::SignedOut,
        EndReason::SignedOutBySupervisor => proto::EndReason::SignedOutBySupervisor,
        EndReason::Expired => proto::EndReason::Expired,
        EndReason::UserRemoved => proto::EndReason::UserRemoved,
        EndReason::UserDisabled => proto::EndReason::UserDisabled,
        EndReason::QueueRemoved => proto::EndReason::QueueRemoved,
        EndReason::OrganizationRemoved => proto::EndReason::OrganizationRemoved,
        EndReason::AssignmentRemoved => proto::EndReason::AssignmentRemoved,
    }
}

pub fn pin_reason(reason: PinReason) -> proto::PinReason {
    match reason {
        PinReason::Verified => proto::PinReason::Verified,
        PinReason::Wrong => proto::PinReason::Wrong,
        PinReason::Locked => proto::PinReason::Locked,
        PinReason::NotSet => proto::PinReason::NotSet,
        PinReason::UnknownUser => proto::PinReason::UnknownUser,
        PinReason::UserDisabled => proto::PinReason::UserDisabled,
    }
}

pub fn role(role: Role) -> proto::Role {
    match role {
        Role::ContactAdmin => proto::Role::ContactAdmin,
        Role::Supervisor => proto::Role::Supervisor,
        Role::Agent => proto::Role::Agent,
    }
}

pub fn queue_kind(kind: QueueKind) -> proto::QueueKind {
    match kind {
        QueueKind::CallQueue => proto::QueueKind::CallQueue,
        QueueKind::Inbox => proto::QueueKind::Inbox,
        QueueKind::Campaign => proto::QueueKind::Campaign,
        QueueKind::RingGroup => proto::QueueKind::RingGroup,
    }
}

pub fn unassigned_queue_sign_in(value: UnassignedQueueSignIn) -> proto::UnassignedQueueSignIn {
    match value {
        UnassignedQueueSignIn::Allowed => proto::UnassignedQueueSignIn::Allowed,
        UnassignedQueueSignIn::Restricted => proto::UnassignedQueueSignIn::Restricted,
    }
}

pub fn permission(known: Permission) -> proto::Permission {
    // By name, so that a new permission is one entry in the catalogue and one value in the API. A test checks both.
    let name = format!("{}{known}", PERMISSION_PREFIX);
    proto::Permission::from_str_name(&name).unwrap_or(proto::Permission::Unspecified)
}

pub fn permission_reason(reason: PermissionReason) -> proto::PermissionReason {
    match reason {
        PermissionReason::UnknownUser => proto::PermissionReason::UnknownUser,
        PermissionReason::UserDisabled => proto::PermissionReason::UserDisabled,
        PermissionReason::UnknownQueue => proto::PermissionReason::UnknownQueue,
        PermissionReason::Granted => proto::PermissionReason::Granted,
        PermissionReason::QueueNotAssigned => proto::PermissionReason::QueueNotAssigned,
        PermissionReason::SettingDisabled => proto::PermissionReason::SettingDisabled,
        PermissionReason::RoleRequired => proto::PermissionReason::RoleRequired,
    }
}

/// Return a revision's text; empty before the first revision.
pub fn revision(lineage: Lineage, sequence: Sequence) -> String {
    if sequence == Sequence(0) { String::new() } else { Revision { lineage, sequence }.to_string() }
}

pub fn audit_action(action: AuditAction) -> proto::AuditAction {
    // By name, as with permissions.
    let name = format!("{}{action}", AUDIT_ACTION_PREFIX);
    proto::AuditAction::from_str_name(&name).unwrap_or(proto::AuditAction::Unspecified)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_api_has_exactly_the_audit_actions_of_the_rules() {
        for (number, known) in (1..).zip(AuditAction::ALL) {
            assert_eq!(i32::from(audit_action(*known)), number);
            assert_eq!(crate::rpc::from_proto::audit_action(number).unwrap(), Some(*known));
        }
        assert!(proto::AuditAction::try_from(i32::try_from(AuditAction::ALL.len()).unwrap() + 1).is_err());
    }

    #[test]
    fn the_api_has_exactly_the_permissions_of_the_catalogue() {
        let mut of_api = BTreeSet::new();
        for value in 1.. {
            let Ok(permission) = proto::Permission::try_from(value) else { break };
            of_api.insert(permission);
        }
        let of_catalogue: Vec<_> = Permission::ALL.iter().copied().map(permission).collect();
        assert_eq!(of_catalogue.iter().copied().collect::<BTreeSet<_>>(), of_api);
        assert_eq!(of_catalogue.len(), of_api.len());
        for known in Permission::ALL {
            assert_eq!(crate::rpc::from_proto::permission(permission(*known).into()).unwrap(), *known);
        }
    }
}
