//! Backup, restore, and the integrity check of a backup. After a restore, no older revision, token or etag is misread,
//! and the older log can still be verified.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use queuegate::{rpc::proto::*, store::sqlite::Store};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    durability::{Process, get, prepare},
    support::{ACME, ManualClock, TestServer, described, program, sign_in},
};

/// The output of a command, and its exit code.
fn run(arguments: &[&str], paths: &[&Path]) -> (String, i32) {
    let (command, flags) = arguments.split_first().unwrap();
    let output = program().arg(command).args(paths).args(flags).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (text, output.status.code().unwrap())
}

fn back_up(database: &Path, file: &Path) -> (String, i32) {
    run(&["backup", "--database", database.to_str().unwrap()], &[file])
}

fn restore(file: &Path, database: &Path) -> (String, i32) {
    run(&["restore", "--database", database.to_str().unwrap()], &[file])
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Backups are made during writes, and each has every write that was acknowledged before it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_others_write_has_what_was_acknowledged_before() {
    const USERS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("served.db");
    let server = prepare(Process::start(&database), USERS).await;
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    let client = server.client().await;
    let writing = {
        let (mut client, acknowledged) = (client.queue_access.clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for number in 0..USERS {
                let user = format!("u{number}");
                let session = client.sign_in(sign_in(&user, "sales")).await.unwrap().into_inner().session.unwrap();
                acknowledged.lock().unwrap().push((user, session.session_id));
            }
        })
    };
    let mut copies = 0;
    while !writing.is_finished() || copies == 0 {
        let before = acknowledged.lock().unwrap().clone();
        let file = folder.path().join(format!("{copies}.backup"));
        let (text, code) = back_up(&database, &file);
        assert!(code == 0 && text.contains("whole"), "{text}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let restored = folder.path().join(format!("{copies}.db"));
        let (text, code) = restore(&file, &restored);
        assert!(code == 0, "{text}");
        let state = Store::open(&restored, 0).unwrap().load().unwrap();
        let organization = state.organization(ACME).unwrap();
        for (user, session_id) in &before {
            let session = organization.recorded_session(user, "sales").unwrap_or_else(|| panic!("{user} is missing"));
            assert_eq!(session.session_id.as_str(), session_id);
        }
        copies += 1;
    }
    writing.await.unwrap();
    drop(server);
    assert!(names(folder.path()).iter().all(|name| !name.contains(".partial")), "{:?}", names(folder.path()));
    println!("{copies} backups while {USERS} users signed in");
}

#[tokio::test]
async fn nothing_is_written_over_and_nothing_is_made_of_what_is_broken() {
    let server = TestServer::acme().await;
    let database = server.database.clone();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(back_up(&database, &at("good")).1, 0);
    assert_eq!(names(folder.path()), ["good"]);

    let before = std::fs::read(at("good")).unwrap();
    let (text, code) = back_up(&database, &at("good"));
    assert!(code == 2 && text.contains("is not overwritten"), "{text}");
    let (text, code) = restore(&at("good"), &database);
    assert!(code == 2 && text.contains("in use by another queuegate process"), "{text}");
    let (text, code) = restore(&at("good"), &at("good"));
    assert!(code == 2 && text.contains("is not overwritten; move it away"), "{text}");
    let (text, code) = back_up(&at("missing"), &at("copy"));
    assert!(code == 2 && text.contains("holds no queuegate database"), "{text}");
    let (text, code) = restore(&at("missing"), &at("copy"));
    assert!(code == 2 && text.contains("holds no queuegate database"), "{text}");
    // SQLite would take a leftover log of another database for this one's.
    std::fs::write(at("copy-wal"), "a log").unwrap();
    let (text, code) = restore(&at("good"), &at("copy"));
    assert!(code == 2 && text.contains("copy-wal` exists"), "{text}");
    std::fs::remove_file(at("copy-wal")).unwrap();

    let mut bytes = before.clone();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xa5);
    std::fs::write(at("bad"), bytes).unwrap();
    std::fs::write(at("cut"), &before[..before.len() - 5_000]).unwrap();
    for bad in ["bad", "cut"] {
        let (text, code) = run(&["verify"], &[&at(bad)]);
        assert!(code == 1 && text.starts_with("broken"), "{bad}: {text}");
        let (text, code) = restore(&at(bad), &at("copy"));
        assert!(code == 2 && text.contains("is damaged"), "{bad}: {text}");
    }
    std::fs::write(at("foreign"), "not a database at all").unwrap();
    for command in [&["verify"][..], &["restore", "--database", at("copy").to_str().unwrap()]] {
        let (text, code) = run(command, &[&at("foreign")]);
        assert!(code == 2 && text.contains("not a queuegate database"), "{text}");
    }
    assert_eq!(names(folder.path()), ["bad", "cut", "foreign", "good"]);
    assert!(std::fs::read(at("good")).unwrap() == before);
}

/// `verify` compares the tables with the replayed log, which nothing else does.
#[tokio::test]
async fn a_state_that_the_log_did_not_lead_to_is_found() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    let database = server.database.clone();
    let (_folder, _) = server.stop().await;
    let verify = || run(&["verify", "--json"], &[&database]);
    let (text, code) = verify();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(code == 0 && found["whole"] == true && found["replayed_organizations"] == 1, "{text}");
    for (alter, mend) in [
        (
            "UPDATE user SET display_name = 'Eve' WHERE user_id = 'anna'",
            "UPDATE user SET display_name = 'Anna Berg' WHERE user_id = 'anna'",
        ),
        ("UPDATE session SET device = 'x'", "UPDATE session SET device = ''"),
        ("UPDATE permission_setting SET is_on = 1 - is_on", "UPDATE permission_setting SET is_on = 1 - is_on"),
    ] {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.execute(alter, []).unwrap();
        let (text, code) = verify();
        assert!(code == 1 && text.contains("differ from the replayed audit log"), "{alter}: {text}");
        connection.execute(mend, []).unwrap();
        assert_eq!(verify().1, 0, "{mend}");
    }
}

/// A restored database, and a server on it.
async fn restored(file: &Path, clock: Arc<ManualClock>) -> TestServer {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let (text, code) = restore(file, &folder.path().join("test.db"));
    assert!(code == 0 && text.contains("earlier revisions and page tokens are refused"), "{text}");
    TestServer::start_in(folder, clock).await
}

async fn head(server: &mut TestServer) -> AuditLogPosition {
    let request = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.audit.get_audit_log_head(request).await.unwrap().into_inner().head.unwrap()
}

fn audit(server: &TestServer, arguments: &[&str]) -> (String, i32) {
    let address = format!("http://{}", server.address);
    let output =
        program().arg("audit").args(arguments).args(["--server", &address, "--organization", ACME]).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (text, output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_nothing_from_before_is_misread_and_the_record_still_holds() {
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { files.path().join(name) };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut server = TestServer::acme().await;
    let repeated = SignInRequest { request_id: "once".into(), ..sign_in("anna", "sales") };
    let first = server.client.queue_access.sign_in(repeated.clone()).await.unwrap().into_inner();
    let noted = head(&mut server).await;
    let (said, code) = audit(&server, &["export", "--output", &text(&at("old.jsonl"))]);
    assert_eq!(code, 0, "{said}");
    let list = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 2, ..Default::default() };
    let page = server.client.audit.list_audit_events(list.clone()).await.unwrap().into_inner();
    assert_eq!(back_up(&server.database, &at("backup")).1, 0);

    // The restore loses a request with its session, settings with an etag, and a head.
    let lost_request = SignInRequest { request_id: "lost".into(), ..sign_in("bo", "sales") };
    assert!(server.client.queue_access.sign_in(lost_request.clone()).await.unwrap().into_inner().created);
    let lost_settings = server.set(UnassignedQueueSignIn::Restricted).await;
    let lost_etag = lost_settings.settings.unwrap().etag;
    let lost_head = head(&mut server).await;
    let (_folder, clock) = server.stop().await;

    let mut server = restored(&at("backup"), Arc::clone(&clock)).await;
    // A repeated request from before the backup has its first outcome, with a current revision.
    let again = server.client.queue_access.sign_in(repeated.clone()).await.unwrap().into_inner();
    assert_eq!((&again.session, again.created), (&first.session, first.created));
    assert!(again.revision != first.revision && again.revision[26..] == first.revision[26..]);

    // Until more has happened than was lost, nothing from the lost time is mistaken for something new.
    for round in 0..4 {
        let update = UpdatePermissionSettingsRequest {
            organization_id: ACME.into(),
            settings: Some(PermissionSettings { etag: lost_etag.clone(), ..Default::default() }),
            ..Default::default()
        };
        let status = server.client.permission.update_permission_settings(update).await.unwrap_err();
        assert_eq!(described(&status).0, Code::Aborted, "round {round}");
        for revision in [&lost_settings.revision, &first.revision] {
            let get = GetSessionRequest {
                organization_id: ACME.into(),
                user: Some(get_session_request::User::UserId("anna".into())),
                queue: Some(get_session_request::Queue::QueueId("sales".into())),
                at_least_revision: revision.clone(),
            };
            let status = server.client.queue_access.get_session(get).await.unwrap_err();
            assert_eq!(
                (described(&status).0, described(&status).2),
                (Code::InvalidArgument, vec!["at_least_revision".into()])
            );
            let watch = WatchSessionsRequest {
                organization_id: ACME.into(),
                start_revision: revision.clone(),
                ..Default::default()
            };
            let status = server.client.queue_access.watch_sessions(watch).await.unwrap_err();
            assert_eq!(described(&status).0, Code::InvalidArgument);
            let watch = WatchAuditEventsRequest { organization_id: ACME.into(), start_revision: revision.clone() };
            let status = server.client.audit.watch_audit_events(watch).await.unwrap_err();
            assert_eq!(described(&status).0, Code::InvalidArgument);
        }
        let next = ListAuditEventsRequest { page_token: page.next_page_token.clone(), ..list.clone() };
        let status = server.client.audit.list_audit_events(next).await.unwrap_err();
        assert_eq!(described(&status).0, Code::InvalidArgument);
        // A head that was saved before the backup is in the log; a head from the lost time is not.
        let position = |noted: &AuditLogPosition| format!("{}:{}", noted.revision, noted.hash);
        let (said, code) = audit(&server, &["verify", "--expected-head", &position(&noted)]);
        assert!(code == 0 && said.starts_with("whole"), "{said}");
        let (said, code) = audit(&server, &["verify", "--expected-head", &position(&lost_head)]);
        assert!(code == 1 && said.contains("a backup was restored since"), "{said}");
        let (said, code) = audit(&server, &["verify", "--archive", &text(&at("old.jsonl"))]);
        assert!(code == 0 && said.starts_with("whole"), "{said}");
        server
            .set(if round % 2 == 0 { UnassignedQueueSignIn::Restricted } else { UnassignedQueueSignIn::Allowed })
            .await;
    }

    // The lost request is executed now.
    server.set(UnassignedQueueSignIn::Allowed).await;
    assert!(server.client.queue_access.sign_in(lost_request).await.unwrap().into_inner().created);

    // A watch that resumes from a current revision sends events of every epoch.
    let epoch = |revision: &str| revision[17..25].to_owned();
    assert_eq!(epoch(&first.revision), "00000001");
    let start = format!("{}-0000000000000001", &again.revision[..25]);
    let watch = WatchAuditEventsRequest { organization_id: ACME.into(), start_revision: start };
    let mut events = server.client.audit.watch_audit_events(watch).await.unwrap().into_inner();
    let told = loop {
        let told = events.message().await.unwrap().unwrap();
        if told.event.is_some() {
            break told;
        }
    };
    assert_eq!(told.revision, format!("{}-0000000000000002", &again.revision[..25]));

    // Once more, with a database that has two epochs; and the log is cut across them.
    assert_eq!(back_up(&server.database, &at("second")).1, 0);
    let (_folder, _) = server.stop().await;
    let mut server = restored(&at("second"), clock).await;
    let third = server.sign_out("anna", "sales").await.revision;
    assert!(epoch(&third) > epoch(&again.revision));
    let (said, code) = audit(&server, &["export", "--cut", "--output", &text(&at("new.jsonl"))]);
    assert_eq!(code, 0, "{said}");
    server.sign_in("anna", "sales").await;
    let (said, code) = audit(&server, &["verify", "--archive", &text(&at("new.jsonl"))]);
    assert!(code == 0 && said.starts_with("whole"), "{said}");
    let position = format!("{}:{}", noted.revision, noted.hash);
    let archive = text(&at("new.jsonl"));
    let (said, code) = audit(&server, &["verify", "--archive", &archive, "--expected-head", &position]);
    assert!(code == 0 && said.starts_with("whole"), "{said}");
    let (said, code) = run(&["verify"], &[&server.database]);
    assert!(code == 0 && said.contains("was cut"), "{said}");
}

/// Two restores of the same backup give two databases that refuse each other's revisions.
#[tokio::test]
async fn two_databases_of_one_backup_are_told_apart() {
    let server = TestServer::acme().await;
    let files = tempfile::tempdir().unwrap();
    let backup = files.path().join("backup");
    assert_eq!(back_up(&server.database, &backup).1, 0);
    let of = |second: i64| {
        let database = files.path().join(second.to_string());
        let now = queuegate::domain::time::Timestamp::from_unix_ms(second * 1_000);
        queuegate::store::restore(&backup, &database, now, |_, _| {}).unwrap();
        Store::open(&database, 0).unwrap().lineage()
    };
    let (first, second) = (of(1_800_000_000), of(1_800_000_001));
    assert_eq!(first.store_id, second.store_id);
    assert!(1 < first.epoch && first.epoch < second.epoch);
    // Revisions still increase with a useless clock.
    assert_eq!(of(0).epoch, 2);
}

/// The restore of a database from an earlier version also migrates it.
#[tokio::test]
async fn a_backup_of_the_first_schema_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.db"), folder.path().join("test.db"));
    let connection = rusqlite::Connection::open(&old).unwrap();
    connection.execute_batch(include_str!("../../src/store/sqlite/migrations/1_schema.sql")).unwrap();
    connection
        .execute_batch(
            "PRAGMA application_id = 0x51474154; PRAGMA user_version = 1; \
             INSERT INTO store VALUES (1, '00000000000000aa', 1); \
             INSERT INTO organization VALUES ('acme', 'Acme', 'ALLOWED', 1); \
             INSERT INTO user VALUES ('acme', 'anna', 'Anna', '101', 0, 0); \
             INSERT INTO queue VALUES ('acme', 'sales', 'Sales', '801', 'CALL_QUEUE'); \
             INSERT INTO change_log VALUES (1, 0, 'acme', 'ORGANIZATION_CREATED', '{}')",
        )
        .unwrap();
    connection.close().unwrap();
    let (text, code) = run(&["verify"], &[&old]);
    assert!(code == 2 && text.contains("has schema 1"), "{text}");
    let before = std::fs::read(&old).unwrap();
    assert_eq!(restore(&old, &new).1, 0);
    assert!(std::fs::read(&old).unwrap() == before);
    let server = Process::start(&new);
    assert!(get(&mut server.client().await.queue_access, "anna").await.is_none());
}
