//! Failures of the PBX, the caller and the network during a call. Afterwards members and sessions agree.

use std::{sync::atomic::Ordering, time::Duration};

use queuegate::rpc::proto::{Channel, ListSessionsRequest, SignInRequest};

use super::{
    Center,
    asterisk::{Call, Mishap},
};
use crate::{
    support::{ACME, sign_in},
    wire::Passing,
};

const SORRY: &str = "sorry-youre-having-problems";

/// The number of commands of an allowed sign-in: the channel's name, the cleared status, AddQueueMember, the status,
/// four variables and the prompt.
const COMMANDS: usize = 9;

/// The number of the command AddQueueMember.
const ADDING: usize = 2;

/// A deadline that a busy machine meets. A test with a stuck peer takes that long.
const SHORT: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_member_is_signed_in() {
    let mut center = Center::open().await;
    center.pbx.add("801", "PJSIP/101");
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert_eq!(ended.get("AQMSTATUS"), "MEMBERALREADY");
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_the_pbx_lacks_undoes_the_session() {
    let named = || vec![queuegate::pbx::names::named_endpoint("anna-at-home=101").unwrap()];
    let mut center = Center::open_as(|config| config.endpoints.named = named()).await;
    center.pbx.drop_queue("801");
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer(), ("failed", "NO_SUCH_QUEUE", SORRY));
    assert_eq!((ended.get("AQMSTATUS"), ended.get("QUEUEGATE_SESSION_ID")), ("NOSUCHQUEUE", ""));
    assert!(center.server.sessions().await.is_empty());
    // The call leaves the session of another phone as it is.
    let browser = SignInRequest {
        channel: Channel::AgentDashboard.into(),
        device: "PJSIP/anna-at-home".to_owned(),
        ..sign_in("anna", "sales")
    };
    center.server.client.queue_access.sign_in(browser).await.unwrap();
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.answer().0, "failed");
    assert_eq!(center.server.sessions().await.len(), 1);
}

/// A missing application doesn't set AQMSTATUS. The value of an earlier call must not be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_an_earlier_call_is_cleared() {
    let mut center = Center::open().await;
    center.pbx.has_queue_applications.store(false, Ordering::SeqCst);
    let mut call = Call::from("101", "sign-in?queue=801");
    call.variables.insert("AQMSTATUS".to_owned(), "ADDED".to_owned());
    assert_eq!(center.dial(call).await.answer(), ("failed", "PBX_FAILED", SORRY));
    assert!(center.agree().await);
}

/// After `HANGUP` each reply comes one line later, prompts get 511, and all other commands are carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_at_any_moment_leaves_agreement() {
    let mut center = Center::open().await;
    for at in 0..COMMANDS {
        for mishap in [Mishap::HangUp(at), Mishap::HangUpDuring(at)] {
            let ended = center.dial(Call::from("101", "sign-in?queue=801").with(mishap)).await;
            assert_eq!(ended.commands.len(), COMMANDS - usize::from(mishap == Mishap::HangUp(at) && at < COMMANDS - 1));
            assert_eq!((ended.get("QUEUEGATE_STATUS"), ended.get("AQMSTATUS")), ("allowed", "ADDED"), "{mishap:?}");
            assert!(center.agree().await && center.pbx.members().len() == 1, "{mishap:?}");
            let ended = center.dial(Call::from("101", "sign-out?queue=801").with(mishap)).await;
            assert_eq!((ended.get("QUEUEGATE_STATUS"), ended.get("RQMSTATUS")), ("allowed", "REMOVED"), "{mishap:?}");
            assert!(center.agree().await && center.pbx.members().is_empty(), "{mishap:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_before_the_queue_is_known_is_not_signed_in() {
    let mut center = Center::open().await;
    for mishap in [Mishap::HangUp(0), Mishap::HangUp(1), Mishap::HangUpDuring(1)] {
        let ended = center.dial(Call::from("101", "sign-in").dialing(&["801"]).with(mishap)).await;
        assert_eq!((ended.get("QUEUEGATE_STATUS"), ended.get("QUEUEGATE_REASON")), ("failed", "HANGUP"));
        assert!(center.server.sessions().await.is_empty() && center.pbx.members().is_empty());
    }
}

/// A session whose member wasn't added, or may not have been, is ended. Its member, if any, is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_at_any_moment_leaves_agreement() {
    let mut center = Center::reconciled().await;
    for at in 0..COMMANDS {
        for mishap in [Mishap::Cut(at), Mishap::CutAfter(at)] {
            for script in ["sign-in?queue=801", "toggle?queue=801", "sign-out?queue=801"] {
                let ended = center.dial(Call::from("101", script).with(mishap)).await;
                // The status is set last.
                assert!(
                    ended.get("QUEUEGATE_STATUS") != "allowed" || ended.variables.contains_key("QUEUEGATE_SESSION_ID")
                );
                center.until_agreed().await;
            }
            center.dial(Call::from("101", "sign-out?queue=801")).await;
            center.until_agreed().await;
            assert!(center.pbx.members().is_empty(), "{mishap:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pbx_that_hangs_leaves_agreement() {
    let mut center = Center::open_with(true, |config| config.deadline = SHORT).await;
    for at in [0, 1, 2, 3] {
        center.dial(Call::from("101", "sign-in?queue=801").with(Mishap::Stuck(at))).await;
        center.until_agreed().await;
        assert!(center.server.sessions().await.is_empty(), "{at}");
    }
    let ended = center.dial(Call::from("101", "sign-in?queue=801").with(Mishap::HalfEnvironment)).await;
    // The server closed the connection without a reply, which Asterisk counts as success.
    assert_eq!((ended.get("AGISTATUS"), ended.get("QUEUEGATE_STATUS")), ("SUCCESS", ""));
    assert!(ended.commands.is_empty());
}

/// Asterisk itself has no deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queuegate_that_hangs_fails_the_call_by_the_deadline() {
    for passing in [Passing::Nothing, Passing::Requests] {
        let mut center = Center::open_as(|config| config.deadline = SHORT).await;
        center.wire.set(passing);
        let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
        assert_eq!(ended.answer(), ("failed", "DEADLINE_EXCEEDED", SORRY));
        assert_eq!((&ended.sounds[..], center.pbx.members().len()), (&[SORRY.to_owned()][..], 0));
        // The outcome of the sign-in is unknown. In the second case it was carried out.
        assert_eq!(center.pending().len(), 1);
        center.wire.set(Passing::Everything);
        center.until_replayed().await;
        assert!(center.server.sessions().await.is_empty(), "{passing:?}");
    }
}

/// A sign-in with an unknown outcome is undone. The session of an earlier sign-in stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_second_sign_in_leaves_the_first() {
    let mut center = Center::open_as(|config| config.deadline = SHORT).await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.wire.set(Passing::Requests);
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.answer().0, "failed");
    center.wire.set(Passing::Everything);
    center.until_replayed().await;
    assert_eq!(center.server.sessions().await.len(), 1);
    assert!(center.agree().await);
}

/// The node has signed the agent in, and ends before its answer. The other node gives the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_during_a_call_leaves_one_outcome() {
    let mut center = Center::open().await;
    center.take_agi().stop().await;
    let servers = format!("{},{}", center.wire.address, center.server.address);
    center.restart_agi_with(false, &servers).await;
    center.wire.set(Passing::Requests);
    let mut client = center.server.client.clone();
    let request = ListSessionsRequest { organization_id: ACME.into(), ..Default::default() };
    let killed = async {
        while client.queue_access.list_sessions(request.clone()).await.unwrap().into_inner().sessions.is_empty() {}
        center.wire.set(Passing::Broken);
    };
    let (ended, ()) = tokio::join!(center.dial(Call::from("101", "sign-in?queue=801")), killed);
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert!(center.pending().is_empty());
    assert_eq!(center.server.sessions().await.len(), 1);
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_queuegate_fails_the_call_without_an_effect() {
    let center = Center::open().await;
    center.wire.set(Passing::Broken);
    for script in ["sign-in?queue=801", "check?prompt=yes&queue=801", "toggle?queue=801"] {
        let ended = center.dial(Call::from("101", script)).await;
        assert_eq!(ended.answer(), ("failed", "UNAVAILABLE", SORRY));
        assert_eq!(ended.sounds, [SORRY]);
    }
    assert!(center.pbx.members().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_while_queuegate_is_down_is_replayed_later() {
    for (script, passing) in [
        ("sign-out?queue=801", Passing::Broken),
        ("toggle?queue=801", Passing::Broken),
        ("sign-out?queue=801", Passing::Nothing),
    ] {
        let mut center = Center::open_as(|config| config.deadline = SHORT).await;
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.wire.set(passing);
        let ended = center.dial(Call::from("101", script)).await;
        assert_eq!(ended.answer(), ("allowed", "SIGN_OUT_REMEMBERED", "agent-loggedoff"), "{passing:?}");
        assert!(center.pbx.members().is_empty());
        assert_eq!(center.pending().len(), 1);
        center.wire.set(Passing::Everything);
        center.until_replayed().await;
        assert!(center.server.sessions().await.is_empty());
    }
}

/// The pending operation survives the handler, and the reconciliation doesn't add the member meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_sign_out_survives_a_kill() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.until_agreed().await;
    center.wire.set(Passing::Broken);
    assert_eq!(center.dial(Call::from("101", "sign-out?queue=801")).await.answer().1, "SIGN_OUT_REMEMBERED");
    let mut changes = center.pbx.changes.subscribe();
    center = center.killed(true).await;
    assert_eq!((center.pending().len(), center.server.sessions().await.len()), (1, 1));
    center.wire.set(Passing::Everything);
    center.until_replayed().await;
    center.until_agreed().await;
    assert!(center.server.sessions().await.is_empty());
    assert!(changes.try_recv().is_err(), "the phone rang again");
}

/// The handler is killed when there is a session and no member yet. The caller heard nothing, so the sign-in has no
/// effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_a_kill_interrupts_is_undone() {
    let mut center = Center::reconciled().await;
    let (pbx, agi) = (std::sync::Arc::clone(&center.pbx), center.agi.address);
    let call = Call::from("101", "sign-in?queue=801").with(Mishap::Stuck(ADDING));
    let stuck = tokio::spawn(async move { call.run(&pbx, agi).await });
    let signed_in = async { while center.server.sessions().await.is_empty() {} };
    tokio::time::timeout(super::EFFECT_TIMEOUT, signed_in).await.unwrap();
    assert_eq!(center.pending().len(), 1, "the journal has the operation before there is a session");
    center = center.killed(true).await;
    stuck.await.unwrap();
    center.until_replayed().await;
    center.until_agreed().await;
    assert!(center.server.sessions().await.is_empty());
}

/// A new sign-in cancels an earlier pending sign-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_after_a_pending_sign_out_stands() {
    for script in ["sign-in?queue=801", "toggle?queue=801"] {
        let mut center = Center::open().await;
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.wire.set(Passing::Broken);
        center.dial(Call::from("101", "sign-out?queue=801")).await;
        center.wire.set(Passing::Everything);
        let ended = center.dial(Call::from("101", script)).await;
        assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");
        center.until_replayed().await;
        assert!(center.agree().await, "{script}");
        assert_eq!((center.pbx.members().len(), center.server.sessions().await.len()), (1, 1), "{script}");
    }
}

/// `queues.conf` makes the phone ring, and the prompt doesn't deny it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_can_sign_out_but_rings_on_and_hears_so() {
    let mut center = Center::open().await;
    center.pbx.add_static("801", "PJSIP/101");
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.answer(), ("failed", "MEMBER_IS_STATIC", SORRY));
    assert!(center.server.sessions().await.is_empty());
}
