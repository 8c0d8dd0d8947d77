//! What a PBX, a caller and a network do to a call: afterwards members and sessions agree all the same.

use std::{sync::atomic::Ordering, time::Duration};

use queuegate::rpc::proto::{Channel, SignInRequest};

use super::{
    Center,
    asterisk::{Call, Mishap},
    wire::Passing,
};
use crate::support::sign_in;

const SORRY: &str = "sorry-youre-having-problems";

/// How many commands a sign-in has that is carried out: the channel's name, the status cleared, AddQueueMember, the status read,
/// four variables, and the prompt.
const COMMANDS: usize = 9;

/// Which of them is AddQueueMember.
const ADDING: usize = 2;

/// Long enough for a busy machine, and as long as a stuck peer keeps a test waiting.
const SHORT: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_there_already_is_signed_in() {
    let mut center = Center::open().await;
    center.pbx.add("801", "PJSIP/101");
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert_eq!(ended.get("AQMSTATUS"), "MEMBERALREADY");
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_the_pbx_does_not_have_undoes_the_session() {
    let named = || vec![queuegate::agi::names::named_endpoint("anna-at-home=101").unwrap()];
    let mut center = Center::open_as(|config| config.endpoints.named = named()).await;
    center.pbx.drop_queue("801");
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer(), ("failed", "NO_SUCH_QUEUE", SORRY));
    assert_eq!((ended.get("AQMSTATUS"), ended.get("QUEUEGATE_SESSION_ID")), ("NOSUCHQUEUE", ""));
    assert!(center.server.sessions().await.is_empty());
    // A session that has nothing to do with this phone is none of the call's business.
    let browser = SignInRequest {
        channel: Channel::AgentDashboard.into(),
        device: "PJSIP/anna-at-home".to_owned(),
        ..sign_in("anna", "sales")
    };
    center.server.client.queue_access.sign_in(browser).await.unwrap();
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.answer().0, "failed");
    assert_eq!(center.server.sessions().await.len(), 1);
}

/// An application that there isn't sets no AQMSTATUS, so the one from an earlier call would be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_from_before_is_not_believed() {
    let mut center = Center::open().await;
    center.pbx.has_queue_applications.store(false, Ordering::SeqCst);
    let mut call = Call::from("101", "sign-in?queue=801");
    call.variables.insert("AQMSTATUS".to_owned(), "ADDED".to_owned());
    assert_eq!(center.dial(call).await.answer(), ("failed", "PBX_FAILED", SORRY));
    assert!(center.agree().await);
}

/// The reply to each command comes one line later than a naive reader thinks, prompts get 511, and the rest is carried out.
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
async fn a_caller_who_hangs_up_before_the_queue_is_known_signs_in_nowhere() {
    let mut center = Center::open().await;
    for mishap in [Mishap::HangUp(0), Mishap::HangUp(1), Mishap::HangUpDuring(1)] {
        let ended = center.dial(Call::from("101", "sign-in").dialing(&["801"]).with(mishap)).await;
        assert_eq!((ended.get("QUEUEGATE_STATUS"), ended.get("QUEUEGATE_REASON")), ("failed", "HANGUP"));
        assert!(center.server.sessions().await.is_empty() && center.pbx.members().is_empty());
    }
}

/// A session whose member was never added, or perhaps not, is ended, and the member that may be there all the same is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_at_any_moment_leaves_agreement() {
    let mut center = Center::kept().await;
    for at in 0..COMMANDS {
        for mishap in [Mishap::Cut(at), Mishap::CutAfter(at)] {
            for script in ["sign-in?queue=801", "toggle?queue=801", "sign-out?queue=801"] {
                let ended = center.dial(Call::from("101", script).with(mishap)).await;
                // The status is told last.
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
async fn a_pbx_that_gets_stuck_leaves_agreement() {
    let mut center = Center::open_with(true, |config| config.deadline = SHORT).await;
    for at in [0, 1, 2, 3] {
        center.dial(Call::from("101", "sign-in?queue=801").with(Mishap::Stuck(at))).await;
        center.until_agreed().await;
        assert!(center.server.sessions().await.is_empty(), "{at}");
    }
    let ended = center.dial(Call::from("101", "sign-in?queue=801").with(Mishap::HalfEnvironment)).await;
    // The server has closed without a word, and Asterisk is content.
    assert_eq!((ended.get("AGISTATUS"), ended.get("QUEUEGATE_STATUS")), ("SUCCESS", ""));
    assert!(ended.commands.is_empty());
}

/// Asterisk would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queuegate_that_hangs_fails_the_call_by_the_deadline() {
    for passing in [Passing::Nothing, Passing::Questions] {
        let mut center = Center::open_as(|config| config.deadline = SHORT).await;
        center.wire.set(passing);
        let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
        assert_eq!(ended.answer(), ("failed", "DEADLINE_EXCEEDED", SORRY));
        assert_eq!((&ended.sounds[..], center.pbx.members().len()), (&[SORRY.to_owned()][..], 0));
        // Whether the sign-in was carried out isn't known; in the second case it was.
        assert_eq!(center.owed().len(), 1);
        center.wire.set(Passing::Everything);
        center.until_settled().await;
        assert!(center.server.sessions().await.is_empty(), "{passing:?}");
    }
}

/// What might have been a sign-in is undone, and what was one before is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_second_sign_in_leaves_the_first() {
    let mut center = Center::open_as(|config| config.deadline = SHORT).await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.wire.set(Passing::Questions);
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.answer().0, "failed");
    center.wire.set(Passing::Everything);
    center.until_settled().await;
    assert_eq!(center.server.sessions().await.len(), 1);
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queuegate_that_is_not_there_fails_the_call_and_leaves_nothing_to_do() {
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
async fn a_sign_out_is_taken_while_queuegate_is_down_and_told_when_it_is_back() {
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
        assert_eq!(center.owed().len(), 1);
        center.wire.set(Passing::Everything);
        center.until_settled().await;
        assert!(center.server.sessions().await.is_empty());
    }
}

/// What is owed survives the server that took it, and no reconciling makes the phone ring meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_that_is_owed_outlives_a_kill() {
    let mut center = Center::kept().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.until_agreed().await;
    center.wire.set(Passing::Broken);
    assert_eq!(center.dial(Call::from("101", "sign-out?queue=801")).await.answer().1, "SIGN_OUT_REMEMBERED");
    let mut changes = center.pbx.changes.subscribe();
    center = center.killed(true).await;
    assert_eq!((center.owed().len(), center.server.sessions().await.len()), (1, 1));
    center.wire.set(Passing::Everything);
    center.until_settled().await;
    center.until_agreed().await;
    assert!(center.server.sessions().await.is_empty());
    assert!(changes.try_recv().is_err(), "the phone rang again");
}

/// The handler is killed when there is a session and no member yet. The caller was told nothing, so they aren't signed in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_a_kill_cut_short_is_undone() {
    let mut center = Center::kept().await;
    let (pbx, agi) = (std::sync::Arc::clone(&center.pbx), center.agi.address);
    let call = Call::from("101", "sign-in?queue=801").with(Mishap::Stuck(ADDING));
    let stuck = tokio::spawn(async move { call.run(&pbx, agi).await });
    let come = async { while center.server.sessions().await.is_empty() {} };
    tokio::time::timeout(super::PATIENCE, come).await.unwrap();
    assert_eq!(center.owed().len(), 1, "it is noted before there is a session");
    center = center.killed(true).await;
    stuck.await.unwrap();
    center.until_settled().await;
    center.until_agreed().await;
    assert!(center.server.sessions().await.is_empty());
}

/// Whoever signs in again is signed in: what was owed before is not held against them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_after_an_owed_sign_out_stands() {
    for script in ["sign-in?queue=801", "toggle?queue=801"] {
        let mut center = Center::open().await;
        center.dial(Call::from("101", "sign-in?queue=801")).await;
        center.wire.set(Passing::Broken);
        center.dial(Call::from("101", "sign-out?queue=801")).await;
        center.wire.set(Passing::Everything);
        let ended = center.dial(Call::from("101", script)).await;
        assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");
        center.until_settled().await;
        assert!(center.agree().await, "{script}");
        assert_eq!((center.pbx.members().len(), center.server.sessions().await.len()), (1, 1), "{script}");
    }
}

/// `queues.conf` makes the phone ring, and nobody is told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_can_sign_out_but_rings_on_and_hears_so() {
    let mut center = Center::open().await;
    center.pbx.add_static("801", "PJSIP/101");
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.answer(), ("failed", "MEMBER_IS_STATIC", SORRY));
    assert!(center.server.sessions().await.is_empty());
}
