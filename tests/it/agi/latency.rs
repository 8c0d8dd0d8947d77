//! The latency that the handler adds to a check and a sign-in.
//!
//! `QUEUEGATE_AGI_LATENCY=3000 cargo test --release --test it agi::latency -- --nocapture`

use std::time::{Duration, Instant};

use super::{Agi, Call, Center, Config, config, manager_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latency_that_the_handler_adds_is_measured() {
    let rounds: usize = std::env::var("QUEUEGATE_AGI_LATENCY").map_or(20, |rounds| rounds.parse().unwrap());
    let mut center = Center::open().await;
    // This handler connects to queuegate directly.
    let folder = tempfile::tempdir().unwrap();
    let make = || Config { manager: Some(manager_of(center.manager.address)), ..config(&folder) };
    let agi = Agi::start(make, &center.server.address.to_string()).await;
    let pbx = std::sync::Arc::clone(&center.pbx);
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..rounds {
        let begun = Instant::now();
        assert!(center.server.check("anna", "sales").await.allowed());
        times[0].push(begun.elapsed());
        let begun = Instant::now();
        let ended = Call::from("101", "check?queue=801").run(&pbx, agi.address).await;
        times[1].push(begun.elapsed());
        assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");

        let begun = Instant::now();
        center.server.sign_in("bo", "sales").await;
        times[2].push(begun.elapsed());
        center.server.sign_out("bo", "sales").await;
        let begun = Instant::now();
        let ended = Call::from("101", "sign-in?prompt=no&queue=801").run(&pbx, agi.address).await;
        times[3].push(begun.elapsed());
        assert_eq!(ended.get("QUEUEGATE_STATUS"), "allowed");
        Call::from("101", "sign-out?prompt=no&queue=801").run(&pbx, agi.address).await;
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
    let names = ["bare check", "check by AGI", "bare sign-in", "sign-in by AGI"];
    for (name, times) in names.iter().zip(&times) {
        println!("{name:15} p50 {:>10.1?}  p99 {:>10.1?}", at(times, 50), at(times, 99));
    }
    for (request, bare, by_agi) in [("check", &times[0], &times[1]), ("sign-in", &times[2], &times[3])] {
        let ratio = at(by_agi, 50).as_secs_f64() / at(bare, 50).as_secs_f64();
        println!(
            "a {request} by AGI takes {ratio:.2} times as long, {:.1?} more",
            at(by_agi, 50).saturating_sub(at(bare, 50))
        );
    }
    agi.stop().await;
}
