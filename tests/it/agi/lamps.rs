//! The lamps of phones show the sessions, after every event on either side.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Center, asterisk::Call};

async fn center() -> Center {
    Center::open_with(true, |config| {
        config.manager.as_mut().unwrap().lamp = Some("Custom:QG_{extension}_{queue}".parse().unwrap());
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lamp_is_lit_while_its_user_is_signed_in() {
    let mut center = center().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_lit(&["Custom:QG_101_801"]).await;
    center.server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(600))).await;
    center.pbx.until_lit(&["Custom:QG_101_801", "Custom:QG_103_801"]).await;
    center.server.clock.advance(Duration::from_secs(601));
    center.pbx.until_lit(&["Custom:QG_101_801"]).await;
    center.dial(Call::from("101", "sign-out?queue=801")).await;
    center.pbx.until_lit(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lamps_are_right_after_a_restart_of_the_pbx_or_the_handler() {
    let mut center = center().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_lit(&["Custom:QG_101_801"]).await;
    center.manager.go_down();
    center.pbx.forget_dynamic_members();
    center.server.sign_out("anna", "sales").await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    // Another feature's device.
    center.pbx.set_device("Custom:DND101", "INUSE");
    center.manager.come_up();
    center.pbx.until_lit(&["Custom:DND101", "Custom:QG_103_801"]).await;
    center.take_agi().stop().await;
    center.server.sign_out("cleo", "sales").await;
    center
        .restart_agi_as(|config| {
            config.manager.as_mut().unwrap().lamp = Some("Custom:QG_{extension}_{queue}".parse().unwrap());
        })
        .await;
    center.pbx.until_lit(&["Custom:DND101"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_reconciled_where_lamps_are_refused() {
    let mut center = Center::open_as(|_| {}).await;
    center.pbx.refuses_devices.store(true, Ordering::SeqCst);
    center.take_agi().stop().await;
    center
        .restart_agi_as(|config| {
            config.manager.as_mut().unwrap().lamp = Some("Custom:QG_{extension}_{queue}".parse().unwrap());
        })
        .await;
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.until_members(&[("801", "PJSIP/103")]).await;
    center.pbx.until_lit(&[]).await;
}
