//! The ways in and out: the picker, one-time links, and the end of a session.

use std::time::Duration;

use queuegate::rpc::proto::*;
use tonic::Code;

use super::acme;
use crate::support::{ACME, Shell, TestServer, described};

async fn link(server: &mut TestServer, user: &str) -> String {
    let user = Some(create_console_link_request::User::UserId(user.to_owned()));
    let request = CreateConsoleLinkRequest { organization_id: ACME.into(), user };
    server.client.console.create_console_link(request).await.unwrap().into_inner().link
}

async fn disable(server: &mut TestServer, user: &str) {
    let request = UpdateUserRequest {
        organization_id: ACME.into(),
        user: Some(User { user_id: user.into(), disabled: Some(true), ..Default::default() }),
        ..Default::default()
    };
    server.client.directory.update_user(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_lets_its_person_in_once() {
    let (mut server, mut browser) = acme().await;
    let (text, _, code) = Shell::new(&server).run("console link sam").await;
    assert_eq!(code, 0);
    let base = format!("http://{}/", browser.address);
    let path = text.trim().strip_prefix(&base).unwrap().to_owned();
    let page = browser.get(&path).await;
    page.has("Sam Okafor");
    let secret = page.field("link");
    // A look doesn't use it up.
    browser.get(&path).await.has("Sam Okafor");
    let page = browser.post("enter", &[("link", &secret)]).await;
    assert_eq!((page.status, page.header("location")), (303, "floor"));
    assert!(page.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    browser.get("me").await.has("Sam Okafor");

    let mut other = super::Browser::new(browser.address);
    let page = other.post("enter", &[("link", &secret)]).await;
    page.has("This link was used");
    assert_eq!(page.header("set-cookie"), "");
    other.get(&path).await.has("This link was used");

    let late = link(&mut server, "petra").await;
    server.clock.advance(Duration::from_secs(5 * 60));
    other.get(late.strip_prefix(&base).unwrap()).await.has("This link was used");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_needs_a_console_and_a_user() {
    let mut server = TestServer::acme().await;
    let user = |id: &str| Some(create_console_link_request::User::UserId(id.to_owned()));
    let request = CreateConsoleLinkRequest { organization_id: ACME.into(), user: user("sam") };
    let status = server.client.console.create_console_link(request).await.unwrap_err();
    let (code, reason, _) = described(&status);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "CONSOLE_OFF"));
    server.stop().await;
    let (mut server, _) = acme().await;
    let request = CreateConsoleLinkRequest { organization_id: ACME.into(), user: user("nobody") };
    assert_eq!(server.client.console.create_console_link(request).await.unwrap_err().code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_user_and_by_leaving_and_after_eight_idle_hours() {
    let (mut server, browser) = acme().await;
    let (mut sam, mut petra) = (browser.enters_as("sam").await, browser.enters_as("petra").await);
    let mut gone = petra.clone();
    assert_eq!(sam.get("floor").await.status, 200);
    disable(&mut server, "sam").await;
    for path in ["floor", "live", "me"] {
        let page = sam.get(path).await;
        assert_eq!((page.status, page.header("location")), (303, "enter"), "{path}");
    }
    // Nor can a disabled user enter.
    assert_eq!(sam.post("enter", &[("organization", "acme"), ("user", "sam")]).await.status, 403);

    assert_eq!(petra.post("leave", &[]).await.header("location"), "enter");
    assert_eq!(gone.get("floor").await.header("location"), "enter", "the cookie is worth nothing any more");

    let mut petra = browser.enters_as("petra").await;
    server.clock.advance(Duration::from_secs(8 * 60 * 60 - 1));
    assert_eq!(petra.get("me").await.status, 200);
    server.clock.advance(Duration::from_secs(8 * 60 * 60));
    assert_eq!(petra.get("me").await.header("location"), "enter");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picker_warns_and_shows_administrators_and_supervisors_first() {
    let (server, mut browser) = acme().await;
    let page = browser.get("").await;
    assert_eq!(page.header("location"), "floor");
    let page = browser.get("enter").await;
    page.has("Nobody is authenticated here");
    let places: Vec<_> = ["Petra Novak", "Sam Okafor", "Anna Berg"].iter().map(|name| page.body.find(name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    browser.get("enter?organization=acme&text=cl").await.has("Cleo Martin");
    // The disabled are left out.
    assert!(!browser.get("enter?organization=acme&text=dan").await.body.contains("Dan Wolf"));
    server.stop().await;
}
