//! The results of calls: status, reason, prompt, session and member.

use queuegate::{
    pbx::{
        config::{DoneBy, PbxKind},
        names::named_endpoint,
        prompts::{Prompts, prompt},
    },
    rpc::proto::UnassignedQueueSignIn,
};

use super::{Call, Center};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_signed_in_becomes_a_member_and_hears_the_prompt() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?organization=acme&queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert_eq!((ended.get("AGISTATUS"), &ended.sounds[..]), ("SUCCESS", &["agent-loginok".to_owned()][..]));
    let sessions = center.server.sessions().await;
    assert_eq!((sessions[0].user_id.as_str(), sessions[0].device.as_str()), ("anna", "PJSIP/101"));
    assert_eq!(ended.get("QUEUEGATE_SESSION_ID"), sessions[0].session_id);
    assert!(center.agree().await && !center.pbx.members().is_empty());

    let again = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(again.answer(), ("allowed", "ALREADY_SIGNED_IN", "agent-loginok"));
    assert_eq!(again.get("QUEUEGATE_SESSION_ID"), sessions[0].session_id);
    assert!(center.agree().await);

    let out = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(out.answer(), ("allowed", "SIGNED_OUT", "agent-loggedoff"));
    assert_eq!(out.get("QUEUEGATE_SESSION_ID"), sessions[0].session_id);
    assert!(center.agree().await && center.pbx.members().is_empty());
    let out = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(out.answer(), ("allowed", "NOT_SIGNED_IN", "agent-loggedoff"));
}

/// The caller id is 102 in all calls, and the dialed extension is `s` inside Gosub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_identifies_the_caller_and_the_caller_id_does_not() {
    let mut center = Center::open().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    let elsewhere =
        Call { channel: "Local/103@agents-00000001;1".to_owned(), ..Call::from("", "sign-in?endpoint=103&queue=801") };
    center.dial(elsewhere).await;
    let users: Vec<String> = center.server.sessions().await.into_iter().map(|session| session.user_id).collect();
    assert_eq!(users, ["anna", "cleo"]);
    let forged = Call { channel: "Local/101@agents-00000001;1".to_owned(), ..Call::from("", "sign-out?queue=801") };
    assert_eq!(center.dial(forged).await.answer(), ("failed", "NO_ENDPOINT", "sorry-youre-having-problems"));
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn toggle_alternates_between_sign_in_and_sign_out() {
    let mut center = Center::open().await;
    for (reason, prompt) in
        [("ASSIGNED", "agent-loginok"), ("SIGNED_OUT", "agent-loggedoff"), ("ASSIGNED", "agent-loginok")]
    {
        let ended = center.dial(Call::from("101", "toggle?queue=801")).await;
        assert_eq!(ended.answer(), ("allowed", reason, prompt));
        assert!(center.agree().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_changes_nothing_and_plays_nothing() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "check?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", ""));
    assert!(ended.sounds.is_empty() && center.pbx.executed.lock().unwrap().is_empty());
    assert!(center.server.sessions().await.is_empty());
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    let ended = center.dial(Call::from("102", "check?prompt=yes&queue=801")).await;
    assert_eq!(ended.answer(), ("denied", "UNASSIGNED_RESTRICTED", "feature-not-avail-line"));
    assert_eq!(ended.sounds, ["feature-not-avail-line"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_has_its_prompt() {
    let mut center = Center::open_as(|config| {
        config.prompts = Prompts::with([prompt("USER_DISABLED=custom/disabled").unwrap()]);
    })
    .await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    for (extension, script, answer) in [
        ("102", "sign-in?queue=801", ("denied", "UNASSIGNED_RESTRICTED", "feature-not-avail-line")),
        ("104", "sign-in?queue=801", ("denied", "USER_DISABLED", "custom/disabled")),
        ("999", "sign-in?queue=801", ("denied", "UNKNOWN_USER", "feature-not-avail-line")),
        ("101", "sign-in?queue=899", ("denied", "UNKNOWN_QUEUE", "invalid")),
        ("101", "sign-in?queue=803", ("denied", "QUEUE_KIND_NOT_SUPPORTED", "feature-not-avail-line")),
        ("101", "sign-in?organization=globex&queue=801", ("failed", "NOT_FOUND", "sorry-youre-having-problems")),
        ("101", "sign-up?queue=801", ("failed", "BAD_REQUEST", "sorry-youre-having-problems")),
        ("101", "sign-in?queue=80,1", ("failed", "BAD_REQUEST", "sorry-youre-having-problems")),
    ] {
        let ended = center.dial(Call::from(extension, script)).await;
        assert_eq!(ended.answer(), answer, "{script}");
        assert_eq!(ended.sounds, [answer.2], "{script}");
    }
    // A member without a session would ring on, so a denied caller's member is removed. None is added.
    let executed = center.pbx.executed.lock().unwrap().clone();
    assert!(executed.iter().all(|application| application.starts_with("RemoveQueueMember(")), "{executed:?}");
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_dials_only_the_code_is_asked_for_the_queue() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in").dialing(&["899", "*1", "801"])).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    let ask = "vm-enter-num-to-call";
    assert_eq!(ended.sounds, [ask, "invalid", ask, "invalid", ask, "agent-loginok"]);
    assert!(center.agree().await && !center.pbx.members().is_empty());
    let ended = center.dial(Call::from("101", "sign-in?queue=").dialing(&["899", "899", "899", "801"])).await;
    assert_eq!((ended.answer(), ended.sounds.len()), (("denied", "UNKNOWN_QUEUE", "invalid"), 6));
    let ended = center.dial(Call::from("101", "sign-out")).await;
    assert_eq!(ended.answer(), ("failed", "NO_QUEUE", "sorry-youre-having-problems"));
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialplan_can_change_members_and_play_prompts() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?member=no&prompt=no&queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert!(ended.sounds.is_empty() && center.pbx.members().is_empty());
    assert_eq!(center.sessions().await.len(), 1);

    let center = Center::open_as(|config| {
        (config.members, config.prompting) = (DoneBy::Dialplan, DoneBy::Dialplan);
    })
    .await;
    // A call can't override this configuration.
    let ended = center.dial(Call::from("101", "sign-in?member=yes&queue=801")).await;
    assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");
    assert!(ended.sounds.is_empty() && center.pbx.executed.lock().unwrap().is_empty());
}

/// An agent with several endpoints rings at the endpoint of the sign-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_queues_and_interfaces_have_the_configured_names() {
    let mut center = Center::open_as(|config| {
        config.endpoints.named = vec![named_endpoint("anna-desk=101").unwrap()];
        config.endpoints.prefix = "phone-".parse().unwrap();
        config.interface = "Local/{extension}@from-queue/n".parse().unwrap();
        config.kind = PbxKind::Asterisk { state_interface: Some("hint:{extension}@ext-local".parse().unwrap()) };
    })
    .await;
    center.dial(Call::from("anna-desk", "sign-in?queue=sales")).await;
    center.dial(Call::from("phone-102", "sign-in?queue=801")).await;
    let expected = [("101", "Anna Berg"), ("102", "Bo Lindqvist")].map(|(extension, name)| {
        format!("AddQueueMember(801,Local/{extension}@from-queue/n,,,{name},hint:{extension}@ext-local)")
    });
    assert_eq!(*center.pbx.executed.lock().unwrap(), expected);
    assert!(center.agree().await);

    let mut center = Center::open_as(|config| config.queue_name = "{id}".parse().unwrap()).await;
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    // The PBX has no queue `sales`, so the sign-in is undone.
    assert_eq!(ended.answer().1, "NO_SUCH_QUEUE");
    assert_eq!(*center.pbx.executed.lock().unwrap(), ["AddQueueMember(sales,PJSIP/101,,,Anna Berg)"]);
    assert!(center.agree().await);
}
