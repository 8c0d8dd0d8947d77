//! Verification detects every alteration of the audit log in the database file: any changed byte of any row, and any
//! row removed, added or swapped. It also reports the place.

use std::{ops::ControlFlow, path::Path};

use queuegate::{
    domain::{
        chain::{Digest, Link},
        ids::Sequence,
    },
    rpc::proto::*,
    store::{Verification, sqlite::Store},
};
use rusqlite::{Connection, params, types::Value};
use tempfile::TempDir;

use crate::support::{ACME, TestServer};

const COLUMNS: [&str; 10] =
    ["revision", "organization_id", "time_ms", "action", "allowed", "actor", "user", "queue", "entry", "hash"];

/// A database whose server has stopped, with an event of every form.
async fn database() -> (TempDir, std::path::PathBuf) {
    let mut server = TestServer::start().await;
    let document = "queues: [{ queue_id: sales, extension: 801, kind: CALL_QUEUE }]\n\
                    users: [{ user_id: sam, contact_center_license: true, roles: [SUPERVISOR] }, { user_id: bo }]";
    server.import(document).await.unwrap();
    server.sign_in("bo", "sales").await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    server.sign_in("sam", "sales").await;
    server.sign_in("nobody", "nowhere").await;
    server.supervisor_sign_in("bo", "sales", None).await;
    let request = AssignRoleRequest {
        organization_id: ACME.into(),
        user: Some(assign_role_request::User::UserId("bo".into())),
        role: Role::ContactAdmin.into(),
        actor_user_id: "bo".into(),
        ..Default::default()
    };
    server.client.directory.assign_role(request).await.unwrap_err();
    server.sign_out("bo", "sales").await;
    let path = server.database.clone();
    let (folder, _) = server.stop().await;
    (folder, path)
}

fn verify(store: &Store, expected: Option<Link>) -> Result<Verification, queuegate::store::Error> {
    let log = store.log_reader()?;
    log.verify(&ACME.parse().unwrap(), expected, |_| ControlFlow::Continue(())).map(|found| found.expect("a chain"))
}

fn rows(connection: &Connection) -> Vec<Vec<Value>> {
    let sql = format!("SELECT {} FROM audit_log ORDER BY revision", COLUMNS.join(", "));
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| (0..COLUMNS.len()).map(|index| row.get(index)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every value that differs from this one in one byte; for a number, in one bit.
fn altered(value: &Value) -> Vec<Value> {
    let bytes = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let flip = |index: usize, with: u8| {
            let mut bytes = bytes.to_vec();
            bytes[index] ^= with;
            bytes
        };
        (0..bytes.len()).flat_map(|index| [flip(index, 0x01), flip(index, 0x80)]).collect()
    };
    match value {
        Value::Null => vec![Value::Text("x".into())],
        Value::Integer(number) => (0..63).map(|bit| Value::Integer(number ^ (1 << bit))).collect(),
        Value::Text(text) => bytes(text.as_bytes()).into_iter().map(Value::Blob).chain([Value::Null]).collect(),
        Value::Blob(blob) => bytes(blob).into_iter().map(Value::Blob).collect(),
        Value::Real(_) => panic!("there are no such columns"),
    }
}

fn update(connection: &Connection, column: &str, original: &Value, value: &Value, revision: &Value) -> bool {
    // Altered text is written as bytes with the type text, which may not be UTF-8.
    let cast = if matches!(original, Value::Text(_)) { "CAST(?1 AS TEXT)" } else { "?1" };
    let sql = format!("UPDATE audit_log SET {column} = {cast} WHERE revision = ?2");
    // Alterations that the table itself refuses need no detection.
    connection.execute(&sql, params![value, revision]).is_ok()
}

#[tokio::test]
async fn any_byte_of_any_row_that_is_altered_is_found_where_it_is() {
    let (_folder, path) = database().await;
    let store = Store::open(&path, 0).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF").unwrap();
    let whole = verify(&store, None).unwrap();
    let rows = rows(&connection);
    assert_eq!((whole.fault, whole.events), (None, u64::try_from(rows.len()).unwrap()));
    let mut found = 0;
    for row in &rows {
        let Value::Integer(revision) = row[0] else { panic!() };
        for (column, original) in COLUMNS.iter().zip(row) {
            for value in altered(original) {
                if !update(&connection, column, original, &value, &row[0]) {
                    continue;
                }
                let fault = verify(&store, None).unwrap().fault;
                let fault = fault.unwrap_or_else(|| panic!("{column} of {revision}: {value:?} was not seen"));
                let at = i64::try_from(fault.sequence.0).unwrap();
                match *column {
                    // The row was moved in the chain or out of it. The fault is at its new place, at the row after its
                    // old place, or at the end.
                    "revision" | "organization_id" => {
                        assert!(value == Value::Integer(at) || (0..=revision + 1).contains(&at), "{fault:?}");
                    }
                    _ => assert_eq!(at, revision, "{column}: {value:?} {fault:?}"),
                }
                found += 1;
                let now = if *column == "revision" { &value } else { &row[0] };
                assert!(update(&connection, column, original, original, now));
            }
        }
    }
    assert_eq!(verify(&store, None).unwrap().fault, None, "everything is as it was");
    assert!(found > 5_000, "{found}");
    println!("{found} alterations of {} rows, all found", rows.len());
}

/// Verifies the log after `alter`, and restores the rows.
fn with(path: &Path, store: &Store, alter: impl FnOnce(&Connection), expected: Option<Link>) -> Verification {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF; CREATE TEMP TABLE log AS SELECT * FROM audit_log; \
             CREATE TEMP TABLE chain AS SELECT * FROM audit_chain",
        )
        .unwrap();
    alter(&connection);
    let found = verify(store, expected).unwrap();
    connection
        .execute_batch(
            "DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM log; \
             DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM chain",
        )
        .unwrap();
    found
}

fn run(connection: &Connection, sql: &str, revisions: &[i64]) {
    connection.execute(sql, rusqlite::params_from_iter(revisions)).unwrap();
}

#[tokio::test]
async fn any_row_removed_added_or_swapped_is_found() {
    let (_folder, path) = database().await;
    let store = Store::open(&path, 0).unwrap();
    let rows = i64::try_from(rows(&Connection::open(&path).unwrap()).len()).unwrap();
    let at = |found: &Verification| i64::try_from(found.fault.as_ref().expect("a fault").sequence.0).unwrap();
    for row in 1..=rows {
        let found = with(&path, &store, |c| run(c, "DELETE FROM audit_log WHERE revision = ?", &[row]), None);
        // The fault is at the row after the gap. A missing last row has none after it, so the log ends at the one
        // before.
        assert_eq!(at(&found), if row < rows { row + 1 } else { row - 1 });

        let again = "INSERT INTO audit_log SELECT ?2, organization_id, time_ms, action, allowed, actor, user, queue, \
                     entry, hash FROM audit_log WHERE revision = ?1";
        let found = with(&path, &store, |c| run(c, again, &[row, rows + 1]), None);
        assert_eq!(at(&found), rows + 1, "a copy of {row} at the end");

        for other in row + 1..=rows {
            // Swaps everything but their numbers.
            let swap = "UPDATE audit_log SET (organization_id, time_ms, action, allowed, actor, user, queue, entry, hash) \
                        = (SELECT organization_id, time_ms, action, allowed, actor, user, queue, entry, hash \
                        FROM temp.log WHERE revision = ?1 + ?2 - audit_log.revision) WHERE revision IN (?1, ?2)";
            let found = with(&path, &store, |c| run(c, swap, &[row, other]), None);
            assert_eq!(at(&found), row, "{row} and {other} swapped");
        }
    }
}

/// An attacker who knows the chain's format can cut off its end or rebuild it. A head that was saved elsewhere reveals
/// that.
#[tokio::test]
async fn a_log_that_was_rewritten_is_found_by_a_head_that_was_noted() {
    let (_folder, path) = database().await;
    let store = Store::open(&path, 0).unwrap();
    let rows = rows(&Connection::open(&path).unwrap());
    let head = verify(&store, None).unwrap().head;
    let noted: Vec<Link> = rows
        .iter()
        .map(|row| {
            let (Value::Integer(revision), Value::Blob(hash)) = (&row[0], &row[9]) else { panic!() };
            Link { sequence: Sequence((*revision).try_into().unwrap()), hash: Digest::from_bytes(hash).unwrap() }
        })
        .collect();
    assert_eq!(noted.last(), Some(&head));
    for link in &noted {
        assert_eq!(verify(&store, Some(*link)).unwrap().fault, None);
    }

    // Cut off the end, and move the chain's end there.
    let shorten = |c: &Connection| {
        let before = noted[noted.len() - 3];
        run(c, "DELETE FROM audit_log WHERE revision > ?", &[i64::try_from(before.sequence.0).unwrap()]);
        let revision = i64::try_from(before.sequence.0).unwrap();
        let set = "UPDATE audit_chain SET head_revision = ?, head_hash = ?";
        c.execute(set, params![revision, before.hash.bytes()]).unwrap();
    };
    assert_eq!(with(&path, &store, shorten, None).fault, None, "the rest is a chain like any other");
    let fault = with(&path, &store, shorten, Some(head)).fault.expect("a fault");
    assert_eq!(fault.sequence, noted[noted.len() - 3].sequence);

    // Alter one entry, and recompute every hash from there on.
    let rewrite = |c: &Connection| {
        let mut previous = Digest::GENESIS;
        for (number, row) in rows.iter().enumerate() {
            let Value::Text(entry) = &row[8] else { panic!() };
            let entry = if number == 4 { entry.replace("ip:127.0.0.1", "ip:127.0.0.2") } else { entry.clone() };
            previous = Digest::chained(previous, &entry);
            let update = "UPDATE audit_log SET entry = ?, hash = ? WHERE revision = ?";
            c.execute(update, params![entry, previous.bytes(), row[0]]).unwrap();
        }
        c.execute("UPDATE audit_chain SET head_hash = ?", params![previous.bytes()]).unwrap();
    };
    assert_eq!(with(&path, &store, rewrite, None).fault, None, "it is a chain like any other");
    for link in &noted {
        let fault = with(&path, &store, rewrite, Some(*link)).fault;
        assert_eq!(fault.map(|fault| fault.sequence), (link.sequence.0 >= 5).then_some(link.sequence));
    }

    // Remove the event of the saved head, and chain the rest without it.
    let leave_out = |c: &Connection| {
        let mut previous = Digest::GENESIS;
        run(c, "DELETE FROM audit_log WHERE revision = ?", &[5]);
        for row in rows.iter().filter(|row| row[0] != Value::Integer(5)) {
            let Value::Text(entry) = &row[8] else { panic!() };
            previous = Digest::chained(previous, entry);
            let update = "UPDATE audit_log SET hash = ? WHERE revision = ?";
            c.execute(update, params![previous.bytes(), row[0]]).unwrap();
        }
        c.execute("UPDATE audit_chain SET head_hash = ?", params![previous.bytes()]).unwrap();
    };
    assert_eq!(with(&path, &store, leave_out, Some(noted[4])).fault.map(|fault| fault.sequence), Some(Sequence(6)));

    // Remove the chain's own record.
    for altered in ["head_hash = zeroblob(32)", "head_hash = x'00'", "head_revision = -1", "cut_hash = x'01'"] {
        let alter = |c: &Connection| run(c, &format!("UPDATE audit_chain SET {altered}"), &[]);
        // Alterations that the table itself refuses need no detection.
        if Connection::open(&path).unwrap().prepare(&format!("UPDATE audit_chain SET {altered}")).is_ok() {
            assert!(with(&path, &store, alter, None).fault.is_some(), "{altered}");
        }
    }
}

/// Alter bytes of the file itself, within the rows.
#[tokio::test]
async fn any_byte_of_a_row_that_is_altered_in_the_file_is_found() {
    let (_folder, path) = database().await;
    let rows = rows(&Connection::open(&path).unwrap());
    let reader = Store::open(&path, 0).unwrap().log_reader().unwrap();
    drop(Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    drop(reader);
    let bytes = std::fs::read(&path).unwrap();
    let mut found = 0;
    for row in [&rows[0], &rows[rows.len() / 2], &rows[rows.len() - 1]] {
        let (Value::Text(organization), Value::Text(entry)) = (&row[1], &row[8]) else { panic!() };
        let entry_at = position(&bytes, entry.as_bytes(), 0);
        // The columns before the entry start with the organization; the hash follows the entry.
        let from = (0..entry_at).rev().find(|at| bytes[*at..].starts_with(organization.as_bytes())).unwrap();
        for at in from..entry_at + entry.len() + 32 {
            let mut altered = bytes.clone();
            altered[at] ^= 0x01;
            std::fs::write(&path, &altered).unwrap();
            let seen = match Store::open(&path, 0) {
                Ok(store) => verify(&store, None).map_or(true, |found| found.fault.is_some()),
                Err(_) => true,
            };
            assert!(seen, "byte {at} of the file was altered unseen, {} after {from}", at - from);
            found += 1;
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(verify(&Store::open(&path, 0).unwrap(), None).unwrap().fault, None);
    println!("{found} bytes of the file, all found");
}

fn position(bytes: &[u8], wanted: &[u8], from: usize) -> usize {
    from + bytes[from..].windows(wanted.len()).position(|window| window == wanted).unwrap()
}

/// A forged record of a cut removes no events: verification detects it, and the server's sweep deletes nothing.
#[tokio::test]
async fn a_beginning_that_is_said_to_be_cut_is_neither_believed_nor_removed() {
    let (folder, path) = database().await;
    let rows_before = rows(&Connection::open(&path).unwrap());
    let cut = "UPDATE audit_chain SET cut_revision = 5, cut_hash = (SELECT hash FROM audit_log WHERE revision = 5)";
    {
        let store = Store::open(&path, 0).unwrap();
        let head = verify(&store, None).unwrap().head;
        for expected in [None, Some(head)] {
            let fault = with(&path, &store, |c| run(c, cut, &[]), expected).fault.expect("a fault");
            assert_eq!(fault.sequence, Sequence(5), "{fault:?}");
            assert!(fault.description.contains("no event records the cut"), "{fault:?}");
        }
    }
    run(&Connection::open(&path).unwrap(), cut, &[]);
    let mut server = TestServer::start_in(folder, std::sync::Arc::new(crate::support::ManualClock::default())).await;
    // After these writes the server would have swept.
    for _ in 0..20 {
        server.sign_out("nobody", "nowhere").await;
    }
    let rows_after = rows(&Connection::open(&path).unwrap());
    assert_eq!(rows_before, rows_after[..rows_before.len()]);
    let _folder = server.stop().await;
}
