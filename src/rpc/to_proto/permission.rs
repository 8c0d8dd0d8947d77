//! Permissions, settings and previews.

use super::{super::proto, values::*};
use crate::domain::{
    ids::OrganizationId,
    language::Language,
    permission,
    preview::{Count, UserImpact},
    sentences::sentences,
    settings::{Etag, PermissionSettings, Switch},
    vocabulary::{Permission, Subject},
};

pub fn permission_description(asked: Permission, language: Language) -> proto::PermissionDescription {
    let entry = asked.entry();
    let governed = entry.governed();
    let switch = governed.map(|(_, switch)| switch);
    let path = |switch: Option<Switch>| switch.map_or("", Switch::as_str).to_owned();
    proto::PermissionDescription {
        permission: permission(asked).into(),
        description: sentences(language).permission(asked).to_owned(),
        roles: entry.grants.iter().map(|(held, _)| role(*held).into()).collect(),
        queue_scoped: entry.subject == Subject::Queue,
        setting: path(switch),
        governed_role: governed.map_or(proto::Role::Unspecified, |(governed, _)| role(governed)).into(),
        default_on: switch.map(Switch::default_on),
        removable: switch.is_some_and(Switch::is_removable),
        included_in_setting: path(switch.and_then(Switch::included_in)),
    }
}

pub fn permission_impact((changed, users): (Permission, Count)) -> proto::PermissionImpact {
    let Count { gaining, losing } = users;
    let permission = permission(changed).into();
    proto::PermissionImpact { permission, users_gaining: count(gaining), users_losing: count(losing) }
}

pub fn user_impact(impact: UserImpact<'_>) -> proto::UserImpact {
    let UserImpact { user, gained, lost, gained_queues, lost_queues } = impact;
    let permissions = |list: Vec<Permission>| list.into_iter().map(|known| permission(known).into()).collect();
    proto::UserImpact {
        user_id: user.user_id.to_string(),
        user_extension: user.extension.as_ref().map(ToString::to_string).unwrap_or_default(),
        display_name: user.display_name.to_string(),
        gained_permissions: permissions(gained),
        lost_permissions: permissions(lost),
        gained_queues: count(gained_queues),
        lost_queues: count(lost_queues),
    }
}

pub fn permission_decision(
    decision: &permission::Decision<'_>,
    (explanation, language): (String, Language),
) -> proto::PermissionDecision {
    proto::PermissionDecision {
        allowed: Some(decision.is_allowed()),
        reason: permission_reason(decision.reason).into(),
        role: decision.role.map_or(proto::Role::Unspecified, role).into(),
        explanation,
        explanation_language_code: language.code().to_owned(),
    }
}

pub fn settings(
    organization_id: &OrganizationId,
    settings: &PermissionSettings,
    etag: Etag,
) -> proto::PermissionSettings {
    proto::PermissionSettings { etag: etag.to_string(), ..plain_settings(organization_id, settings) }
}

/// Convert settings without an etag, such as earlier ones.
pub fn plain_settings(organization_id: &OrganizationId, settings: &PermissionSettings) -> proto::PermissionSettings {
    let on = |switch| Some(settings.is_on(switch));
    proto::PermissionSettings {
        organization_id: organization_id.to_string(),
        etag: String::new(),
        organization: Some(proto::OrganizationSettings {
            unassigned_queue_sign_in: unassigned_queue_sign_in(settings.unassigned_queue_sign_in).into(),
        }),
        supervisor: Some(proto::SupervisorSettings {
            access_configuration_portal: on(Switch::AccessConfigurationPortal),
            limit_to_assigned_queues: on(Switch::LimitToAssignedQueues),
            view_queue_settings: on(Switch::ViewQueueSettings),
            manage_queue_settings: on(Switch::ManageQueueSettings),
            view_pause_reasons: on(Switch::ViewPauseReasons),
            manage_pause_reasons: on(Switch::ManagePauseReasons),
            view_skills: on(Switch::ViewSkills),
            manage_skills: on(Switch::ManageSkills),
        }),
        agent: Some(proto::AgentSettings {
            manage_prerecorded_messages: on(Switch::ManagePrerecordedMessages),
            manage_public_canned_messages: on(Switch::ManagePublicCannedMessages),
            create_custom_tags: on(Switch::CreateCustomTags),
        }),
    }
}
