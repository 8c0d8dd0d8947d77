//! Many concurrent calls with random failures. Afterwards members and sessions agree.
//!
//! `QUEUEGATE_DIALS=5000 cargo test --release --test it agi::campaign -- --nocapture`

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use queuegate::rpc::proto::{SupervisorSignInRequest, supervisor_sign_in_request};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Center,
    asterisk::{Call, Mishap},
};
use crate::{support::ACME, wire::Passing};

const USERS: u32 = 60;
const QUEUES: u32 = 8;

/// Calls between two comparisons of all members and sessions.
const WAVE: usize = 250;

/// Concurrent calls.
const MAX_CONCURRENT: usize = 64;

fn directory() -> String {
    let mut text = "queues:\n".to_owned();
    for queue in 0..QUEUES {
        text.push_str(&format!("  - {{ queue_id: q{0}, extension: {0}, kind: CALL_QUEUE }}\n", 900 + queue));
    }
    text.push_str("users:\n");
    for user in 0..USERS {
        text.push_str(&format!("  - {{ user_id: u{0}, extension: {0} }}\n", 2_000 + user));
    }
    // This user can supervise.
    text + "  - { user_id: petra, extension: 200, contact_center_license: true, roles: [CONTACT_ADMIN] }\n"
}

fn call(random: &mut StdRng) -> Call {
    // The last queue is unknown to queuegate, and the one before it to the PBX.
    let (user, queue) = (2_000 + random.random_range(0..USERS), 900 + random.random_range(0..=QUEUES));
    let script = match random.random_range(0..10) {
        0..5 => format!("sign-in?queue={queue}"),
        5..7 => format!("sign-out?queue={queue}"),
        7 => "toggle".to_owned(),
        _ => format!("toggle?queue={queue}"),
    };
    let at = random.random_range(0..10);
    let mishap = match random.random_range(0..100) {
        0..40 => Mishap::None,
        40..70 => Mishap::HangUp(at),
        70..80 => Mishap::HangUpDuring(at),
        80..89 => Mishap::Cut(at),
        89..98 => Mishap::CutAfter(at),
        98 => Mishap::Stuck(at),
        _ => Mishap::HalfEnvironment,
    };
    Call::from(&user.to_string(), &script).dialing(&[&queue.to_string()]).with(mishap)
}

async fn supervise(center: &mut Center, user: &str, queue: &str) {
    let request = SupervisorSignInRequest {
        organization_id: ACME.into(),
        supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId("petra".into())),
        user: Some(supervisor_sign_in_request::User::UserId(user.into())),
        queue: Some(supervisor_sign_in_request::Queue::QueueId(queue.into())),
        ..Default::default()
    };
    let answer = center.server.client.queue_access.supervisor_sign_in(request).await.unwrap().into_inner();
    assert!(answer.decision.unwrap().allowed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_sessions_agree_after_random_failures() {
    let dials: usize = std::env::var("QUEUEGATE_DIALS").map_or(300, |dials| dials.parse().unwrap());
    let mut center = Center::open_with(true, |config| config.deadline = Duration::from_secs(2)).await;
    center.server.import(&directory()).await.unwrap();
    (0..QUEUES - 1).for_each(|queue| center.pbx.add_queue(&(900 + queue).to_string()));
    let mut random = StdRng::seed_from_u64(13);
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    let mut most = 0;
    for wave in 0..dials.div_ceil(WAVE) {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
        let mut calls = JoinSet::new();
        for number in 0..WAVE.min(dials - wave * WAVE) {
            let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
            let (call, pbx, agi) = (call(&mut random), Arc::clone(&center.pbx), center.agi.address);
            calls.spawn(async move {
                let ended = call.run(&pbx, agi).await;
                drop(permit);
                format!("{} {}", ended.get("QUEUEGATE_STATUS"), ended.get("QUEUEGATE_REASON"))
            });
            // queuegate hangs, recovers and loses its connections. The PBX and the handler restart. Supervisors act.
            match (random.random_range(0..100), number) {
                (0, _) => center.wire.set(Passing::Requests),
                (1, _) => center.wire.set(Passing::Broken),
                (2..8, _) => center.wire.set(Passing::Everything),
                (8, _) => {
                    center.manager.go_down();
                    center.pbx.forget_dynamic_members();
                    center.manager.come_up();
                }
                (9..12, _) => {
                    let user = format!("u{}", 2_000 + random.random_range(0..USERS));
                    let queue = format!("q{}", 900 + random.random_range(0..QUEUES - 1));
                    supervise(&mut center, &user, &queue).await;
                }
                (12, _) => center = center.killed(true).await,
                _ => {}
            }
        }
        while let Some(answer) = calls.join_next().await {
            *results.entry(answer.unwrap()).or_default() += 1;
        }
        center.wire.set(Passing::Everything);
        center.until_replayed().await;
        center.until_agreed().await;
        most = most.max(center.pbx.members().len());
    }
    println!("{dials} calls, by status and reason (empty: the connection broke, or the handler was down)");
    results.iter().for_each(|(answer, number)| println!("{number:7}  {answer}"));
    println!("members and sessions agreed after every {WAVE} calls; at most {most} members");
    // The campaign had an effect, so the test can fail.
    assert!((dials < WAVE || most > 10) && results.keys().any(|answer| answer.starts_with("allowed")));
}
