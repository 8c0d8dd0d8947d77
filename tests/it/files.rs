//! The database is one file in one place: no other process serves it, and no write is acknowledged once it is moved.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
};

use queuegate::rpc::proto::{Decision, SignInResponse};

use crate::{
    durability::{Process, get, prepare},
    support::{described, program, program_by, sign_in},
};

/// The program's error and exit code when it can't serve this file.
fn refused(mut command: Command, database: &Path) -> (String, i32) {
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(database).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[tokio::test]
async fn a_second_process_is_turned_away_by_a_path_that_has_no_lock_file() {
    let folder = tempfile::tempdir().unwrap();
    let (database, elsewhere) = (folder.path().join("the.db"), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let server = Process::start(&database);
    server.client().await;
    // Another path of the served file, like a mount in another container.
    let other_name = elsewhere.join("the.db");
    fs::rename(&database, &other_name).unwrap();
    let (text, code) = refused(program(), &other_name);
    assert!(text.contains("in use by another queuegate process") && text.contains("by another path"), "{text}");
    assert_eq!(code, 2);
    let left: Vec<_> = fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["the.db"], "a refused start leaves nothing");
    drop(server);
}

/// Runs a script in its own mount namespace, if the system allows it for this user.
fn with_mounts(script: &str, folder: &Path) -> Option<Command> {
    let may = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not tried: this user may not mount anything");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-ec", &format!("{script}; exec \"$0\" \"$@\"")]);
    command.current_dir(folder);
    Some(program_by(command))
}

#[test]
fn a_database_that_is_mounted_without_its_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (database, mounted) = (folder.path().join("the.db"), folder.path().join("mounted.db"));
    drop(queuegate::store::sqlite::Store::open(&database, 1).unwrap());
    fs::write(&mounted, "").unwrap();
    let Some(command) = with_mounts("mount --bind the.db mounted.db", folder.path()) else { return };
    let (text, code) = refused(command, &mounted);
    assert!(text.contains("the file itself is a mount point") && text.contains("mount its folder instead"), "{text}");
    assert_eq!(code, 2);
    assert!(!folder.path().join("mounted.db.lock").exists());
    // A copy of it would lack the content of the log.
    let mut command = with_mounts("mount --bind the.db mounted.db", folder.path()).unwrap();
    let output = command.args(["verify", "mounted.db"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the file itself is a mount point") && output.status.code() == Some(2), "{text}");
}

/// The outcome of a sign-in, and the server's end after it. Everything before was acknowledged.
async fn after(folder: &Path, mishap: impl FnOnce(&Path)) -> (tonic::Status, Option<i32>) {
    let database = folder.join("served/the.db");
    fs::create_dir(folder.join("served")).unwrap();
    let server = prepare(Process::start_with(&database, &["--drain-deadline", "200ms"]), 3).await;
    let mut client = server.client().await.queue_access;
    for user in ["u0", "u1"] {
        let SignInResponse { created, decision, .. } =
            client.sign_in(sign_in(user, "sales")).await.unwrap().into_inner();
        assert!(created && decision.is_some_and(|Decision { allowed, .. }| allowed == Some(true)));
    }
    mishap(&database);
    let status = client.sign_in(sign_in("u2", "sales")).await.expect_err("acknowledged, and lost");
    (status, server.ended().code())
}

fn beside(database: &Path, suffix: &str) -> std::path::PathBuf {
    format!("{}{suffix}", database.display()).into()
}

/// Replaces a file by another one with the same content.
fn replace(file: &Path) {
    fs::copy(file, beside(file, ".new")).unwrap();
    fs::rename(beside(file, ".new"), file).unwrap();
}

#[tokio::test]
async fn nothing_is_acknowledged_once_a_file_is_removed_renamed_replaced_or_overwritten() {
    type Mishap = (&'static str, fn(&Path));
    let mishaps: [Mishap; 9] = [
        ("log removed", |database| fs::remove_file(beside(database, "-wal")).unwrap()),
        ("log renamed", |database| fs::rename(beside(database, "-wal"), beside(database, "-wal.old")).unwrap()),
        ("log replaced", |database| replace(&beside(database, "-wal"))),
        ("index removed", |database| fs::remove_file(beside(database, "-shm")).unwrap()),
        ("database removed", |database| fs::remove_file(database).unwrap()),
        ("database renamed", |database| fs::rename(database, beside(database, ".old")).unwrap()),
        ("database replaced", replace),
        ("folder renamed", |database| {
            let folder = database.parent().unwrap();
            fs::rename(folder, beside(folder, ".old")).unwrap();
        }),
        ("database overwritten", |database| fs::write(database, "restored over").unwrap()),
    ];
    for (name, mishap) in mishaps {
        let folder = tempfile::tempdir().unwrap();
        let (status, code) = after(folder.path(), mishap).await;
        assert_eq!(status.code(), tonic::Code::Unavailable, "{name}: {status:?}");
        assert_eq!(code, Some(4), "{name}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_the_log_was_removed_is_there_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let remove = |database: &Path| fs::remove_file(beside(database, "-wal")).unwrap();
    let (status, _) = after(folder.path(), remove).await;
    assert_ne!(described(&status).1, "", "{status:?}");
    let server = Process::start(&folder.path().join("served/the.db"));
    let mut client = server.client().await.queue_access;
    for user in ["u0", "u1"] {
        assert!(get(&mut client, user).await.is_some(), "{user}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    for (path, says) in [
        (Path::new("/dev/null"), "it is a device"),
        (Path::new("/dev/zero"), "it is a device"),
        (&link, "it is a device"),
        (&pipe, "it is a named pipe"),
        (&socket, "it is a socket"),
        (folder.path(), "it is a folder"),
    ] {
        let (text, code) = refused(program(), path);
        assert!(text.contains(says), "{text}");
        assert_eq!(code, 2, "{text}");
        for command in ["verify", "backup"] {
            let mut program = program();
            program.arg(command);
            match command {
                "verify" => program.arg(path),
                _ => program.arg("--database").arg(path).arg(folder.path().join("copy")),
            };
            let output = program.output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.contains(says) && output.status.code() == Some(2), "{command}: {text}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    assert!(["/dev/null.lock", "/dev/zero.lock"].iter().all(|path| !Path::new(path).exists()));
}
