//! Why may a user sign in to a queue, or why not? The decision, the rules as a checklist, and the ways to change it.

use axum::{extract::Query, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::Code;

use super::{find, reach::reach};
use crate::{
    client::rules::{self, Remedy, RuleResult},
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page},
        text::Text,
        visit::Visit,
        words,
    },
    rpc::proto::{
        self, Channel, Facts, Permission, Reason, UnassignedQueueSignIn, check_queue_access_request,
        list_audit_events_request,
    },
};

/// The most recent refusals that are shown.
const REFUSALS: i32 = 5;

/// The question.
#[derive(Debug, Default, Deserialize)]
pub struct Question {
    #[serde(default)]
    user: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    channel: String,
}

impl Question {
    fn channel(&self) -> Channel {
        if self.channel == "dashboard" { Channel::AgentDashboard } else { Channel::FeatureCode }
    }
}

pub async fn show(visit: Visit, Query(question): Query<Question>) -> Result<Response, Failure> {
    let text = visit.text();
    let own = visit.user_id();
    let is_asked = !question.queue.is_empty();
    let answer = if is_asked { Some(answer(&visit, &question).await?) } else { None };
    let body = html! {
        form.search method="get" action="why" {
            @if visit.supervises() {
                label { (text.user) " " input type="text" name="user" required value={
                    @if question.user.is_empty() { (own) } @else { (question.user) }
                } placeholder=(text.search_people); }
            }
            label { (text.queue) " " input type="text" name="queue" required value=(question.queue) placeholder=(text.search_people); }
            label { (text.channel) " "
                select name="channel" {
                    option value="feature-code" selected[question.channel() == Channel::FeatureCode] { (text.feature_code) }
                    option value="dashboard" selected[question.channel() == Channel::AgentDashboard] { (text.agent_dashboard) }
                }
            }
            button.primary { (text.ask) }
        }
        @match answer {
            Some(answer) => (answer),
            None => (empty(text.why_empty)),
        }
    };
    Ok(page(&visit, Place::Why, text.why, body))
}

async fn answer(visit: &Visit, question: &Question) -> Result<Markup, Failure> {
    let (organization_id, own, text) = (visit.organization_id(), visit.user_id(), visit.text());
    let typed_user = if question.user.is_empty() { own.as_str() } else { &question.user };
    let users = if typed_user == own || !visit.supervises() {
        vec![visit.user.clone()]
    } else {
        find::users(&visit.api, &organization_id, typed_user).await?
    };
    let queues = find::queues(&visit.api, &organization_id, &question.queue).await?;
    let again = |user: &str, queue: &str| {
        format!("why?user={}&queue={}&channel={}", encoded(user), encoded(queue), encoded(&question.channel))
    };
    if users.len() > 1 {
        let choices = users.iter().map(|user| (again(&user.user_id, &question.queue), name_of_user(user)));
        let choices: Vec<_> = choices.collect();
        return Ok(html! { h2 { (text.which_user) } (find::candidates(text, &choices)) });
    }
    if queues.len() > 1 {
        let choices = queues.iter().map(|queue| (again(typed_user, &queue.queue_id), name_of_queue(queue)));
        let choices: Vec<_> = choices.collect();
        return Ok(html! { h2 { (text.which_queue) } (find::candidates(text, &choices)) });
    }
    // An unknown name is asked as it is, and the decision says that it is unknown.
    let user_id = users.first().map_or(typed_user, |user| &user.user_id).to_owned();
    let queue_id = queues.first().map_or(question.queue.as_str(), |queue| &queue.queue_id).to_owned();
    let sees_queue = visit.supervises()
        && !reach(&visit.api, &organization_id, &own, Permission::ViewQueueSettings, [queue_id.clone()])
            .await?
            .is_empty();
    // Administrators ask about unknown queues too.
    let is_unknown = queues.is_empty() && visit.may(Permission::ConfigureQueues);
    if user_id != own && !sees_queue && !is_unknown {
        return Err(Failure::NotPermitted);
    }
    let request = proto::CheckQueueAccessRequest {
        organization_id: organization_id.clone(),
        user: Some(check_queue_access_request::User::UserId(user_id.clone())),
        queue: Some(check_queue_access_request::Queue::QueueId(queue_id.clone())),
        channel: question.channel().into(),
        explain: true,
        at_least_revision: String::new(),
    };
    let decision = match visit.api.queue_access().check_queue_access(request).await {
        Ok(answer) => answer.into_inner().decision.unwrap_or_default(),
        // The typed text is no id, so nothing can have it.
        Err(status) if status.code() == Code::InvalidArgument => return Ok(empty(text.nothing_found)),
        Err(status) => return Err(status.into()),
    };
    let facts = decision.facts.clone().unwrap_or_default();
    let request = proto::ListAuditEventsRequest {
        organization_id,
        user: Some(list_audit_events_request::User::UserId(user_id)),
        queue: Some(list_audit_events_request::Queue::QueueId(queue_id)),
        allowed: Some(false),
        page_size: REFUSALS,
        ..Default::default()
    };
    let refusals = visit.api.audit().list_audit_events(request).await?.into_inner().events;
    Ok(html! {
        div.answer {
            p.verdict {
                @if decision.allowed() { span.state.yes { span aria-hidden="true" { "✓ " } (text.allowed) } }
                @else { span.state.no { span aria-hidden="true" { "✕ " } (text.denied) } }
            }
            p.sentence { bdi { (decision.explanation) } }
        }
        h2 { (text.rules) }
        ol.rules {
            @for (rule, result) in rules::checklist(decision.reason()) {
                li class=[class(result)]
                    aria-current=[(result == RuleResult::Decided).then_some("true")] {
                    span.condition { (condition(text, rule)) } " "
                    span.result {
                        @match result {
                            RuleResult::Passed => { span aria-hidden="true" { "↓ " } (text.rule_passed) },
                            RuleResult::Decided => { span aria-hidden="true" { "■ " } (text.rule_decided) },
                            RuleResult::NotReached => { span aria-hidden="true" { "– " } (text.rule_not_reached) },
                        }
                    }
                    @if let Some(fact) = fact(text, rule, &facts, question.channel()) { span.fact { (fact) } }
                }
            }
        }
        h2 { (text.who_can_change) }
        ul { @for remedy in rules::remedies(decision.reason(), &facts) { li { (way(text, remedy)) } } }
        h2 { (text.recent_refusals) }
        @if refusals.is_empty() { p.note { (text.no_refusals) } }
        @else {
            ul { @for event in &refusals { li { (page::time(event.time.as_ref())) " – " bdi lang="en" { (event.explanation) } } } }
        }
    })
}

fn name_of_user(user: &proto::User) -> Markup {
    page::name(user.display_name(), user.extension(), &user.user_id)
}

fn name_of_queue(queue: &proto::Queue) -> Markup {
    page::name(queue.display_name(), queue.extension(), &queue.queue_id)
}

fn class(result: RuleResult) -> Option<&'static str> {
    match result {
        RuleResult::Passed => Some("passed"),
        RuleResult::Decided => Some("decided"),
        RuleResult::NotReached => None,
    }
}

fn condition(text: &Text, rule: Reason) -> &'static str {
    match rule {
        Reason::UnknownUser => text.rule_unknown_user,
        Reason::UserDisabled => text.rule_user_disabled,
        Reason::UnknownQueue => text.rule_unknown_queue,
        Reason::QueueKindNotSupported => text.rule_queue_kind,
        Reason::AgentRoleRequired => text.rule_agent_role,
        Reason::AlreadySignedIn => text.rule_signed_in,
        Reason::Assigned => text.rule_assigned,
        Reason::UnassignedAllowed => text.rule_unassigned_allowed,
        Reason::UnassignedRestricted => text.rule_unassigned_restricted,
        Reason::Unspecified
        | Reason::UnknownSupervisor
        | Reason::SupervisorDisabled
        | Reason::SupervisorRoleRequired
        | Reason::SupervisorQueueNotAssigned
        | Reason::SupervisorSignIn
        | Reason::SupervisorSignOut => "",
    }
}

/// The fact that a rule depends on, or `None` if it is unknown.
fn fact(text: &Text, rule: Reason, facts: &Facts, channel: Channel) -> Option<Markup> {
    let (has_user, has_queue) = (!facts.user_id.is_empty(), !facts.queue_id.is_empty());
    let yes_no = |yes: bool| if yes { text.yes } else { text.no };
    Some(match rule {
        Reason::UnknownUser if has_user => page::name(&facts.user_display_name, &facts.user_extension, &facts.user_id),
        Reason::UserDisabled if has_user => html! { (text.disabled) ": " (yes_no(facts.user_disabled)) },
        Reason::UnknownQueue if has_queue => {
            page::name(&facts.queue_display_name, &facts.queue_extension, &facts.queue_id)
        }
        Reason::QueueKindNotSupported if has_queue => {
            html! { (words::channel(text, channel)) " → " (words::kind(text, facts.queue_kind())) }
        }
        Reason::AgentRoleRequired if has_user => html! {
            (text.roles) ": "
            @if facts.roles.is_empty() { (text.none) }
            @for (index, role) in facts.roles().enumerate() { @if index > 0 { ", " } (words::role(text, role)) }
        },
        Reason::AlreadySignedIn if has_user && has_queue => html! {
            (text.total_signed_in) ": " (yes_no(facts.session.is_some()))
            @if let Some(session) = &facts.session { ", " (page::time(session.sign_in_time.as_ref())) }
        },
        Reason::Assigned if has_user && has_queue => html! { (text.assigned) ": " (yes_no(facts.assigned)) },
        Reason::UnassignedAllowed | Reason::UnassignedRestricted if has_queue => {
            html! { (unassigned(text, facts.unassigned_queue_sign_in())) }
        }
        _ => return None,
    })
}

/// The value of the setting for unassigned queues.
pub fn unassigned(text: &Text, value: UnassignedQueueSignIn) -> &'static str {
    match value {
        UnassignedQueueSignIn::Allowed => text.unassigned_allowed,
        UnassignedQueueSignIn::Restricted => text.unassigned_restricted,
        UnassignedQueueSignIn::Unspecified => "",
    }
}

fn way(text: &Text, remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::AddUser => text.way_add_user,
        Remedy::EnableUser => text.way_enable_user,
        Remedy::AddQueue => text.way_add_queue,
        Remedy::ChangeKind => text.way_change_kind,
        Remedy::UseDashboard => text.way_use_dashboard,
        Remedy::Dial => text.way_dial,
        Remedy::SupervisorSignIn => text.way_supervisor_sign_in,
        Remedy::GiveLicense => text.way_give_license,
        Remedy::GiveRole => text.way_give_role,
        Remedy::Assign => text.way_assign,
        Remedy::SignOut => text.way_sign_out,
        Remedy::SupervisorSignOut => text.way_supervisor_sign_out,
        Remedy::Unassign => text.way_unassign,
        Remedy::Restrict => text.way_restrict,
        Remedy::Allow => text.way_allow,
    }
}
