//! One organization's dear calls beside another's checks: how much longer do the checks take?
//!
//! Two callers of a large organization repeat one rpc as fast as they are answered, while a small organization's checks come
//! at a fixed rate. Each rpc has its turn, next to a quiet turn, and the ratio of the two p99 is told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use anyhow::Context;
use prost_reflect::{DescriptorPool, DynamicMessage};
use queuegate::rpc::{FILE_DESCRIPTOR_SET, methods::METHODS};
use serde_json::json;
use tonic::Code;

use crate::{
    Options,
    call::{CheckCall, Line},
    crew::{Callee, Crew},
    drive::{self, Arrivals, Deck, Measured},
    process::Process,
    report::{median, table},
    setup::{self, BATCH, Setup, organization::Plan},
};

/// The organization whose checks are measured.
const NEIGHBOUR: &str = "neighbour";

/// How many checks a second it asks for.
const RATE: f64 = 1_000.0;

/// How many callers repeat the dear rpc.
const CALLERS: usize = 2;

/// How many users of the large organization are signed in.
const SESSIONS: usize = 1_000;

/// Requests for rpcs that cost the most by something else than their ids, by the end of the method's path.
const DEAR: [(&str, &str); 15] = [
    // What these name isn't there, so that the organization stays as it is.
    ("/DeleteOrganization", r#"{"organization_id":"nobody"}"#),
    ("/DeleteUser", r#"{"organization_id":"bench","user_id":"nobody"}"#),
    ("/DeleteQueue", r#"{"organization_id":"bench","queue_id":"nobody"}"#),
    (
        "/PreviewPermissionSettings",
        r#"{"organization_id":"bench","settings":{"supervisor":{"limit_to_assigned_queues":false,"manage_skills":true,"access_configuration_portal":true},"agent":{"create_custom_tags":true},"organization":{"unassigned_queue_sign_in":1}},"page_size":1000}"#,
    ),
    ("/ListRoleAssignments", r#"{"organization_id":"bench","role":"ROLE_CONTACT_ADMIN","page_size":1000}"#),
    ("/ListSessions", r#"{"organization_id":"bench","retained_only":true,"page_size":1000}"#),
    ("/ListAuditEvents", r#"{"organization_id":"bench","actor_user_id":"nobody","page_size":1000}"#),
    ("/ListEligibleAgents", r#"{"organization_id":"bench","queue_id":"q30000000","channel":1,"page_size":1000}"#),
    ("/ListUsers", r#"{"organization_id":"bench","page_size":1000}"#),
    ("/ListQueues", r#"{"organization_id":"bench","page_size":1000}"#),
    (
        "/ImportDirectory",
        r#"{"organization_id":"bench","document":"eyJ1c2VycyI6W10sInF1ZXVlcyI6W119","validate_only":true,"delete_missing":true}"#,
    ),
    ("/UpdateUser", r#"{"organization_id":"bench","user":{"user_id":"u20000000","display_name":"N"}}"#),
    ("/CreateUser", r#"{"organization_id":"bench","user":{"user_id":"u20000000"}}"#),
    ("/CreateQueue", r#"{"organization_id":"bench","queue":{"queue_id":"q30000000","kind":1}}"#),
    ("/UpdateQueue", r#"{"organization_id":"bench","queue":{"queue_id":"q30000000","display_name":"N"}}"#),
];

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let setup = Setup::new(options)?;
    let large = setup::plan(options.users * 2)?;
    let small = Plan { organization_id: NEIGHBOUR.parse()?, ..setup::plan(100)? };
    let server = started(&setup, &large, &small)?;
    let callee = Callee::new(&setup, &server);
    let checking = Crew::connect(&callee, options.threads, options.connections).await?;
    let looping = Crew::connect(&callee, CALLERS, CALLERS).await?;
    sign_in(&looping, &large).await?;
    let deck = Deck::new(setup::check_questions(std::slice::from_ref(&small))?.into());
    let mut turns = Vec::new();
    let own = METHODS.iter().filter(|method| method.path.starts_with("/queuegate."));
    for method in own.filter(|method| !method.path.contains("/Watch")) {
        let question = question(method.path)?;
        let quiet = drive::open(&server, &checking, (RATE, Arrivals::Fixed), &deck, options.seconds).await?;
        let (beside, looped) = beside(&server, (&checking, &looping), &deck, question, options.seconds).await?;
        let rpc = method.path.rsplit_once('/').map_or(method.path, |(_, name)| name);
        turns.push(Turn {
            rpc,
            quiet_us: quiet.percentile_us(99.0),
            beside_us: beside.percentile_us(99.0),
            refused: beside.refused,
            looped,
        });
    }
    // One quiet turn may be lucky, and all of them together are not.
    let quiet_us = median(&turns.iter().map(|turn| turn.quiet_us).collect::<Vec<_>>());
    server.stop()?;
    if options.json {
        let each =
            turns.iter().map(|Turn { rpc, quiet_us: _, beside_us, refused, looped: Looped { answered, other } }| {
                json!({
                    "rpc": rpc, "beside_p99_us": beside_us, "ratio": beside_us / quiet_us, "checks_refused": refused,
                    "answered": answered, "not_ok": other,
                })
            });
        println!("{:#}", json!({ "quiet_p99_us": quiet_us, "neighbours": each.collect::<Vec<_>>() }));
        return Ok(());
    }
    let rows = turns.iter().map(|Turn { rpc, quiet_us: _, beside_us, refused, looped: Looped { answered, other } }| {
        vec![
            (*rpc).to_owned(),
            format!("{beside_us:.0}"),
            format!("{:.1}", beside_us / quiet_us),
            format!("{:.0}", *answered as f64 / options.seconds),
            other.to_string(),
            refused.to_string(),
        ]
    });
    let title = format!(
        "{RATE:.0} checks a second of a small organization, beside {CALLERS} looping callers of one of {} users",
        large.users
    );
    let columns = ["rpc", "p99 us", "to quiet", "its calls/s", "not OK", "checks refused"];
    println!("{}", table(&title, columns, rows));
    println!("quiet: p99 {quiet_us:.0} us, the median of {} turns", turns.len());
    Ok(())
}

/// What came of one rpc's turn.
struct Turn {
    rpc: &'static str,
    quiet_us: f64,
    beside_us: f64,
    /// Checks that were refused.
    refused: u64,
    looped: Looped,
}

/// The server with both organizations, started anew after their imports.
fn started(setup: &Setup, large: &Plan, small: &Plan) -> anyhow::Result<Process> {
    let database = setup.folder.path().join("neighbours.db");
    let server = Process::queuegate(setup, &database)?;
    setup.import(&server, large)?;
    setup.import(&server, small)?;
    server.stop()?;
    Process::queuegate(setup, &database)
}

async fn sign_in(crew: &Crew, plan: &Plan) -> anyhow::Result<()> {
    let changes = setup::distant_changes(plan, SESSIONS.min(plan.users))?;
    let sign_ins: Arc<[CheckCall]> = changes.iter().take(changes.len() / 2).cloned().collect();
    let done = crew.all(|share| async move {
        let line = share.lines.first().context("no connection")?;
        for question in sign_ins.iter().skip(share.thread).step_by(share.threads) {
            line.ask(question).await?;
        }
        Ok(())
    });
    done.await.map(drop)
}

/// What became of the calls beside the checks.
struct Looped {
    answered: u64,
    other: u64,
}

/// Measures the checks while others repeat a question.
async fn beside(
    server: &Process,
    (checking, looping): (&Crew, &Crew),
    deck: &Deck,
    question: CheckCall,
    seconds: f64,
) -> anyhow::Result<(Measured, Looped)> {
    let over = Arc::new(AtomicBool::new(false));
    let (answered, other) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ends, ok, not_ok) = (Arc::clone(&over), Arc::clone(&answered), Arc::clone(&other));
    let repeating = looping.all(|share| async move {
        let line: &Line = share.lines.first().context("no connection")?;
        while !ends.load(Ordering::Relaxed) {
            let counted = if line.call(&question, |_| {}).await? == Code::Ok { &ok } else { &not_ok };
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let measuring = async {
        let measured = drive::open(server, checking, (RATE, Arrivals::Fixed), deck, seconds).await;
        over.store(true, Ordering::Relaxed);
        measured
    };
    let (measured, repeated) = tokio::join!(measuring, repeating);
    repeated?;
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok((measured?, Looped { answered: read(&answered), other: read(&other) }))
}

/// A request of the large organization.
fn question(path: &'static str) -> anyhow::Result<CheckCall> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
    let (service, method) = path.trim_start_matches('/').split_once('/').context("no method")?;
    let service = pool.get_service_by_name(service).context("no such service")?;
    let input = service.methods().find(|known| known.name() == method).context("no such method")?.input();
    let dear = DEAR.iter().find(|(end, _)| path.ends_with(end)).map(|(_, json)| (*json).to_owned());
    let json = dear.unwrap_or_else(|| {
        let item = json!({ "user_id": "u20000001", "queue_id": "q30000001", "channel": 1, "permission": "PERMISSION_SERVE_QUEUE" });
        let fields = input.fields().filter_map(|field| {
            let value = match field.name() {
                "organization_id" => json!(setup::ORGANIZATION),
                "user_id" | "supervisor_id" => json!("u20000001"),
                "queue_id" => json!("q30000001"),
                "channel" => json!(1),
                "role" => json!("ROLE_AGENT"),
                "permission" => json!("PERMISSION_SERVE_QUEUE"),
                "items" => {
                    let named = |name: &str| match field.kind().as_message() {
                        Some(message) => message.get_field_by_name(name).is_some(),
                        None => false,
                    };
                    let known = item.as_object()?.iter().filter(|(name, _)| named(name));
                    let item: serde_json::Map<_, _> =
                        known.map(|(name, value)| (name.clone(), value.clone())).collect();
                    json!(vec![serde_json::Value::Object(item); BATCH])
                }
                _ => return None,
            };
            Some((field.name().to_owned(), value))
        });
        serde_json::Value::Object(fields.collect()).to_string()
    });
    let message = DynamicMessage::deserialize(input, &mut serde_json::Deserializer::from_str(&json))
        .with_context(|| format!("{path} {json}"))?;
    Ok(CheckCall::new(path, &message))
}
