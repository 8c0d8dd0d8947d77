//! A phone rings when and only when there is a session, whatever happens on either side.

use std::time::Duration;

use queuegate::rpc::proto::*;

use super::{
    Center, PATIENCE,
    asterisk::{Call, Membership, Mishap},
    wire::Passing,
};
use crate::support::{ACME, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisors_word_makes_a_phone_ring_and_cease_to() {
    let mut center = Center::kept().await;
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
async fn a_session_that_expires_ceases_to_ring() {
    let mut center = Center::kept().await;
    center.server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(600))).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    center.server.clock.advance(Duration::from_secs(601));
    center.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboards_sign_in_rings_at_the_agents_own_phone() {
    let mut center = Center::kept().await;
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
async fn a_pbx_that_was_restarted_rings_as_before() {
    let mut center = Center::kept().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    center.until_agreed().await;
    center.manager.go_down();
    center.pbx.forget_dynamic_members();
    // Somebody came and went while the PBX was down.
    center.server.sign_out("bo", "support").await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.manager.come_up();
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/103")]).await;
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_handler_was_down_is_made_good() {
    let mut center = Center::kept().await;
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
async fn what_happened_while_queuegate_was_out_of_reach_is_made_good() {
    let mut center = Center::kept().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.until_agreed().await;
    for passing in [Passing::Broken, Passing::Everything] {
        center.wire.set(passing);
        match passing {
            // Nothing is changed on the word of nobody.
            Passing::Broken => {
                center.server.sign_out("anna", "sales").await;
                center.server.supervisor_sign_in("cleo", "sales", None).await;
                assert_eq!(center.pbx.members().len(), 1);
            }
            _ => center.pbx.until_members(&[("801", "PJSIP/103")]).await,
        }
    }
}

/// An operator's `queue add member`, and what is written in `queues.conf`, and queues that are nobody's business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_dynamic_members_of_known_queues_are_touched() {
    let center = Center::kept().await;
    center.pbx.add_static("801", "PJSIP/102");
    center.pbx.add("lobby", "PJSIP/101");
    center.pbx.add("801", "PJSIP/103");
    center.pbx.until_members(&[("801", "PJSIP/102"), ("lobby", "PJSIP/101")]).await;
    // A member that was taken away comes back, if there is a session.
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.remove("801", "PJSIP/101");
    center.pbx.until_members(&[("801", "PJSIP/101"), ("801", "PJSIP/102"), ("lobby", "PJSIP/101")]).await;
    assert_eq!(center.pbx.members_of("801").unwrap()["PJSIP/102"], Membership::Static);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_ceases_to_ring() {
    let mut center = Center::kept().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    center.until_agreed().await;
    let request = DeleteQueueRequest { organization_id: ACME.into(), queue_id: "sales".into(), ..Default::default() };
    center.server.client.directory.delete_queue(request).await.unwrap();
    center.pbx.until_members(&[("802", "PJSIP/102")]).await;
}

/// What was read before a caller signed out, and waits for its turn behind them, doesn't make the phone ring again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_callers_overtake_changes_nothing() {
    let mut center = Center::kept().await;
    let dial = |center: &Center, call: Call| {
        let (pbx, agi) = (std::sync::Arc::clone(&center.pbx), center.agi.address);
        tokio::spawn(async move { call.run(&pbx, agi).await })
    };
    // The order of those who wait can't be seen, so it is tried several times.
    for _ in 0..10 {
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.until_agreed().await;
        let mut changes = center.pbx.changes.subscribe();
        // At the place: one who signs in once more, before AddQueueMember.
        let first = dial(&center, Call::from("101", "sign-in?queue=801").with(Mishap::Paused(2)));
        center.pbx.paused.subscribe().wait_for(|paused| *paused == 1).await.unwrap();
        // Behind them one who signs out, and then the comparison, which has read a session without a member.
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
        // A comparison for which there is no doubt any more has been made by then.
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

/// Without a doubt about anything, everything is compared now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_event_told_is_found_in_time() {
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
    assert!(PATIENCE > Duration::from_millis(200));
}
