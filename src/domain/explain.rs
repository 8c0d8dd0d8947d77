//! Explanations of decisions, each a plain sentence that a support engineer could read out, in any of the languages.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    decide::{AccessRequest, Decision, SupervisorRequest},
    ids::{Extension, QueueRef, UserRef},
    language::Language,
    model::{Queue, QueueKind, Role, User},
    permission::{self, PermissionCheck},
    sentences::{Name, sentences},
    vocabulary::{Permission, PermissionReason, Reason},
};

/// The explanation of a decision about queue access, before it is put into a language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessExplanation<'a> {
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supervisor: Option<Name<'a>>,
    user: Name<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<Name<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<QueueKind>,
}

impl<'a> AccessExplanation<'a> {
    /// Explain why a user may or may not sign in.
    pub fn new(decision: &Decision<'a>, request: AccessRequest<'a>) -> Self {
        let AccessRequest { user, queue, channel: _ } = request;
        Self {
            reason: decision.reason,
            supervisor: None,
            user: user_name(decision.user, user),
            queue: Some(queue_name(decision.queue, queue)),
            kind: decision.queue.map(|queue| queue.kind),
        }
    }

    /// Explain why a user can't sign in to any queue.
    pub fn denied_everywhere(reason: Reason, found: Option<&'a User>, user: &'a UserRef) -> Self {
        Self { reason, supervisor: None, user: user_name(found, user), queue: None, kind: None }
    }

    /// Explain why a supervisor may or may not sign a user in or out.
    pub fn of_supervisor(decision: &Decision<'a>, request: &SupervisorRequest<'a>) -> Self {
        let SupervisorRequest { supervisor, user, queue, action: _ } = *request;
        Self {
            reason: decision.reason,
            supervisor: Some(user_name(decision.supervisor, supervisor)),
            user: user_name(decision.user, user),
            queue: Some(queue_name(decision.queue, queue)),
            kind: decision.queue.map(|queue| queue.kind),
        }
    }

    /// Return the explanation with copies of its names.
    pub fn into_owned(self) -> AccessExplanation<'static> {
        let Self { reason, supervisor, user, queue, kind } = self;
        AccessExplanation {
            reason,
            supervisor: supervisor.map(Name::into_owned),
            user: user.into_owned(),
            queue: queue.map(Name::into_owned),
            kind,
        }
    }

    /// Return the sentence.
    pub fn in_language(&self, language: Language) -> String {
        let Self { reason, supervisor, user, queue, kind } = self;
        let (sentences, nameless) = (sentences(language), Name::default());
        let supervisor = supervisor.as_ref().unwrap_or(&nameless);
        let queue = queue.as_ref().unwrap_or(&nameless);
        match reason {
            Reason::UnknownUser => match asked_extension(user) {
                Some(extension) => sentences.unknown_user_extension(extension),
                None => sentences.unknown_user_id(&user.text),
            },
            Reason::UserDisabled => sentences.user_disabled(user),
            Reason::UnknownQueue => match asked_extension(queue) {
                Some(extension) => sentences.unknown_queue_extension(extension),
                None => sentences.unknown_queue_id(&queue.text),
            },
            // Only the feature code doesn't reach an inbox or a campaign, and every channel reaches a call queue.
            Reason::QueueKindNotSupported => match kind {
                Some(QueueKind::Inbox) => sentences.inbox_by_feature_code(queue),
                Some(QueueKind::Campaign) => sentences.campaign_by_feature_code(queue),
                Some(QueueKind::RingGroup | QueueKind::CallQueue) | None => sentences.ring_group(queue),
            },
            Reason::AgentRoleRequired => sentences.agent_role_required(user),
            Reason::AlreadySignedIn => sentences.already_signed_in(user, queue),
            Reason::Assigned => sentences.assigned(user, queue),
            Reason::UnassignedAllowed => sentences.unassigned_allowed(user, queue),
            Reason::UnassignedRestricted => sentences.unassigned_restricted(user, queue),
            Reason::UnknownSupervisor => match asked_extension(supervisor) {
                Some(extension) => sentences.unknown_supervisor_extension(extension),
                None => sentences.unknown_supervisor_id(&supervisor.text),
            },
            Reason::SupervisorDisabled => sentences.supervisor_disabled(supervisor),
            Reason::SupervisorRoleRequired => sentences.supervisor_role_required(supervisor),
            Reason::SupervisorQueueNotAssigned => sentences.supervisor_queue_not_assigned(supervisor, queue),
            Reason::SupervisorSignIn => sentences.supervisor_sign_in(supervisor, user, queue),
            Reason::SupervisorSignOut => sentences.supervisor_sign_out(supervisor, user, queue),
        }
    }
}

/// The explanation of a decision about a permission, before it is put into a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionExplanation<'a> {
    permission: Permission,
    reason: PermissionReason,
    role: Option<Role>,
    user: Name<'a>,
    queue: Option<Name<'a>>,
}

impl<'a> PermissionExplanation<'a> {
    /// Explain why a user has a permission or not.
    pub fn new(decision: &permission::Decision<'a>, request: &PermissionCheck<'a>) -> Self {
        let permission::Decision { permission, reason, role, user, queue } = *decision;
        let user = user_name(user, request.user);
        let queue = request.queue.map(|asked| queue_name(queue, asked));
        Self { permission, reason, role, user, queue }
    }

    /// Return the explanation with copies of its names.
    pub fn into_owned(self) -> PermissionExplanation<'static> {
        let Self { permission, reason, role, user, queue } = self;
        PermissionExplanation { permission, reason, role, user: user.into_owned(), queue: queue.map(Name::into_owned) }
    }

    /// Return the sentence.
    pub fn in_language(&self, language: Language) -> String {
        let &Self { permission, reason, role, ref user, ref queue } = self;
        let (sentences, nameless) = (sentences(language), Name::default());
        let (queue, named_queue) = (queue.as_ref(), queue.as_ref().unwrap_or(&nameless));
        let settings = permission.entry().governed().map(|(_, setting)| (setting, setting.included_in()));
        match (reason, role) {
            (PermissionReason::UnknownUser, _) => match asked_extension(user) {
                Some(extension) => sentences.unknown_user_extension(extension),
                None => sentences.unknown_user_id(&user.text),
            },
            (PermissionReason::UserDisabled, _) => sentences.disabled(user),
            (PermissionReason::UnknownQueue, _) => match asked_extension(named_queue) {
                Some(extension) => sentences.unknown_queue_extension(extension),
                None => sentences.unknown_queue_id(&named_queue.text),
            },
            (PermissionReason::Granted, Some(role)) => sentences.granted(user, permission, queue, role),
            (PermissionReason::QueueNotAssigned, Some(Role::Agent)) => {
                sentences.queue_not_served(user, permission, named_queue)
            }
            (PermissionReason::QueueNotAssigned, Some(Role::Supervisor | Role::ContactAdmin) | None) => {
                sentences.queue_not_supervised(user, permission, named_queue)
            }
            (PermissionReason::SettingDisabled, Some(role)) => match settings {
                Some((setting, Some(manage))) => {
                    sentences.settings_off(user, permission, queue, role, [setting, manage])
                }
                Some((setting, None)) => sentences.setting_off(user, permission, queue, role, setting),
                None => sentences.role_required(user, permission, queue),
            },
            // Only a role grants a permission, or would by a setting.
            (PermissionReason::RoleRequired, _)
            | (PermissionReason::Granted | PermissionReason::SettingDisabled, None) => {
                sentences.role_required(user, permission, queue)
            }
        }
    }
}

/// Explain why an acting user may not do something. `None`: no user may.
pub fn explain_refused_actor(explanation: Option<&PermissionExplanation<'_>>, language: Language) -> String {
    match explanation {
        Some(explanation) => explanation.in_language(language),
        None => sentences(language).no_user_may(),
    }
}

/// Return the extension by which an unknown user or queue was named, or `None` if it was named by id.
fn asked_extension(name: &Name<'_>) -> Option<Extension> {
    name.extension.filter(|_| name.text.is_empty())
}

fn user_name<'a>(found: Option<&'a User>, asked: &'a UserRef) -> Name<'a> {
    match (found, asked) {
        (Some(user), _) => {
            let text = if user.display_name.is_empty() { user.user_id.as_str() } else { &user.display_name };
            Name { text: Cow::Borrowed(text), extension: user.extension }
        }
        (None, UserRef::Id(id)) => Name { text: Cow::Borrowed(id.as_str()), extension: None },
        (None, UserRef::Extension(extension)) => Name { text: Cow::Borrowed(""), extension: Some(*extension) },
    }
}

fn queue_name<'a>(found: Option<&'a Queue>, asked: &'a QueueRef) -> Name<'a> {
    match (found, asked) {
        (Some(queue), _) => {
            let text = if queue.display_name.is_empty() { queue.queue_id.as_str() } else { &queue.display_name };
            Name { text: Cow::Borrowed(text), extension: queue.extension }
        }
        (None, QueueRef::Id(id)) => Name { text: Cow::Borrowed(id.as_str()), extension: None },
        (None, QueueRef::Extension(extension)) => Name { text: Cow::Borrowed(""), extension: Some(*extension) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decide::{SupervisorAction, decide, decide_supervisor, reaches},
        fixture::{Fixture, by_queue_id, by_user_id, now},
        model::SignInChannel::{self, AgentDashboard, FeatureCode},
        permission::check,
        settings::{Switch, UnassignedQueueSignIn},
    };

    #[test]
    fn a_sentence_names_the_user_the_queue_and_the_reason() {
        let mut fixture = Fixture::new();
        fixture.sign_in("bob", "q2", FeatureCode);
        let said = |fixture: &Fixture, user: &str, queue: &str, channel: SignInChannel| {
            let (user, queue) = (by_user_id(user), by_queue_id(queue));
            let request = AccessRequest { user: &user, queue: &queue, channel };
            let decision = decide(fixture.organization(), request, now());
            AccessExplanation::new(&decision, request).in_language(Language::English)
        };
        for (user, queue, channel, expected) in [
            ("nobody", "q1", FeatureCode, "There is no user `nobody`."),
            ("dan", "q1", FeatureCode, "dan is disabled and can't sign in to any queue."),
            ("ann", "nowhere", FeatureCode, "There is no queue `nowhere`."),
            (
                "ann",
                "q3",
                FeatureCode,
                "q3 is an inbox, which the feature code doesn't reach; use the agent dashboard.",
            ),
            ("ann", "q4", AgentDashboard, "q4 is a ring group, and nobody signs in to a ring group."),
            ("eve", "q1", AgentDashboard, "eve doesn't hold the agent role, which the agent dashboard needs."),
            ("bob", "q2", FeatureCode, "bob (102) is already signed in to q2."),
            ("ann", "q1", FeatureCode, "ann (101) is assigned to q1 (801)."),
            (
                "eve",
                "q1",
                FeatureCode,
                "eve isn't assigned to q1 (801), but this organization allows sign-in to unassigned queues.",
            ),
        ] {
            assert_eq!(said(&fixture, user, queue, channel), expected);
        }
        fixture.set(UnassignedQueueSignIn::Restricted, &[]);
        assert_eq!(
            said(&fixture, "eve", "q1", FeatureCode),
            "eve isn't assigned to q1 (801), and this organization restricts sign-in to assigned queues."
        );
    }

    #[test]
    fn a_sentence_about_a_supervisor_names_the_supervisor() {
        let fixture = Fixture::new();
        for (supervisor, queue, action, expected) in [
            ("nobody", "q1", SupervisorAction::SignIn, "There is no user `nobody` who could be the supervisor."),
            ("dan", "q1", SupervisorAction::SignIn, "dan is disabled and can't sign anybody in or out."),
            ("ann", "q1", SupervisorAction::SignIn, "ann (101) is neither a supervisor nor a contact admin."),
            (
                "sue",
                "q2",
                SupervisorAction::SignIn,
                "sue doesn't supervise q2, and supervisors here are limited to their own queues.",
            ),
            ("sue", "q1", SupervisorAction::SignIn, "sue may sign bob (102) in to q1 (801)."),
            ("ada", "q1", SupervisorAction::SignOut, "ada may sign bob (102) out of q1 (801)."),
        ] {
            let (supervisor, user, queue) = (by_user_id(supervisor), by_user_id("bob"), by_queue_id(queue));
            let request = SupervisorRequest { supervisor: &supervisor, user: &user, queue: &queue, action };
            let decision = decide_supervisor(fixture.organization(), request, now());
            let explanation = AccessExplanation::of_supervisor(&decision, &request);
            assert_eq!(explanation.in_language(Language::English), expected);
        }
    }

    #[test]
    fn a_sentence_about_a_permission_names_the_role_or_the_setting() {
        let mut fixture = Fixture::new();
        fixture.set(UnassignedQueueSignIn::Allowed, &[(Switch::ManageSkills, false)]);
        for (user, permission, queue, expected) in [
            ("nobody", Permission::ViewSkills, None, "There is no user `nobody`."),
            ("dan", Permission::ViewSkills, None, "dan is disabled and may do nothing."),
            ("sue", Permission::MonitorQueue, Some("nowhere"), "There is no queue `nowhere`."),
            ("ada", Permission::AssignRoles, None, "ada may give and take roles, as a contact admin."),
            ("sue", Permission::ListenCalls, Some("q1"), "sue may listen to calls on q1 (801), as a supervisor."),
            ("ann", Permission::ServeQueue, Some("q1"), "ann (101) may serve contacts on q1 (801), as an agent."),
            (
                "ann",
                Permission::ServeQueue,
                Some("q2"),
                "ann (101) may not serve contacts on q2, being neither assigned nor signed in to it.",
            ),
            (
                "sue",
                Permission::ListenCalls,
                Some("q2"),
                "sue may not listen to calls on q2: they don't supervise it, and supervisors here are limited to their \
                 own queues.",
            ),
            (
                "sue",
                Permission::ManageSkills,
                None,
                "sue may not change skills and which agents have them: they are a supervisor, but the setting \
                 supervisor.manage_skills is off.",
            ),
            (
                "sue",
                Permission::ViewSkills,
                None,
                "sue may not see skills and which agents have them: they are a supervisor, but the settings \
                 supervisor.view_skills and supervisor.manage_skills are off.",
            ),
            (
                "eve",
                Permission::MonitorQueue,
                Some("q2"),
                "eve may not watch calls and agents on q2: that requires the contact admin or supervisor role.",
            ),
        ] {
            let (user, queue) = (by_user_id(user), queue.map(by_queue_id));
            let request = PermissionCheck::new(&user, permission, queue.as_ref()).unwrap();
            let decision = check(fixture.organization(), request, now());
            let explanation = PermissionExplanation::new(&decision, &request);
            assert_eq!(explanation.in_language(Language::English), expected);
        }
    }

    #[test]
    fn only_the_feature_code_fails_to_reach_a_queue_that_is_no_ring_group() {
        for kind in [QueueKind::CallQueue, QueueKind::Inbox, QueueKind::Campaign, QueueKind::RingGroup] {
            let is_for_dashboard = matches!(kind, QueueKind::Inbox | QueueKind::Campaign);
            assert_eq!(reaches(AgentDashboard, kind), kind != QueueKind::RingGroup, "{kind}");
            assert_eq!(reaches(FeatureCode, kind), kind != QueueKind::RingGroup && !is_for_dashboard, "{kind}");
        }
    }
}
