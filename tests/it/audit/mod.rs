//! The audit log: its content, and how it is watched. `archive` tests how it is exported and cut. `model` tests that it is complete, and
//! `tampering` that alterations are found.

mod archive;

use std::time::Duration;

use queuegate::rpc::proto::*;
use tonic::Code;

use crate::support::{ACME, TestServer, described, sign_in};

fn list() -> ListAuditEventsRequest {
    ListAuditEventsRequest { organization_id: ACME.into(), ..Default::default() }
}

async fn events(server: &mut TestServer, request: ListAuditEventsRequest) -> Vec<AuditEvent> {
    server.client.audit.list_audit_events(request).await.unwrap().into_inner().events
}

pub async fn verify(server: &mut TestServer, expected: Option<AuditLogPosition>) -> AuditLogVerification {
    let expected = expected.unwrap_or_default();
    let request = VerifyAuditLogRequest {
        organization_id: ACME.into(),
        expected_revision: expected.revision,
        expected_hash: expected.hash,
    };
    let mut answers = server.client.audit.verify_audit_log(request).await.unwrap().into_inner();
    loop {
        if let Some(verification) = answers.message().await.unwrap().unwrap().verification {
            return verification;
        }
    }
}

async fn head(server: &mut TestServer) -> AuditLogPosition {
    let request = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.audit.get_audit_log_head(request).await.unwrap().into_inner().head.unwrap()
}

/// The revision before this one.
fn revision_before(revision: &str) -> String {
    let (lineage, number) = revision.rsplit_once('-').unwrap();
    format!("{lineage}-{:016x}", u64::from_str_radix(number, 16).unwrap() - 1)
}

/// "Why couldn't Cleo sign in to Sales?"
#[tokio::test]
async fn a_refused_sign_in_is_told_with_its_reason() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let request = SignInRequest { device: "PJSIP/103".into(), ..sign_in("cleo", "sales") };
    let refused = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
    let request = ListAuditEventsRequest {
        user: Some(list_audit_events_request::User::UserExtension("103".into())),
        queue: Some(list_audit_events_request::Queue::QueueExtension("801".into())),
        allowed: Some(false),
        ..list()
    };
    let found = events(&mut server, request).await;
    let [event] = found.as_slice() else { panic!("{found:?}") };
    let expected = AuditEvent {
        revision: refused.revision,
        time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        organization_id: ACME.into(),
        caller: "ip:127.0.0.1".into(),
        actor_user_id: "cleo".into(),
        action: AuditAction::SignIn.into(),
        allowed: Some(false),
        user_id: "cleo".into(),
        queue_id: "sales".into(),
        reason: Reason::UnassignedRestricted.into(),
        explanation: "Cleo Martin (103) isn't assigned to Sales (801), and this organization restricts sign-in to \
                      assigned queues."
            .into(),
        channel: Channel::FeatureCode.into(),
        device: "PJSIP/103".into(),
        hash: event.hash.clone(),
        ..Default::default()
    };
    assert_eq!(*event, expected);
}

#[tokio::test]
async fn a_change_is_told_with_what_was_before_and_after() {
    let mut server = TestServer::acme().await;
    let session = server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(60))).await.session.unwrap();
    let user = User { user_id: "cleo".into(), disabled: Some(true), ..Default::default() };
    let request = UpdateUserRequest { organization_id: ACME.into(), user: Some(user), ..Default::default() };
    server.client.directory.update_user(request).await.unwrap();
    let found = events(&mut server, ListAuditEventsRequest { page_size: 3, ..list() }).await;
    let told: Vec<_> = found.iter().map(|event| (event.action(), event.actor_user_id.as_str())).collect();
    let expected =
        [(AuditAction::UpdateUser, ""), (AuditAction::EndSession, ""), (AuditAction::SupervisorSignIn, "sam")];
    assert_eq!(told, expected);
    let disabled = |state: &Option<AuditState>| state.as_ref().unwrap().user.as_ref().unwrap().disabled;
    assert_eq!((disabled(&found[0].before), disabled(&found[0].after)), (Some(false), Some(true)));
    let end = |state: &Option<AuditState>| state.as_ref().unwrap().session.as_ref().unwrap().end_reason();
    assert_eq!((end(&found[1].before), end(&found[1].after)), (EndReason::Unspecified, EndReason::UserDisabled));
    assert_eq!((found[2].reason(), found[2].justification.as_str()), (Reason::SupervisorSignIn, "for a test"));
    assert!(found[2].before.is_none());
    assert_eq!(found[2].after.as_ref().unwrap().session.as_ref().unwrap().session_id, session.session_id);
}

/// Deleting a queue removes the roles on it, and each removal is recorded.
#[tokio::test]
async fn the_roles_that_go_with_a_queue_are_told_singly() {
    let mut server = TestServer::acme().await;
    let request = DeleteQueueRequest { organization_id: ACME.into(), queue_id: "sales".into(), ..Default::default() };
    server.client.directory.delete_queue(request).await.unwrap();
    let found = events(&mut server, ListAuditEventsRequest { page_size: 3, ..list() }).await;
    let told: Vec<_> = found.iter().map(|event| (event.action(), event.user_id.as_str(), event.role())).collect();
    let expected = [
        (AuditAction::DeleteQueue, "", Role::Unspecified),
        (AuditAction::UnassignRole, "sam", Role::Supervisor),
        (AuditAction::UnassignRole, "anna", Role::Agent),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_changes_nothing_is_not_told() {
    let mut server = TestServer::acme().await;
    assert!(server.sign_in("anna", "sales").await.created);
    let before = head(&mut server).await;
    // No changes: already signed in, already set, nothing to end, already assigned, only checked.
    assert!(!server.sign_in("anna", "sales").await.created);
    server.set(UnassignedQueueSignIn::Allowed).await;
    assert!(server.sign_out("bo", "sales").await.ended_sessions.is_empty());
    server.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
    server.check("cleo", "front-desk").await;
    // Not executed at all.
    let missing = DeleteUserRequest { organization_id: ACME.into(), user_id: "nobody".into(), ..Default::default() };
    server.client.directory.delete_user(missing).await.unwrap_err();
    assert_eq!(head(&mut server).await, before);
}

#[tokio::test]
async fn a_repeated_request_is_told_once() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let request = SignInRequest { request_id: "once".into(), ..sign_in("cleo", "sales") };
    let first = server.client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    let before = head(&mut server).await;
    let again = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
    assert_eq!((first.revision, head(&mut server).await), (again.revision, before));
}

#[tokio::test]
async fn filters_narrow_the_list_and_pages_hang_together() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    for (user, queue) in [("anna", "sales"), ("cleo", "sales"), ("bo", "support"), ("dan", "sales"), ("cleo", "chat")] {
        server.clock.advance(Duration::from_secs(60));
        server.sign_in(user, queue).await;
    }
    let at = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 });
    let user = |id: &str| Some(list_audit_events_request::User::UserId(id.into()));
    let queue = |id: &str| Some(list_audit_events_request::Queue::QueueId(id.into()));
    let signing = ListAuditEventsRequest { action: AuditAction::SignIn.into(), ..list() };
    for (request, expected) in [
        (signing.clone(), "cleo dan bo cleo anna"),
        (ListAuditEventsRequest { allowed: Some(true), ..signing.clone() }, "bo anna"),
        (ListAuditEventsRequest { allowed: Some(false), ..signing.clone() }, "cleo dan cleo"),
        (ListAuditEventsRequest { user: user("cleo"), ..signing.clone() }, "cleo cleo"),
        (ListAuditEventsRequest { queue: queue("sales"), ..signing.clone() }, "dan cleo anna"),
        (ListAuditEventsRequest { user: user("cleo"), queue: queue("sales"), ..signing.clone() }, "cleo"),
        (ListAuditEventsRequest { actor_user_id: "bo".into(), ..list() }, "bo"),
        (ListAuditEventsRequest { start_time: at(120), end_time: at(240), ..signing.clone() }, "bo cleo"),
        (ListAuditEventsRequest { start_time: at(300), ..signing.clone() }, "cleo"),
        (ListAuditEventsRequest { user: user("nobody"), ..list() }, ""),
    ] {
        let whole = events(&mut server, ListAuditEventsRequest { page_size: 1_000, ..request.clone() }).await;
        let users: Vec<&str> = whole.iter().map(|event| event.user_id.as_str()).filter(|id| *id != "petra").collect();
        assert_eq!(users.join(" "), expected);
        let mut request = ListAuditEventsRequest { page_size: 2, ..request };
        let mut found = Vec::new();
        loop {
            let page = server.client.audit.list_audit_events(request.clone()).await.unwrap().into_inner();
            assert!(page.events.len() <= 2);
            found.extend(page.events);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            // Later events are not part of the list.
            server.sign_in("petra", "sales").await;
        }
        assert_eq!(found, whole);
    }
}

/// Events with an extension that no user had are found by that extension, together with the events of its current user.
#[tokio::test]
async fn a_name_that_nobody_had_is_found_as_it_was_given() {
    let mut server = TestServer::acme().await;
    let request = SignInRequest {
        user: Some(sign_in_request::User::UserExtension("999".into())),
        queue: Some(sign_in_request::Queue::QueueExtension("888".into())),
        ..sign_in("", "")
    };
    server.client.queue_access.sign_in(request).await.unwrap();
    let by_extension = || ListAuditEventsRequest {
        user: Some(list_audit_events_request::User::UserExtension("999".into())),
        ..list()
    };
    let found = events(&mut server, by_extension()).await;
    let told = |event: &AuditEvent| {
        (event.user_id.clone(), event.user_extension.clone(), event.queue_extension.clone(), event.reason())
    };
    let unknown = (String::new(), "999".to_owned(), "888".to_owned(), Reason::UnknownUser);
    assert_eq!(found.iter().map(told).collect::<Vec<_>>(), [unknown]);
    let user = User { user_id: "new".into(), extension: Some("999".into()), ..Default::default() };
    let request = CreateUserRequest { organization_id: ACME.into(), user: Some(user), ..Default::default() };
    server.client.directory.create_user(request).await.unwrap();
    assert_eq!(events(&mut server, by_extension()).await.len(), 2);
}

/// Refused while the store can't be written to: the caller is told UNAVAILABLE, and nothing is recorded.
#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_not_given() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let before = head(&mut server).await;
    let other = rusqlite::Connection::open(&server.database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let status = server.client.queue_access.sign_in(sign_in("cleo", "sales")).await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unavailable, "NOT_WRITABLE"));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(head(&mut server).await, before);
    assert!(!server.sign_in("cleo", "sales").await.decision.unwrap().allowed());
    assert_ne!(head(&mut server).await, before);
    assert_eq!(verify(&mut server, Some(before)).await.fault, None);
}

#[tokio::test]
async fn a_watch_tells_each_event_once_and_resumes_anywhere() {
    let mut server = TestServer::acme().await;
    let request = WatchAuditEventsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = server.client.audit.watch_audit_events(request.clone()).await.unwrap().into_inner();
    let begins = watch.message().await.unwrap().unwrap();
    assert!(begins.event.is_none());
    let users = ["anna", "bo", "dan", "cleo", "anna", "sam", "petra", "nobody", "bo"];
    for user in users {
        server.sign_in(user, "support").await;
        server.sign_out(user, "support").await;
    }
    let expected: Vec<AuditEvent> = {
        let mut events = events(&mut server, ListAuditEventsRequest { page_size: 1_000, ..list() }).await;
        events.retain(|event| event.revision > begins.revision);
        events.reverse();
        events
    };
    assert_eq!(expected.len(), 7 * 2 + 2);
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let message = watch.message().await.unwrap().unwrap();
        let event = message.event.unwrap();
        assert_eq!(event.revision, message.revision);
        found.push(event);
    }
    assert_eq!(found, expected);
    for (index, event) in expected.iter().enumerate() {
        let request = WatchAuditEventsRequest { start_revision: event.revision.clone(), ..request.clone() };
        let mut watch = server.client.audit.watch_audit_events(request).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().revision, event.revision);
        for after in &expected[index + 1..] {
            assert_eq!(watch.message().await.unwrap().unwrap().event.as_ref(), Some(after));
        }
    }
}

#[tokio::test]
async fn a_drained_server_says_where_to_resume() {
    let mut server = TestServer::acme().await;
    let request = WatchAuditEventsRequest { organization_id: ACME.into(), ..Default::default() };
    let mut watch = server.client.audit.watch_audit_events(request).await.unwrap().into_inner();
    let revision = watch.message().await.unwrap().unwrap().revision;
    let (running, client, _folder) = server.ask_to_stop();
    let status = watch.message().await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unavailable, "DRAINING"));
    assert!(status.message().contains(&revision), "{}", status.message());
    drop(client);
    running.await.unwrap().unwrap();
}

/// Each organization has its own chain.
#[tokio::test]
async fn organizations_do_not_see_each_others_events() {
    let mut server = TestServer::acme().await;
    let organization = Organization { organization_id: "other".into(), ..Default::default() };
    let request = CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
    server.client.directory.create_organization(request).await.unwrap();
    server.sign_in("anna", "sales").await;
    let other = events(&mut server, ListAuditEventsRequest { organization_id: "other".into(), ..list() }).await;
    assert_eq!(other.len(), 1);
    assert!(events(&mut server, list()).await.iter().all(|event| event.organization_id == ACME));
    assert_eq!(verify(&mut server, None).await.fault, None);
}

/// A thousand events of the largest size exceed one message: the page is shorter, and no event is lost.
#[tokio::test]
async fn large_events_make_a_page_shorter_and_lose_nothing() {
    let mut server = TestServer::acme().await;
    for number in 0..600 {
        let request = SupervisorSignInRequest {
            organization_id: ACME.into(),
            supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId("anna".into())),
            user: Some(supervisor_sign_in_request::User::UserId("cleo".into())),
            queue: Some(supervisor_sign_in_request::Queue::QueueId("sales".into())),
            justification: format!("{number}{}", "\u{1F4DE}".repeat(990)),
            ..Default::default()
        };
        server.client.queue_access.supervisor_sign_in(request).await.unwrap();
    }
    let mut request = ListAuditEventsRequest { page_size: 1_000, ..list() };
    let mut pages = Vec::new();
    loop {
        let page = server.client.audit.list_audit_events(request.clone()).await.unwrap().into_inner();
        pages.push(page.events.len());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(pages.len() > 1 && pages.iter().sum::<usize>() == 600 + 17, "{pages:?}");
}

/// An unreadable event is named, and the log message points to the rpc that says more.
#[tokio::test]
async fn a_damaged_event_is_named() {
    let mut server = TestServer::acme().await;
    let file = rusqlite::Connection::open(&server.database).unwrap();
    file.execute("UPDATE audit_log SET entry = 'x' WHERE revision = 3", []).unwrap();
    let status = server.client.audit.list_audit_events(list()).await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::DataLoss, "DAMAGED_EVENT"));
    assert!(status.message().contains("event 0000000000000003") && status.message().contains("VerifyAuditLog"));
    let fault = verify(&mut server, None).await.fault.unwrap();
    assert!(fault.revision.ends_with("-0000000000000003"), "{fault:?}");
    let newest = ListAuditEventsRequest { page_size: 5, ..list() };
    assert_eq!(events(&mut server, newest).await.len(), 5, "those before it are listed");
}

/// With a filter that few events match, no call reads the whole log, and the pages lose no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_looks_at_so_many_events_and_the_next_goes_on() {
    let mut server = TestServer::start().await;
    server.import("queues: [{ queue_id: sales, kind: CALL_QUEUE }]\nusers: [{ user_id: first }]\n").await.unwrap();
    server.sign_in("first", "sales").await;
    let users: String = (0..51_000).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    server.import(&format!("users:\n{users}")).await.unwrap();
    let mut request = ListAuditEventsRequest { action: AuditAction::SignIn.into(), ..list() };
    let (mut pages, mut found) = (0, Vec::new());
    loop {
        let page = server.client.audit.list_audit_events(request.clone()).await.unwrap().into_inner();
        pages += 1;
        found.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((pages, found.len()), (2, 1), "the first page has only a token");
}
