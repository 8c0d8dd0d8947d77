//! The names that answers and the audit log use: reasons, permissions, actions.

mod reason;
mod permission;
mod audit_action;

pub use self::{
    audit_action::AuditAction,
    permission::{Entry, Grant, Permission, PermissionReason, Subject},
    reason::Reason,
};
