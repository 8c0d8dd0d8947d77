//! The tests of a server with a file, run against PostgreSQL: the same code, in a process of its own.

use std::process::Command;

use super::Postgres;
use crate::support::POSTGRES;

/// The tests that describe what callers see, whatever the store is.
const TESTS: &[&str] = &[
    "access::",
    "actor::",
    "audit::",
    "directory::",
    "expiry::",
    "model::",
    "permissions::",
    "sessions::",
    "settings::",
    "watch::",
];

#[test]
fn a_node_does_what_a_server_with_a_file_does() {
    let Some(postgres) = Postgres::start() else { return };
    let own = std::env::current_exe().unwrap();
    let ran =
        Command::new(own).args(TESTS).args(["--test-threads", "4"]).env(POSTGRES, &postgres.folder).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    // A filter that finds nothing would pass too.
    let passed = told.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed > 60), "{told}");
}
