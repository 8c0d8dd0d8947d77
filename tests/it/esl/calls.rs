//! The results of calls: status, reason, prompt, session, agent and tier.

use queuegate::rpc::proto::UnassignedQueueSignIn;

use super::{Call, Center};

const IN: &str = "ivr/ivr-you_are_now_logged_in.wav";
const OUT: &str = "ivr/ivr-you_are_now_logged_out.wav";
const DENIED: &str = "ivr/ivr-access_denied.wav";
const SORRY: &str = "ivr/ivr-im_sorry.wav";
const ANNA: &str = "101@pbx.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_becomes_an_available_agent_with_a_tier_and_leaves_logged_out() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?organization=acme&queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", IN));
    assert_eq!(ended.sounds, [IN]);
    assert!(!ended.get("QUEUEGATE_SESSION_ID").is_empty());
    assert_eq!(center.sessions().await, center.switch.members());
    let agent = center.switch.agent(ANNA).unwrap();
    assert_eq!((agent.contact.as_str(), agent.status.as_str()), ("user/101@pbx.example.com", "Available"));
    let ended = center.dial(Call::from("101", "toggle?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "SIGNED_OUT", OUT));
    assert_eq!(center.switch.agent(ANNA).unwrap().status, "Logged Out");
    assert_eq!(center.switch.level("801@default", ANNA), None);
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "NOT_SIGNED_IN", OUT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_another_tier_stays_available() {
    let center = Center::open().await;
    for queue in ["801", "802"] {
        center.dial(Call::from("101", &format!("sign-in?queue={queue}"))).await;
    }
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.get("QUEUEGATE_REASON"), "SIGNED_OUT");
    assert_eq!(center.switch.agent(ANNA).unwrap().status, "Available");
    assert_eq!(center.switch.members(), [("802".to_owned(), "101".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_its_reason_and_no_tier() {
    let mut center = Center::open().await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    let check = center.dial(Call::from("101", "check?queue=801")).await;
    assert_eq!((check.get("QUEUEGATE_REASON"), check.sounds.len()), ("ASSIGNED", 0));
    for (user, path, status, reason, sound) in [
        ("102", "sign-in?queue=801", "denied", "UNASSIGNED_RESTRICTED", DENIED),
        ("104", "sign-in?queue=801", "denied", "USER_DISABLED", DENIED),
        ("101", "sign-in?queue=899", "denied", "UNKNOWN_QUEUE", "ivr/ivr-that_was_an_invalid_entry.wav"),
        ("101", "sign-up?queue=801", "failed", "BAD_REQUEST", SORRY),
    ] {
        let ended = center.dial(Call::from(user, path)).await;
        assert_eq!(ended.answer(), (status, reason, sound), "{user} {path}");
    }
    assert!(center.switch.members().is_empty() && center.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_enters_the_queue_and_the_entry_is_removed_from_the_channel() {
    let center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?queue=").dialing(&["899", "*1", "801"])).await;
    assert_eq!(ended.get("QUEUEGATE_REASON"), "ASSIGNED");
    let asked = ended.sounds.iter().filter(|sound| sound.as_str() == "ivr/ivr-enter_queue_number.wav").count();
    assert_eq!((asked, ended.get("queuegate_digits"), ended.recorded_digits.as_str()), (3, "", ""));
    assert_eq!(ended.get("sensitive_dtmf"), "");
    let ended = center.dial(Call::from("101", "sign-in")).await;
    assert_eq!(ended.get("QUEUEGATE_REASON"), "NO_QUEUE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_authenticated_user_of_the_own_domain_is_the_caller() {
    let mut center = Center::open().await;
    let call = || Call::from("101", "sign-in?queue=801");
    for (name, value, reason) in [
        ("variable_sip_authorized", "", "NO_ENDPOINT"),
        ("variable_sip_acl_authed_by", "lan", "NO_ENDPOINT"),
        ("variable_domain_name", "globex.example.com", "NO_ENDPOINT"),
        ("Caller-Source", "mod_loopback", "NO_ENDPOINT"),
        ("variable_transfer_history", "1795892682:8e2e:bl_xfer:*13801/phones/XML", "NOT_DIALED"),
        ("variable_sip_h_Diversion", "<sip:102@pbx.example.com>", "NOT_DIALED"),
        ("Call-Direction", "outbound", "NOT_DIALED"),
    ] {
        let ended = center.dial(call().having(name, value)).await;
        assert_eq!(ended.get("QUEUEGATE_REASON"), reason, "{name}");
    }
    assert!(center.sessions().await.is_empty());
    let named = Call::from("", "sign-in?endpoint=103&queue=801");
    assert_eq!(center.dial(named).await.get("QUEUEGATE_REASON"), "UNASSIGNED_ALLOWED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_tier_and_a_missing_queue_are_told() {
    let mut center = Center::open().await;
    center.switch.add_static("801@default", ANNA);
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.get("QUEUEGATE_REASON"), "ASSIGNED");
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.answer(), ("failed", "MEMBER_IS_STATIC", SORRY));
    assert!(center.sessions().await.is_empty());
    center.switch.drop_queue("802@default");
    let ended = center.dial(Call::from("103", "sign-in?queue=802")).await;
    assert_eq!(ended.answer(), ("failed", "NO_SUCH_QUEUE", SORRY));
    assert!(center.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_pauses_in_all_queues_and_a_sign_in_ends_it() {
    let center = Center::open().await;
    let ended = center.dial(Call::from("101", "pause")).await;
    assert_eq!(ended.answer(), ("denied", "NOT_A_MEMBER", DENIED));
    let ended = center.dial(Call::from("101", "toggle?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED");
    let status = || center.switch.agent(ANNA).unwrap().status;
    assert_eq!(center.dial(Call::from("101", "pause")).await.get("QUEUEGATE_REASON"), "PAUSED");
    assert_eq!(status(), "On Break");
    assert_eq!(center.dial(Call::from("101", "pause?queue=801")).await.get("QUEUEGATE_REASON"), "PBX_FAILED");
    assert_eq!(center.dial(Call::from("101", "unpause")).await.get("QUEUEGATE_REASON"), "UNPAUSED");
    assert_eq!(status(), "Available");
    center.dial(Call::from("101", "pause")).await;
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.get("QUEUEGATE_REASON"), "ALREADY_SIGNED_IN");
    assert_eq!(status(), "Available");
}

/// Without `full` FreeSWITCH refuses the handler's commands. With `async` the dialplan goes on only after `resume`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_arguments_of_the_application_are_respected() {
    let mut center = Center::open().await;
    let call = || Call::from("101", "sign-in?queue=801");
    let ended = center.dial(call().having("Control", "single-channel")).await;
    assert_eq!((ended.get("QUEUEGATE_STATUS"), center.sessions().await.len()), ("", 0));
    let ended = center.dial(call().having("Socket-Mode", "async")).await;
    assert!(ended.get("QUEUEGATE_STATUS") == "allowed" && ended.is_resumed);
    let ended = center.dial(call()).await;
    assert!(ended.get("QUEUEGATE_STATUS") == "allowed" && !ended.is_resumed);
}
