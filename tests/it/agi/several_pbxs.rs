//! Several PBXs of one queuegate, and several handlers of one PBX.

use std::sync::Arc;

use queuegate::{
    pbx::{Config, names::OwnPbx},
    rpc::proto::SignInRequest,
};
use tempfile::TempDir;

use super::{
    Agi, Center,
    asterisk::{Call, Ended, Mishap, Pbx},
    manager::{ManagerPort, SECRET},
    manager_of,
};
use crate::support::{Shell, sign_in};

/// Another PBX beside the center's own, with its handler.
struct Munich {
    pbx: Arc<Pbx>,
    manager: ManagerPort,
    agi: Agi,
    folder: TempDir,
}

impl Munich {
    async fn open(center: &Center) -> Self {
        let pbx = Pbx::new(&["801", "lobby"]);
        let manager = ManagerPort::open(Arc::clone(&pbx)).await;
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            let mut config = Config { manager: Some(manager_of(manager.address)), ..super::config(&folder) };
            be("munich", "103", &mut config);
            config
        };
        let agi = Agi::start(make, &center.wire.address.to_string()).await;
        Self { pbx, manager, agi, folder }
    }

    async fn dial(&self, extension: &str, script: &str) -> Ended {
        Call::from(extension, script).run(&self.pbx, self.agi.address).await
    }
}

fn be(name: &str, home: &str, config: &mut Config) {
    config.pbx = Some(OwnPbx { name: name.parse().unwrap(), home: home.parse().unwrap() });
    config.manager.as_mut().unwrap().lamp = Some("Custom:QG_{extension}_{queue}".parse().unwrap());
}

/// anna (101) and bo (102) are at home in Berlin, and cleo (103) in Munich. Queue 801 is on both, and 802 only in Berlin.
async fn berlin_and_munich() -> (Center, Munich) {
    let berlin = Center::open_with(true, |config| be("berlin", "101,102", config)).await;
    let munich = Munich::open(&berlin).await;
    (berlin, munich)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pbx_rings_for_its_own_sessions() {
    let (mut berlin, munich) = berlin_and_munich().await;
    berlin.dial(Call::from("101", "sign-in?queue=801")).await;
    // A user can sign in away from home.
    munich.dial("102", "sign-in?queue=801").await;
    let devices: Vec<String> = berlin.server.sessions().await.into_iter().map(|session| session.device).collect();
    assert_eq!(devices, ["berlin::PJSIP/101", "munich::PJSIP/102"]);
    // A session without a PBX rings at home, also one from before the PBXs had names.
    berlin.server.supervisor_sign_in("cleo", "sales", None).await;
    let earlier = SignInRequest { device: "PJSIP/102".to_owned(), ..sign_in("bo", "support") };
    berlin.server.client.queue_access.sign_in(earlier).await.unwrap();
    berlin.pbx.until_members(&[("801", "PJSIP/101"), ("802", "PJSIP/102")]).await;
    munich.pbx.until_members(&[("801", "PJSIP/102"), ("801", "PJSIP/103")]).await;
    // The lamps of all sessions follow on every PBX that has the queue.
    let of_sales = ["Custom:QG_101_801", "Custom:QG_102_801", "Custom:QG_103_801"];
    let all = ["Custom:QG_101_801", "Custom:QG_102_801", "Custom:QG_102_802", "Custom:QG_103_801"];
    berlin.pbx.until_lit(&all).await;
    munich.pbx.until_lit(&of_sales).await;
    for user in ["anna", "bo", "cleo"] {
        berlin.server.sign_out(user, "sales").await;
    }
    berlin.pbx.until_members(&[("802", "PJSIP/102")]).await;
    munich.pbx.until_members(&[]).await;
    munich.pbx.until_lit(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_signed_in_at_one_pbx_is_no_member_at_the_other() {
    let (mut berlin, munich) = berlin_and_munich().await;
    berlin.dial(Call::from("101", "sign-in?queue=801")).await;
    let ended = munich.dial("101", "sign-in?queue=801").await;
    assert_eq!(ended.answer(), ("allowed", "RINGS_ELSEWHERE", "feature-not-avail-line"));
    // A supervisor's sign-in rings at home.
    berlin.server.supervisor_sign_in("cleo", "sales", None).await;
    let ended = berlin.dial(Call::from("103", "sign-in?queue=801")).await;
    assert_eq!(ended.answer().1, "RINGS_ELSEWHERE");
    berlin.pbx.until_members(&[("801", "PJSIP/101")]).await;
    munich.pbx.until_members(&[("801", "PJSIP/103")]).await;
    let added = munich.pbx.executed.lock().unwrap().iter().any(|line| line.starts_with("AddQueueMember"));
    assert!(!added, "it was no member for a moment either");
    // A sign-out ends the session from any PBX. Then the user can sign in there.
    let ended = munich.dial("101", "sign-out?queue=801").await;
    assert_eq!(ended.answer().1, "SIGNED_OUT");
    berlin.pbx.until_members(&[]).await;
    let ended = munich.dial("101", "sign-in?queue=801").await;
    assert_eq!(ended.answer().1, "ASSIGNED");
    munich.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/103")]).await;
    berlin.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciling_corrects_each_pbx_by_its_own_sessions() {
    let (mut berlin, munich) = berlin_and_munich().await;
    berlin.dial(Call::from("101", "sign-in?queue=801")).await;
    munich.dial("103", "sign-in?queue=801").await;
    // Somebody adds the member of the other PBX's session, and removes the own one.
    munich.pbx.add("801", "PJSIP/101");
    munich.pbx.remove("801", "PJSIP/103");
    munich.pbx.until_members(&[("801", "PJSIP/103")]).await;
    // Munich restarts without a memory. Berlin isn't concerned.
    let changes = berlin.pbx.changes.subscribe();
    munich.manager.go_down();
    munich.pbx.forget_dynamic_members();
    munich.manager.come_up();
    munich.pbx.until_members(&[("801", "PJSIP/103")]).await;
    assert_eq!(berlin.pbx.members().len(), 1);
    assert!(changes.is_empty());
    // The session of another PBX isn't the plan's.
    munich.agi.stop().await;
    munich.pbx.add("801", "PJSIP/101");
    let secret = munich.folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let settings = format!(
        "--pbx munich --pbx-home 103 --ami {} --ami-user queuegate --ami-secret-file {} --journal {}",
        munich.manager.address,
        secret.display(),
        munich.folder.path().join("other.journal").display()
    );
    let shell = Shell::new(&berlin.server);
    let (out, err, _) = shell.run(&format!("agi plan {settings}")).await;
    assert!(out.contains("remove       rings at another PBX: `berlin::PJSIP/101`"), "{out}{err}");
    let (out, err, _) = shell.run(&format!("agi adopt --yes {settings}")).await;
    assert!(out.contains("0 members are signed in, 1 have no session"), "{out}{err}");
    assert_eq!(berlin.server.sessions().await.len(), 2);
    let (_, err, code) = shell.run("agi --pbx munich plan").await;
    assert!(code == 2 && err.contains("--pbx and --pbx-home need each other"), "{code} {err}");
}

/// Both reconcile, and take calls in turns. No handler reverts the other's change for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handlers_of_one_pbx_agree() {
    let mut center = Center::reconciled().await;
    let folder = tempfile::tempdir().unwrap();
    let manager = center.manager.address;
    let make = || Config { manager: Some(manager_of(manager)), ..super::config(&folder) };
    let other = Agi::start(make, &center.wire.address.to_string()).await;
    let mishaps = [Mishap::None, Mishap::HangUp(2), Mishap::Cut(3), Mishap::CutAfter(3)];
    for (number, mishap) in mishaps.into_iter().cycle().take(40).enumerate() {
        let script = ["sign-in?queue=801", "toggle?queue=801", "sign-out?queue=801"][number % 3];
        let address = if number % 2 == 0 { center.agi.address } else { other.address };
        let extension = ["101", "102", "103"][number / 2 % 3];
        Call::from(extension, script).with(mishap).run(&center.pbx, address).await;
        if number % 10 == 9 {
            center.until_replayed().await;
            center.until_agreed().await;
        }
    }
    // Either alone is enough, whichever is killed.
    other.kill().await;
    center.until_agreed().await;
    let other = Agi::start(make, &center.wire.address.to_string()).await;
    center.take_agi().kill().await;
    center.pbx.forget_dynamic_members();
    center.pbx.add("801", "PJSIP/199");
    center.until_agreed().await;
    center.restart_agi(true).await;
    for user in ["anna", "bo", "cleo"] {
        center.server.sign_out(user, "sales").await;
    }
    center.pbx.until_members(&[]).await;
    // A comparison that is stale by the other handler's change can revert it once, but not again and again.
    let mut changes = center.pbx.changes.subscribe();
    for queue in ["sales", "support", "sales"] {
        center.server.sign_in("anna", queue).await;
        center.until_agreed().await;
        center.server.sign_out("anna", queue).await;
        center.until_agreed().await;
    }
    let mut events = 0;
    while changes.try_recv().is_ok() {
        events += 1;
    }
    assert!((6..=12).contains(&events), "{events}");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pbx_that_is_nobodys_home_rings_only_for_sessions_that_name_it() {
    let mut center = Center::open_with(true, |config| be("backup", "none", config)).await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.until_lit(&["Custom:QG_103_801"]).await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    assert_eq!(center.server.sessions().await.len(), 2);
}
