//! Converts domain values to messages.

mod values;
mod directory;
mod permission;
mod queue_access;
mod audit;

pub(super) use self::{
    audit::{audit_event, audit_log_position},
    directory::{import_problem, import_report, organization, pin_answer, queue, role_assignment, user},
    permission::{permission_decision, permission_description, permission_impact, settings, user_impact},
    queue_access::{decision, facts, recorded_decision, session},
    values::{count, permission, reason, revision, timestamp},
};
