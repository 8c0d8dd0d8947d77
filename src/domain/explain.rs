//! Explanations of decisions, each a plain sentence that a support engineer could read out.

use std::fmt::{self, Write};

use super::{
    decide::{Decision, SupervisorRequest},
    ids::{Extension, QueueRef, UserRef},
    model::{Queue, QueueKind, Role, SignInChannel, User},
    permission::{self},
    vocabulary::{PermissionReason, Reason},
};

/// Explain why a user may or may not sign in.
pub fn explain(decision: &Decision<'_>, user: &UserRef, queue: &QueueRef, channel: SignInChannel) -> String {
    let subjects = WhoAndWhere { user: Named::user(decision.user, user), queue: Named::queue(decision.queue, queue) };
    match decision.reason {
        Reason::QueueKindNotSupported => match (decision.queue.map(|queue| queue.kind), channel) {
            (Some(QueueKind::RingGroup), _) => subjects.ring_group(),
            (Some(kind), SignInChannel::FeatureCode) => {
                format!(
                    "{} is {}, which the feature code doesn't reach; use the agent dashboard.",
                    subjects.queue,
                    a(kind)
                )
            }
            (kind, SignInChannel::AgentDashboard) => {
                format!(
                    "{} is {}, which the agent dashboard doesn't reach.",
                    subjects.queue,
                    kind.map_or("no queue", a)
                )
            }
            (None, SignInChannel::FeatureCode) => subjects.unknown_queue(),
        },
        reason => subjects.explain(reason, &Named::Unknown("supervisor", String::new())),
    }
}

/// Explain why a user can't sign in to any queue.
pub fn explain_denied_everywhere(reason: Reason, found: Option<&User>, user: &UserRef) -> String {
    let subjects = WhoAndWhere { user: Named::user(found, user), queue: Named::Unknown("queue", String::new()) };
    subjects.explain(reason, &Named::Unknown("supervisor", String::new()))
}

/// Explain why a supervisor may or may not sign a user in or out.
pub fn explain_supervisor(decision: &Decision<'_>, request: &SupervisorRequest<'_>) -> String {
    let subjects = WhoAndWhere {
        user: Named::user(decision.user, request.user),
        queue: Named::queue(decision.queue, request.queue),
    };
    let supervisor = match decision.supervisor {
        Some(user) => Named::Known { name: name_of(user), extension: user.extension },
        None => Named::Unknown("user", request.supervisor.to_string()),
    };
    subjects.explain(decision.reason, &supervisor)
}

/// Explain why a user has a permission or not.
pub fn explain_permission(decision: &permission::Decision<'_>, request: &permission::PermissionCheck<'_>) -> String {
    let permission::Decision { permission, reason, role, user, queue } = decision;
    let entry = permission.entry();
    let user = Named::user(*user, request.user);
    let queue = request.queue.map(|asked| Named::queue(*queue, asked));
    let on_queue = queue.as_ref().map_or_else(String::new, |queue| format!(" on {queue}"));
    let doing = format!("{}{on_queue}", entry.description);
    match reason {
        PermissionReason::UnknownUser => format!("There is {user}."),
        PermissionReason::UserDisabled => format!("{user} is disabled and may do nothing."),
        PermissionReason::UnknownQueue => {
            queue.as_ref().map_or_else(|| "There is no such queue.".to_owned(), |queue| format!("There is {queue}."))
        }
        PermissionReason::Granted => format!("{user} may {doing}, as {}.", role.map_or("nobody", a_role)),
        PermissionReason::QueueNotAssigned => match role {
            Some(Role::Agent) => format!("{user} may not {doing}, being neither assigned nor signed in to it."),
            Some(Role::Supervisor | Role::ContactAdmin) | None => {
                format!(
                    "{user} may not {doing}: they don't supervise it, and supervisors here are limited to their own queues."
                )
            }
        },
        PermissionReason::SettingDisabled => {
            let settings = entry.governed().map_or_else(String::new, |(_, switch)| match switch.included_in() {
                Some(manage) => format!("the settings {switch} and {manage} are off"),
                None => format!("the setting {switch} is off"),
            });
            format!("{user} may not {doing}: they are {}, but {settings}.", role.map_or("nobody", a_role))
        }
        PermissionReason::RoleRequired => {
            let roles: Vec<&str> = entry.grants.iter().map(|(role, _)| role_name(*role)).collect();
            format!("{user} may not {doing}: that requires the {} role.", roles.join(" or "))
        }
    }
}

/// Format a sentence. Every check makes one, so the capacity fits most sentences without a second allocation.
macro_rules! sentence {
    ($($words:tt)*) => {{
        let mut text = String::with_capacity(128);
        // Writing to a string doesn't fail.
        let _ = write!(text, $($words)*);
        text
    }};
}

struct WhoAndWhere<'a> {
    user: Named<'a>,
    queue: Named<'a>,
}

impl WhoAndWhere<'_> {
    fn explain(&self, reason: Reason, supervisor: &Named<'_>) -> String {
        let Self { user, queue } = self;
        match reason {
            Reason::UnknownUser => sentence!("There is {user}."),
            Reason::UserDisabled => sentence!("{user} is disabled and can't sign in to any queue."),
            Reason::UnknownQueue => self.unknown_queue(),
            Reason::QueueKindNotSupported => self.ring_group(),
            Reason::AgentRoleRequired => {
                sentence!("{user} doesn't hold the agent role, which the agent dashboard needs.")
            }
            Reason::AlreadySignedIn => sentence!("{user} is already signed in to {queue}."),
            Reason::Assigned => sentence!("{user} is assigned to {queue}."),
            Reason::UnassignedAllowed => {
                sentence!(
                    "{user} isn't assigned to {queue}, but this organization allows sign-in to unassigned queues."
                )
            }
            Reason::UnassignedRestricted => {
                sentence!(
                    "{user} isn't assigned to {queue}, and this organization restricts sign-in to assigned queues."
                )
            }
            Reason::UnknownSupervisor => sentence!("There is {supervisor} who could be the supervisor."),
            Reason::SupervisorDisabled => {
                sentence!("{supervisor} is disabled and can't sign anybody in or out.")
            }
            Reason::SupervisorRoleRequired => {
                sentence!("{supervisor} is neither a supervisor nor a contact admin.")
            }
            Reason::SupervisorQueueNotAssigned => {
                sentence!(
                    "{supervisor} doesn't supervise {queue}, and supervisors here are limited to their own queues."
                )
            }
            Reason::SupervisorSignIn => sentence!("{supervisor} may sign {user} in to {queue}."),
            Reason::SupervisorSignOut => sentence!("{supervisor} may sign {user} out of {queue}."),
        }
    }

    fn unknown_queue(&self) -> String {
        sentence!("There is {}.", self.queue)
    }

    fn ring_group(&self) -> String {
        sentence!("{} is a ring group, and nobody signs in to a ring group.", self.queue)
    }
}

/// A user or a queue by the name that people know.
enum Named<'a> {
    Known { name: &'a str, extension: Option<Extension> },
    Unknown(&'static str, String),
}

impl<'a> Named<'a> {
    fn user(found: Option<&'a User>, asked: &UserRef) -> Self {
        match found {
            Some(user) => Self::Known { name: name_of(user), extension: user.extension },
            None => Self::Unknown("user", asked.to_string()),
        }
    }

    fn queue(found: Option<&'a Queue>, asked: &QueueRef) -> Self {
        match found {
            Some(queue) => {
                let name = if queue.display_name.is_empty() { queue.queue_id.as_str() } else { &queue.display_name };
                Self::Known { name, extension: queue.extension }
            }
            None => Self::Unknown("queue", asked.to_string()),
        }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { name, extension: Some(extension) } => {
                for part in [name, " (", &extension.digits(), ")"] {
                    f.write_str(part)?;
                }
                Ok(())
            }
            Self::Known { name, extension: None } => f.write_str(name),
            Self::Unknown(kind, asked) => write!(f, "no {kind} {asked}"),
        }
    }
}

fn name_of(user: &User) -> &str {
    if user.display_name.is_empty() { user.user_id.as_str() } else { &user.display_name }
}

fn a(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::CallQueue => "a call queue",
        QueueKind::Inbox => "an inbox",
        QueueKind::Campaign => "a campaign",
        QueueKind::RingGroup => "a ring group",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "contact admin",
        Role::Supervisor => "supervisor",
        Role::Agent => "agent",
    }
}

fn a_role(role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => "a contact admin",
        Role::Supervisor => "a supervisor",
        Role::Agent => "an agent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decide::{AccessRequest, SupervisorAction, decide, decide_supervisor},
        fixture::{Fixture, by_queue_id, by_user_id, now},
        model::SignInChannel::{self, AgentDashboard, FeatureCode},
        permission::check,
        settings::{Switch, UnassignedQueueSignIn},
        vocabulary::Permission,
    };

    #[test]
    fn a_sentence_names_the_user_the_queue_and_the_reason() {
        let mut fixture = Fixture::new();
        fixture.sign_in("bob", "q2", FeatureCode);
        let said = |fixture: &Fixture, user: &str, queue: &str, channel: SignInChannel| {
            let (user, queue) = (by_user_id(user), by_queue_id(queue));
            let decision = decide(fixture.organization(), AccessRequest { user: &user, queue: &queue, channel }, now());
            explain(&decision, &user, &queue, channel)
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
            assert_eq!(explain_supervisor(&decision, &request), expected);
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
            let request = permission::PermissionCheck::new(&user, permission, queue.as_ref()).unwrap();
            let decision = check(fixture.organization(), request, now());
            assert_eq!(explain_permission(&decision, &request), expected);
        }
    }
}
