//! Decisions and sessions.

use super::{super::proto, values::*};
use crate::domain::{
    command::DecisionRecord,
    decide::{Decision, is_retained},
    ids::{Extension, OrganizationId},
    language::Language,
    model::{Role, Session},
    snapshot::OrganizationState,
    time::Timestamp,
    vocabulary::Reason,
};

/// Convert a session. `organization` is its present state, or `None` if it was deleted: `retained`, the penalty and the
/// user's name are those of the read.
pub fn session(
    organization_id: &OrganizationId,
    organization: Option<&OrganizationState>,
    session: &Session,
    now: Timestamp,
) -> proto::Session {
    let Session {
        session_id,
        user_id,
        queue_id,
        channel: session_channel,
        basis: session_basis,
        signed_in_by,
        sign_in_time,
        expire_time,
        device,
        end,
    } = session;
    proto::Session {
        session_id: session_id.to_string(),
        organization_id: organization_id.to_string(),
        user_id: user_id.to_string(),
        queue_id: queue_id.to_string(),
        channel: channel(*session_channel).into(),
        basis: basis(*session_basis).into(),
        signed_in_by: signed_in_by.to_string(),
        sign_in_time: Some(timestamp(*sign_in_time)),
        expire_time: expire_time.map(timestamp),
        device: device.clone(),
        retained: organization.is_some_and(|organization| is_retained(organization, session, now)),
        end_time: end.map(|end| timestamp(end.time)),
        end_reason: end.map_or(proto::EndReason::Unspecified, |end| end_reason(end.reason)).into(),
        penalty: organization
            .map_or(0, |organization| organization.penalty_of(user_id, Role::Agent, Some(queue_id)).number().into()),
        user_display_name: organization
            .and_then(|organization| organization.user_by_id(user_id.as_str()))
            .map(|user| user.display_name.to_string())
            .unwrap_or_default(),
    }
}

/// Convert the facts of a decision.
pub fn facts(organization: &OrganizationState, decision: &Decision<'_>, now: Timestamp) -> proto::Facts {
    let Decision { reason: _, supervisor: _, user, queue, session: live } = decision;
    let organization_id = &organization.attributes().organization_id;
    let user_id = user.map_or("", |user| user.user_id.as_str());
    let queue_id = queue.map_or("", |queue| queue.queue_id.as_str());
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    proto::Facts {
        user_id: user_id.to_owned(),
        user_extension: text(user.and_then(|user| user.extension).map(Extension::digits).as_deref()),
        user_display_name: text(user.map(|user| &*user.display_name)),
        user_disabled: user.is_some_and(|user| user.disabled),
        contact_center_license: user.is_some_and(|user| user.contact_center_license),
        roles: organization.roles_held(user_id).iter().map(|held| role(held).into()).collect(),
        queue_id: queue_id.to_owned(),
        queue_extension: text(queue.and_then(|queue| queue.extension).map(Extension::digits).as_deref()),
        queue_display_name: text(queue.map(|queue| queue.display_name.as_str())),
        queue_kind: queue.map_or(proto::QueueKind::Unspecified, |queue| queue_kind(queue.kind)).into(),
        assigned: organization.is_assigned(user_id, queue_id),
        unassigned_queue_sign_in: unassigned_queue_sign_in(organization.settings().unassigned_queue_sign_in).into(),
        session: live.map(|live| session(organization_id, Some(organization), live, now)),
        decision_time: Some(timestamp(now)),
    }
}

/// Convert a decision made now.
pub fn decision(
    organization: &OrganizationState,
    decision: &Decision<'_>,
    (explanation, language): (String, Language),
    facts: Option<proto::Facts>,
    now: Timestamp,
) -> proto::Decision {
    let shown = decision.session.filter(|_| decision.reason == Reason::AlreadySignedIn);
    let organization_id = &organization.attributes().organization_id;
    proto::Decision {
        allowed: Some(decision.reason.is_allowed()),
        reason: reason(decision.reason).into(),
        explanation,
        session: shown.map(|live| session(organization_id, Some(organization), live, now)),
        facts,
        explanation_language_code: language.code().to_owned(),
    }
}

/// Convert the decision of a command, with its explanation in a language, or in English if it has no other.
pub fn recorded_decision(
    organization_id: &OrganizationId,
    organization: Option<&OrganizationState>,
    record: &DecisionRecord,
    language: Language,
    now: Timestamp,
) -> proto::Decision {
    let DecisionRecord { reason: decided, explanation: _, session: live, translatable: _ } = record;
    let (explanation, language) = record.explanation_in(language);
    proto::Decision {
        allowed: Some(decided.is_allowed()),
        reason: reason(*decided).into(),
        explanation,
        session: live.as_ref().map(|live| session(organization_id, organization, live, now)),
        facts: None,
        explanation_language_code: language.code().to_owned(),
    }
}
