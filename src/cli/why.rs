//! The command `why`: the rules of a decision as a checklist, and the people who can change the outcome.

use clap::Args;
use serde_json::json;

use super::{
    args::{Channel, Common, Explanations, Name},
    check::{named, request, signed_in},
    decision::{outcome, print_hint},
    exit::Outcome,
    print,
};
use crate::{
    client::rules::{self, Remedy, RuleResult},
    rpc::proto,
};

/// The condition of each rule, in their order.
const CONDITIONS: [&str; 9] = [
    "the user is unknown",
    "the user is disabled",
    "the queue is unknown",
    "the channel can't reach this kind of queue",
    "the channel is the dashboard, and the user isn't an agent",
    "the user has a live session on the queue",
    "the user is assigned to the queue",
    "unassigned_queue_sign_in is ALLOWED",
    "otherwise: it is RESTRICTED",
];

/// Arguments of `why`.
#[derive(Args)]
pub(super) struct Why {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER.
    queue: Name,
    /// The channel on which the user signs in.
    #[arg(long, value_enum, default_value = "feature-code")]
    channel: Channel,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

impl Why {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { user, queue, channel, explanations, common } = self;
        let request = request(&common.organization, &user, &queue, channel, true);
        let mut client = explanations.of(common.connect().await?);
        let response = client.queue_access.check_queue_access(request).await?.into_inner();
        let decision = response.decision.clone().unwrap_or_default();
        let facts = decision.facts.clone().unwrap_or_default();
        let rules = checklist(decision.reason(), &facts, channel);
        let remedies = remedies(decision.reason(), &facts, [&user, &queue]);
        if common.server.json {
            let rules = rules.iter().map(|[number, condition, result, fact]| {
                json!({ "rule": number, "condition": condition, "result": result, "fact": fact })
            });
            let remedies = remedies.iter().map(|(text, command)| json!({ "remedy": text, "command": command }));
            let mut answer = print::to_json(&response)?;
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("rules".to_owned(), rules.collect());
                fields.insert("remedies".to_owned(), remedies.collect());
            }
            print::json_value(&answer)?;
        } else {
            print::decision(&decision)?;
            let names = [None, Some(&user), Some(&queue)];
            print_hint(&mut client, &common.organization, decision.reason(), names).await?;
            print::line("")?;
            print::table(["RULE", "CONDITION", "RESULT", "FACT"], rules)?;
            print::line("\nWho can change the outcome?")?;
            for (text, command) in remedies {
                print::line(&format!("- {text}"))?;
                if !command.is_empty() {
                    let dim = print::DIM;
                    print::line(&format!("  {dim}queuegate {command}{dim:#}"))?;
                }
            }
        }
        Ok(outcome(response.decision.as_ref()))
    }
}

/// Each rule: its number, its condition, the result, and the fact that it depends on.
fn checklist(decided: proto::Reason, facts: &proto::Facts, channel: Channel) -> Vec<[String; 4]> {
    let rules = rules::checklist(decided).into_iter().zip(CONDITIONS).enumerate();
    let rows = rules.map(|(index, ((rule, result), condition))| {
        let result = match result {
            RuleResult::Passed => "passed",
            RuleResult::Decided => "decided here",
            RuleResult::NotReached => "not reached",
        };
        [(index + 1).to_string(), condition.to_owned(), result.to_owned(), fact(rule, facts, channel)]
    });
    rows.collect()
}

/// The fact that a rule depends on; empty if it is unknown.
fn fact(rule: proto::Reason, facts: &proto::Facts, channel: Channel) -> String {
    let (has_user, has_queue) = (!facts.user_id.is_empty(), !facts.queue_id.is_empty());
    let setting = || print::short(facts.unassigned_queue_sign_in().as_str_name(), "UNASSIGNED_QUEUE_SIGN_IN_");
    match rule {
        proto::Reason::UnknownUser => named(&facts.user_id, &facts.user_extension, &facts.user_display_name),
        proto::Reason::UserDisabled if has_user => format!("disabled: {}", print::yes_no(facts.user_disabled)),
        proto::Reason::UnknownQueue => named(&facts.queue_id, &facts.queue_extension, &facts.queue_display_name),
        proto::Reason::QueueKindNotSupported if has_queue => {
            let kind = print::short(facts.queue_kind().as_str_name(), "QUEUE_KIND_");
            format!("{} to {kind}", print::channel(channel.into()))
        }
        proto::Reason::AgentRoleRequired if has_user => format!("roles: {}", print::roles(facts.roles())),
        proto::Reason::AlreadySignedIn if has_user && has_queue => format!("signed in: {}", signed_in(facts)),
        proto::Reason::Assigned if has_user && has_queue => format!("assigned: {}", print::yes_no(facts.assigned)),
        proto::Reason::UnassignedAllowed | proto::Reason::UnassignedRestricted => setting(),
        _ => String::new(),
    }
}

/// The ways to another outcome, each with the arguments of its command.
fn remedies(decided: proto::Reason, facts: &proto::Facts, [user, queue]: [&Name; 2]) -> Vec<(String, String)> {
    let new = |name: &Name, id: &str| match name {
        Name::Id(id) => id.clone(),
        Name::Extension(extension) => format!("{id} --extension {extension}"),
    };
    let set = |value: &str| format!("settings set {}={value}", super::settings::UNASSIGNED_QUEUE_SIGN_IN);
    let remedy = |remedy: Remedy| match remedy {
        Remedy::AddUser => {
            ("a system with the scope admin can add the user", format!("user add {}", new(user, "USER_ID")))
        }
        Remedy::EnableUser => {
            ("a system with the scope admin can enable the user", format!("user set {user} --disabled=false"))
        }
        Remedy::AddQueue => {
            ("a contact admin can add the queue", format!("queue add {} --kind call-queue", new(queue, "QUEUE_ID")))
        }
        Remedy::ChangeKind => (
            "a contact admin can change the kind: no channel reaches a ring group",
            format!("queue set {queue} --kind call-queue"),
        ),
        Remedy::UseDashboard => (
            "the user can use the agent dashboard, with the agent role",
            format!("why {user} {queue} --channel agent-dashboard"),
        ),
        Remedy::Dial => ("the user can dial *13, which needs no role", format!("why {user} {queue}")),
        Remedy::SupervisorSignIn => (
            "a supervisor of the queue can sign the user in for a limited time",
            format!("supervisor-sign-in SUPERVISOR {user} {queue} --ttl 8h"),
        ),
        Remedy::GiveLicense => (
            "first, a contact admin must give the user a licence, which a role needs",
            format!("user set {user} --license"),
        ),
        Remedy::GiveRole => (
            "a contact admin can assign the queue, which gives the agent role",
            format!("assign {user} {queue} --role agent"),
        ),
        Remedy::Assign => ("a contact admin can assign the queue", format!("assign {user} {queue} --role agent")),
        Remedy::SignOut => ("the user can sign out", format!("sign-out {user} {queue}")),
        Remedy::SupervisorSignOut => (
            "a supervisor of the queue can sign the user out",
            format!("supervisor-sign-out SUPERVISOR {user} {queue}"),
        ),
        Remedy::Unassign => {
            ("a contact admin can take the assignment", format!("unassign {user} {queue} --role agent"))
        }
        Remedy::Restrict => ("a contact admin can restrict sign-in to assigned queues", set("RESTRICTED")),
        Remedy::Allow => ("a contact admin can allow sign-in to unassigned queues", set("ALLOWED")),
    };
    let remedies = rules::remedies(decided, facts).into_iter().map(remedy);
    remedies.map(|(text, command)| (text.to_owned(), command)).collect()
}
