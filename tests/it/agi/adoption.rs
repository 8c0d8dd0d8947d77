//! A PBX that has members before queuegate comes: nobody is thrown out before an operator has seen who would be.

use queuegate::{pbx::config::Removal, rpc::proto::UnassignedQueueSignIn};

use super::{Center, asterisk::Call, manager::SECRET};
use crate::support::Shell;

/// A center whose PBX has members, and whose handler removes only after a plan.
async fn live_center() -> Center {
    let center = Center::open_with(true, |config| config.manager.as_mut().unwrap().removal = Removal::IfPlanned).await;
    // anna (101) is assigned, bo (102) isn't, 103 is static, the others belong to no user.
    center.pbx.add_static("801", "PJSIP/103");
    for interface in ["PJSIP/101", "PJSIP/102", "PJSIP/199", "Local/5@night"] {
        center.pbx.add("801", interface);
    }
    center.pbx.add("lobby", "PJSIP/101");
    center
}

async fn run(center: &Center, command: &str) -> (String, String, i32) {
    run_on(center, Shell::new(&center.server), command).await
}

async fn run_on(center: &Center, shell: Shell, command: &str) -> (String, String, i32) {
    let secret = center.folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let journal = center.folder.path().join("agi.journal");
    let settings = format!(
        "--ami {} --ami-user queuegate --ami-secret-file {} --journal {}",
        center.manager.address,
        secret.display(),
        journal.display()
    );
    shell.run(&format!("agi {command} {settings}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_plan_only_members_with_an_earlier_session_are_removed() {
    let mut center = live_center().await;
    center.server.sign_in("bo", "support").await;
    // A member is added when its session begins, and removed when it ends.
    center.pbx.until_members(&with_live(&[("802", "PJSIP/102")])).await;
    center.server.sign_out("bo", "support").await;
    center.pbx.until_members(&with_live(&[])).await;
    // A call's own sign-out removes the member that it finds.
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("101", "sign-out?queue=801")).await;
    let left: Vec<_> = with_live(&[]).into_iter().filter(|member| *member != ("801", "PJSIP/101")).collect();
    center.pbx.until_members(&left).await;
}

fn with_live<'m>(more: &[(&'m str, &'m str)]) -> Vec<(&'m str, &'m str)> {
    let live = [
        ("801", "Local/5@night"),
        ("801", "PJSIP/101"),
        ("801", "PJSIP/102"),
        ("801", "PJSIP/103"),
        ("801", "PJSIP/199"),
    ];
    live.iter().chain(more).chain(&[("lobby", "PJSIP/101")]).copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_lists_each_member_and_changes_nothing() {
    let mut center = live_center().await;
    center.server.sign_in("bo", "support").await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    center.pbx.until_members(&with_live(&[("802", "PJSIP/102")])).await;
    let (out, err, code) = run(&center, "plan").await;
    assert_eq!(code, 0, "{out}{err}");
    for line in [
        "801    Local/5@night        remove          the interface belongs to no user",
        "801    PJSIP/101      101   remove          signs in: ASSIGNED",
        "801    PJSIP/102      102   remove          denied: UNASSIGNED_RESTRICTED. Bo",
        "801    PJSIP/103      103   leave (static)",
        "802    PJSIP/102      102   keep",
        "2 queues: 0 members to add, 4 to remove, 2 to leave",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert!(!out.contains("lobby"), "{out}");
    let (out, _, _) = run(&center, "plan --json").await;
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["add"], &report["remove"], &report["leave"]), (&0.into(), &4.into(), &2.into()));
    assert_eq!(report["queues"][0]["members"][2]["reason"], "UNASSIGNED_RESTRICTED");
    assert_eq!(center.server.sessions().await.len(), 1);
    // The running handler goes on as before. The next one removes.
    assert_eq!(center.pbx.members().len(), 7);
    center.take_agi().stop().await;
    center.restart_agi_as(|config| config.manager.as_mut().unwrap().removal = Removal::IfPlanned).await;
    center.pbx.until_members(&[("801", "PJSIP/103"), ("802", "PJSIP/102"), ("lobby", "PJSIP/101")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopted_members_have_sessions_and_stay() {
    let mut center = live_center().await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    let (out, err, code) = run(&center, "adopt").await;
    assert!(code == 2 && err.contains("this signs in 1 users; add `--yes`"), "{out}{err}");
    let (out, err, code) = run(&center, "adopt --yes").await;
    assert_eq!(code, 1, "{out}{err}");
    for line in [
        "Local/5@night in 801 has no session: the interface belongs to no user",
        "PJSIP/102 in 801 has no session: denied: UNASSIGNED_RESTRICTED",
        "1 members are signed in, 3 have no session",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let session = &center.server.sessions().await[0];
    assert_eq!((session.user_id.as_str(), session.device.as_str()), ("anna", "PJSIP/101"));
    let (out, _, _) = run(&center, "adopt --yes --json").await;
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["signed_in"], &report["left"]), (&0.into(), &3.into()));
    center.take_agi().stop().await;
    center.restart_agi_as(|config| config.manager.as_mut().unwrap().removal = Removal::IfPlanned).await;
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/103"), ("lobby", "PJSIP/101")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_without_a_pbx_or_a_server_is_refused() {
    let center = live_center().await;
    let (_, err, code) = Shell::new(&center.server).run("agi plan").await;
    assert!(code == 2 && err.contains("give --ami"), "{err}");
    let (_, err, code) = run_on(&center, Shell { address: "127.0.0.1:1".to_owned() }, "plan").await;
    assert!(code == 3 && err.contains("127.0.0.1:1"), "{code} {err}");
    center.manager.go_down();
    let address = center.manager.address.to_string();
    let (_, err, code) = run(&center, "plan").await;
    assert!(code == 4 && err.contains(&format!("the PBX at {address}")), "{code} {err}");
}
