//! Unusable files: each is refused with a remedy, and not changed by a single byte.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use queuegate::store::sqlite::Store;

use crate::support::{program, program_by};

/// The id of `nobody`, who owns nothing.
const NOBODY: u32 = 65_534;

/// The program, run by a user without root rights, because permissions don't apply to root.
fn unprivileged(folder: &Path) -> Command {
    if folder.metadata().unwrap().uid() != 0 {
        return program();
    }
    for file in std::iter::once(folder.to_owned()).chain(entries(folder)) {
        chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    program_by(command)
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every file of a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let named = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap_or_default();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    entries(folder).into_iter().map(named).collect()
}

/// The program's error for a file, and its exit code. If it accepts the file, its end is not awaited.
fn refused(mut command: Command, database: &Path) -> (String, i32) {
    command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(database);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        said.push_str(&line.unwrap());
        said.push('\n');
        if said.contains("database loaded") {
            child.kill().unwrap();
            panic!("{} was accepted: {said}", database.display());
        }
    }
    (said, child.wait().unwrap().code().unwrap())
}

/// Puts a database in its own folder, starts a server that refuses it, and compares the files before and after.
fn is_refused(prepare: impl FnOnce(&Path), says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("the.db");
    prepare(&database);
    let before = files(folder.path());
    let (text, code) = refused(program(), &database);
    for says in says {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(code, 2, "{text}");
    let mut after = files(folder.path());
    // Every reader rebuilds the index of a log, so its content doesn't count. An existing lock file stays.
    after.retain(|name, _| !name.ends_with("-shm") || before.contains_key(name));
    assert!(before.iter().all(|(name, bytes)| name.ends_with("-shm") || after.get(name) == Some(bytes)), "{says:?}");
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    let unasked: Vec<_> = names(&after).into_iter().filter(|name| !before.contains_key(name)).collect();
    // A queuegate database that is opened first, and whose damage shows only when it is loaded.
    let may_be = |name: &str| name == "the.db-wal" || (name == "the.db.lock" && says[0] == "is damaged");
    assert!(unasked.iter().all(|name| may_be(name)), "{unasked:?}");
}

/// A database with content, after a regular stop.
fn ours(path: &Path) {
    let mut store = Store::open(path, 7).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "INSERT INTO organization VALUES ('acme', 'Acme', 'ALLOWED', 0); \
             INSERT INTO user VALUES ('acme', 'anna', 'Anna', NULL, 0, 0, NULL); \
             INSERT INTO queue VALUES ('acme', 'sales', 'Sales', NULL, 'CALL_QUEUE')",
        )
        .unwrap();
    connection.close().unwrap();
    std::fs::remove_file(path.with_extension("db.lock")).unwrap();
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let damaged = ["is damaged", "queuegate verify", "queuegate restore"];
    let overwrite = |path: &Path, from: usize, to: usize| {
        ours(path);
        let mut bytes = std::fs::read(path).unwrap();
        let to = to.min(bytes.len());
        bytes[from..to].fill(0xa5);
        std::fs::write(path, bytes).unwrap();
    };
    // All pages but the first; the first after its header; the content of each of them.
    is_refused(|path| overwrite(path, 4_096, usize::MAX), &damaged);
    is_refused(|path| overwrite(path, 100, 4_096), &damaged);
    is_refused(
        |path| {
            ours(path);
            let half = std::fs::read(path).unwrap().len() / 2;
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(half.try_into().unwrap()).unwrap();
        },
        &damaged,
    );
    let session = |id: &str, queue: &str| {
        format!(
            "INSERT INTO session VALUES ('{id}', 'acme', 'anna', '{queue}', 'FEATURE_CODE', 'ASSIGNED', 'anna', 0, NULL, '')"
        )
    };
    let twice = [session("1", "sales"), session("2", "sales")].join(";");
    for (altered, problem) in [
        ("UPDATE user SET user_id = 'NOT AN ID'", "column 1"),
        (&session("1", "gone"), "no such user or queue"),
        (&twice, "the user has a session on the queue already"),
    ] {
        is_refused(
            |path| {
                ours(path);
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.execute_batch(altered).unwrap();
                connection.close().unwrap();
            },
            &[&damaged[..], &[problem]].concat(),
        );
    }
}

#[test]
fn what_another_program_left_half_done_is_not_touched() {
    let not_ours = ["is not a queuegate database"];
    is_refused(|path| std::fs::write(path, "x").unwrap(), &not_ours);
    is_refused(|path| std::fs::write(path, [0; 70_000]).unwrap(), &not_ours);
    // With a log that is not checkpointed yet.
    is_refused(
        |path| half_done(path, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)"),
        &not_ours,
    );
    // With a journal that would roll back changes in the file.
    is_refused(
        |path| {
            let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                        INSERT INTO t SELECT randomblob(100) FROM n;";
            let spill =
                format!("PRAGMA cache_size = 5; CREATE TABLE t (x); {many} BEGIN; UPDATE t SET x = randomblob(90)");
            half_done(path, &spill);
        },
        &not_ours,
    );
    is_refused(
        |path| {
            ours(path);
            rusqlite::Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        },
        &["has schema 99", "Use a newer queuegate"],
    );
}

/// Leaves a file like a program that was killed during a write.
fn half_done(path: &Path, sql: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let original = elsewhere.path().join("the.db");
    let connection = rusqlite::Connection::open(&original).unwrap();
    connection.execute_batch(sql).unwrap();
    for file in entries(elsewhere.path()) {
        if !file.to_str().unwrap().ends_with("-shm") {
            std::fs::copy(&file, path.parent().unwrap().join(file.file_name().unwrap())).unwrap();
        }
    }
    assert!(entries(path.parent().unwrap()).len() > 1, "nothing was left half done");
}

#[test]
fn what_is_no_file_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| refused(program(), path);
    let (text, code) = refused(folder.path());
    assert!(text.contains("it is a folder; name a file in it") && code == 2, "{text}");
    let (text, code) = refused(&folder.path().join("nowhere/x.db"));
    assert!(text.contains("the folder doesn't exist; create it first") && code == 2, "{text}");
    assert!(entries(folder.path()).is_empty());
}

/// Permissions, for a user without root rights.
#[test]
fn a_file_or_folder_without_permission_says_what_to_do() {
    for (of_folder, of_file, says) in [
        (0o755, 0o444, "must own the file and its folder"),
        (0o755, 0o000, "must own the file and its folder"),
        (0o555, 0o644, "the folder must be writable"),
        (0o000, 0o644, "must own the file and its folder"),
    ] {
        let outer = tempfile::tempdir().unwrap();
        std::fs::set_permissions(outer.path(), Permissions::from_mode(0o755)).unwrap();
        let folder = outer.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let database = folder.join("the.db");
        ours(&database);
        let before = std::fs::read(&database).unwrap();
        let command = unprivileged(&folder);
        std::fs::set_permissions(&database, Permissions::from_mode(of_file)).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(of_folder)).unwrap();
        let (text, code) = refused(command, &database);
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
        assert!(text.contains(says) && code == 2, "{of_folder:o} {of_file:o}: {text}");
        assert!(std::fs::read(&database).unwrap() == before && !folder.join("the.db.lock").exists());
    }
}

/// Two servers start on one new file: one serves, and the other is refused and doesn't touch the lock.
#[test]
fn a_lock_that_is_taken_is_left_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("the.db");
    let store = Store::open(&database, 7).unwrap();
    let (text, code) = refused(program(), &database);
    assert!(text.contains("in use by another queuegate process") && code == 2, "{text}");
    assert!(folder.path().join("the.db.lock").exists());
    drop(store);
    super::open(&database).unwrap();
}
