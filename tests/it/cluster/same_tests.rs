//! The tests of a server with a file, run against PostgreSQL: the same code, in a process of its own.

use std::process::Command;

use super::Postgres;
use crate::support::POSTGRES;

/// The tests of the behaviour that callers see, which is the same for every store.
const TESTS: &[&str] = &[
    "access::",
    "actor::",
    "audit::",
    "directory::",
    "directory_lists::",
    "etags::",
    "expiry::",
    "model::",
    "permissions::",
    "pins::",
    "races::",
    "sessions::",
    "watch::",
];

/// The tests among them that change the file behind the server's back, or measure the threads around it.
const OF_A_FILE: &[&str] = &[
    "audit::a_damaged_event_is_named",
    "audit::archive::a_long_log_is_cut_at_once_and_removed_in_pieces",
    "audit::a_page_looks_at_so_many_events_and_the_next_goes_on",
    "audit::a_refusal_that_cannot_be_recorded_is_not_given",
    "audit::archive::what_was_archived_can_be_cut_and_the_chain_goes_on",
];

#[test]
fn a_node_does_what_a_server_with_a_file_does() {
    let Some(postgres) = Postgres::start() else { return };
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(TESTS).args(["--test-threads", "4"]).env(POSTGRES, &postgres.folder);
    tests.args(OF_A_FILE.iter().flat_map(|test| ["--skip", test]));
    let ran = tests.output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    // A filter that finds nothing would pass too.
    let passed = told.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed > 70), "{told}");
}
