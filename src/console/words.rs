//! The words for values of the API.

use super::text::Text;
use crate::rpc::proto::{AuditAction, Basis, Channel, EndReason, QueueKind, Role};

pub fn role(text: &Text, role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => text.contact_admin,
        Role::Supervisor => text.supervisor,
        Role::Agent => text.agent,
        Role::Unspecified => "",
    }
}

pub fn kind(text: &Text, kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::CallQueue => text.call_queue,
        QueueKind::Inbox => text.inbox,
        QueueKind::Campaign => text.campaign,
        QueueKind::RingGroup => text.ring_group,
        QueueKind::Unspecified => "",
    }
}

pub fn channel(text: &Text, channel: Channel) -> &'static str {
    match channel {
        Channel::FeatureCode => text.feature_code,
        Channel::AgentDashboard => text.agent_dashboard,
        Channel::Supervisor => text.by_supervisor,
        Channel::Unspecified => "",
    }
}

pub fn basis(text: &Text, basis: Basis) -> &'static str {
    match basis {
        Basis::Assigned => text.assigned,
        Basis::UnassignedAllowed => text.not_assigned,
        Basis::Supervisor => text.temporary,
        Basis::Unspecified => "",
    }
}

pub fn end_reason(text: &Text, reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => text.end_signed_out,
        EndReason::SignedOutBySupervisor => text.end_by_supervisor,
        EndReason::Expired => text.end_expired,
        EndReason::UserRemoved => text.end_user_removed,
        EndReason::UserDisabled => text.end_user_disabled,
        EndReason::QueueRemoved => text.end_queue_removed,
        EndReason::OrganizationRemoved => text.end_organization_removed,
        EndReason::AssignmentRemoved => text.end_assignment_removed,
        EndReason::Unspecified => "",
    }
}

pub fn action(text: &Text, action: AuditAction) -> &'static str {
    match action {
        AuditAction::CreateOrganization => text.audit_create_organization,
        AuditAction::UpdateOrganization => text.audit_update_organization,
        AuditAction::DeleteOrganization => text.audit_delete_organization,
        AuditAction::UpdateSettings => text.audit_update_settings,
        AuditAction::CreateUser => text.audit_create_user,
        AuditAction::UpdateUser => text.audit_update_user,
        AuditAction::DeleteUser => text.audit_delete_user,
        AuditAction::CreateQueue => text.audit_create_queue,
        AuditAction::UpdateQueue => text.audit_update_queue,
        AuditAction::DeleteQueue => text.audit_delete_queue,
        AuditAction::AssignRole => text.audit_assign_role,
        AuditAction::UnassignRole => text.audit_unassign_role,
        AuditAction::ImportDirectory => text.audit_import_directory,
        AuditAction::SignIn => text.audit_sign_in,
        AuditAction::SignOut => text.audit_sign_out,
        AuditAction::SupervisorSignIn => text.audit_supervisor_sign_in,
        AuditAction::SupervisorSignOut => text.audit_supervisor_sign_out,
        AuditAction::EndSession => text.audit_end_session,
        AuditAction::CutAuditLog => text.audit_cut_audit_log,
        AuditAction::SetPin => text.audit_set_pin,
        AuditAction::ClearPin => text.audit_clear_pin,
        AuditAction::VerifyPin => text.audit_verify_pin,
        AuditAction::Unspecified => "",
    }
}
