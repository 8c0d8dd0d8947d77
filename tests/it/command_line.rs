//! The command line from a script's view: output, JSON and exit codes.

use crate::support::{Shell, TestServer, program, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_can_go_by_the_exit_code() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    for (line, code, says) in [
        ("check anna sales", 0, "allowed  ASSIGNED"),
        ("check ext:103 ext:801", 0, "allowed  UNASSIGNED_ALLOWED"),
        ("check cleo chat --channel agent-dashboard", 1, "denied  AGENT_ROLE_REQUIRED"),
        ("check ext:999 sales", 1, "There is no user with extension 999."),
        ("check 101 sales", 1, "did you mean `ext:101`?"),
        ("import examples/acme.yaml", 0, "nothing to change"),
        ("sign-in bo sales --device PJSIP/102", 0, "bo on sales since"),
        ("settings set organization.unassigned_queue_sign_in=RESTRICTED", 0, "RESTRICTED"),
        ("settings get", 0, "supervisor.limit_to_assigned_queues"),
        ("check bo sales --explain", 0, "retained"),
        ("sign-in cleo sales", 1, "denied  UNASSIGNED_RESTRICTED"),
        ("supervisor-sign-in sam cleo sales --ttl 30m --justification peak", 0, "until"),
        ("supervisor-sign-in anna cleo sales", 1, "SUPERVISOR_ROLE_REQUIRED"),
        ("sessions", 0, "UNASSIGNED_ALLOWED"),
        ("sessions --retained", 0, "bo"),
        ("sessions --user anna", 0, "nobody is signed in"),
        ("queues cleo", 0, "ALREADY_SIGNED_IN"),
        ("queues dan", 1, "may sign in to no queue (USER_DISABLED)"),
        ("agents sales", 0, "Cleo Martin"),
        ("agents ext:810", 1, "nobody may sign in (QUEUE_KIND_NOT_SUPPORTED)"),
        ("supervisor-sign-out sam cleo sales", 0, "SIGNED_OUT_BY_SUPERVISOR"),
        ("supervisor-sign-out sam cleo sales", 0, "was not signed in"),
        ("permissions check sam sign-in-agents sales", 0, "allowed  GRANTED"),
        ("permissions check sam SIGN_IN_AGENTS support", 1, "denied  QUEUE_NOT_ASSIGNED"),
        ("permissions check anna create-custom-tags", 1, "the setting agent.create_custom_tags is off"),
        ("permissions of anna sales", 0, "SERVE_QUEUE"),
        ("permissions of petra", 0, "Depends on the queue"),
        ("permissions of cleo", 1, "ROLE_REQUIRED"),
        ("settings preview supervisor.limit_to_assigned_queues=false", 0, "+4"),
        ("settings preview organization.unassigned_queue_sign_in=ALLOWED", 0, "is no longer retained"),
        ("settings preview agent.create_custom_tags=false", 0, "Nobody would gain or lose anything."),
        ("settings set agent.create_custom_tags=true --validate-only", 0, "would be true"),
        ("settings get", 0, "agent.create_custom_tags                false"),
        ("settings set agent.create_custom_tags=true --actor petra", 0, "is true"),
        ("audit list --user cleo --queue sales --denied", 0, "UNASSIGNED_RESTRICTED"),
        ("audit list --user ext:103 --denied --at 2027-01-15T08:00:00Z", 0, "Cleo Martin (103) isn't assigned"),
        ("audit list --user ext:103 --denied --at 2027-01-15T08:01:00Z", 0, "no matching events"),
        ("audit list --action update-settings --limit 1", 0, "agent.create_custom_tags: false → true"),
        ("audit list --actor sam", 0, "\"peak\""),
        ("audit list --action AUDIT_ACTION_ASSIGN_ROLE --limit 1", 0, "ASSIGN_ROLE"),
        ("audit list --since 2030-01-01 --queue sales", 0, "no matching events from 2030-01-01"),
        ("audit list --limit 3", 0, "there are more; these are the newest 3"),
        ("audit verify", 0, "whole"),
        ("audit export", 0, "\"previous_hash\":\"0000"),
        ("sign-out bo --all-queues", 0, "signed out"),
        ("sign-in anna --all-assigned", 0, "is an inbox, which the feature code doesn't reach"),
        ("sign-in cleo --all-assigned", 1, "no queue is assigned to this user"),
        ("sign-in 103 --all-assigned", 1, "ext:103"),
        ("sign-out bo sales", 0, "was not signed in"),
        ("export", 0, "organization_id: \"acme\""),
        ("export --format json", 0, "\"organization_id\": \"acme\""),
    ] {
        let (out, err, found) = shell.run(line).await;
        assert_eq!(found, code, "{line}: {out}{err}");
        assert!(out.contains(says), "{line}: {out}{err}");
        assert!(!out.contains('\u{1b}'), "colour only on a terminal: {out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_told_apart_from_denials() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    for (line, code, says) in [
        ("check Anna sales", 2, "user_id: must be 1 to 64 of"),
        ("sign-out anna", 2, "--all-queues"),
        ("sign-in anna", 2, "--all-assigned"),
        ("settings set supervisor.view_queue_settings=false", 2, "settings.supervisor.view_queue_settings"),
        ("settings set agent.create_custom_tags=true agent.create_custom_tags=false", 2, "given twice"),
        ("settings set supervisor.nonsense=true", 2, "no such setting"),
        ("settings set organization.unassigned_queue_sign_in=UNSPECIFIED", 2, "ALLOWED or RESTRICTED"),
        ("settings set agent.create_custom_tags=true --etag stale", 2, "ABORTED / STALE_ETAG"),
        ("import no-such-file.yaml", 2, "can't read `no-such-file.yaml`"),
        ("import Cargo.toml", 2, "nothing of it was applied"),
        ("supervisor-sign-in sam cleo sales --ttl soon", 2, "--ttl"),
        ("permissions check sam fly", 2, "there is no permission `fly`"),
        ("permissions check sam view-skills sales", 2, "queue_id: must be left out"),
        ("settings set agent.create_custom_tags=true --actor anna", 2, "PERMISSION_DENIED / ACTOR_NOT_PERMITTED"),
        ("settings preview supervisor.view_queue_settings=false", 2, "settings.supervisor.view_queue_settings"),
        ("audit list --action fly", 2, "there is no action `fly`"),
        ("audit list --at yesterday", 2, "write a time of day (9:03)"),
        ("audit list --at 90m", 2, "give it to --since"),
        ("audit verify --expected-head x", 2, "REVISION:HASH"),
        ("audit verify --archive no-such-file", 2, "can't read `no-such-file`"),
        ("audit export --cut", 2, "--output"),
    ] {
        let (out, err, found) = shell.run(line).await;
        assert_eq!(found, code, "{line}: {out}{err}");
        assert!(err.contains(says), "{line}: {out}{err}");
    }
    let nowhere = Shell { address: "127.0.0.1:1".to_owned() };
    let (_, err, code) = nowhere.run("check anna sales").await;
    assert!(code == 3 && err.contains("is it running?"), "{err}");
}

/// The catalogue is the same for all organizations, so none is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_of_permissions_is_printed() {
    let server = TestServer::start().await;
    let address = server.address.to_string();
    let running = move || program().args(["permissions", "list", "--server", &address]).output().unwrap();
    let (out, err, code) = told(tokio::task::spawn_blocking(running).await.unwrap());
    assert_eq!(code, 0, "{err}");
    let line = out.lines().find(|line| line.contains("MANAGE_QUEUE_SETTINGS")).unwrap();
    assert!(line.contains("setting, queues in reach") && line.contains("supervisor.manage_queue_settings (off)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_the_message_with_every_field() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    let (out, _, code) = shell.run("check cleo chat --json").await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(answer["decision"]["allowed"], false);
    assert_eq!(answer["decision"]["reason"], "REASON_QUEUE_KIND_NOT_SUPPORTED");
    assert!(answer["revision"].is_string());
    let (out, _, _) = shell.run("import examples/acme.yaml --validate-only --json").await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["report"]["users_created"], "0");
}

/// Archive, cut, and verify both parts; also a faulty archive, and a log that doesn't continue it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_archived_and_cut() {
    let mut server = TestServer::acme().await;
    let shell = Shell::new(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (path("first.jsonl"), path("second.jsonl"));
    let noted = shell.run("audit head").await.0.trim().to_owned();
    let (out, err, code) = shell.run(&format!("audit export --cut --output {first}")).await;
    assert!(code == 0 && out.contains("17 events written to") && out.contains("cut off the log"), "{out}{err}");
    assert!(out.contains(&noted), "{out}");
    let (out, _, code) = shell.run(&format!("audit verify --archive {first} --expected-head {noted}")).await;
    assert!(code == 0 && out.contains("whole  1 event and 17 archived ones"), "{out}");

    let (_, err, code) = shell.run(&format!("audit export --output {first}")).await;
    assert!(code == 2 && err.contains("can't write"), "an archive is not overwritten: {err}");
    server.sign_in("anna", "sales").await;
    let (out, _, code) = shell.run(&format!("audit export --cut --output {second}")).await;
    assert!(code == 0 && out.contains("2 events"), "{out}");
    let (out, _, code) = shell.run(&format!("audit verify --archive {first} --archive {second}")).await;
    assert!(code == 0 && out.contains("19 archived"), "{out}");
    let (out, _, code) = shell.run(&format!("audit verify --archive {second} --archive {first}")).await;
    assert!(code == 1 && out.contains("doesn't continue where"), "{out}");
    let (out, _, code) = shell.run(&format!("audit verify --archive {first}")).await;
    assert!(code == 1 && out.contains("the log begins after the end of the last archive"), "{out}");
    let (out, _, code) = shell.run(&format!("audit verify --archive {second}")).await;
    assert!(code == 1 && out.contains("earlier events are missing"), "{out}");
    let after = noted.split_once(':').unwrap().1;
    let (out, _, code) = shell.run(&format!("audit verify --archive {second} --after {after}")).await;
    assert!(code == 0 && out.contains("2 archived"), "{out}");
    // A head from before both cuts is found in the archives.
    let line = format!("audit verify --archive {first} --archive {second} --expected-head {noted}");
    assert_eq!(shell.run(&line).await.2, 0);
    let (_, err, code) = shell.run(&format!("audit verify --expected-head {noted}")).await;
    assert!(code == 2 && err.contains("COMPACTED"), "{err}");
    // Events that were exported and not cut are still in the log.
    let third = path("third.jsonl");
    assert_eq!(shell.run(&format!("audit export --output {third}")).await.2, 0);
    let line = format!("audit verify --archive {first} --archive {second} --archive {third}");
    let (out, _, code) = shell.run(&line).await;
    assert!(code == 0 && out.contains("20 archived"), "{out}");

    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replacen("Anna Berg", "Anna Burg", 1)).unwrap();
    let (out, _, _) = shell.run(&format!("audit verify --archive {first} --archive {second} --json")).await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["verification"]["valid"], false);
    let (out, _, code) = shell.run(&format!("audit verify --archive {first} --archive {second}")).await;
    let line = 1 + text.lines().position(|line| line.contains("Anna Berg")).unwrap();
    assert!(code == 1 && out.contains(&format!("line {line} of")) && out.contains("was altered"), "{out}");
    let without_first: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    std::fs::write(&first, without_first).unwrap();
    let (out, _, code) = shell.run(&format!("audit verify --archive {first} --archive {second}")).await;
    assert!(code == 1 && out.contains("earlier events are missing"), "{out}");
    let without_third: String =
        text.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, l)| format!("{l}\n")).collect();
    std::fs::write(&first, without_third).unwrap();
    let (out, _, code) = shell.run(&format!("audit verify --archive {first} --archive {second}")).await;
    assert!(code == 1 && out.contains("line 3 of") && out.contains("doesn't follow the line before"), "{out}");
    let nothing = path("nothing.jsonl");
    let (out, _, code) = shell.run(&format!("audit export --before 2020-01-01T00:00:00Z --output {nothing}")).await;
    assert!(code == 0 && out.contains("nothing to export") && !std::path::Path::new(&nothing).exists(), "{out}");
}

/// The README's first command, but with `--exit`.
#[test]
fn the_demo_plays_its_story() {
    let output = program().args(["demo", "--listen", "127.0.0.1:0", "--exit"]).output().unwrap();
    let (out, err, code) = told(output);
    assert_eq!(code, 0, "{err}");
    let reasons: Vec<&str> =
        out.lines().filter_map(|line| line.strip_prefix("allowed  ").or(line.strip_prefix("denied  "))).collect();
    let expected = [
        "ASSIGNED",
        "UNASSIGNED_ALLOWED",
        "ALREADY_SIGNED_IN",
        "UNASSIGNED_RESTRICTED",
        "SUPERVISOR_SIGN_IN",
        "UNASSIGNED_RESTRICTED",
    ];
    assert_eq!(reasons, expected, "{out}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program().args(["completions", shell]).output().unwrap();
        let (out, _, code) = told(output);
        assert!(code == 0 && out.contains("supervisor-sign-in"), "{shell}");
    }
}
