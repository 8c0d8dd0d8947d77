//! What was acknowledged is there, whatever happens to the process; and no file is used that shouldn't be.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use queuegate::{client::Client, domain::ids::Sequence, domain::snapshot::Snapshot, rpc::proto::*, store::Store};

use crate::support::{ACME, program, sign_in, until_serving};

/// The built program, serving.
pub struct Process {
    pub child: Child,
    address: String,
}

impl Process {
    pub fn start(database: &Path) -> Self {
        Self::start_by(Command::new(program()), database)
    }

    /// Like [`Process::start`], with a command that runs the program, such as one that sets something before.
    pub fn start_by(mut command: Command, database: &Path) -> Self {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--database"])
            .arg(database)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // Whoever stops reading would stop the server from logging.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    pub async fn client(&self) -> Client {
        until_serving(self.address.parse().unwrap()).await;
        Client::connect(&self.address).await.unwrap()
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn prepared(database: &Path, users: usize) -> Process {
    prepare(Process::start(database), users).await
}

/// Gives a server a queue and so many users.
pub async fn prepare(server: Process, users: usize) -> Process {
    let mut client = server.client().await;
    let users: String = (0..users).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    let document = format!("queues: [{{ queue_id: sales, kind: CALL_QUEUE }}]\nusers:\n{users}");
    let request =
        ImportDirectoryRequest { organization_id: ACME.into(), document: document.into(), ..Default::default() };
    let mut answers = client.directory.import_directory(tokio_stream::once(request)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    server
}

/// Killed with SIGKILL in the middle of writes, again and again: what was acknowledged is there, what wasn't is absent or
/// whole, and a retry with the same request id gives one session. `QUEUEGATE_KILLS=1000` makes a campaign of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill() {
    const USERS: usize = 2_000;
    let kills: usize = std::env::var("QUEUEGATE_KILLS").ok().map_or(5, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("kill.db");
    let mut server = prepared(&database, USERS).await;
    let mut acknowledged = 0;
    for round in 0..kills {
        let client = server.client().await;
        empty_queue(client.clone()).await;
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let mut client = client.queue_access.clone();
                tokio::spawn(async move {
                    let mut replies = Vec::new();
                    for number in 0..USERS / 8 {
                        let user = format!("u{}", writer + number * 8);
                        let request_id = format!("{round}-{writer}-{number}");
                        let request = SignInRequest { request_id, ..sign_in(&user, "sales") };
                        match client.sign_in(request.clone()).await {
                            Ok(answer) => replies.push((request, Some(answer.into_inner()))),
                            Err(_) => {
                                replies.push((request, None));
                                break;
                            }
                        }
                    }
                    replies
                })
            })
            .collect();
        // Kill once some are acknowledged, each time after another number of changes.
        let mut client = client.queue_access.clone();
        let list = ListSessionsRequest { organization_id: ACME.into(), page_size: 1, ..Default::default() };
        let mut changes = async || {
            let revision = client.list_sessions(list.clone()).await.unwrap().into_inner().revision;
            u64::from_str_radix(revision.rsplit('-').next().unwrap(), 16).unwrap()
        };
        let enough = changes().await + 20 + u64::try_from(round).unwrap() * 37 % 300;
        while changes().await < enough {}
        server.kill();
        server = Process::start(&database);
        let mut client = server.client().await.queue_access;
        for writer in writers {
            for (request, answer) in writer.await.unwrap() {
                let Some(sign_in_request::User::UserId(user)) = request.user.clone() else { panic!() };
                // The last one got no reply: repeating it gives one session, whether it was carried out or not.
                let again = client.sign_in(request).await.unwrap().into_inner();
                if let Some(answer) = answer {
                    acknowledged += 1;
                    assert_eq!(again.session.as_ref().unwrap().session_id, answer.session.unwrap().session_id);
                    assert_eq!((again.created, again.revision), (answer.created, answer.revision));
                }
                let live = get(&mut client, &user).await.expect("the session is there");
                assert_eq!(live.session_id, again.session.unwrap().session_id);
            }
        }
    }
    server.kill();
    let store = Store::open(&database, 0).unwrap();
    let live = store.load().unwrap();
    let mut replayed = Snapshot::empty(live.revision().lineage);
    let log = store.log_reader().unwrap();
    for logged in log.records_since(Sequence(0), live.revision().sequence, None, u32::MAX).unwrap() {
        replayed.apply(&logged.record.change).unwrap();
    }
    assert!(replayed == live && acknowledged > 0);
    println!("{acknowledged} sign-ins were acknowledged over {kills} kills, and all were there");
}

/// Signs everybody out, in one command.
async fn empty_queue(mut client: Client) {
    let delete = DeleteQueueRequest { organization_id: ACME.into(), queue_id: "sales".into(), ..Default::default() };
    client.directory.delete_queue(delete).await.unwrap();
    let queue = Queue { queue_id: "sales".into(), kind: QueueKind::CallQueue.into(), ..Default::default() };
    let create = CreateQueueRequest { organization_id: ACME.into(), queue: Some(queue), ..Default::default() };
    client.directory.create_queue(create).await.unwrap();
}

pub async fn get(
    client: &mut queue_access_service_client::QueueAccessServiceClient<tonic::transport::Channel>,
    user: &str,
) -> Option<Session> {
    let request = GetSessionRequest {
        organization_id: ACME.into(),
        user: Some(get_session_request::User::UserId(user.into())),
        queue: Some(get_session_request::Queue::QueueId("sales".into())),
        ..Default::default()
    };
    client.get_session(request).await.ok().and_then(|answer| answer.into_inner().session)
}

/// What the program says, and its exit code, when it can't serve this file.
fn refused(database: &Path) -> (String, i32) {
    let output = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--database"])
        .arg(database)
        .output()
        .unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[tokio::test]
async fn a_second_process_is_turned_away_by_whichever_name_it_knows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("one.db");
    let link = folder.path().join("link.db");
    let server = Process::start(&database);
    std::os::unix::fs::symlink(&database, &link).unwrap();
    for name in [&database, &link, &folder.path().join("./one.db")] {
        let (text, code) = refused(name);
        assert!(text.contains("in use by another queuegate process") && text.contains("process "), "{text}");
        assert_eq!(code, 2);
    }
    server.client().await;
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text_file = folder.path().join("notes.txt");
    std::fs::write(&text_file, "not a database, but long enough to look like one".repeat(100)).unwrap();
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    let newer = folder.path().join("newer.db");
    drop(Store::open(&newer, 1).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for (file, says) in
        [(&text_file, "not a queuegate database"), (&other, "not a queuegate database"), (&newer, "has schema 99")]
    {
        let before = std::fs::read(file).unwrap();
        let (text, code) = refused(file);
        assert!(text.contains(says), "{text}");
        assert_eq!((code, std::fs::read(file).unwrap() == before), (2, true));
    }
    let twice = folder.path().join("twice.db");
    drop(Store::open(&twice, 1).unwrap());
    std::fs::hard_link(&twice, folder.path().join("other-name.db")).unwrap();
    let (text, code) = refused(&twice);
    assert!(text.contains("more than one name") && code == 2, "{text}");
    let (text, code) = refused(&folder.path().join("nowhere/x.db"));
    assert!(text.contains("the folder doesn't exist") && code == 2, "{text}");
}

/// A database from before the audit log keeps its state and its revisions; its history can't be resumed from.
#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("old.db");
    let old = rusqlite::Connection::open(&database).unwrap();
    old.execute_batch(include_str!("../../src/store/schema.sql")).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x51474154; PRAGMA user_version = 1; \
         INSERT INTO store VALUES (1, '00000000000000aa', 1); \
         INSERT INTO organization VALUES ('acme', 'Acme', 'ALLOWED', 1); \
         INSERT INTO user VALUES ('acme', 'anna', 'Anna', '101', 0, 0); \
         INSERT INTO queue VALUES ('acme', 'sales', 'Sales', '801', 'CALL_QUEUE'); \
         INSERT INTO change_log VALUES (1, 0, 'acme', 'ORGANIZATION_CREATED', '{}'), \
             (2, 0, 'acme', 'USER_CREATED', '{}'), (3, 0, 'acme', 'QUEUE_CREATED', '{}')",
    )
    .unwrap();
    drop(old);
    let server = Process::start(&database);
    let mut client = server.client().await;
    let answer = client.queue_access.sign_in(sign_in("anna", "sales")).await.unwrap().into_inner();
    assert!(answer.created);
    assert_eq!(answer.revision, "00000000000000aa-00000001-0000000000000004");
    let request = WatchSessionsRequest {
        organization_id: ACME.into(),
        start_revision: "00000000000000aa-00000001-0000000000000002".into(),
        ..Default::default()
    };
    let status = client.queue_access.watch_sessions(request).await.unwrap_err();
    assert_eq!(crate::support::described(&status).1, "COMPACTED");
    let request = VerifyAuditLogRequest { organization_id: ACME.into(), ..Default::default() };
    let mut answers = client.audit.verify_audit_log(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await.unwrap() {
        last = Some(answer);
    }
    let last = last.unwrap();
    assert_eq!((last.verified_events, last.verification.unwrap().valid), (1, Some(true)));
}

/// A change that waited longer for its turn than its caller did is not made behind their back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_deadline_passed_in_the_queue_is_not_executed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("late.db");
    let server = prepared(&database, 2).await;
    let mut client = server.client().await.queue_access;
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut first = client.clone();
    let writing = tokio::spawn(async move { first.sign_in(sign_in("u0", "sales")).await });
    // By the time of these answers the writer has taken the first, and waits for the file with it.
    for _ in 0..20 {
        assert!(get(&mut client, "u0").await.is_none());
    }
    let mut late = tonic::Request::new(sign_in("u1", "sales"));
    late.set_timeout(std::time::Duration::from_millis(100));
    let status = client.sign_in(late).await.unwrap_err();
    // The client may be the first to notice, and calls it CANCELLED.
    assert!(matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled), "{status:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(writing.await.unwrap().unwrap().into_inner().created);
    // What is asked now comes after the late one.
    client.sign_out(SignOutRequest { all_queues: true, ..sign_out("u0") }).await.unwrap();
    assert!(get(&mut client, "u1").await.is_none());
}

pub fn sign_out(user: &str) -> SignOutRequest {
    SignOutRequest {
        organization_id: ACME.into(),
        user: Some(sign_out_request::User::UserId(user.into())),
        ..Default::default()
    }
}

/// Another program that holds the file stops changes, not decisions, and not for ever.
#[tokio::test]
async fn a_database_that_another_program_locks_refuses_changes_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("busy.db");
    let server = prepared(&database, 1).await;
    let mut client = server.client().await.queue_access;
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let status = client.sign_in(sign_in("u0", "sales")).await.unwrap_err();
    let (code, reason, _) = crate::support::described(&status);
    assert_eq!((code, reason.as_str()), (tonic::Code::Unavailable, "NOT_WRITABLE"));
    assert!(get(&mut client, "u0").await.is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(client.sign_in(sign_in("u0", "sales")).await.unwrap().into_inner().created);
}
