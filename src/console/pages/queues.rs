//! Queues: a list with filters, and one queue's attributes, agents and supervisors.

use axum::{
    Form,
    extract::Query,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use prost_types::FieldMask;
use serde::Deserialize;

use super::{find, reach::reach};
use crate::{
    console::{
        failure::Failure,
        page::{self, Place, empty, encoded, page, request_id},
        visit::Visit,
        words,
    },
    rpc::proto::{self, Permission, QueueKind, Role, get_queue_request, list_role_assignments_request},
};

/// The queues on one page.
const PAGE: i32 = 50;

/// The most agents and supervisors that are listed.
const MOST_PEOPLE: i32 = 200;

/// The names of kinds in addresses and forms.
const KINDS: [(&str, QueueKind); 4] = [
    ("call-queue", QueueKind::CallQueue),
    ("inbox", QueueKind::Inbox),
    ("campaign", QueueKind::Campaign),
    ("ring-group", QueueKind::RingGroup),
];

fn kind_of(name: &str) -> Option<QueueKind> {
    KINDS.into_iter().find(|(other, _)| *other == name).map(|(_, kind)| kind)
}

/// The filters of the list.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    text: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    token: String,
}

/// A queue.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    id: String,
}

/// A queue's attributes in a form.
#[derive(Debug, Deserialize)]
pub struct Attributes {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    extension: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    request_id: String,
}

pub async fn list(visit: Visit, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    if !visit.supervises() {
        return Err(Failure::NotPermitted);
    }
    let (organization_id, text) = (visit.organization_id(), visit.text());
    let request = proto::ListQueuesRequest {
        organization_id: organization_id.clone(),
        page_size: PAGE,
        page_token: filter.token.clone(),
        text: filter.text.clone(),
        kind: kind_of(&filter.kind).unwrap_or(QueueKind::Unspecified).into(),
        ..Default::default()
    };
    let found = visit.api.directory().list_queues(request).await?.into_inner();
    let every: Vec<String> = found.queues.iter().map(|queue| queue.queue_id.clone()).collect();
    let reached = reach(&visit.api, &organization_id, &visit.user_id(), Permission::ViewQueueSettings, every).await?;
    let queues: Vec<_> = found.queues.iter().filter(|queue| reached.contains(&queue.queue_id)).collect();
    let next = format!(
        "queues?text={}&kind={}&token={}",
        encoded(&filter.text),
        encoded(&filter.kind),
        encoded(&found.next_page_token)
    );
    let may_create = visit.may_change() && visit.may(Permission::ConfigureQueues);
    let body = html! {
        form.search role="search" method="get" action="queues" {
            label { (text.search_people) " " input type="search" name="text" value=(filter.text); }
            label { (text.kind) " "
                select name="kind" {
                    option value="" { (text.any) }
                    @for (name, kind) in KINDS { option value=(name) selected[filter.kind == name] { (words::kind(text, kind)) } }
                }
            }
            button { (text.search) }
        }
        @if queues.is_empty() {
            @if !filter.text.is_empty() || !filter.kind.is_empty() { (empty(text.nothing_found)) }
            @else if may_create { (empty(text.no_queues_yet)) }
            @else { (empty(text.no_queues_in_reach)) }
        } @else {
            div.table.stack { table {
                thead { tr { th scope="col" { (text.queue) } th scope="col" { (text.id) } th scope="col" { (text.kind) } } }
                tbody {
                    @for queue in queues {
                        tr {
                            th scope="row" { a href={ "queue?id=" (encoded(&queue.queue_id)) } {
                                (page::name(queue.display_name(), queue.extension(), &queue.queue_id))
                            } }
                            td data-name=(text.id) { bdi { (queue.queue_id) } }
                            td data-name=(text.kind) { (words::kind(text, queue.kind())) }
                        }
                    }
                }
            } }
        }
        @if !found.next_page_token.is_empty() { nav.pages aria-label=(text.pages) { a href=(next) rel="next" { (text.next) } } }
        @if may_create {
            h2 { (text.new_queue) }
            form.attributes method="post" action="queue-new" {
                input type="hidden" name="request_id" value=(request_id());
                label { (text.id) " " input type="text" name="id" required maxlength="64" pattern="[a-z0-9][a-z0-9._\\-]*"; }
                (fields(&visit, &proto::Queue { kind: QueueKind::CallQueue.into(), ..Default::default() }))
                button { (text.create) }
            }
            p.note { (text.id_form) }
        }
    };
    Ok(page(&visit, Place::Queues, text.queues, body))
}

/// The attributes that can be changed.
fn fields(visit: &Visit, queue: &proto::Queue) -> Markup {
    let text = visit.text();
    html! {
        label { (text.name) " " input type="text" name="name" maxlength="200" value=(queue.display_name()); }
        label { (text.extension) " " input type="text" name="extension" maxlength="15" inputmode="numeric" pattern="[0-9]*" value=(queue.extension()); }
        label { (text.kind) " "
            select name="kind" {
                @for (name, kind) in KINDS { option value=(name) selected[queue.kind() == kind] { (words::kind(text, kind)) } }
            }
        }
    }
}

pub async fn show(visit: Visit, Query(chosen): Query<Chosen>) -> Result<Response, Failure> {
    let (organization_id, text) = (visit.organization_id(), visit.text());
    let wanted = [chosen.id.clone()];
    if reach(&visit.api, &organization_id, &visit.user_id(), Permission::ViewQueueSettings, wanted).await?.is_empty() {
        return Err(if visit.may(Permission::ConfigureQueues) { Failure::NotFound } else { Failure::NotPermitted });
    }
    let request = proto::GetQueueRequest {
        organization_id: organization_id.clone(),
        queue: Some(get_queue_request::Queue::QueueId(chosen.id.clone())),
        at_least_revision: String::new(),
    };
    let queue = visit.api.directory().get_queue(request).await?.into_inner().queue.unwrap_or_default();
    let request = proto::ListRoleAssignmentsRequest {
        organization_id,
        queue: Some(list_role_assignments_request::Queue::QueueId(chosen.id.clone())),
        page_size: MOST_PEOPLE,
        ..Default::default()
    };
    let assigned = visit.api.directory().list_role_assignments(request).await?.into_inner();
    let may_change = visit.may_change() && visit.may(Permission::ConfigureQueues);
    let ids = assigned.assignments.iter().map(|assignment| assignment.user_id.clone()).collect();
    let names = find::user_names(&visit.api, &visit.organization_id(), ids).await?;
    let body = html! {
        @if may_change {
            form.attributes method="post" action="queue" {
                input type="hidden" name="id" value=(queue.queue_id);
                input type="hidden" name="etag" value=(queue.etag);
                input type="hidden" name="request_id" value=(request_id());
                (fields(&visit, &queue))
                button.primary { (text.save) }
            }
        } @else {
            dl.facts {
                dt { (text.id) } dd { bdi { (queue.queue_id) } }
                dt { (text.extension) } dd { @if queue.extension().is_empty() { (text.none) } @else { (queue.extension()) } }
                dt { (text.kind) } dd { (words::kind(text, queue.kind())) }
            }
        }
        @for (role, name, nobody) in [
            (Role::Agent, text.agents, text.no_agents), (Role::Supervisor, text.supervisors, text.no_supervisors),
        ] {
            h2 { (name) }
            @let people: Vec<_> = assigned.assignments.iter().filter(|assignment| assignment.role() == role).collect();
            @if people.is_empty() { p.note { (nobody) } }
            ul.columns {
                @for assignment in people {
                    @let name = names.get(&assignment.user_id);
                    li {
                        @if visit.may(Permission::AssignRoles) {
                            a href={ "person?id=" (encoded(&assignment.user_id)) } { @if let Some(name) = name { (name) } }
                        } @else if let Some(name) = name { (name) }
                    }
                }
            }
        }
        @if !assigned.next_page_token.is_empty() { p.more { (text.more_than_listed) } }
        p {
            a href={ "floor?text=" (encoded(&queue.queue_id)) } { (text.floor) } " · "
            a href={ "why?queue=" (encoded(&queue.queue_id)) } { (text.why) }
        }
        @if may_change {
            h2 { (text.delete_queue) }
            form.inline method="post" action="queue-delete" {
                input type="hidden" name="id" value=(queue.queue_id);
                input type="hidden" name="etag" value=(queue.etag);
                input type="hidden" name="request_id" value=(request_id());
                label { input type="checkbox" required; " " (text.delete_queue_meaning) }
                button.danger { (text.delete) }
            }
        }
    };
    let title = if queue.display_name().is_empty() { &queue.queue_id } else { queue.display_name() };
    Ok(page(&visit, Place::Queues, title, body))
}

fn queue_of(attributes: &Attributes) -> Result<proto::Queue, Failure> {
    Ok(proto::Queue {
        queue_id: attributes.id.clone(),
        display_name: Some(attributes.name.clone()),
        extension: Some(attributes.extension.clone()),
        kind: kind_of(&attributes.kind).ok_or(Failure::Malformed)?.into(),
        etag: attributes.etag.clone(),
    })
}

pub async fn create(visit: Visit, Form(attributes): Form<Attributes>) -> Result<Response, Failure> {
    let request = proto::CreateQueueRequest {
        organization_id: visit.organization_id(),
        queue: Some(queue_of(&attributes)?),
        request_id: attributes.request_id.clone(),
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().create_queue(request).await?;
    Ok(to_queue(&attributes.id))
}

pub async fn update(visit: Visit, Form(attributes): Form<Attributes>) -> Result<Response, Failure> {
    let paths = ["display_name", "extension", "kind"].map(str::to_owned).to_vec();
    let request = proto::UpdateQueueRequest {
        organization_id: visit.organization_id(),
        queue: Some(queue_of(&attributes)?),
        update_mask: Some(FieldMask { paths }),
        request_id: attributes.request_id.clone(),
        actor_user_id: visit.user_id(),
    };
    visit.api.directory().update_queue(request).await?;
    Ok(to_queue(&attributes.id))
}

pub async fn delete(visit: Visit, Form(attributes): Form<Attributes>) -> Result<Response, Failure> {
    let request = proto::DeleteQueueRequest {
        organization_id: visit.organization_id(),
        queue_id: attributes.id,
        allow_missing: false,
        request_id: attributes.request_id,
        actor_user_id: visit.user_id(),
        etag: attributes.etag,
    };
    visit.api.directory().delete_queue(request).await?;
    Ok(Redirect::to("queues").into_response())
}

fn to_queue(queue_id: &str) -> Response {
    Redirect::to(&format!("queue?id={}", encoded(queue_id))).into_response()
}
