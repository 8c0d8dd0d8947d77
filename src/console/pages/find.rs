//! Finds the user or the queue that a person typed: by id, by extension, or by the beginning of a name. Finds the names of ids.

use std::collections::HashMap;

use maud::{Markup, html};
use tonic::{Code, Status};

use crate::{
    console::{api::Api, page, text::Text},
    rpc::proto::{self, get_queue_request, get_user_request},
};

/// The most candidates that a page offers.
const MOST_FOUND: usize = 20;

/// The size of a page with that many.
const PAGE: i32 = 20;

/// Return the user with this id or extension; otherwise the users whose names begin so.
pub async fn users(api: &Api, organization_id: &str, text: &str) -> Result<Vec<proto::User>, Status> {
    let mut directory = api.directory();
    let ways =
        [get_user_request::User::UserId(text.to_owned()), get_user_request::User::UserExtension(text.to_owned())];
    for user in ways {
        let request = proto::GetUserRequest {
            organization_id: organization_id.to_owned(),
            user: Some(user),
            at_least_revision: String::new(),
        };
        if let Some(found) = or_none(directory.get_user(request).await)? {
            return Ok(found.user.into_iter().collect());
        }
    }
    let request = proto::ListUsersRequest {
        organization_id: organization_id.to_owned(),
        page_size: PAGE,
        text: text.to_owned(),
        ..Default::default()
    };
    Ok(directory.list_users(request).await?.into_inner().users)
}

/// Return the queue with this id or extension; otherwise the queues whose names begin so.
pub async fn queues(api: &Api, organization_id: &str, text: &str) -> Result<Vec<proto::Queue>, Status> {
    let mut directory = api.directory();
    let ways =
        [get_queue_request::Queue::QueueId(text.to_owned()), get_queue_request::Queue::QueueExtension(text.to_owned())];
    for queue in ways {
        let request = proto::GetQueueRequest {
            organization_id: organization_id.to_owned(),
            queue: Some(queue),
            at_least_revision: String::new(),
        };
        if let Some(found) = or_none(directory.get_queue(request).await)? {
            return Ok(found.queue.into_iter().collect());
        }
    }
    let request = proto::ListQueuesRequest {
        organization_id: organization_id.to_owned(),
        page_size: PAGE,
        text: text.to_owned(),
        ..Default::default()
    };
    Ok(directory.list_queues(request).await?.into_inner().queues)
}

/// Show candidates, each with the address that chooses it.
pub fn candidates(text: &Text, choices: &[(String, Markup)]) -> Markup {
    html! {
        ul.people { @for (address, name) in choices { li { a href=(address) { (name) } } } }
        @if choices.len() >= MOST_FOUND { p.more { (text.more_found) } }
    }
}

/// A text that is no id or no extension, or that nothing has, finds nothing.
fn or_none<T>(answer: Result<tonic::Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if [Code::NotFound, Code::InvalidArgument].contains(&status.code()) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Return the names of queues with their extensions, by id. One that was deleted just now has its id.
pub async fn queue_names(
    api: &Api,
    organization_id: &str,
    ids: Vec<String>,
) -> Result<HashMap<String, Markup>, Status> {
    let (mut directory, mut names) = (api.directory(), HashMap::new());
    for id in ids {
        if names.contains_key(&id) {
            continue;
        }
        let request = proto::GetQueueRequest {
            organization_id: organization_id.to_owned(),
            queue: Some(get_queue_request::Queue::QueueId(id.clone())),
            at_least_revision: String::new(),
        };
        let found = or_none(directory.get_queue(request).await)?.and_then(|found| found.queue).unwrap_or_default();
        let name = page::name(found.display_name(), found.extension(), &id);
        names.insert(id, name);
    }
    Ok(names)
}

/// Return the names of users with their extensions, by id. One who was deleted just now has the id.
pub async fn user_names(api: &Api, organization_id: &str, ids: Vec<String>) -> Result<HashMap<String, Markup>, Status> {
    let (mut directory, mut names) = (api.directory(), HashMap::new());
    for id in ids {
        if names.contains_key(&id) {
            continue;
        }
        let request = proto::GetUserRequest {
            organization_id: organization_id.to_owned(),
            user: Some(get_user_request::User::UserId(id.clone())),
            at_least_revision: String::new(),
        };
        let found = or_none(directory.get_user(request).await)?.and_then(|found| found.user).unwrap_or_default();
        let name = page::name(found.display_name(), found.extension(), &id);
        names.insert(id, name);
    }
    Ok(names)
}
