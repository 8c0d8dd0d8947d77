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
use crate::rpc::proto;

/// The rules of queue access in their order, each with its reason. The first that matches decides.
const RULES: [(proto::Reason, &str); 9] = [
    (proto::Reason::UnknownUser, "the user is unknown"),
    (proto::Reason::UserDisabled, "the user is disabled"),
    (proto::Reason::UnknownQueue, "the queue is unknown"),
    (proto::Reason::QueueKindNotSupported, "the channel can't reach this kind of queue"),
    (proto::Reason::AgentRoleRequired, "the channel is the dashboard, and the user isn't an agent"),
    (proto::Reason::AlreadySignedIn, "the user has a live session on the queue"),
    (proto::Reason::Assigned, "the user is assigned to the queue"),
    (proto::Reason::UnassignedAllowed, "unassigned_queue_sign_in is ALLOWED"),
    (proto::Reason::UnassignedRestricted, "otherwise: it is RESTRICTED"),
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
    let place = RULES.iter().position(|(reason, _)| *reason == decided);
    let rows = RULES.iter().enumerate().map(|(index, (reason, condition))| {
        let result = match place {
            Some(place) if index < place => "passed",
            Some(place) if index == place => "decided here",
            Some(_) | None => "not reached",
        };
        [(index + 1).to_string(), (*condition).to_owned(), result.to_owned(), fact(*reason, facts, channel)]
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
    let remedy = |text: &str, command: String| (text.to_owned(), command);
    let supervisor = || {
        let text = "a supervisor of the queue can sign the user in for a limited time";
        remedy(text, format!("supervisor-sign-in SUPERVISOR {user} {queue} --ttl 8h"))
    };
    let give_role = |text: &str| {
        let role = remedy(text, format!("assign {user} {queue} --role agent"));
        let text = "first, a contact admin must give the user a licence, which a role needs";
        let license = remedy(text, format!("user set {user} --license"));
        if facts.contact_center_license { vec![role] } else { vec![license, role] }
    };
    let set = |value: &str| format!("settings set {}={value}", super::settings::UNASSIGNED_QUEUE_SIGN_IN);
    match decided {
        proto::Reason::UnknownUser => {
            let new = match user {
                Name::Id(id) => id.clone(),
                Name::Extension(extension) => format!("USER_ID --extension {extension}"),
            };
            vec![remedy("a system with the scope admin can add the user", format!("user add {new}"))]
        }
        proto::Reason::UserDisabled => {
            let text = "a system with the scope admin can enable the user";
            vec![remedy(text, format!("user set {user} --disabled=false"))]
        }
        proto::Reason::UnknownQueue => {
            let new = match queue {
                Name::Id(id) => id.clone(),
                Name::Extension(extension) => format!("QUEUE_ID --extension {extension}"),
            };
            vec![remedy("a contact admin can add the queue", format!("queue add {new} --kind call-queue"))]
        }
        proto::Reason::QueueKindNotSupported if facts.queue_kind() == proto::QueueKind::RingGroup => {
            let text = "a contact admin can change the kind: no channel reaches a ring group";
            vec![remedy(text, format!("queue set {queue} --kind call-queue"))]
        }
        proto::Reason::QueueKindNotSupported => {
            let text = "the user can use the agent dashboard, with the agent role";
            vec![remedy(text, format!("why {user} {queue} --channel agent-dashboard")), supervisor()]
        }
        proto::Reason::AgentRoleRequired => {
            let mut ways = give_role("a contact admin can assign the queue, which gives the agent role");
            if facts.queue_kind() == proto::QueueKind::CallQueue {
                ways.push(remedy("the user can dial *13, which needs no role", format!("why {user} {queue}")));
            }
            ways.push(supervisor());
            ways
        }
        proto::Reason::AlreadySignedIn => vec![
            remedy("the user can sign out", format!("sign-out {user} {queue}")),
            remedy(
                "a supervisor of the queue can sign the user out",
                format!("supervisor-sign-out SUPERVISOR {user} {queue}"),
            ),
        ],
        proto::Reason::Assigned => {
            vec![remedy("a contact admin can take the assignment", format!("unassign {user} {queue} --role agent"))]
        }
        proto::Reason::UnassignedAllowed => {
            vec![remedy("a contact admin can restrict sign-in to assigned queues", set("RESTRICTED"))]
        }
        proto::Reason::UnassignedRestricted => {
            let mut ways = vec![supervisor()];
            ways.extend(give_role("a contact admin can assign the queue"));
            ways.push(remedy("a contact admin can allow sign-in to unassigned queues", set("ALLOWED")));
            ways
        }
        // Never decides a check.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_before_the_deciding_one_are_passed_and_the_others_not_reached() {
        for (index, (reason, _)) in RULES.iter().enumerate() {
            let rows = checklist(*reason, &proto::Facts::default(), Channel::FeatureCode);
            let results: Vec<&str> = rows.iter().map(|[_, _, result, _]| result.as_str()).collect();
            let mut expected = vec!["passed"; index];
            expected.push("decided here");
            expected.resize(RULES.len(), "not reached");
            assert_eq!(results, expected, "{reason:?}");
            let name = Name::Id("x".to_owned());
            assert!(!remedies(*reason, &proto::Facts::default(), [&name, &name]).is_empty(), "{reason:?}");
        }
    }
}
