//! The phone that rings is the user's present one, and only for a call that this user dialed.

use queuegate::{pbx::names::named_endpoint, rpc::proto::*};

use super::{Center, asterisk::Call, manager_of};
use crate::support::{ACME, sign_in};

/// A token with the scope `sign-in` can write any device. If the PBX dialed such a device, its owner would pay for the
/// call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_a_caller_wrote_reaches_the_pbx_only_if_it_is_the_users_own_phone() {
    let mut center = Center::reconciled().await;
    let devices = [
        "PJSIP/0019005550100@trunk",
        "Local/0019005550100@from-internal/n",
        "PJSIP/101:x@trunk/sip:evil@198.51.100.7",
        "PJSIP/x,1,opt",
        // Another user's phone.
        "PJSIP/103",
        "pjsip/103",
        "PJSIP/101",
    ];
    for device in devices {
        let request = SignInRequest { device: device.to_owned(), ..sign_in("anna", "sales") };
        center.server.client.queue_access.sign_in(request).await.unwrap();
        center.pbx.until_members(&[("801", "PJSIP/101")]).await;
        // Her own calls change no other phone either.
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.dial(Call::from("101", "sign-out?queue=801")).await;
        center.pbx.until_members(&[]).await;
    }
    let executed = center.pbx.executed.lock().unwrap().clone();
    let is_annas = |application: &String| {
        ["(801,PJSIP/101)", "(801,PJSIP/101,,,Anna Berg)"].iter().any(|own| application.ends_with(own))
    };
    assert!(executed.iter().all(is_annas), "{executed:?}");
}

/// 101 calls 102, 102 answers, and 101 transfers the call to *13801. The channel is 102's, but 101 chose the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transferred_or_forwarded_call_is_denied() {
    let mut center = Center::open().await;
    let transfers = ["BLINDTRANSFER", "ATTENDEDTRANSFER", "TRANSFERERNAME", "FORWARDERNAME", "REDIRECTING(from-num)"];
    for variable in transfers {
        for action in ["sign-in", "sign-out", "toggle"] {
            let mut call = Call::from("102", &format!("{action}?queue=801"));
            call.variables.insert(variable.to_owned(), "PJSIP/101-00000001".to_owned());
            let ended = center.dial(call).await;
            assert_eq!(ended.answer(), ("denied", "NOT_DIALED", "feature-not-avail-line"), "{variable} {action}");
        }
    }
    assert!(center.sessions().await.is_empty() && center.pbx.executed.lock().unwrap().is_empty());
    let dialed = center.dial(Call::from("102", "sign-in?queue=801")).await;
    assert_eq!(dialed.get("QUEUEGATE_STATUS"), "allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_organizations_with_the_same_extensions_have_separate_phones() {
    let mut center = Center::open_with(false, |config| {
        let named = ["acme-101=acme/101", "globex-101=globex/101"].map(|text| named_endpoint(text).unwrap());
        config.endpoints.named = named.to_vec();
        config.endpoints.prefix = "{organization}-".parse().unwrap();
        config.queue_name = "{organization}-{extension}".parse().unwrap();
    })
    .await;
    let globex = "queues: [{ queue_id: sales, extension: 801, kind: CALL_QUEUE }]\n\
                  users:\n  - { user_id: gus, extension: 101 }\n  - { user_id: grace, extension: 102, contact_center_license: true, roles: [CONTACT_ADMIN] }\n";
    let import =
        ImportDirectoryRequest { organization_id: "globex".into(), document: globex.into(), ..Default::default() };
    center.server.import_with(import).await.0.unwrap();
    center.pbx.add_queue("acme-801");
    center.pbx.add_queue("globex-801");
    let (queuegate, pbx) = (center.wire.address, center.manager.address);
    center.take_agi().stop().await;
    let folder = tempfile::tempdir().unwrap();
    let make = || {
        let mut config = super::config(&folder);
        let named = ["acme-101=acme/101", "globex-101=globex/101"].map(|text| named_endpoint(text).unwrap());
        config.endpoints.named = named.to_vec();
        config.endpoints.prefix = "{organization}-".parse().unwrap();
        config.queue_name = "{organization}-{extension}".parse().unwrap();
        let mut manager = manager_of(pbx);
        manager.organizations = ["acme", "globex"].map(|id| id.parse().unwrap()).to_vec();
        config.manager = Some(manager);
        config
    };
    center.agi = super::Agi::start(make, &queuegate.to_string()).await;
    let request = SupervisorSignInRequest {
        organization_id: "globex".into(),
        supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId("grace".into())),
        user: Some(supervisor_sign_in_request::User::UserId("gus".into())),
        queue: Some(supervisor_sign_in_request::Queue::QueueId("sales".into())),
        ..Default::default()
    };
    center.server.client.queue_access.supervisor_sign_in(request).await.unwrap();
    center.pbx.until_members(&[("globex-801", "PJSIP/globex-101")]).await;
    // A phone of one organization isn't one of the other, even if the dialplan names the other.
    let ended = center.dial(Call::from("globex-101", "sign-in?organization=acme&queue=801")).await;
    assert_eq!(ended.answer().1, "NO_ENDPOINT");
    let ended = center.dial(Call::from("acme-101", "sign-in?organization=acme&queue=801")).await;
    assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");
    center.pbx.until_members(&[("acme-801", "PJSIP/acme-101"), ("globex-801", "PJSIP/globex-101")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_extension_changes_rings_at_the_new_one() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    let renumber = |extension: &str| UpdateUserRequest {
        organization_id: ACME.into(),
        user: Some(User { user_id: "anna".into(), extension: Some(extension.to_owned()), ..Default::default() }),
        ..Default::default()
    };
    center.server.client.directory.update_user(renumber("177")).await.unwrap();
    center.pbx.until_members(&[("801", "PJSIP/177")]).await;
    // After her sign-out there, the member stays removed.
    center.dial(Call::from("177", "sign-out?queue=801")).await;
    center.pbx.until_members(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_whose_extension_or_kind_changes_leaves_no_member_behind() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    center.until_agreed().await;
    // The handler leaves members of queues that aren't queuegate's.
    center.pbx.add("lobby", "PJSIP/101");
    center.pbx.add_queue("877");
    let moved = UpdateQueueRequest {
        organization_id: ACME.into(),
        queue: Some(Queue { queue_id: "sales".into(), extension: Some("877".into()), ..Default::default() }),
        ..Default::default()
    };
    center.server.client.directory.update_queue(moved).await.unwrap();
    center.pbx.until_members(&[("802", "PJSIP/102"), ("877", "PJSIP/101"), ("lobby", "PJSIP/101")]).await;
    let inbox = UpdateQueueRequest {
        organization_id: ACME.into(),
        queue: Some(Queue { queue_id: "support".into(), kind: QueueKind::Inbox.into(), ..Default::default() }),
        ..Default::default()
    };
    center.server.client.directory.update_queue(inbox).await.unwrap();
    center.pbx.until_members(&[("877", "PJSIP/101"), ("lobby", "PJSIP/101")]).await;
}

/// Without the manager interface, only the call itself can remove the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_of_a_denied_caller_without_a_session_is_removed() {
    let mut center = Center::open().await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    for action in ["sign-in", "toggle"] {
        center.pbx.add("801", "PJSIP/102");
        center.pbx.add("lobby", "PJSIP/102");
        let ended = center.dial(Call::from("102", &format!("{action}?queue=801"))).await;
        assert_eq!(ended.answer().0, "denied");
        center.pbx.until_members(&[("lobby", "PJSIP/102")]).await;
        // The handler leaves a queue that queuegate doesn't know.
        center.pbx.add_queue("899");
        center.pbx.add("899", "PJSIP/102");
        center.dial(Call::from("102", &format!("{action}?queue=899"))).await;
        center.pbx.until_members(&[("899", "PJSIP/102"), ("lobby", "PJSIP/102")]).await;
        center.pbx.remove("899", "PJSIP/102");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_added_again_keeps_its_pause_and_signing_in_ends_the_pause() {
    let center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    let key = ("801".to_owned(), "PJSIP/101".to_owned());
    center.pbx.pause("801", "PJSIP/101", "Auto-Pause");
    // This change marks the queue, so the handler reads the pause.
    center.pbx.add("801", "PJSIP/103");
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    center.pbx.remove("801", "PJSIP/101");
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    let reason = async || loop {
        let paused = center.pbx.paused_members.lock().unwrap().get(&key).cloned();
        if let Some(reason) = paused.filter(|reason| !reason.is_empty()) {
            return reason;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(tokio::time::timeout(super::EFFECT_TIMEOUT, reason()).await.unwrap(), "Auto-Pause");
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer().2, "agent-loginok");
    assert!(!center.pbx.is_paused("801", "PJSIP/101"), "a paused member doesn't ring");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_phone_of_a_user_hears_that_another_one_rings() {
    let mut center =
        Center::open_as(|config| config.endpoints.named = vec![named_endpoint("anna-home=101").unwrap()]).await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    let ended = center.dial(Call::from("anna-home", "sign-in?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "RINGS_ELSEWHERE", "feature-not-avail-line"));
    assert!(center.agree().await);
    center.dial(Call::from("anna-home", "sign-out?queue=801")).await;
    assert!(center.pbx.members().is_empty() && center.agree().await);
}
