//! Changes through the pages: sign-in and sign-out by a supervisor, settings, roles and queues.

use queuegate::rpc::proto::*;

use super::acme;
use crate::support::ACME;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_signs_an_agent_in_and_out() {
    let (mut server, browser) = acme().await;
    let mut sam = browser.enters_as("sam").await;
    let page = sam.get("sign-in-agent?queue=sales&text=cl").await;
    page.has("Cleo Martin");
    let request_id = page.field("request_id");
    let form = [
        ("queue", "sales"),
        ("user", "cleo"),
        ("hours", "8"),
        ("justification", "peak <hours>"),
        ("request_id", &request_id),
    ];
    let page = sam.post("sign-in-agent", &form).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let page = sam.get(&page.header("location").replace("#queue-sales", "")).await;
    page.has("Cleo Martin");
    page.has("data-ends=");
    let sessions = server.sessions().await;
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].signed_in_by.as_str(), sessions[0].basis()), ("sam", Basis::Supervisor));
    // The same form again changes nothing.
    assert_eq!(sam.post("sign-in-agent", &form).await.status, 303);
    assert_eq!(server.sessions().await.len(), 1);

    // A refusal stands where the button was.
    let page = sam.post("sign-in-agent", &[("queue", "sales"), ("user", "dan"), ("hours", "8")]).await;
    page.has("class=\"refusal\" role=\"alert\"");
    page.has("Dan Wolf");

    let page = sam.post("sign-out-agent", &[("session", "sales/cleo")]).await;
    assert_eq!(page.status, 303);
    assert!(server.sessions().await.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_has_no_power_over_other_queues() {
    let (mut server, browser) = acme().await;
    server.sign_in("bo", "support").await;
    let mut sam = browser.enters_as("sam").await;
    sam.post("sign-out-agent", &[("session", "support/bo")]).await;
    assert_eq!(sam.post("sign-in-agent", &[("queue", "support"), ("user", "cleo"), ("hours", "1")]).await.status, 403);
    assert_eq!(server.sessions().await.len(), 1, "Bo is still signed in, and Cleo isn't");
    for (path, fields) in [
        ("permissions", &[("unassigned", "restricted")][..]),
        ("assign", &[("user", "sam"), ("role", "contact-admin")]),
        ("license", &[("user", "cleo"), ("license", "yes")]),
        ("queue-new", &[("id", "mine"), ("kind", "inbox")]),
        ("queue", &[("id", "sales"), ("name", "Mine"), ("kind", "inbox")]),
        ("queue-delete", &[("id", "sales")]),
    ] {
        assert_eq!(sam.post(path, fields).await.status, 403, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_sign_out_is_explained_even_when_the_queue_is_out_of_reach() {
    let (mut server, browser) = acme().await;
    server.sign_in("anna", "sales").await;
    let mut sam = browser.enters_as("sam").await;
    sam.get("floor").await.has("value=\"sales/anna\"");
    let request = UnassignRoleRequest {
        organization_id: ACME.into(),
        user: Some(unassign_role_request::User::UserId("sam".into())),
        role: Role::Supervisor.into(),
        queue: Some(unassign_role_request::Queue::QueueId("sales".into())),
        ..Default::default()
    };
    server.client.directory.unassign_role(request).await.unwrap();
    let page = sam.post("sign-out-agent", &[("session", "sales/anna")]).await;
    page.has("class=\"refusal\" role=\"alert\"");
    page.has("Sam Okafor");
    assert_eq!(server.sessions().await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_previewed_and_saved_and_a_stale_form_shows_both_versions() {
    let (mut server, browser) = acme().await;
    server.sign_in("bo", "sales").await;
    let mut petra = browser.enters_as("petra").await;
    let etag = petra.get("permissions").await.field("etag");
    let form = [
        ("etag", etag.as_str()),
        ("unassigned", "restricted"),
        ("supervisor.limit_to_assigned_queues", "on"),
        ("supervisor.view_skills", "on"),
    ];
    let page = petra.post("permissions-preview", &form).await;
    page.has("Sessions that would become retained: 1.");
    page.has("people who signed in to unassigned queues: 1.");
    page.has("see skills and which agents have them");
    assert!(server.check("cleo", "sales").await.allowed(), "nothing is saved yet");
    let request_id = page.field("request_id");
    let mut saved = form.to_vec();
    saved.push(("request_id", &request_id));
    petra.post("permissions", &saved).await.has("The settings are saved.");
    assert!(!server.check("cleo", "sales").await.allowed());
    petra.get("floor").await.has("Retained");

    // The form with the old etag.
    let late = [("etag", etag.as_str()), ("unassigned", "allowed"), ("supervisor.limit_to_assigned_queues", "on")];
    for path in ["permissions-preview", "permissions"] {
        let page = petra.post(path, &late).await;
        assert_eq!(page.status, 409, "{path}");
        page.has("Somebody changed the settings");
        page.has("<th scope=\"row\">View skills</th><td>on</td><td>off</td>");
        assert_ne!(page.field("etag"), etag, "the present etag, to preview again");
    }
    assert!(!server.check("cleo", "sales").await.allowed());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_gives_roles_and_manages_queues_as_the_acting_user() {
    let (mut server, browser) = acme().await;
    let mut petra = browser.enters_as("petra").await;
    let person = petra.get("person?id=cleo").await;
    person.has("A role needs a licence.");
    let license = [("user", "cleo"), ("license", "yes"), ("etag", &person.field("etag"))];
    assert_eq!(petra.post("license", &license).await.header("location"), "person?id=cleo");
    assert_eq!(petra.post("assign", &[("user", "cleo"), ("role", "agent"), ("queue", "802")]).await.status, 303);
    petra.get("person?id=cleo").await.has("Support");
    assert!(server.check("cleo", "support").await.reason() == Reason::Assigned);
    assert_eq!(petra.post("unassign", &[("user", "cleo"), ("role", "agent"), ("queue", "support")]).await.status, 303);
    // A licence can't be taken from a user with a role, and the page says so.
    petra.post("license", &[("user", "anna"), ("license", "no")]).await.has("anna");

    let new = [("id", "night"), ("name", "Night shift"), ("extension", "805"), ("kind", "call-queue")];
    assert_eq!(petra.post("queue-new", &new).await.header("location"), "queue?id=night");
    let page = petra.get("queue?id=night").await;
    page.has("Night shift");
    let etag = page.field("etag");
    let changed = [("id", "night"), ("name", "Nights"), ("extension", "806"), ("kind", "inbox"), ("etag", &etag)];
    assert_eq!(petra.post("queue", &changed).await.status, 303);
    assert_eq!(petra.post("queue", &changed).await.status, 409, "the etag is stale");
    assert_eq!(petra.post("queue-new", &[("id", "Not an id"), ("kind", "inbox")]).await.status, 400);
    let etag = petra.get("queue?id=night").await.field("etag");
    assert_eq!(petra.post("queue-delete", &[("id", "night"), ("etag", &etag)]).await.header("location"), "queues");

    let request =
        ListAuditEventsRequest { organization_id: ACME.into(), actor_user_id: "petra".into(), ..Default::default() };
    let events = server.client.audit.list_audit_events(request).await.unwrap().into_inner().events;
    let done: Vec<_> = events.iter().filter(|event| event.allowed()).map(AuditEvent::action).collect();
    assert_eq!(
        done,
        [
            AuditAction::DeleteQueue,
            AuditAction::UpdateQueue,
            AuditAction::CreateQueue,
            AuditAction::UnassignRole,
            AuditAction::AssignRole,
            AuditAction::UpdateUser,
        ]
    );
    assert!(events.iter().all(|event| event.caller == "console:petra"));
    let page = petra.get("audit?actor=petra").await;
    page.has("Queue deleted");
    let event = page.body.split("event?revision=").nth(2).unwrap().split('"').next().unwrap().to_owned();
    petra.get(&format!("event?revision={event}")).await.has("<bdi>Nights</bdi>");
    // A refused write shows the state that it would have made.
    let mut sam = browser.enters_as("sam").await;
    assert_eq!(sam.post("queue-new", &[("id", "mine"), ("name", "Mine"), ("kind", "inbox")]).await.status, 403);
    let page = petra.get("audit?actor=sam&allowed=no").await;
    let event = page.body.split("event?revision=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let page = petra.get(&format!("event?revision={event}")).await;
    page.has("<th scope=\"col\">Attempted</th>");
    page.has("<bdi>Mine</bdi>");
    let file = petra.get("audit.csv?actor=petra").await;
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"audit.csv\"");
    assert_eq!(file.body.lines().count(), 1 + events.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_green_only_against_a_head_noted_elsewhere() {
    let (mut server, browser) = acme().await;
    let mut petra = browser.enters_as("petra").await;
    let request = GetAuditLogHeadRequest { organization_id: ACME.into(), at_least_revision: String::new() };
    let head = server.client.audit.get_audit_log_head(request).await.unwrap().into_inner().head.unwrap();
    petra.get("verify").await.has(&head.hash);
    let page = petra.post("verify", &[("revision", ""), ("hash", "")]).await;
    page.has("The chain is consistent.");
    assert!(!page.body.contains("class=\"done\""));
    let page = petra.post("verify", &[("revision", &head.revision), ("hash", &head.hash)]).await;
    page.has("class=\"done\"");
    let page = petra.post("verify", &[("revision", &head.revision), ("hash", &"0".repeat(64))]).await;
    page.has("The chain is broken.");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_and_ends_their_own_sessions() {
    let (mut server, browser) = acme().await;
    server.sign_in("anna", "sales").await;
    let mut anna = browser.enters_as("anna").await;
    anna.get("me").await.has("Sales");
    assert_eq!(anna.post("sign-out", &[("queue", "sales")]).await.header("location"), "me");
    assert!(server.sessions().await.is_empty());
    anna.get("me").await.has("You aren't signed in to any queue.");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sets_and_clears_their_own_pin() {
    let (mut server, browser) = acme().await;
    let mut cleo = browser.enters_as("cleo").await;
    let verify = VerifyPinRequest {
        organization_id: ACME.into(),
        user: Some(verify_pin_request::User::UserId("cleo".into())),
        pin: "4711".into(),
    };
    assert!(!cleo.get("me").await.body.contains("class=\"done\""));
    assert_eq!(cleo.post("set-pin", &[("pin", "4711")]).await.status, 303);
    cleo.get("me?pin=set").await.has("Your PIN is set.");
    let answer = server.client.queue_access.verify_pin(verify.clone()).await.unwrap().into_inner();
    assert_eq!(answer.reason(), PinReason::Verified);
    let page = cleo.post("set-pin", &[("pin", "47")]).await;
    assert!(page.status == 400 && !page.body.contains(">47<"), "{} {}", page.status, page.body);
    for _ in 0..2 {
        assert_eq!(cleo.post("clear-pin", &[]).await.status, 303);
    }
    let answer = server.client.queue_access.verify_pin(verify).await.unwrap().into_inner();
    assert_eq!(answer.reason(), PinReason::NotSet);
    server.stop().await;
}
