//! The directory from the command line: users, queues, organizations, assignments, hints, confirmations, and `why`.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
};

use queuegate::{
    auth::Scope,
    rpc::proto::{Reason, UnassignedQueueSignIn},
};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;

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
async fn a_contact_center_is_built_changed_and_removed() {
    let server = TestServer::acme().await;
    let lines = [
        ("organization add other --name Other --unassigned-queue-sign-in restricted", 0, "other         Other"),
        ("organization add other", 2, "ALREADY_EXISTS"),
        ("organization set other --name Another", 0, "Another"),
        ("organization get other", 0, "Another"),
        ("organization list", 0, "acme          Acme Support"),
        ("organization remove other --yes", 0, "organization `other` is removed"),
        ("organization get other", 2, "there is no organization `other`"),
        ("queue add billing --kind call-queue --name Billing --extension 805", 0, "billing  805        Billing"),
        ("queue add billing --kind call-queue", 2, "ALREADY_EXISTS"),
        ("queue add other", 2, "--kind"),
        ("queue get ext:805", 0, "CALL_QUEUE"),
        ("queue set ext:805 --extension 806 --kind inbox", 0, "806        Billing  INBOX"),
        ("queue set billing --kind call-queue", 0, "CALL_QUEUE"),
        ("queue set billing", 2, "--extension"),
        ("queue list", 0, "front-desk  810"),
        ("user add eva --name Eva --extension 105", 0, "eva   105        Eva   no       no"),
        ("user add eva", 2, "ALREADY_EXISTS"),
        ("user get ext:105", 0, "Eva"),
        ("assign eva billing --role agent", 2, "LICENSE_REQUIRED"),
        ("user set ext:105 --license --name Eve", 0, "Eve   yes      no"),
        ("user set eva", 2, "--disabled"),
        ("assign ext:105 ext:806 --role agent", 0, "ext:105 is assigned AGENT on ext:806"),
        ("assign eva billing --role agent", 0, "nothing to change"),
        ("assign eva billing --role agent --penalty 3", 0, "eva is assigned AGENT on billing with penalty 3"),
        ("assign eva billing --role agent --penalty 1000", 2, "penalty: must be a penalty from 0 to 999"),
        ("assign eva --role supervisor --penalty 3", 2, "penalty: must be left out unless the role is AGENT"),
        ("assign eva billing --role agent", 0, "with penalty 3; nothing to change"),
        ("assign eva --role supervisor", 0, "eva is assigned SUPERVISOR"),
        ("assign eva billing --role contact-admin", 2, "INVALID_ARGUMENT"),
        ("assignments --user eva", 0, "eva   AGENT       billing  3"),
        ("assignments --queue ext:806 --role agent", 0, "eva   AGENT  billing  3"),
        ("assignments --role contact-admin", 0, "petra  CONTACT_ADMIN"),
        ("assignments --queue front-desk", 0, "nobody is assigned"),
        ("sign-in eva billing", 0, "ASSIGNED"),
        ("sessions --user eva --json", 0, "\"penalty\": 3"),
        ("unassign eva billing --role agent --end-sessions --yes", 0, "ASSIGNMENT_REMOVED"),
        ("unassign eva billing --role agent", 2, "is not assigned AGENT on queue `billing`"),
        ("unassign eva --role supervisor", 0, "eva is no longer assigned SUPERVISOR"),
        ("user set eva --extension= --license=false", 0, "eva              Eve   no       no"),
        ("sign-in eva billing", 0, "UNASSIGNED_ALLOWED"),
        ("user set eva --disabled --yes", 0, "Eve   no       yes"),
        ("sessions --user eva", 0, "nobody is signed in"),
        ("user remove eva --yes --request-id r1", 0, "user `eva` is removed"),
        ("user remove eva --yes --request-id r1", 0, "user `eva` is removed"),
        ("user remove eva --yes", 2, "NOT_FOUND"),
        ("queue remove ext:806 --yes", 0, "queue `billing` is removed"),
        ("queue add x --kind inbox --actor anna", 2, "ACTOR_NOT_PERMITTED"),
        ("assign bo sales --role agent --actor petra", 0, "bo is assigned AGENT on sales"),
    ];
    run_all(&Shell::new(&server), &lines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_every_page() {
    let mut server = TestServer::acme().await;
    let mut document = "users:\n".to_owned();
    for number in 0..1_500 {
        writeln!(document, "  - {{ user_id: u{number:04} }}").unwrap();
    }
    server.import(&document).await.unwrap();
    let shell = Shell::new(&server);
    let (out, err, code) = shell.run("user list").await;
    assert_eq!((code, out.lines().count()), (0, 1 + 6 + 1_500), "{err}");
    let (out, _, _) = shell.run("user list --json").await;
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all["users"].as_array().unwrap().len(), 1_506);
    assert_eq!((&all["users"][1_505]["user_id"], &all["next_page_token"]), (&"u1499".into(), &"".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_only_yes_confirms() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    let lines = [
        ("user remove ext:101", 2, "this removes user `anna` with their roles, and ends their sessions; add `--yes`"),
        ("user set anna --disabled", 2, "this disables user `anna` and ends their sessions; add `--yes`"),
        (
            "queue remove sales",
            2,
            "this removes queue `sales` with the roles on it, and ends its sessions; add `--yes`",
        ),
        ("organization remove acme", 2, "this removes organization `acme` with everything in it"),
        ("unassign anna sales --role agent --end-sessions", 2, "this takes AGENT on sales from anna"),
    ];
    run_all(&Shell::new(&server), &lines).await;
    assert_eq!(server.sessions().await.len(), 1);
    assert_eq!(server.check("anna", "sales").await.reason(), Reason::AlreadySignedIn);
}

/// A terminal on which this was typed. The first part must live as long as the program.
fn terminal(typed: &str) -> (File, File) {
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let name = ptsname(&control, Vec::new()).unwrap();
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut control = File::from(control);
    control.write_all(typed.as_bytes()).unwrap();
    (control, File::from(terminal))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_asked_for_a_confirmation() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    for (typed, code, says) in
        [("n\n", 1, "nothing was changed"), ("\n", 1, "nothing was changed"), ("yes\n", 0, "user `anna` is removed")]
    {
        let (control, terminal) = terminal(typed);
        let change = |command: &mut Command| {
            command.stdin(Stdio::from(terminal));
        };
        let (out, err, found) = shell.run_with("user remove ext:101", change).await;
        drop(control);
        assert_eq!((found, out.trim()), (code, says), "{typed:?}: {err}");
        assert_eq!(err, "This removes user `anna` with their roles, and ends their sessions. Continue? [y/N] ");
    }
    assert_eq!(shell.run("user get anna").await.2, 2);
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
        ("why anna slaes", 1, "did you mean `sales`?"),
        ("user get ana", 2, "there is no user `ana`\n  (NOT_FOUND / NOT_FOUND)\n  did you mean `anna`?"),
        ("user set ana --name Anna", 2, "did you mean `anna`?"),
        ("queue remove slaes --yes", 2, "did you mean `sales`?"),
        ("assign anna slaes --role agent", 2, "did you mean `sales`?"),
        ("organization get acem", 2, "did you mean `acme`?"),
    ];
    let shell = Shell::new(&server);
    run_all(&shell, &lines).await;
    for line in ["check anna nowhere", "user get nobody", "check anna slaes --json"] {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_prints_the_rules_and_the_ways_to_another_outcome() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    server.sign_in("anna", "sales").await;
    let shell = Shell::new(&server);
    let (out, _, code) = shell.run("why cleo sales").await;
    assert_eq!(code, 1);
    assert!(out.starts_with("denied  UNASSIGNED_RESTRICTED\nCleo Martin (103) isn't assigned to Sales (801)"), "{out}");
    let squeezed: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "1 the user is unknown passed cleo, 103, Cleo Martin",
        "4 the channel can't reach this kind of queue passed FEATURE_CODE to CALL_QUEUE",
        "7 the user is assigned to the queue passed assigned: no",
        "9 otherwise: it is RESTRICTED decided here RESTRICTED",
        "queuegate supervisor-sign-in SUPERVISOR cleo sales --ttl 8h",
        "queuegate user set cleo --license",
        "queuegate assign cleo sales --role agent",
        "queuegate settings set organization.unassigned_queue_sign_in=ALLOWED",
    ] {
        assert!(squeezed.iter().any(|found| found == line), "{line}: {out}");
    }
    let lines = [
        (
            "why anna sales",
            0,
            "6     the user has a live session on the queue                   decided here  signed in",
        ),
        ("why bo support", 0, "a contact admin can take the assignment"),
        ("why dan sales", 1, "queuegate user set dan --disabled=false"),
        ("why ext:999 sales", 1, "queuegate user add USER_ID --extension 999"),
        ("why anna front-desk", 1, "no channel reaches a ring group"),
        ("why cleo chat --channel agent-dashboard", 1, "decided here  roles: none"),
    ];
    run_all(&shell, &lines).await;
    let (out, _, code) = shell.run("why cleo chat --json").await;
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["decision"]["reason"]), (1, &"REASON_QUEUE_KIND_NOT_SUPPORTED".into()));
    let results: Vec<&str> =
        answer["rules"].as_array().unwrap().iter().map(|rule| rule["result"].as_str().unwrap()).collect();
    assert_eq!(results[..4], ["passed", "passed", "passed", "decided here"]);
    assert_eq!(results[4..], ["not reached"; 5]);
    assert_eq!(answer["remedies"].as_array().unwrap().len(), 2);
}
