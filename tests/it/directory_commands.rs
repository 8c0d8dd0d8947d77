//! The directory from the command line: hints.

use std::process::Command;

use queuegate::auth::Scope;

use crate::{
    access::{entry, guarded},
    support::{Shell, TestServer},
};

/// Runs the commands in order, and compares the exit code and one output: standard output, or the error.
async fn run_all(shell: &Shell, lines: &[(&str, i32, &str)]) {
    for (line, code, says) in lines {
        let (out, err, found) = shell.run(line).await;
        assert_eq!(found, *code, "{line}: {out}{err}");
        assert!(out.contains(says) || err.contains(says), "{line}: {out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_gets_a_hint_of_a_similar_one() {
    let server = TestServer::acme().await;
    let lines = [
        ("check anna slaes", 1, "There is no queue `slaes`.\ndid you mean `sales`?"),
        ("check anan sales", 1, "did you mean `anna`?"),
        ("check ext:1001 sales", 1, "did you mean `ext:101`?"),
        ("sign-in anna suport", 1, "did you mean `support`?"),
        ("supervisor-sign-in smam anna sales", 1, "did you mean `sam`?"),
        ("supervisor-sign-out sam anna slaes", 1, "did you mean `sales`?"),
        ("queues clo", 1, "did you mean `cleo`?"),
        ("agents 801", 1, "did you mean `ext:801`?"),
        ("permissions check smam sign-in-agents sales", 1, "did you mean `sam`?"),
        ("permissions of sam slaes", 0, "did you mean `sales`?"),
    ];
    let shell = Shell::new(&server);
    run_all(&shell, &lines).await;
    for line in ["check anna nowhere", "check anna slaes --json"] {
        let (out, err, _) = shell.run(line).await;
        assert!(!format!("{out}{err}").contains("did you mean"), "{line}: {out}{err}");
    }
}

/// The lists need the scope `directory`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_scope_for_hints_the_answer_comes_alone() {
    let guarded = guarded(&[entry("pbx", &[Scope::Check], &[])]).await;
    let shell = Shell::new(&guarded.server);
    let change = |command: &mut Command| {
        command.env("QUEUEGATE_TOKEN", "pbx");
    };
    let (out, err, code) = shell.run_with("check anna slaes", change).await;
    assert_eq!((out.as_str(), err.as_str(), code), ("denied  UNKNOWN_QUEUE\nThere is no queue `slaes`.\n", "", 1));
    let (out, _, _) = shell.run_with("check 101 sales", change).await;
    assert!(out.contains("an extension is written ext:101"), "{out}");
}
