//! Hang-ups and broken connections at every command of a call, and an unreachable queuegate.

use super::{Call, Center, freeswitch::Mishap};
use crate::wire::Passing;

/// More commands than any call has.
const MAX_COMMANDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_breaks_anywhere_leaves_agreement() {
    let mut center = Center::open().await;
    for (path, opposite) in [("sign-in?queue=801", "sign-out?queue=801"), ("sign-out?queue=801", "sign-in?queue=801")] {
        for at in 0..MAX_COMMANDS {
            let mut is_over = true;
            for mishap in [Mishap::Cut(at), Mishap::CutAfter(at), Mishap::HangUp(at)] {
                center.dial(Call::from("101", opposite)).await;
                let ended = center.dial(Call::from("101", path).with(mishap)).await;
                is_over &= ended.commands.len() <= at;
                center.until_agreed().await;
            }
            if is_over {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_after_the_first_commands_is_signed_in() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?queue=801").with(Mishap::HangUp(3))).await;
    assert!(ended.sounds.is_empty());
    center.until_agreed().await;
    assert_eq!(center.sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_while_queuegate_is_unreachable_is_remembered() {
    let mut center = Center::open().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.wire.set(Passing::Broken);
    let ended = center.dial(Call::from("101", "sign-out?queue=801")).await;
    assert_eq!(ended.get("QUEUEGATE_REASON"), "SIGN_OUT_REMEMBERED");
    assert!(center.switch.members().is_empty());
    center.wire.set(Passing::Everything);
    center.until_agreed().await;
    assert!(center.sessions().await.is_empty());
}

/// A peer that isn't FreeSWITCH, and a FreeSWITCH that says nothing, are closed without an effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_the_data_of_a_channel_is_closed() {
    let mut center = Center::open().await;
    let ended = center.dial(Call::from("101", "sign-in?queue=801").having("Unique-ID", "")).await;
    assert_eq!(ended.commands, ["connect"]);
    assert!(center.sessions().await.is_empty());
}
