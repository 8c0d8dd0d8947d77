//! The stream behind an open floor.

use std::time::Duration;

use queuegate::rpc::proto::*;
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    Browser, acme,
    browser::{encoded, unchunked},
};
use crate::support::ACME;

/// An open stream, and everything that it has sent.
struct Stream {
    connection: TcpStream,
    received: String,
    /// The place up to which events were looked for.
    seen: usize,
}

impl Stream {
    async fn open(browser: &Browser, path: &str) -> Self {
        let connection = browser.open("GET", path, &[], "").await;
        Self { connection, received: String::new(), seen: 0 }
    }

    /// Wait for an event with this text after those that were looked at.
    async fn until(&mut self, text: &str) {
        let reading = async {
            loop {
                let body = self.received.split_once("\r\n\r\n").map(|(_, body)| unchunked(body)).unwrap_or_default();
                if let Some(place) = body[self.seen..].find(text) {
                    self.seen += place + text.len();
                    return;
                }
                let mut bytes = [0; 16 * 1024];
                let read = self.connection.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the stream ended without {text:?}: {body}");
                self.received += std::str::from_utf8(&bytes[..read]).unwrap();
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reading).await;
        assert!(reached.is_ok(), "no {text:?} in {}", self.received);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_appears_on_every_open_floor_that_may_see_it() {
    let (mut server, browser) = acme().await;
    let (petra, mut sam) = (browser.enters_as("petra").await, browser.enters_as("sam").await);
    let mut anna = browser.enters_as("anna").await;
    assert_eq!(anna.get("live").await.status, 403);
    let mut of_petra = Stream::open(&petra, "live").await;
    let mut of_sam = Stream::open(&sam, "live").await;
    of_petra.until("id=\"queue-support\"").await;
    of_sam.until("id=\"queue-sales\"").await;
    assert!(of_sam.received.contains("x-accel-buffering: no"));

    let form = [("queue", "sales"), ("user", "cleo"), ("hours", "1")];
    assert_eq!(sam.post("sign-in-agent", &form).await.status, 303);
    of_petra.until("Cleo Martin").await;
    of_sam.until("Cleo Martin").await;
    server.sign_in("bo", "support").await;
    of_petra.until("Bo Lindqvist").await;
    server.sign_out("cleo", "sales").await;
    of_sam.until("Nobody is signed in.").await;
    assert!(!of_sam.received.contains("Bo Lindqvist"), "support isn't in Sam's reach");

    // A change of the settings has no session of its own, but makes sessions retained.
    server.sign_in("bo", "sales").await;
    of_sam.until("Not assigned").await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    of_sam.until("state retained").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_queue_with_agents_sends_the_changed_rows_alone() {
    let (mut server, browser) = acme().await;
    server.sign_in("anna", "sales").await;
    let sam = browser.enters_as("sam").await;
    let mut stream = Stream::open(&sam, "live").await;
    stream.until("event: queue\ndata: <section").await;
    stream.until("Anna Berg").await;
    server.sign_in("bo", "sales").await;
    stream.until("event: agent\ndata: <tr id=\"row-sales/bo\" data-sort=\"bo lindqvist\"").await;
    stream.until("event: count\ndata: <span class=\"count\" id=\"count-sales\">2 signed in</span>").await;
    server.sign_out("anna", "sales").await;
    stream.until("event: gone\ndata: row-sales/anna").await;
    assert_eq!(stream.received.matches("Anna Berg</bdi>").count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_session_and_says_so() {
    let (mut server, browser) = acme().await;
    let mut sam = browser.enters_as("sam").await;
    let mut left = Stream::open(&sam, "live").await;
    left.until("id=\"queue-sales\"").await;
    sam.post("leave", &[]).await;
    left.until("event: ended").await;

    let sam = browser.enters_as("sam").await;
    let mut disabled = Stream::open(&sam, &format!("live?text={}", encoded("sal"))).await;
    disabled.until("id=\"queue-sales\"").await;
    let request = UpdateUserRequest {
        organization_id: ACME.into(),
        user: Some(User { user_id: "sam".into(), disabled: Some(true), ..Default::default() }),
        ..Default::default()
    };
    server.client.directory.update_user(request).await.unwrap();
    disabled.until("event: ended").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_shows_another_list_of_queues_by_loading_anew() {
    let (mut server, browser) = acme().await;
    let petra = browser.enters_as("petra").await;
    let mut stream = Stream::open(&petra, "live").await;
    stream.until("id=\"queue-support\"").await;
    let request = DeleteQueueRequest { organization_id: ACME.into(), queue_id: "support".into(), ..Default::default() };
    server.client.directory.delete_queue(request).await.unwrap();
    stream.until("event: reload").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_follows_the_audit_log() {
    let (mut server, browser) = acme().await;
    let (petra, mut sam) = (browser.enters_as("petra").await, browser.enters_as("sam").await);
    assert_eq!(sam.get("audit-live").await.status, 403);
    let mut all = Stream::open(&petra, "audit-live").await;
    let mut refusals = Stream::open(&petra, "audit-live?allowed=no&user=dan").await;
    all.until("event: beat").await;
    refusals.until("event: beat").await;
    server.sign_in("anna", "sales").await;
    server.sign_in("dan", "sales").await;
    all.until("<bdi>anna</bdi>").await;
    all.until("<bdi>dan</bdi>").await;
    refusals.until("<bdi>dan</bdi>").await;
    assert!(!refusals.received.contains("<bdi>anna</bdi>"));
    server.stop().await;
}
