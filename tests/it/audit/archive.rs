//! The archive of the audit log: its exports, and the cuts after them.

use std::time::Duration;

use queuegate::rpc::proto::*;
use tonic::Code;

use super::{events, head, list, revision_before, verify};
use crate::support::{ACME, TestServer, described};

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
    server.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
    let verification = verify(&mut server, Some(deleted)).await;
    assert_eq!(verification.fault, None);
    let request = ListAuditEventsRequest { organization_id: "never-was".into(), ..list() };
    let status = server.client.audit.list_audit_events(request).await.unwrap_err();
    assert_eq!(described(&status).2, ["queuegate.v1.Organization never-was"]);
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
