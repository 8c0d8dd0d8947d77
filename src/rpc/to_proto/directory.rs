//! The directory.

use super::{super::proto, values::*};
use crate::domain::{
    command::ImportReport,
    directory::Problem,
    model::{Organization, Queue, RoleAssignment, User},
    pin::{PinAnswer, PinReason},
};

pub fn organization(organization: &Organization) -> proto::Organization {
    let Organization { organization_id, display_name } = organization;
    proto::Organization { organization_id: organization_id.to_string(), display_name: Some(display_name.clone()) }
}

pub fn user(user: &User) -> proto::User {
    proto::User { etag: user.etag(), ..plain_user(user) }
}

/// Convert a user without an etag, such as an earlier one.
pub fn plain_user(user: &User) -> proto::User {
    let User { user_id, display_name, extension, contact_center_license, disabled, login } = user;
    proto::User {
        user_id: user_id.to_string(),
        display_name: Some(display_name.to_string()),
        extension: extension.as_ref().map(ToString::to_string),
        contact_center_license: Some(*contact_center_license),
        disabled: Some(*disabled),
        login: login.as_ref().map(ToString::to_string),
        etag: String::new(),
    }
}

pub fn queue(queue: &Queue) -> proto::Queue {
    proto::Queue { etag: queue.etag(), ..plain_queue(queue) }
}

/// Convert a queue without an etag, such as an earlier one.
pub fn plain_queue(queue: &Queue) -> proto::Queue {
    let Queue { queue_id, display_name, extension, kind } = queue;
    proto::Queue {
        queue_id: queue_id.to_string(),
        display_name: Some(display_name.clone()),
        extension: extension.as_ref().map(ToString::to_string),
        kind: queue_kind(*kind).into(),
        etag: String::new(),
    }
}

pub fn role_assignment(assignment: &RoleAssignment) -> proto::RoleAssignment {
    let RoleAssignment { user_id, role: held, queue_id, penalty } = assignment;
    proto::RoleAssignment {
        user_id: user_id.to_string(),
        role: role(*held).into(),
        queue_id: queue_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        penalty: penalty.number().into(),
    }
}

pub fn pin_answer(answer: PinAnswer, revision: String) -> proto::VerifyPinResponse {
    let PinAnswer { reason, user_id, locked_until } = answer;
    proto::VerifyPinResponse {
        verified: reason == PinReason::Verified,
        reason: pin_reason(reason).into(),
        user_id: user_id.map(|user_id| user_id.to_string()).unwrap_or_default(),
        locked_until: locked_until.map(timestamp),
        revision,
    }
}

pub fn import_report(report: ImportReport) -> proto::ImportReport {
    let ImportReport {
        organization_created,
        organization_updated,
        settings_updated,
        users_created,
        users_updated,
        users_deleted,
        queues_created,
        queues_updated,
        queues_deleted,
        assignments_created,
        assignments_updated,
        assignments_deleted,
        sessions_ended,
        changes,
    } = report;
    proto::ImportReport {
        organization_created,
        organization_updated,
        settings_updated,
        users_created: count(users_created),
        users_updated: count(users_updated),
        users_deleted: count(users_deleted),
        queues_created: count(queues_created),
        queues_updated: count(queues_updated),
        queues_deleted: count(queues_deleted),
        assignments_created: count(assignments_created),
        assignments_updated: count(assignments_updated),
        assignments_deleted: count(assignments_deleted),
        sessions_ended: count(sessions_ended),
        changes,
    }
}

pub fn import_problem(problem: &Problem) -> proto::ImportProblem {
    let Problem { line, path, description } = problem;
    proto::ImportProblem {
        line: i32::try_from(*line).unwrap_or(0),
        path: path.clone(),
        description: description.clone(),
    }
}
