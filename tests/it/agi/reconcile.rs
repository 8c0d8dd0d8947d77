//! A phone rings when and only when there is a session, after every event on either side.

use std::time::Duration;

use queuegate::rpc::proto::*;

use super::{
    Center, EFFECT_TIMEOUT,
    asterisk::{Call, Membership, Mishap},
};
use crate::{
    support::{ACME, sign_in},
    wire::Passing,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisors_sign_in_and_sign_out_change_the_member() {
    let mut center = Center::reconciled().await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    let request = SupervisorSignOutRequest {
        organization_id: ACME.into(),
        supervisor: Some(supervisor_sign_out_request::Supervisor::SupervisorId("sam".into())),
        user: Some(supervisor_sign_out_request::User::UserId("cleo".into())),
        queue: Some(supervisor_sign_out_request::Queue::QueueId("sales".into())),
        ..Default::default()
    };
    center.server.client.queue_access.supervisor_sign_out(request).await.unwrap();
    center.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_has_no_member() {
    let mut center = Center::reconciled().await;
    center.server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(600))).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    center.server.clock.advance(Duration::from_secs(601));
    center.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboards_sign_in_rings_at_the_agents_own_phone() {
    let mut center = Center::reconciled().await;
    let browser = SignInRequest {
        channel: Channel::AgentDashboard.into(),
        device: "browser-7".to_owned(),
        ..sign_in("anna", "sales")
    };
    center.server.client.queue_access.sign_in(browser).await.unwrap();
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    center.server.sign_out("anna", "sales").await;
    center.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_pbx_gets_its_members_back() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    center.until_agreed().await;
    center.manager.go_down();
    center.pbx.forget_dynamic_members();
    // A sign-out and a sign-in happen while the PBX is down.
    center.server.sign_out("bo", "support").await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.manager.come_up();
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/103")]).await;
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_the_handler_was_down_are_reconciled() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.until_agreed().await;
    center.take_agi().stop().await;
    center.server.sign_out("anna", "sales").await;
    center.server.supervisor_sign_in("cleo", "support", None).await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    assert_eq!(center.pbx.members().len(), 1);
    center.restart_agi(true).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_queuegate_was_unreachable_are_reconciled() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.until_agreed().await;
    for passing in [Passing::Broken, Passing::Everything] {
        center.wire.set(passing);
        match passing {
            // While queuegate is unreachable, the handler changes no member.
            Passing::Broken => {
                center.server.sign_out("anna", "sales").await;
                center.server.supervisor_sign_in("cleo", "sales", None).await;
                assert_eq!(center.pbx.members().len(), 1);
            }
            _ => center.pbx.until_members(&[("801", "PJSIP/103")]).await,
        }
    }
}

/// The PBX has a member that an operator added, a static one, and one in a queue that isn't queuegate's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_dynamic_members_of_known_queues_are_corrected() {
    let center = Center::reconciled().await;
    center.pbx.add_static("801", "PJSIP/102");
    center.pbx.add("lobby", "PJSIP/101");
    center.pbx.add("801", "PJSIP/103");
    center.pbx.until_members(&[("801", "PJSIP/102"), ("lobby", "PJSIP/101")]).await;
    // A removed member with a session is added again.
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.remove("801", "PJSIP/101");
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/102"), ("lobby", "PJSIP/101")]).await;
    assert_eq!(center.pbx.members_of("801").unwrap()["PJSIP/102"], Membership::Static);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_has_no_members() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    center.until_agreed().await;
    let request = DeleteQueueRequest { organization_id: ACME.into(), queue_id: "sales".into(), ..Default::default() };
    center.server.client.directory.delete_queue(request).await.unwrap();
    center.pbx.until_members(&[("802", "PJSIP/102")]).await;
}

/// A comparison that reads a session and then waits for a caller's sign-out doesn't add the member again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_comparison_changes_no_member() {
    let mut center = Center::reconciled().await;
    let dial = |center: &Center, call: Call| {
        let (pbx, agi) = (std::sync::Arc::clone(&center.pbx), center.agi.address);
        tokio::spawn(async move { call.run(&pbx, agi).await })
    };
    // The test can't see the order of waiting tasks, so it repeats the attempt.
    for _ in 0..10 {
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.until_agreed().await;
        let mut changes = center.pbx.changes.subscribe();
        // The first call holds the lock: a repeated sign-in, before AddQueueMember.
        let first = dial(&center, Call::from("101", "sign-in?queue=801").with(Mishap::Paused(2)));
        center.pbx.paused.subscribe().wait_for(|paused| *paused == 1).await.unwrap();
        // A sign-out waits for the lock, and then a comparison that has read a session without a member.
        let second = dial(&center, Call::from("101", "sign-out?queue=801"));
        for _ in 0..3 {
            center.dial(Call::from("103", "check?queue=801")).await;
        }
        center.pbx.remove("801", "PJSIP/101");
        for _ in 0..5 {
            center.dial(Call::from("103", "check?queue=801")).await;
        }
        center.pbx.go_on.add_permits(1);
        assert_eq!(first.await.unwrap().get("QUEUEGATE_STATUS"), "allowed");
        assert_eq!(second.await.unwrap().get("QUEUEGATE_STATUS"), "allowed");
        center.until_agreed().await;
        // When this member is added, all earlier marks have been compared.
        center.server.supervisor_sign_in("cleo", "sales", None).await;
        center.pbx.until_members(&[("801", "PJSIP/103")]).await;
        center.server.sign_out("cleo", "sales").await;
        center.pbx.until_members(&[]).await;
        let mut seen = Vec::new();
        while let Ok(change) = changes.try_recv() {
            seen.extend((change.interface == "PJSIP/101").then_some(change.event));
        }
        assert_eq!(seen, ["QueueMemberRemoved", "QueueMemberAdded", "QueueMemberRemoved"]);
    }
}

/// At an interval the handler compares all queues, even without marks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_an_event_is_found_at_the_interval() {
    let center = Center::open_with(true, |config| {
        config.manager.as_mut().unwrap().interval = Duration::from_millis(200);
    })
    .await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    let added = center.pbx.changes.subscribe();
    center.pbx.forget_dynamic_members();
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    assert_eq!(added.len(), 1);
    assert!(EFFECT_TIMEOUT > Duration::from_millis(200));
}
