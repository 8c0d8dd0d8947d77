//! Others beside us: Cerbos, which decides the same, and h2load and k6, which call as this program does.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::Context;
use prost::Message;
use prost_types::{ListValue, Value, value::Kind};
use serde_json::json;

use crate::{
    Options,
    call::{self, CheckCall, Line},
    contest::{Contestant, contestants},
    crew::Callee,
    drive::{self, Deck, Measured},
    process::Process,
    report::{COLUMNS, Rounds, table},
    setup::{
        self, Setup,
        organization::{Plan, queue_extension, queue_id, user_extension, user_id},
    },
};

/// The action and the role of Cerbos' policy.
const ACTION: &str = "sign_in";
const ROLE: &str = "user";

/// The rate at which k6 asks: it takes far more of the processors than what it asks.
const K6_RATE: f64 = 100.0;

/// `EFFECT_ALLOW`.
const ALLOW: i32 = 1;

/// `cerbos.request.v1.CheckResourcesRequest`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResourcesRequest {
    #[prost(message, optional, tag = "3")]
    principal: Option<Principal>,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, repeated, tag = "1")]
    actions: Vec<String>,
    #[prost(message, optional, tag = "2")]
    resource: Option<Resource>,
}

/// `cerbos.engine.v1.Principal`.
#[derive(Clone, PartialEq, prost::Message)]
struct Principal {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
    #[prost(btree_map = "string, message", tag = "4")]
    attr: BTreeMap<String, Value>,
}

/// `cerbos.engine.v1.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    attr: BTreeMap<String, Value>,
}

/// `cerbos.response.v1.CheckResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResourcesResponse {
    #[prost(message, repeated, tag = "2")]
    results: Vec<Outcome>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Outcome {
    #[prost(btree_map = "string, int32", tag = "2")]
    actions: BTreeMap<String, i32>,
}

fn text(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn truth(truth: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(truth)) }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn attributes<const N: usize>(attributes: [(&str, Value); N]) -> BTreeMap<String, Value> {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The questions of [`setup::check_questions`], with everything that Cerbos must be told to answer them.
fn cerbos_questions(plan: &Plan) -> anyhow::Result<Vec<CheckCall>> {
    let asked = setup::random_users(plan.users, setup::QUESTIONS).enumerate().map(|(number, user)| {
        let agent_of = (0..plan.assignments).map(|number| Ok(text(queue_id(plan.queue_of(user, number))?.to_string())));
        let principal = Principal {
            id: user_id(user)?.to_string(),
            roles: vec![ROLE.to_owned()],
            attr: attributes([
                ("agent_of", list(agent_of.collect::<anyhow::Result<_>>()?)),
                ("channel", text("FEATURE_CODE")),
                ("disabled", truth(false)),
                ("is_agent", truth(true)),
                ("signed_in_to", list(Vec::new())),
            ]),
        };
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        let resource = Resource {
            kind: "queue".to_owned(),
            id: queue_id(queue)?.to_string(),
            attr: attributes([("kind", text("CALL_QUEUE")), ("unassigned_queue_sign_in", text("RESTRICTED"))]),
        };
        let entry = Entry { actions: vec![ACTION.to_owned()], resource: Some(resource) };
        let request = CheckResourcesRequest { principal: Some(principal), resources: vec![entry] };
        anyhow::Ok(CheckCall::new(call::CERBOS, &request))
    });
    asked.collect()
}

/// Waits until Cerbos says yes to the first question.
async fn until_allowed(callee: &Callee, question: &CheckCall) -> anyhow::Result<()> {
    for _ in 0..200 {
        if let Ok(line) = Line::connect(callee).await
            && let Ok(answer) = line.ask(question).await
        {
            let answer = CheckResourcesResponse::decode(answer)?;
            let effect = answer.results.first().and_then(|outcome| outcome.actions.get(ACTION));
            anyhow::ensure!(effect == Some(&ALLOW), "Cerbos answered {answer:?}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("Cerbos did not answer")
}

/// Checks of ours and of Cerbos, which is told with every call what ours knows.
pub async fn cerbos(options: &Options) -> anyhow::Result<()> {
    let program = options.cerbos.as_deref().context("--cerbos says where the program is")?;
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("cerbos.db", &plan)?;
    let questions: Arc<[CheckCall]> = setup::check_questions(std::slice::from_ref(&plan))?.into();
    let told: Arc<[CheckCall]> = cerbos_questions(&plan)?.into();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/cerbos/policies");
    let cerbos = Process::cerbos(&setup, program, &policies)?;
    until_allowed(&Callee::new(&setup, &cerbos), told.first().context("no questions")?).await?;
    let cerbos = Contestant::new(&setup, options, cerbos).await?;
    let [per_core, stock, ours] = contestants(&setup, options, server, &questions).await?;
    let mut all = [per_core, stock, ours, cerbos];
    for _ in 0..options.rounds {
        for Contestant { server, crew, closed, .. } in &mut all {
            let questions = if server.name == Process::CERBOS { &told } else { &questions };
            closed.0.push(drive::closed(server, crew, options.streams, questions, options.seconds).await?);
        }
    }
    let [.., ours, cerbos] = &all;
    let ratio = cerbos.closed.ratio(&ours.closed, Measured::cpu_us);
    if options.json {
        let servers = all.iter().map(|c| json!({ "server": c.server.name, "closed": c.closed.json() }));
        println!("{:#}", json!({ "servers": servers.collect::<Vec<_>>(), "cerbos_cpu_to_queuegate": ratio.json() }));
        return Ok(());
    }
    let rows = all.iter().map(Contestant::row).collect::<Result<Vec<_>, _>>()?;
    let columns = ["server"].into_iter().chain(COLUMNS).chain(["peak MiB"]);
    println!("{}", table("The same question to Cerbos, closed loop", columns, rows));
    println!("Cerbos' CPU per call to queuegate's: {ratio}");
    Ok(())
}

/// The same question, again and again, by others and by this program, to each server in turn.
pub async fn confirm(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(!options.tls, "h2load and k6 are run without TLS");
    let setup = Setup::new(options)?;
    let plan = setup::plan(options.users)?;
    let server = setup.queuegate("h2load.db", &plan)?;
    let mut questions = setup::check_questions(&[plan])?;
    let question = questions.first().context("no questions")?.clone();
    // Each caller has questions of its own here, so there are as many of the same as h2load has callers.
    questions.fill(question.clone());
    let questions: Arc<[CheckCall]> = questions.into();
    let body = setup.folder.path().join("question.bin");
    std::fs::write(&body, question.bytes())?;
    let all = contestants(&setup, options, server, &questions).await?;
    let mut rows = Vec::new();
    for contestant in &all {
        let (mut by_us, mut by_h2load, mut cpu) = (Rounds::default(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let Contestant { server, crew, .. } = contestant;
            by_us.0.push(drive::closed(server, crew, options.streams, &questions, options.seconds).await?);
            let before = server.cpu()?;
            let (calls, rate) = run_h2load(options, &setup, server, &body)?;
            cpu.push((server.cpu()?.saturating_sub(before)).as_secs_f64() * 1e6 / calls);
            by_h2load.push(rate);
        }
        let median = crate::report::median;
        rows.push(vec![
            contestant.server.name.to_owned(),
            format!("{:.0}", by_us.median(Measured::rate)),
            format!("{:.0}", median(&by_h2load)),
            format!("{:.2}", by_us.median(Measured::cpu_us)),
            format!("{:.2}", median(&cpu)),
        ]);
    }
    let columns = ["server", "calls/s", "calls/s by h2load", "CPU us/call", "CPU us/call by h2load"];
    println!("{}", table("The same closed loop by this program and by h2load", columns, rows));
    let Some(program) = &options.k6 else { return Ok(()) };
    let deck = Deck::new(questions);
    let mut rows = Vec::new();
    for Contestant { server, crew, .. } in &all {
        let ours = drive::open(server, crew, (K6_RATE, drive::Arrivals::Fixed), &deck, options.seconds).await?;
        let before = server.cpu()?;
        let theirs = run_k6(options, &setup, server, program)?;
        let cpu = (server.cpu()?.saturating_sub(before)).as_secs_f64() * 1e6 / theirs.allowed.max(1.0);
        rows.push(vec![
            server.name.to_owned(),
            format!("{} and {}", theirs.allowed, theirs.failed),
            format!("{:.0}", ours.percentile_us(50.0)),
            format!("{:.0}", theirs.p50_us),
            format!("{:.1}", ours.cpu_us()),
            format!("{cpu:.1}"),
        ]);
    }
    let columns = ["server", "k6: allowed and not", "p50 us", "p50 us by k6", "CPU us/call", "CPU us/call by k6"];
    println!("{}", table(&format!("The same {K6_RATE} calls/s by this program and by k6"), columns, rows));
    Ok(())
}

/// What k6 tells.
#[derive(serde::Deserialize)]
struct K6 {
    allowed: f64,
    failed: f64,
    p50_us: f64,
}

fn run_k6(options: &Options, setup: &Setup, server: &Process, program: &Path) -> anyhow::Result<K6> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let user = setup::random_users(options.users, 1).next().context("no users")?;
    let queue = setup::plan(options.users)?.queue_of(user, 1);
    let ran = Command::new(program)
        .args(["run", "--quiet", "--no-usage-report", "--address", ""])
        .arg(folder.join("benches/peers/check.js"))
        .env("ADDRESS", server.address().to_string())
        .env("TOKEN", &setup.token)
        .env("PROTO", folder.join("proto"))
        .env("ORGANIZATION", setup::ORGANIZATION)
        .env("USER_EXTENSION", user_extension(user)?.to_string())
        .env("QUEUE_EXTENSION", queue_extension(queue)?.to_string())
        .env("RATE", K6_RATE.to_string())
        .env("SECONDS", options.seconds.ceil().to_string())
        .output()
        .context("k6")?;
    let told = String::from_utf8(ran.stdout)?;
    serde_json::from_str(&told).with_context(|| format!("k6 said: {told}{}", String::from_utf8_lossy(&ran.stderr)))
}

/// How many calls were answered, and how many a second.
fn run_h2load(options: &Options, setup: &Setup, server: &Process, body: &Path) -> anyhow::Result<(f64, f64)> {
    let (connections, streams) = (options.connections.to_string(), options.streams.to_string());
    let (threads, seconds) = (options.threads.to_string(), format!("{:.0}", options.seconds.ceil()));
    let ran = Command::new(&options.h2load)
        .args(["-c", &connections, "-m", &streams, "-t", &threads, "-D", &seconds, "-d"])
        .arg(body)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 1S", "-H"])
        .arg(format!("authorization: Bearer {}", setup.token))
        .arg(format!("http://{}{}", server.address(), call::CHECK))
        .output()
        .context("h2load")?;
    let told = String::from_utf8(ran.stdout)?;
    // "requests: 1234 total, 1234 started, 1234 done, 1234 succeeded, ..." and "finished in 2.00s, 617.00 req/s, ...".
    let number = |line: &str, word: &str| {
        let line = told.lines().find(|told| told.starts_with(line))?;
        line.split(", ").find_map(|part| part.strip_suffix(word)?.trim().parse::<f64>().ok())
    };
    let (calls, rate) = (number("requests:", "succeeded"), number("finished in", "req/s"));
    calls.zip(rate).with_context(|| format!("h2load said: {told}{}", String::from_utf8_lossy(&ran.stderr)))
}
