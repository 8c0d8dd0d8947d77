//! No acknowledged write is lost, even if the process is killed; and unsuitable files are refused.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use queuegate::{client::Client, rpc::proto::*, store::sqlite::Store};

use crate::support::{ACME, program, program_by, sign_in, until_serving};

/// A running server process of the built program.
pub struct Process {
    pub child: Child,
    address: String,
}

impl Process {
    /// Starts the process, without waiting.
    pub fn spawn(database: &Path, flags: &[&str]) -> Self {
        Self::spawn_by(program(), database, flags)
    }

    fn spawn_by(mut command: Command, database: &Path, flags: &[&str]) -> Self {
        // Calls are never shed, even on a busy machine.
        let child = command
            .env("QUEUEGATE_SHED_DELAY", "1h")
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--database"])
            .arg(database)
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, address: String::new() }
    }

    /// Starts, and waits until it listens.
    pub fn start(database: &Path) -> Self {
        Self::start_with(database, &[])
    }

    pub fn start_with(database: &Path, flags: &[&str]) -> Self {
        Self::spawn(database, flags).listening()
    }

    /// Like [`Process::start`], with a command that runs the program, such as one that changes its limits first.
    pub fn start_by(command: Command, database: &Path) -> Self {
        Self::spawn_by(command, database, &[]).listening()
    }

    fn listening(self) -> Self {
        let mut started = self;
        let mut lines = BufReader::new(started.child.stderr.take().unwrap()).lines();
        started.address = loop {
            let line = lines.next().expect("the server ended").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // Keep reading, or the server's log would block.
        std::thread::spawn(move || lines.for_each(drop));
        started
    }

    pub async fn client(&self) -> Client {
        until_serving(self.address.parse().unwrap()).await;
        Client::connect(&self.address).await.unwrap()
    }

    /// Starts by another command, such as one that chooses the processor. Empty: starts directly.
    pub fn start_on(by: &[&str], database: &Path, flags: &[&str]) -> Self {
        let command = match by {
            [] => program(),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest);
                program_by(command)
            }
        };
        Self::spawn_by(command, database, flags).listening()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its own end.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Returns after this many more reading or writing system calls of the process, in the middle of its work; or when
    /// it has ended or is idle.
    pub fn after_system_calls(&mut self, calls: u64) {
        const IDLE_LOOKS: usize = 1_000;
        let file = format!("/proc/{}/io", self.child.id());
        let made = || {
            let counts = std::fs::read_to_string(&file).unwrap_or_default();
            let counts = counts.lines().filter(|line| line.starts_with("syscr") || line.starts_with("syscw"));
            counts.filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum::<u64>()
        };
        let mut last = made();
        let enough = last + calls;
        let mut idle = 0;
        while last < enough && idle < IDLE_LOOKS && self.child.try_wait().unwrap().is_none() {
            let now = made();
            idle = if now == last { idle + 1 } else { 0 };
            last = now;
        }
    }

    /// Sends SIGKILL. Returns whether the process was still running.
    pub fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        self.child.wait().unwrap().signal().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn prepared(database: &Path, users: usize) -> Process {
    prepare(Process::start(database), users).await
}

/// Creates a queue and this many users.
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

pub async fn get(
    client: &mut queue_access_service_client::QueueAccessServiceClient<queuegate::client::Connection>,
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

/// The program's error and exit code when it can't serve this file.
fn refused(database: &Path) -> (String, i32) {
    let output = program().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(database).output().unwrap();
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

/// A database from before the audit log keeps its state and its revisions; watches can't resume from its history.
#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("old.db");
    let old = rusqlite::Connection::open(&database).unwrap();
    old.execute_batch(include_str!("../../src/store/sqlite/migrations/1_schema.sql")).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x51474154; PRAGMA user_version = 1; \
         INSERT INTO store VALUES (1, '00000000000000aa', 1); \
         INSERT INTO organization VALUES ('acme', 'Acme', 'ALLOWED', 1); \
         INSERT INTO user VALUES ('acme', 'anna', 'Anna', '101', 0, 0); \
         INSERT INTO queue VALUES ('acme', 'sales', 'Sales', '801', 'CALL_QUEUE'); \
         INSERT INTO queue VALUES ('acme', 'support', 'Support', '802', 'CALL_QUEUE'); \
         INSERT INTO session VALUES ('acme', 'anna', 'support', 's-1', 'FEATURE_CODE', 'ASSIGNED', 'anna', 0, NULL, ''); \
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
    let kept = client.queue_access.sign_in(sign_in("anna", "support")).await.unwrap().into_inner();
    assert_eq!((kept.created, kept.session.unwrap().session_id.as_str()), (false, "s-1"));
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

/// For some checks SQLite builds a temporary table on every write, which takes longer than everything else.
#[tokio::test]
async fn a_row_of_a_session_or_an_event_is_written_without_a_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("new.db");
    drop(prepared(&database, 1).await);
    let connection = rusqlite::Connection::open(&database).unwrap();
    for table in ["session", "audit_log"] {
        let sql = format!("EXPLAIN INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement.query_map([rusqlite::types::Null; 10], |row| row.get::<_, String>("opcode")).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(
            steps.iter().any(|step| step.ends_with("Insert")) && !steps.iter().any(|step| step == "OpenEphemeral"),
            "{steps:?}"
        );
    }
}

/// The writer drops a change whose caller gave up while it was queued.
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
    // When these responses arrive, the writer has taken the first change and waits for the file.
    for _ in 0..20 {
        assert!(get(&mut client, "u0").await.is_none());
    }
    let mut late = tonic::Request::new(sign_in("u1", "sales"));
    late.set_timeout(std::time::Duration::from_millis(100));
    let status = client.sign_in(late).await.unwrap_err();
    // The client may notice first; then the code is CANCELLED.
    assert!(matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled), "{status:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(writing.await.unwrap().unwrap().into_inner().created);
    // This change is queued after the late one.
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

/// A program that locks the file stops changes only while it holds the lock, and never stops decisions.
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
