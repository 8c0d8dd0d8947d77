//! A caller pauses their phone, and ends the pause.

use queuegate::pbx::config::DoneBy;

use super::{Call, Center};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_pauses_their_phone_in_all_queues_or_in_one() {
    let center = Center::reconciled().await;
    for queue in ["801", "802"] {
        center.dial(Call::from("101", &format!("sign-in?queue={queue}"))).await;
    }
    center.dial(Call::from("102", "sign-in?queue=802")).await;
    let reasons = || center.pbx.paused_members.lock().unwrap().values().cloned().collect::<Vec<_>>();
    let ended = center.dial(Call::from("101", "pause?reason=lunch")).await;
    assert_eq!(ended.answer(), ("allowed", "PAUSED", "dictate/paused"));
    assert_eq!(reasons(), ["lunch", "lunch"]);
    assert!(!center.pbx.is_paused("802", "PJSIP/102"));
    let ended = center.dial(Call::from("101", "unpause?queue=802")).await;
    assert_eq!(ended.answer(), ("allowed", "UNPAUSED", "activated"));
    assert!(center.pbx.is_paused("801", "PJSIP/101") && !center.pbx.is_paused("802", "PJSIP/101"));
    let ended = center.dial(Call::from("101", "unpause?queue=all")).await;
    assert_eq!((ended.answer().1, reasons().len()), ("UNPAUSED", 0));
    let ended = center.dial(Call::from("101", "pause?queue=802")).await;
    assert_eq!((ended.answer().1, reasons()), ("PAUSED", vec![String::new()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_no_member_or_by_a_handler_without_applications_is_refused() {
    let center = Center::open().await;
    let ended = center.dial(Call::from("101", "pause")).await;
    assert_eq!(ended.answer(), ("denied", "NOT_A_MEMBER", "feature-not-avail-line"));
    let center = Center::open_as(|config| config.members = DoneBy::Dialplan).await;
    let ended = center.dial(Call::from("101", "pause")).await;
    assert_eq!((ended.answer().0, ended.answer().1), ("failed", "BAD_REQUEST"));
    assert!(center.pbx.executed.lock().unwrap().is_empty());
}
