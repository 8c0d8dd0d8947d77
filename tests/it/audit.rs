//! The audit log: its content, and how it is watched, archived and cut. `model` tests that it is complete, and
//! `tampering` that alterations are found.

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

/// The exported lines, and the last event among them.
async fn export(server: &mut TestServer, before_seconds: Option<i64>) -> (Vec<String>, Option<AuditLogPosition>) {
    let request = ExportAuditLogRequest {
        organization_id: ACME.into(),
        before_time: before_seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
    };
    let mut pieces = server.client.audit.export_audit_log(request).await.unwrap().into_inner();
    let (mut text, mut through) = (Vec::new(), None);
    while let Some(piece) = pieces.message().await.unwrap() {
        text.extend(piece.lines);
        through = piece.through;
    }
    (String::from_utf8(text).unwrap().lines().map(str::to_owned).collect(), through)
}

async fn cut(server: &mut TestServer, through: AuditLogPosition, request_id: &str) -> Result<String, tonic::Status> {
    let request = CutAuditLogRequest {
        organization_id: ACME.into(),
        through_revision: through.revision,
        through_hash: through.hash,
        request_id: request_id.into(),
    };
    Ok(server.client.audit.cut_audit_log(request).await?.into_inner().revision)
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
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
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

#[tokio::test]
async fn what_was_archived_can_be_cut_and_the_chain_goes_on() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    server.clock.advance(Duration::from_secs(3_600));
    let early = head(&mut server).await;
    server.sign_in("bo", "sales").await;
    let first_page = ListAuditEventsRequest { page_size: 1, ..list() };
    let page = server.client.audit.list_audit_events(first_page.clone()).await.unwrap().into_inner();

    // The archive has everything before the hour, as lines with a chain of their own.
    let (lines, through) = export(&mut server, Some(1_800_000_000 + 3_600)).await;
    let through = through.unwrap();
    assert_eq!(through, early);
    let mut previous = "0".repeat(64);
    for line in &lines {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["previous_hash"], previous);
        let tail = format!(r#","previous_hash":"{previous}","hash":{}}}"#, event["hash"]);
        let entry = format!("{}}}", line.strip_suffix(&tail).unwrap());
        let hash = {
            use sha2::{Digest, Sha256};
            let hash = Sha256::digest(format!("{previous}\n{entry}"));
            hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(event["hash"], hash);
        previous = hash;
    }
    assert_eq!(previous, through.hash);

    // A caller without the exported events can't cut them.
    let wrong = AuditLogPosition { hash: "ab".repeat(32), ..through.clone() };
    let status = cut(&mut server, wrong, "").await.unwrap_err();
    assert_eq!(described(&status).2, ["through_hash"]);
    let revision = cut(&mut server, through.clone(), "cut-1").await.unwrap();
    assert_eq!(cut(&mut server, through.clone(), "cut-1").await.unwrap(), revision, "a retry");
    let status = cut(&mut server, through.clone(), "").await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::OutOfRange, "COMPACTED"));

    for _ in 0..2 {
        // Bo's sign-in and the cut remain. The log begins where the archive ends, also after a restart.
        let left = events(&mut server, list()).await;
        let told: Vec<_> = left.iter().map(AuditEvent::action).collect();
        assert_eq!(told, [AuditAction::CutAuditLog, AuditAction::SignIn]);
        assert_eq!(left[0].cut_through.as_ref(), Some(&through));
        let verification = verify(&mut server, Some(through.clone())).await;
        assert_eq!((verification.fault.clone(), verification.cut_through), (None, Some(through.clone())));
        assert_eq!(verification.head.unwrap().revision, left[0].revision);
        let wrong = AuditLogPosition { hash: "ab".repeat(32), ..through.clone() };
        assert!(verify(&mut server, Some(wrong)).await.fault.is_some());

        // No watch starts before the cut, and no list continues across it.
        let before = revision_before(&through.revision);
        let watch =
            WatchSessionsRequest { organization_id: ACME.into(), start_revision: before.clone(), ..Default::default() };
        let status = server.client.queue_access.watch_sessions(watch).await.unwrap_err();
        assert_eq!(described(&status).1, "COMPACTED");
        let watch = WatchAuditEventsRequest { organization_id: ACME.into(), start_revision: before };
        let mut messages = server.client.audit.watch_audit_events(watch).await.unwrap().into_inner();
        messages.message().await.unwrap();
        let status = messages.message().await.unwrap_err();
        assert_eq!(described(&status).1, "COMPACTED");
        let next = ListAuditEventsRequest { page_token: page.next_page_token.clone(), ..first_page.clone() };
        let status = server.client.audit.list_audit_events(next).await.unwrap_err();
        assert_eq!(described(&status).1, "PAGE_TOKEN_EXPIRED");

        server = server.restart().await;
    }
    // The cut events are also removed from the file, in small steps.
    let file = rusqlite::Connection::open(&server.database).unwrap();
    let number = i64::from_str_radix(through.revision.rsplit('-').next().unwrap(), 16).unwrap();
    let left = "SELECT count(*) FROM audit_log WHERE revision <= ?";
    while file.query_row(left, [number], |row| row.get::<_, i64>(0)).unwrap() > 0 {
        server.sign_out("nobody", "nowhere").await;
    }
    // The whole log can be cut, and revisions continue.
    let all = head(&mut server).await;
    let revision = cut(&mut server, all.clone(), "").await.unwrap();
    assert!(revision > all.revision);
    let mut server = server.restart().await;
    assert!(server.sign_in("cleo", "sales").await.revision > revision);
    assert_eq!(verify(&mut server, None).await.fault, None);
}

/// The log of an organization outlives it, and continues if the same id is created again.
#[tokio::test]
async fn the_log_of_a_deleted_organization_stays() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    let request = DeleteOrganizationRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.directory.delete_organization(request).await.unwrap();
    let found = events(&mut server, list()).await;
    assert_eq!((found[0].action(), found[1].action()), (AuditAction::DeleteOrganization, AuditAction::EndSession));
    assert_eq!(found[0].before.as_ref().unwrap().organization.as_ref().unwrap().display_name(), "Acme Support");
    let deleted = head(&mut server).await;
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    let verification = verify(&mut server, Some(deleted)).await;
    assert_eq!(verification.fault, None);
    let request = ListAuditEventsRequest { organization_id: "never-was".into(), ..list() };
    let status = server.client.audit.list_audit_events(request).await.unwrap_err();
    assert_eq!(described(&status).2, ["queuegate.v1.Organization never-was"]);
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

/// The cut part of a long log is hidden immediately, and removed in pieces.
#[tokio::test]
async fn a_long_log_is_cut_at_once_and_removed_in_pieces() {
    let mut server = TestServer::start().await;
    let users: String = (0..3_500).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    server.import(&format!("queues: []\nusers:\n{users}")).await.unwrap();
    let through = head(&mut server).await;
    cut(&mut server, through.clone(), "").await.unwrap();
    let left = events(&mut server, list()).await;
    assert_eq!(left.iter().map(AuditEvent::action).collect::<Vec<_>>(), [AuditAction::CutAuditLog]);
    assert_eq!(verify(&mut server, Some(through)).await.fault, None);
    let file = rusqlite::Connection::open(&server.database).unwrap();
    let left = || file.query_row("SELECT count(*) FROM audit_log", [], |row| row.get::<_, i64>(0)).unwrap();
    for _ in 0..1_000 {
        if left() > 1 {
            server.sign_out("nobody", "nowhere").await;
        }
    }
    assert_eq!(left(), 1);
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

/// Clients that don't read block neither the server nor its stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_that_nobody_reads_are_bounded_and_do_not_keep_the_server_from_stopping() {
    const OF_A_CALLER: usize = 4;
    let mut server = TestServer::start().await;
    let users: String = (0..20_000).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    server.import(&format!("queues: []\nusers:\n{users}")).await.unwrap();
    let request = ExportAuditLogRequest { organization_id: ACME.into(), before_time: None };
    // On their own connection, because unread data blocks all other data on it.
    let mut reader = queuegate::client::Client::connect(&server.address.to_string()).await.unwrap().audit;
    let mut stuck = Vec::new();
    let refused = loop {
        match reader.export_audit_log(request.clone()).await {
            Ok(answers) => stuck.push(answers.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!((stuck.len(), described(&refused).1.as_str()), (OF_A_CALLER, "OVERLOADED"));
    // Exports of the directory are equally expensive, and count together with them.
    let export = ExportDirectoryRequest { organization_id: ACME.into(), ..Default::default() };
    let refused = server.client.directory.export_directory(export).await.unwrap_err();
    assert_eq!(described(&refused).1, "OVERLOADED");
    // Other callers are still served.
    assert!(server.sign_in("u1", "none").await.decision.is_some());
    let (running, client, _folder) = server.ask_to_stop();
    drop(client);
    running.await.unwrap().unwrap();
    // An incomplete export doesn't end like a complete one.
    stuck.truncate(1);
    let ended = loop {
        match stuck[0].message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "{ended:?}");
}
