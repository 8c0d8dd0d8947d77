//! Tiers and agents follow the sessions after every kind of change.

use std::sync::Arc;

use queuegate::{
    client::{Client, Credentials},
    pbx::{
        adoption::{Prospect, Step, plan},
        config::{Removal, Secret},
    },
};

use super::{Call, Center, freeswitch::EventSocketPort};

const ANNA: &str = "101@pbx.example.com";
const CLEO: &str = "103@pbx.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisors_sign_in_and_a_sign_out_change_the_agent_and_its_lamp() {
    let mut center = Center::open().await;
    let lamp = "queuegate+103-801@pbx.example.com";
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.switch.until_members(&[("801", "103")]).await;
    assert_eq!(center.switch.agent(CLEO).unwrap().contact, "user/103@pbx.example.com");
    center.switch.until_presence(lamp, "confirmed").await;
    // A phone that subscribes later hears it too.
    center.switch.probe(lamp);
    center.switch.until_presence(lamp, "confirmed").await;
    center.server.sign_out("cleo", "sales").await;
    center.switch.until_members(&[]).await;
    center.switch.until_presence(lamp, "terminated").await;
    assert_eq!(center.switch.agent(CLEO).unwrap().status, "Logged Out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_hand_is_corrected() {
    let mut center = Center::open().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    for command in [
        format!("tier del 801@default {ANNA}"),
        format!("agent set status {ANNA} 'Logged Out'"),
        format!("agent del {ANNA}"),
    ] {
        center.switch.api(&format!("callcenter_config {command}"));
        center.switch.until_members(&[("801", "101")]).await;
    }
    center.switch.add_agent(CLEO);
    center.switch.api(&format!("callcenter_config tier add 801@default {CLEO} 1 1"));
    center.switch.until_members(&[("801", "101")]).await;
    center.switch.api(&format!("callcenter_config tier set level 801@default {ANNA} 5"));
    center.switch.api("callcenter_config queue reload 801@default");
    center.switch.until("level 1", |switch| switch.level("801@default", ANNA) == Some(1)).await;
    center.until_agreed().await;
}

/// The agent of a queue that queuegate doesn't have, and a static tier, are left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tiers_are_left() {
    let mut center = Center::open().await;
    center.switch.add_agent("night");
    center.switch.api("callcenter_config tier add lobby@default night 1 1");
    center.switch.add_static("802@default", "102@pbx.example.com");
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.switch.until_members(&[("lobby", "night"), ("802", "102"), ("801", "103")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_pbx_gets_its_agents_back_and_keeps_a_pause() {
    let mut center = Center::open().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.switch.api(&format!("callcenter_config agent set status {ANNA} 'On Break'"));
    let address = center.port.take().unwrap().close().await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.port = Some(EventSocketPort::open_at(address, Arc::clone(&center.switch)).await);
    center.switch.until_members(&[("801", "101"), ("801", "103")]).await;
    assert_eq!(center.switch.agent(ANNA).unwrap().status, "On Break");
    let address = center.port.take().unwrap().close().await;
    center.switch.forget();
    center.port = Some(EventSocketPort::open_at(address, Arc::clone(&center.switch)).await);
    center.switch.until_members(&[("801", "101"), ("801", "103")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_the_handler_was_down_are_reconciled() {
    let mut center = Center::open().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.stop().await;
    center.server.sign_out("anna", "sales").await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.start(|_| {}).await;
    center.switch.until_members(&[("801", "103")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_live_pbx_stay_until_they_are_planned() {
    let mut center = Center::open().await;
    center.stop().await;
    for agent in [ANNA, "night@pbx.example.com"] {
        center.switch.add_agent(agent);
        center.switch.api(&format!("callcenter_config tier add 801@default {agent} 1 1"));
    }
    center.start(|config| config.manager.as_mut().unwrap().removal = Removal::IfPlanned).await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.switch.until_members(&[("801", "101"), ("801", "103"), ("801", "night")]).await;
    let client = Client::prepare_as(&center.wire.address.to_string(), Credentials::default()).unwrap();
    let planned = plan(&center.config(), &center.manager(), &client).await.unwrap();
    let sales = planned.iter().find(|queue| queue.pbx_queue == "801@default").unwrap();
    let steps: Vec<_> = sales.members.iter().map(|member| (member.interface.as_str(), &member.step)).collect();
    assert!(matches!(
        steps[..],
        [
            (ANNA, Step::Remove(Prospect::Allowed(_))),
            (CLEO, Step::Keep),
            ("night@pbx.example.com", Step::Remove(Prospect::NoUser))
        ]
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told() {
    let center = Center::open().await;
    let client = Client::prepare_as(&center.wire.address.to_string(), Credentials::default()).unwrap();
    let mut manager = center.manager();
    manager.secret = Secret("wrong".to_owned());
    let error = plan(&center.config(), &manager, &client).await.unwrap_err();
    assert!(error.to_string().contains("the PBX refused auth: -ERR invalid"), "{error}");
}
