//! The floor: each queue with the agents who are signed in to it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use tonic::Status;

use super::reach::reach;
use crate::{
    console::{
        api::Api,
        failure::Failure,
        hub::{AgentOnFloor, Floor, QueueFloor, Rendered, sequence},
        page::{self, Place, empty, encoded, pages, refusal},
        session::Session,
        shared::Shared,
        text::Text,
        visit::Visit,
        words,
    },
    domain::language::Language,
    rpc::proto::{Basis, Channel, Permission, QueueKind},
};

/// The number of queues on one page.
const QUEUES_PER_PAGE: usize = 50;

/// The most agents that are shown of one queue.
const MOST_AGENTS: usize = 200;

/// How long a page waits for the floor.
const PATIENCE: Duration = Duration::from_secs(5);

/// The part of the floor that a page shows.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Part {
    /// Only queues with this text in their name, their extension or their id.
    #[serde(default)]
    pub text: String,
    /// The page, from 1.
    #[serde(default)]
    pub page: usize,
    /// The revision that the floor must have reached.
    #[serde(default)]
    pub after: String,
}

/// The queues that a person sees, in order.
pub struct Selection {
    queues: Vec<String>,
    number: usize,
}

/// A refusal to sign an agent out, shown where the button was.
pub struct Refused {
    pub queue_id: String,
    pub user_id: String,
    pub explanation: String,
}

pub async fn show(
    visit: Visit,
    State(shared): State<Arc<Shared>>,
    Query(part): Query<Part>,
) -> Result<Response, Failure> {
    if !visit.supervises() {
        return Ok(Redirect::to("me").into_response());
    }
    shown(&visit, &shared, &part, None).await
}

/// Return the floor's page.
pub async fn shown(visit: &Visit, shared: &Shared, part: &Part, refused: Option<Refused>) -> Result<Response, Failure> {
    let text = visit.text();
    let after = Some(part.after.as_str()).filter(|after| !after.is_empty()).map(sequence).transpose()?;
    let floor = shared.hubs.of(&visit.session.organization_id).floor(after, PATIENCE).await;
    if floor.sequence.is_none() {
        return Err(Failure::Api(Status::unavailable("the floor isn't loaded yet")));
    }
    let selection = Selection::of(&floor, &visit.session, &visit.api, part).await?;
    let shown: Vec<_> = selection.shown().iter().filter_map(|id| floor.queues.get(id)).collect();
    let rendering = Rendering::of(visit);
    let address = |number: usize| format!("floor?page={number}&text={}", encoded(&part.text));
    let live = format!("live?page={}&text={}", selection.number, encoded(&part.text));
    let body = html! {
        div.bar {
            div id="totals" { (selection.totals(&floor, text)) }
            p.live id="live" role="status" data-live=(text.live) { (text.not_live) }
        }
        @if selection.queues.len() > QUEUES_PER_PAGE || !part.text.is_empty() {
            form.search role="search" method="get" action="floor" {
                label { (text.search_queues) " " input type="search" name="text" value=(part.text); }
                button { (text.search) }
            }
        }
        // The queue of a refusal may have left the person's reach.
        @if let Some(refused) = refused.as_ref().filter(|refused| !shows(&shown, refused)) {
            (refusal(text, &refused.explanation))
        }
        div.queues data-stream=(live) {
            @for queue in &shown {
                @match refused.as_ref().filter(|refused| refused.queue_id == queue.queue.queue_id) {
                    Some(refused) => (section(queue, rendering, Some(refused))),
                    None => (PreEscaped(rendering.queue(queue))),
                }
            }
        }
        @if shared.may_change() { form id="sign-out" method="post" action="sign-out-agent" {} }
        @if shown.is_empty() {
            @if floor.queues.is_empty() { (empty(text.no_queues)) }
            @else if part.text.is_empty() { (empty(text.no_queues_in_reach)) }
            @else { (empty(text.nothing_found)) }
        }
        (pages(text, selection.number, selection.page_count(), address))
    };
    Ok(page::page(visit, Place::Floor, text.floor, body))
}

/// Return whether a page has the row of a refusal.
fn shows(shown: &[&Arc<QueueFloor>], refused: &Refused) -> bool {
    let queue = shown.iter().find(|queue| queue.queue.queue_id == refused.queue_id);
    queue.is_some_and(|queue| queue.agents.contains_key(&refused.user_id))
}

impl Selection {
    /// Select the queues that a person may monitor, and those that the page asks for.
    pub async fn of(floor: &Floor, session: &Session, api: &Api, part: &Part) -> Result<Self, Status> {
        let (organization_id, user_id) = (session.organization_id.as_str(), session.user_id.as_str());
        let every = floor.queues.keys().cloned();
        let reached = reach(api, organization_id, user_id, Permission::MonitorQueue, every).await?;
        Ok(Self::among(floor, &reached, part))
    }

    fn among(floor: &Floor, reached: &BTreeSet<String>, part: &Part) -> Self {
        let wanted = part.text.to_lowercase();
        let fits = |queue: &QueueFloor| {
            let queue = &queue.queue;
            let texts = [queue.display_name(), queue.extension(), queue.queue_id.as_str()];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        // Nothing signs in to a ring group, but one may have sessions from before it became one.
        let is_used = |queue: &QueueFloor| queue.queue.kind() != QueueKind::RingGroup || !queue.agents.is_empty();
        let found = floor.queues.iter();
        let found = found.filter(|(id, queue)| reached.contains(*id) && is_used(queue) && fits(queue));
        let mut found: Vec<_> =
            found.map(|(id, queue)| (queue.queue.display_name().to_lowercase(), id.clone())).collect();
        found.sort_unstable();
        let queues: Vec<String> = found.into_iter().map(|(_, id)| id).collect();
        let number = part.page.clamp(1, queues.len().div_ceil(QUEUES_PER_PAGE).max(1));
        Self { queues, number }
    }

    fn page_count(&self) -> usize {
        self.queues.len().div_ceil(QUEUES_PER_PAGE)
    }

    /// Return the queues of this page.
    pub fn shown(&self) -> &[String] {
        self.queues.chunks(QUEUES_PER_PAGE).nth(self.number.saturating_sub(1)).unwrap_or_default()
    }

    /// Return the totals of all selected queues.
    pub fn totals(&self, floor: &Floor, text: &Text) -> Markup {
        let queues = self.queues.iter().filter_map(|id| floor.queues.get(id));
        let (mut agents, mut retained, mut temporary, mut staffed) = (0, 0, 0, 0);
        for queue in queues {
            agents += queue.agents.len();
            staffed += usize::from(!queue.agents.is_empty());
            retained += queue.agents.values().filter(|agent| agent.session.retained).count();
            temporary += queue.agents.values().filter(|agent| is_temporary(agent)).count();
        }
        html! {
            dl.totals {
                @for (number, name) in [
                    (agents, text.total_signed_in), (retained, text.total_retained),
                    (temporary, text.total_temporary), (staffed, text.total_staffed),
                ] {
                    div { dt { (name) } dd { (number) } }
                }
            }
        }
    }
}

/// How the floor is rendered for a page.
#[derive(Clone, Copy)]
pub struct Rendering {
    pub language: Language,
    pub text: &'static Text,
    pub may_change: bool,
}

impl Rendering {
    pub fn of(visit: &Visit) -> Self {
        Self { language: visit.look.language, text: visit.text(), may_change: visit.may_change() }
    }

    /// Return a rendered part of the floor, which is made once for all pages.
    fn once(self, rendered: &Rendered, render: impl Fn() -> Markup) -> Arc<str> {
        let render = || Arc::from(render().into_string());
        rendered.get(self.language as usize).map_or_else(&render, |kept| Arc::clone(kept.get_or_init(&render)))
    }

    /// Return a queue.
    pub fn queue(self, queue: &QueueFloor) -> Arc<str> {
        self.once(&queue.rendered, || section(queue, self, None))
    }

    /// Return the number of a queue's agents.
    pub fn count(self, queue: &QueueFloor) -> Markup {
        let id = format!("count-{}", queue.queue.queue_id);
        html! { span.count id=(id) { ((self.text.signed_in_count)(queue.agents.len())) } }
    }

    /// Return an agent's row.
    pub fn row(self, queue_id: &str, agent: &AgentOnFloor) -> Arc<str> {
        self.once(&agent.rendered, || row(queue_id, agent, self, None))
    }
}

/// Return the id of an agent's row in a page. Ids of queues and users have no slash.
pub fn row_id(queue_id: &str, user_id: &str) -> String {
    format!("row-{queue_id}/{user_id}")
}

/// Return whether a queue is shown with every agent, so that rows can be added and removed.
pub fn has_rows(queue: &QueueFloor) -> bool {
    (1..=MOST_AGENTS).contains(&queue.agents.len())
}

fn section(queue: &QueueFloor, rendering: Rendering, refused: Option<&Refused>) -> Markup {
    let Rendering { text, may_change, .. } = rendering;
    let id = &queue.queue.queue_id;
    let mut agents: Vec<_> = queue.agents.values().collect();
    agents.sort_by_key(|agent| agent.display_name.to_lowercase());
    let heading = format!("name-{id}");
    let may_sign_in = may_change && queue.queue.kind() != QueueKind::RingGroup;
    html! {
        section.queue id={ "queue-" (id) } aria-labelledby=(heading) {
            div.head {
                h2 id=(heading) { (page::name(queue.queue.display_name(), queue.queue.extension(), id)) }
                span.kind { (words::kind(text, queue.queue.kind())) }
                @if agents.is_empty() { span.nobody { (text.nobody_signed_in) } }
                @else { (rendering.count(queue)) }
                @if may_sign_in {
                    a.button id={ "in-" (id) } href={ "sign-in-agent?queue=" (id) } { (text.sign_in_an_agent) }
                }
            }
            @if !agents.is_empty() {
                table {
                    thead { tr {
                        th scope="col" { (text.agent) } th scope="col" { (text.since) } th scope="col" { (text.channel) }
                        th scope="col" { (text.basis) }
                        @if may_change { th scope="col" { span.unseen { (text.action) } } }
                    } }
                    tbody {
                        @for agent in agents.iter().take(MOST_AGENTS) {
                            @match refused.filter(|refused| refused.user_id == agent.session.user_id) {
                                Some(refused) => (row(id, agent, rendering, Some(refused))),
                                None => (PreEscaped(rendering.row(id, agent))),
                            }
                        }
                    }
                }
                @if agents.len() > MOST_AGENTS { p.more { ((text.and_more)(agents.len() - MOST_AGENTS)) } }
            }
        }
    }
}

/// A row. The script sorts rows by `data-sort`.
fn row(queue_id: &str, agent: &AgentOnFloor, rendering: Rendering, refused: Option<&Refused>) -> Markup {
    let Rendering { text, may_change, .. } = rendering;
    let session = &agent.session;
    html! {
        tr id=(row_id(queue_id, &session.user_id)) data-sort=(agent.display_name.to_lowercase()) {
            th scope="row" { (page::name(&agent.display_name, &agent.extension, &session.user_id)) }
            td data-name=(text.since) { (page::time(session.sign_in_time.as_ref())) }
            td data-name=(text.channel) {
                @if session.channel() == Channel::Supervisor { bdi { ((text.by)(&agent.signed_in_by)) } }
                @else { (words::channel(text, session.channel())) }
            }
            td data-name=(text.basis) { (state(agent, text)) }
            @if may_change {
                td.act {
                    @if let Some(refused) = refused { (refusal(text, &refused.explanation)) }
                    @else {
                        button id={ "out-" (queue_id) "-" (session.user_id) } form="sign-out" name="session"
                            value={ (queue_id) "/" (session.user_id) } aria-label=((text.sign_out_name)(&agent.display_name)) {
                            (text.sign_out)
                        }
                    }
                }
            }
        }
    }
}

/// The state of a session, by a word and a shape.
fn state(agent: &AgentOnFloor, text: &Text) -> Markup {
    let session = &agent.session;
    html! {
        @if session.retained {
            span.state.retained title=(text.retained_meaning) { span aria-hidden="true" { "▲ " } (text.retained) }
        } @else if session.basis() == Basis::Supervisor {
            span.state.temporary { span aria-hidden="true" { "◷ " } (text.temporary) }
        } @else if session.basis() == Basis::Assigned {
            span.state { span aria-hidden="true" { "● " } (text.assigned) }
        } @else {
            span.state { span aria-hidden="true" { "○ " } (words::basis(text, session.basis())) }
        }
        @if let Some(ends) = &session.expire_time {
            " " span.ends data-ends=(ends) { ((text.until)("")) (page::time(Some(ends))) }
        }
    }
}

fn is_temporary(agent: &AgentOnFloor) -> bool {
    agent.session.expire_time.is_some()
}
