//! Hot desks: any phone asks for a number and a PIN, and rings for that person.

use queuegate::{
    pbx::{
        config::{Identify, Moving},
        names::OwnPbx,
    },
    rpc::proto::*,
};

use super::{
    Call, Center,
    asterisk::{Ended, Mishap},
};
use crate::{
    support::{ACME, sign_in},
    wire::Passing,
};

/// A center with PINs: 4711 of anna (101), 4712 of bo (102).
async fn center(moving: Moving) -> Center {
    let mut center = Center::open_with(true, |config| config.identify = Identify::ByPin { moving }).await;
    for (user, pin) in [("anna", "4711"), ("bo", "4712")] {
        let request = SetPinRequest {
            organization_id: ACME.to_owned(),
            user: Some(set_pin_request::User::UserId(user.to_owned())),
            pin: pin.to_owned(),
            ..Default::default()
        };
        center.server.client.directory.set_pin(request).await.unwrap();
    }
    center
}

impl Center {
    /// Dial from the phone of an extension, and enter these digits.
    async fn enter(&self, phone: &str, script: &str, digits: &[&str]) -> Ended {
        self.dial(Call::from(phone, script).dialing(digits)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_phone_rings_for_the_person_whose_number_and_pin_were_entered() {
    let mut center = center(Moving::Refused).await;
    let ended = center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    assert_eq!(ended.sounds, ["agent-user", "agent-pass", "agent-loginok"]);
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    let sessions = center.server.sessions().await;
    assert_eq!((sessions[0].user_id.as_str(), sessions[0].device.as_str()), ("anna", "PJSIP/103"));
    // The member is named after the person, and survives a comparison.
    center.pbx.until_described("801", "PJSIP/103", 0, "Anna Berg").await;
    center.take_agi().stop().await;
    center.pbx.forget_dynamic_members();
    center.restart_agi_as(|config| config.identify = Identify::ByPin { moving: Moving::Refused }).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    // A sign-out from any phone ends it.
    let ended = center.enter("102", "sign-out?queue=801", &["101", "4711"]).await;
    assert_eq!(ended.answer(), ("allowed", "SIGNED_OUT", "agent-loggedoff"));
    center.pbx.until_members(&[]).await;
    assert!(center.server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_asked_for_again_and_then_refused_and_then_locked() {
    let center = center(Moving::Refused).await;
    let ended = center.enter("103", "toggle?queue=801", &["101", "1", "101", "4712", "101", "4711"]).await;
    assert_eq!(ended.answer().1, "ASSIGNED", "the third entry is right");
    let wrong = ["101", "0000", "999", "4711", "", "4711"];
    let ended = center.enter("102", "sign-in?queue=801", &wrong).await;
    assert_eq!(ended.answer(), ("denied", "WRONG_PIN", "vm-incorrect"));
    assert_eq!(ended.sounds.iter().filter(|sound| *sound == "agent-incorrect").count(), 2);
    let ended = center.enter("102", "sign-in?queue=801", &["102", "1111", "102", "2222", "102", "3333"]).await;
    assert_eq!(ended.answer().1, "WRONG_PIN");
    let ended = center.enter("102", "sign-in?queue=801", &["102", "4444", "102", "5555", "102", "4712"]).await;
    assert_eq!(ended.answer().1, "PIN_LOCKED", "five wrong ones in a row");
    let call = Call::from("102", "sign-in?queue=801").dialing(&["102"]).with(Mishap::HangUpDuring(2));
    assert_eq!(center.dial(call).await.answer().1, "HANGUP", "during the PIN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_signed_in_elsewhere_stays_there_or_moves() {
    let mut center = center(Moving::Refused).await;
    center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    for action in ["sign-in?queue=801", "toggle?queue=801"] {
        let ended = center.enter("102", action, &["101", "4711"]).await;
        assert_eq!(ended.answer(), ("denied", "SIGNED_IN_ELSEWHERE", "feature-not-avail-line"));
    }
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    center.take_agi().stop().await;
    center.restart_agi_as(|config| config.identify = Identify::ByPin { moving: Moving::Allowed }).await;
    let ended = center.enter("102", "toggle?queue=801", &["101", "4711"]).await;
    assert_eq!(ended.answer(), ("allowed", "ASSIGNED", "agent-loginok"));
    center.pbx.until_members(&[("801", "PJSIP/102")]).await;
    let sessions = center.server.sessions().await;
    assert_eq!((sessions.len(), sessions[0].device.as_str()), (1, "PJSIP/102"));
    // A session that a new sign-in might not get again stays where it is.
    center.enter("103", "sign-in?queue=802", &["101", "4711"]).await;
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    let ended = center.enter("102", "sign-in?queue=802", &["101", "4711"]).await;
    assert_eq!(ended.answer().1, "SIGNED_IN_ELSEWHERE");
    center.pbx.until_members(&[("801", "PJSIP/102"), ("802", "PJSIP/103")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_rings_for_one_person_in_a_queue() {
    let mut center = center(Moving::Allowed).await;
    center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    let ended = center.enter("103", "sign-in?queue=801", &["102", "4712"]).await;
    assert_eq!(ended.answer().1, "PHONE_IN_USE");
    // Another queue is another matter.
    let ended = center.enter("103", "sign-in?queue=802", &["102", "4712"]).await;
    assert_eq!(ended.answer().1, "ASSIGNED");
    // A supervisor's sign-in rings at the user's own phone, so that one is in use too.
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.until_members(&[("801", "PJSIP/103"), ("802", "PJSIP/103")]).await;
    let ended = center.enter("102", "sign-in?queue=801", &["102", "4712"]).await;
    assert_eq!(ended.answer().0, "allowed");
    center.enter("102", "sign-out?queue=801", &["101", "4711"]).await;
    let ended = center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    assert_eq!(ended.answer().1, "PHONE_IN_USE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_about_the_phone_and_asks_for_no_pin() {
    let center = center(Moving::Refused).await;
    center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    let ended = center.enter("103", "pause?reason=lunch", &[]).await;
    assert_eq!(ended.answer().1, "PAUSED");
    assert!(center.pbx.is_paused("801", "PJSIP/103"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_queuegate_nobody_is_identified() {
    let center = center(Moving::Refused).await;
    center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
    center.wire.set(Passing::Broken);
    let ended = center.enter("103", "sign-out?queue=801", &["101", "4711"]).await;
    assert_eq!(ended.answer().0, "failed");
    assert_eq!(center.pbx.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_moves_from_another_pbx_only_if_people_may_move() {
    let mut center = center(Moving::Refused).await;
    let at_munich = SignInRequest { device: "munich::PJSIP/101".to_owned(), ..sign_in("anna", "sales") };
    center.server.client.queue_access.sign_in(at_munich).await.unwrap();
    for (moving, reason) in [(Moving::Refused, "SIGNED_IN_ELSEWHERE"), (Moving::Allowed, "ASSIGNED")] {
        center.take_agi().stop().await;
        center
            .restart_agi_as(|config| {
                config.identify = Identify::ByPin { moving };
                config.pbx = Some(OwnPbx { name: "berlin".parse().unwrap(), home: "all".parse().unwrap() });
            })
            .await;
        let ended = center.enter("103", "sign-in?queue=801", &["101", "4711"]).await;
        assert_eq!(ended.answer().1, reason);
    }
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    assert_eq!(center.server.sessions().await[0].device, "berlin::PJSIP/103");
    // The phone is free again for its own user, whose session rings elsewhere.
    center.enter("103", "sign-out?queue=801", &["101", "4711"]).await;
    let at_munich = SignInRequest { device: "munich::PJSIP/103".to_owned(), ..sign_in("cleo", "sales") };
    center.server.client.queue_access.sign_in(at_munich).await.unwrap();
    let ended = center.enter("103", "sign-in?queue=801", &["102", "4712"]).await;
    assert_eq!(ended.answer().1, "UNASSIGNED_ALLOWED");
}
