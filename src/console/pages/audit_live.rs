//! The stream of a tab that follows the audit log: each new event as a row.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{
    audit::{Filter, row},
    live::{BEAT, End, Events, event, streamed},
};
use crate::{
    console::{
        failure::Failure,
        shared::Shared,
        visit::{Visit, present_user},
    },
    rpc::proto::{self, Permission, WatchAuditEventsResponse, check_permission_request},
};

/// The events that may wait for the browser.
const WAITING: usize = 64;

pub async fn stream(
    visit: Visit,
    State(shared): State<Arc<Shared>>,
    Query(filter): Query<Filter>,
) -> Result<Response, Failure> {
    visit.require(Permission::ManagePermissions)?;
    let request =
        proto::WatchAuditEventsRequest { organization_id: visit.organization_id(), start_revision: String::new() };
    let mut log = visit.api.audit().watch_audit_events(request).await?.into_inner();
    let (sender, body) = mpsc::channel(WAITING);
    let events = Events::new(sender);
    tokio::spawn(async move {
        let session = Arc::clone(&visit.session);
        let end = tokio::select! {
            end = follow(&visit, &shared, &filter, &mut log, &events) => end,
            () = session.ended() => End::Session,
            () = events.closed() => End::Connection,
        };
        events.finish(end).await;
    });
    Ok(streamed(body))
}

async fn follow(
    visit: &Visit,
    shared: &Shared,
    filter: &Filter,
    log: &mut Streaming<WatchAuditEventsResponse>,
    events: &Events,
) -> End {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let sent = tokio::select! {
            message = log.message() => match message {
                Ok(Some(message)) => match message.event.filter(|found| filter.fits(found)) {
                    Some(found) => events.send(event("row", &row(&found, visit.text()).into_string())).await,
                    None => Ok(()),
                },
                Ok(None) | Err(_) => return End::Connection,
            },
            _ = beat.tick() => {
                if !shared.sessions.is_live(&visit.session, shared.now()) {
                    return End::Session;
                }
                // A person who lost the role follows no more: the next connection is refused.
                if !may_follow(visit, shared).await {
                    return End::Connection;
                }
                events.send(event("beat", "")).await
            }
        };
        if sent.is_err() {
            return End::Connection;
        }
    }
}

/// Return whether the person is still there, and may still read the log.
async fn may_follow(visit: &Visit, shared: &Shared) -> bool {
    let request = proto::CheckPermissionRequest {
        organization_id: visit.organization_id(),
        user: Some(check_permission_request::User::UserId(visit.user_id())),
        permission: Permission::ManagePermissions.into(),
        ..Default::default()
    };
    let present = present_user(shared, &visit.session, &visit.api).await;
    let decided = visit.api.permission().check_permission(request).await;
    let may = decided.ok().and_then(|answer| answer.into_inner().decision).is_some_and(|decision| decision.allowed());
    may && matches!(present, Ok(Some(_)))
}
