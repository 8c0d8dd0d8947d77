//! The same decision by other engines, in one process, next to queuegate and to one lookup in std's HashMap.
//!
//! The organization has a thousand users, twenty queues, and ten assignments per user. All engines decide the same
//! 1,024 requests. The user of every other request is assigned to the queue. An engine whose decisions differ from
//! queuegate's is an error. The program prints nanoseconds per decision.

#[path = "../../shared/organization.rs"]
mod organization;

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use organization::{Plan, queue_id, user_id};
use queuegate::domain::{
    decide::{AccessRequest, decide},
    ids::{Lineage, QueueId, QueueRef, UserId, UserRef},
    model::SignInChannel,
    snapshot::Snapshot,
    time::Timestamp,
};
use rand::{SeedableRng, rngs::StdRng, seq::index};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of requests.
const REQUESTS: usize = 1_024;
/// The number of rounds, in each of which every engine has one turn.
const ROUNDS: usize = 7;

/// The measured time of an engine per round.
const TURN: Duration = Duration::from_millis(300);

/// Decides the request with this number, and returns whether it is allowed.
type Decide<'d> = Box<dyn FnMut(usize) -> anyhow::Result<bool> + 'd>;

fn main() -> anyhow::Result<()> {
    let plan = Plan { organization_id: "bench".parse()?, users: 1_000, queues: 20, assignments: 10, sessions: 0 };
    let random = &mut StdRng::seed_from_u64(13);
    let asked: Vec<(usize, usize)> = (0..REQUESTS)
        .map(|number| {
            let user = index::sample(random, plan.users, 1).index(0);
            let own: HashSet<usize> = (0..plan.assignments).map(|number| plan.queue_of(user, number)).collect();
            let wanted = number % 2 == 0;
            let queue =
                (0..plan.queues).map(|queue| (queue + number) % plan.queues).find(|q| own.contains(q) == wanted);
            Ok((user, queue.context("no such queue")?))
        })
        .collect::<anyhow::Result<_>>()?;

    let mut snapshot = Snapshot::empty(Lineage { store_id: 1, epoch: 1 });
    for change in plan.changes() {
        snapshot.apply(&change?)?;
    }
    let (enforcer, cedar, rego) = (casbin(&plan)?, cedar(&plan, &asked)?, rego(&plan, &asked)?);
    let mut all = vec![
        ("std HashMap", hash_map(&plan, &asked)?),
        ("queuegate", ours(&snapshot, &asked)?),
        ("cedar-policy", cedar),
        ("regorus", rego),
        ("casbin", enforced(enforcer, &asked)?),
    ];
    for number in 0..REQUESTS {
        let answers = all.iter_mut().map(|(name, decide)| Ok((*name, decide(number)?)));
        let answers = answers.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(answers.iter().all(|(_, allowed)| *allowed == (number % 2 == 0)), "request {number}: {answers:?}");
    }

    let mut took = vec![Vec::new(); all.len()];
    for _ in 0..ROUNDS {
        for ((_, decide), took) in all.iter_mut().zip(&mut took) {
            let (start, mut decided) = (Instant::now(), 0_u32);
            while start.elapsed() < TURN {
                for number in 0..REQUESTS {
                    black_box(decide(number)?);
                }
                decided += u32::try_from(REQUESTS)?;
            }
            took.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(decided));
        }
    }
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("| engine | ns per decision | to queuegate |\n|---|---:|---:|");
    let of_ours = took[1].clone();
    for ((name, _), took) in all.iter().zip(&took) {
        let ratios: Vec<f64> = took.iter().zip(&of_ours).map(|(took, ours)| took / ours).collect();
        println!("| {name} | {:.0} | {:.2} |", median(took), median(&ratios));
    }
    Ok(())
}

/// Look the user and the queue up in std's HashMap.
fn hash_map<'d>(plan: &Plan, asked: &[(usize, usize)]) -> anyhow::Result<Decide<'d>> {
    let mut map: HashMap<(UserId, QueueId), bool> = HashMap::new();
    for user in 0..plan.users {
        for number in 0..plan.assignments {
            map.insert((user_id(user)?, queue_id(plan.queue_of(user, number))?), true);
        }
    }
    let asked: Vec<(UserId, QueueId)> = named(asked)?;
    Ok(Box::new(move |number| Ok(map.get(&asked[number]).copied().unwrap_or_default())))
}

/// Return the ids of the users and queues.
fn named(asked: &[(usize, usize)]) -> anyhow::Result<Vec<(UserId, QueueId)>> {
    asked.iter().map(|(user, queue)| Ok((user_id(*user)?, queue_id(*queue)?))).collect()
}

/// Decide with queuegate.
fn ours<'d>(snapshot: &'d Snapshot, asked: &[(usize, usize)]) -> anyhow::Result<Decide<'d>> {
    let organization = snapshot.organization("bench").context("no organization")?;
    let asked: Vec<(UserRef, QueueRef)> =
        named(asked)?.into_iter().map(|(user, queue)| (UserRef::Id(user), QueueRef::Id(queue))).collect();
    let now = Timestamp::from_unix_ms(1_800_000_100_000);
    Ok(Box::new(move |number| {
        let (user, queue) = &asked[number];
        let request = AccessRequest { user, queue, channel: SignInChannel::FeatureCode };
        Ok(decide(organization, request, now).reason.is_allowed())
    }))
}

const CEDAR: &str = r#"
permit(principal, action == Action::"sign_in", resource)
when {
    !principal.disabled
    && ((context.channel == "FEATURE_CODE" && resource.kind == "CALL_QUEUE")
        || (context.channel == "AGENT_DASHBOARD" && principal.is_agent
            && ["CALL_QUEUE", "INBOX", "CAMPAIGN"].contains(resource.kind)))
    && (principal.signed_in_to.contains(resource)
        || principal.agent_of.contains(resource)
        || resource.unassigned_queue_sign_in == "ALLOWED")
};"#;

/// Decide with cedar-policy. Users and queues are entities. Entities and requests are built in advance.
fn cedar<'d>(plan: &Plan, asked: &[(usize, usize)]) -> anyhow::Result<Decide<'d>> {
    let queue = |number| anyhow::Ok(json!({ "__entity": { "type": "Queue", "id": queue_id(number)?.as_str() } }));
    let mut entities = Vec::new();
    for number in 0..plan.queues {
        entities.push(json!({
            "uid": { "type": "Queue", "id": queue_id(number)?.as_str() },
            "attrs": { "kind": "CALL_QUEUE", "unassigned_queue_sign_in": "RESTRICTED" },
            "parents": [],
        }));
    }
    for user in 0..plan.users {
        let agent_of = (0..plan.assignments).map(|number| queue(plan.queue_of(user, number)));
        entities.push(json!({
            "uid": { "type": "User", "id": user_id(user)?.as_str() },
            "attrs": {
                "disabled": false,
                "is_agent": true,
                "agent_of": agent_of.collect::<anyhow::Result<Vec<_>>>()?,
                "signed_in_to": [],
            },
            "parents": [],
        }));
    }
    let entities = Entities::from_json_value(entities.into(), None)?;
    let policies = PolicySet::from_str(CEDAR)?;
    let action = EntityUid::from_str(r#"Action::"sign_in""#)?;
    let requests = named(asked)?.into_iter().map(|(user, queue)| {
        let user = EntityUid::from_str(&format!("User::\"{user}\""))?;
        let queue = EntityUid::from_str(&format!("Queue::\"{queue}\""))?;
        let context = Context::from_json_value(json!({ "channel": "FEATURE_CODE" }), None)?;
        anyhow::Ok(Request::new(user, action.clone(), queue, context, None)?)
    });
    let requests = requests.collect::<anyhow::Result<Vec<_>>>()?;
    let authorizer = Authorizer::new();
    Ok(Box::new(move |number| {
        Ok(authorizer.is_authorized(&requests[number], &policies, &entities).decision() == Decision::Allow)
    }))
}

const REGO: &str = r#"
package queuegate

default allow := false

allow if {
    reachable
    entitled
}

user := data.users[input.user]

queue := data.queues[input.queue]

reachable if {
    not user.disabled
    input.channel == "FEATURE_CODE"
    queue.kind == "CALL_QUEUE"
}

reachable if {
    not user.disabled
    input.channel == "AGENT_DASHBOARD"
    user.is_agent
    queue.kind in {"CALL_QUEUE", "INBOX", "CAMPAIGN"}
}

entitled if user.signed_in_to[input.queue]

entitled if user.agent_of[input.queue]

entitled if data.unassigned_queue_sign_in == "ALLOWED"
"#;

/// Decide with regorus. Users and queues are data. Data and inputs are built in advance, and each decision sets its
/// input.
fn rego<'d>(plan: &Plan, asked: &[(usize, usize)]) -> anyhow::Result<Decide<'d>> {
    let (mut users, mut queues) = (serde_json::Map::new(), serde_json::Map::new());
    for number in 0..plan.queues {
        queues.insert(queue_id(number)?.to_string(), json!({ "kind": "CALL_QUEUE" }));
    }
    for user in 0..plan.users {
        let agent_of =
            (0..plan.assignments).map(|number| Ok((queue_id(plan.queue_of(user, number))?.to_string(), true.into())));
        let agent_of = agent_of.collect::<anyhow::Result<serde_json::Map<_, _>>>()?;
        let entry = json!({ "disabled": false, "is_agent": true, "agent_of": agent_of, "signed_in_to": {} });
        users.insert(user_id(user)?.to_string(), entry);
    }
    let data = json!({ "users": users, "queues": queues, "unassigned_queue_sign_in": "RESTRICTED" });
    let mut engine = regorus::Engine::new();
    engine.add_policy("queue.rego".to_owned(), REGO.to_owned())?;
    engine.add_data(regorus::Value::from_json_str(&data.to_string())?)?;
    let inputs = named(asked)?.into_iter().map(|(user, queue)| {
        let input = json!({ "user": user.as_str(), "queue": queue.as_str(), "channel": "FEATURE_CODE" });
        regorus::Value::from_json_str(&input.to_string())
    });
    let inputs = inputs.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Box::new(move |number| {
        engine.set_input(inputs[number].clone());
        Ok(engine.eval_rule("data.queuegate.allow".to_owned())? == regorus::Value::from(true))
    }))
}

const CASBIN: &str = "
[request_definition]
r = user, queue, channel

[policy_definition]
p = agents, queue, channel, unassigned

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.queue == p.queue && r.channel == p.channel && (g(r.user, p.agents) || p.unassigned == \"ALLOWED\")
";

/// Create an enforcer of casbin. Each queue has a policy, and its agents are a role. A disabled user would have no
/// role, and sessions would also be roles.
fn casbin(plan: &Plan) -> anyhow::Result<Enforcer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut enforcer = Enforcer::new(DefaultModel::from_str(CASBIN).await?, MemoryAdapter::default()).await?;
        let mut policies = Vec::new();
        for number in 0..plan.queues {
            let queue = queue_id(number)?.to_string();
            policies.push(vec![format!("agents-of-{queue}"), queue, "FEATURE_CODE".into(), "RESTRICTED".into()]);
        }
        enforcer.add_policies(policies).await?;
        let mut roles = Vec::new();
        for user in 0..plan.users {
            for number in 0..plan.assignments {
                let queue = queue_id(plan.queue_of(user, number))?;
                roles.push(vec![user_id(user)?.to_string(), format!("agents-of-{queue}")]);
            }
        }
        enforcer.add_grouping_policies(roles).await?;
        Ok(enforcer)
    })
}

/// Decide with casbin.
fn enforced<'d>(enforcer: Enforcer, asked: &[(usize, usize)]) -> anyhow::Result<Decide<'d>> {
    let asked = named(asked)?;
    Ok(Box::new(move |number| {
        let (user, queue) = &asked[number];
        Ok(enforcer.enforce((user.as_str(), queue.as_str(), "FEATURE_CODE"))?)
    }))
}
