//! The stream of a tab that shows the floor: Server-Sent Events with the queues that changed.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Query, State},
    response::Response,
};
use http::header;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::floor::{Part, Rendering, Selection, has_rows, row_id};
use crate::console::{
    failure::Failure,
    hub::{Floor, Hub, QueueFloor},
    shared::Shared,
    visit::{Visit, present_user},
};

/// The interval at which a quiet stream shows that it lives, and looks whether its session does.
pub const BEAT: Duration = Duration::from_secs(10);

/// How long a browser may leave the stream unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// The events that may wait for the browser.
const WAITING: usize = 4;

pub async fn stream(
    visit: Visit,
    State(shared): State<Arc<Shared>>,
    Query(part): Query<Part>,
) -> Result<Response, Failure> {
    if !visit.supervises() {
        return Err(Failure::NotPermitted);
    }
    let (sender, body) = mpsc::channel(WAITING);
    let events = Events::new(sender);
    let hub = shared.hubs.of(&visit.session.organization_id);
    let tab = Tab { visit, shared, part, events, seen: HashMap::new() };
    tokio::spawn(async move { tab.run(hub).await });
    Ok(streamed(body))
}

/// Return a response that streams events.
pub fn streamed(events: mpsc::Receiver<Result<String, Infallible>>) -> Response {
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(events)));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        // nginx would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Sends events to a browser.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Result<String, Infallible>>);

impl Events {
    pub fn new(sender: mpsc::Sender<Result<String, Infallible>>) -> Self {
        Self(sender)
    }

    /// Send events, unless the browser is gone or reads too slowly.
    pub async fn send(&self, events: String) -> Result<(), End> {
        match timeout(PATIENCE, self.0.send(Ok(events))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Connection),
        }
    }

    /// Complete when the browser is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Tell the browser why the stream ends, if its session did.
    pub async fn finish(&self, end: End) {
        match end {
            End::Connection => {}
            // The browser may be gone.
            End::Session => drop(self.send(event("ended", "")).await),
        }
    }
}

/// An open tab.
struct Tab {
    visit: Visit,
    shared: Arc<Shared>,
    part: Part,
    events: Events,
    /// The queues as the tab shows them.
    seen: HashMap<String, Arc<QueueFloor>>,
}

/// Why a stream ends.
pub enum End {
    /// The browser is gone, or too slow, or the floor can't be followed: it connects again.
    Connection,
    /// The session has ended.
    Session,
}

impl Tab {
    async fn run(mut self, hub: Arc<Hub>) {
        let session = Arc::clone(&self.visit.session);
        let events = self.events.clone();
        let end = tokio::select! {
            end = self.follow(&hub) => end,
            () = session.ended() => End::Session,
            () = events.closed() => End::Connection,
        };
        self.events.finish(end).await;
    }

    async fn follow(&mut self, hub: &Hub) -> End {
        let mut floors = hub.subscribe();
        let mut selected: Option<(u64, Selection)> = None;
        loop {
            let floor = Arc::clone(&floors.borrow_and_update());
            let is_loaded = floor.sequence.is_some();
            if is_loaded && !floor.is_connected {
                return End::Connection;
            }
            if is_loaded {
                let is_new = selected.as_ref().is_none_or(|(generation, _)| *generation != floor.generation);
                if is_new {
                    match self.select(&floor, selected.as_ref().map(|(_, selection)| selection)).await {
                        Ok(selection) => selected = Some((floor.generation, selection)),
                        Err(end) => return end,
                    }
                }
                if let Some((_, selection)) = &selected
                    && self.send_changes(&floor, selection).await.is_err()
                {
                    return End::Connection;
                }
            }
            match timeout(BEAT, floors.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Connection,
                Err(_) => {
                    if !self.shared.sessions.is_live(&self.visit.session, self.shared.now()) {
                        return End::Session;
                    }
                    if self.events.send(event("beat", "")).await.is_err() {
                        return End::Connection;
                    }
                }
            }
        }
    }

    /// Select the queues again, because the directory changed. The page loads anew if it now shows others.
    async fn select(&mut self, floor: &Floor, before: Option<&Selection>) -> Result<Selection, End> {
        let present = present_user(&self.shared, &self.visit.session, &self.visit.api).await;
        if present.map_err(|_| End::Connection)?.is_none() {
            return Err(End::Session);
        }
        let selection = Selection::of(floor, &self.visit.session, &self.visit.api, &self.part).await;
        let selection = selection.map_err(|_| End::Connection)?;
        if before.is_some_and(|before| before.shown() != selection.shown()) {
            self.events.send(event("reload", "")).await?;
        }
        Ok(selection)
    }

    async fn send_changes(&mut self, floor: &Floor, selection: &Selection) -> Result<(), End> {
        let rendering = Rendering::of(&self.visit);
        let mut changes = String::new();
        for id in selection.shown() {
            let Some(queue) = floor.queues.get(id) else { continue };
            let seen = self.seen.insert(id.clone(), Arc::clone(queue));
            match seen {
                Some(seen) if Arc::ptr_eq(&seen, queue) => {}
                Some(seen) if seen.queue == queue.queue && has_rows(&seen) && has_rows(queue) => {
                    add_rows(&mut changes, &seen, queue, rendering);
                }
                Some(_) | None => add_event(&mut changes, "queue", &rendering.queue(queue)),
            }
        }
        add_event(&mut changes, "totals", &selection.totals(floor, rendering.text).into_string());
        self.events.send(changes).await
    }
}

/// Add the rows that changed from one state of a queue to another.
fn add_rows(changes: &mut String, from: &QueueFloor, to: &QueueFloor, rendering: Rendering) {
    let id = &to.queue.queue_id;
    for user_id in from.agents.keys().filter(|user_id| !to.agents.contains_key(*user_id)) {
        add_event(changes, "gone", &row_id(id, user_id));
    }
    for (user_id, agent) in &to.agents {
        if from.agents.get(user_id).is_none_or(|before| !Arc::ptr_eq(before, agent)) {
            add_event(changes, "agent", &rendering.row(id, agent));
        }
    }
    add_event(changes, "count", &rendering.count(to).into_string());
}

/// Return an event.
pub fn event(name: &str, data: &str) -> String {
    let mut event = String::new();
    add_event(&mut event, name, data);
    event
}

/// Add an event. A line feed would end its data.
fn add_event(events: &mut String, name: &str, data: &str) {
    events.extend(["event: ", name, "\ndata: "]);
    events.extend(data.split(['\n', '\r']).flat_map(|line| [line, " "]));
    events.push_str("\n\n");
}
