//! The commands `plan` and `adopt` of `agi` and `esl`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::super::{args::Wrong, confirm::Confirmation, exit::Outcome, print};
use crate::{
    client::Client,
    pbx::{
        adoption::{Adoption, PlannedMember, PlannedQueue, Prospect, Step, adopt, note_planned, plan},
        config::Config,
    },
};

/// The commands below `agi` and `esl`.
#[derive(Subcommand)]
pub(super) enum AdoptionCommand {
    /// List the members of the PBX's queues that reconciling would add, remove or leave. Changes no member and no
    /// session.
    ///
    /// From the next start of the handler with the same --journal on, reconciling removes the listed members.
    Plan,
    /// Make sessions of the members that the PBX's queues have, by a sign-in of each member's user.
    ///
    /// A member whose user may not sign in keeps no session, and is reported. From the next start of the handler with
    /// the same --journal on, reconciling removes the members without a session.
    Adopt(Adopt),
}

/// Arguments of `adopt`.
#[derive(Args)]
pub(super) struct Adopt {
    #[command(flatten)]
    confirmation: Confirmation,
}

impl AdoptionCommand {
    pub(super) async fn run(self, config: Config, client: Client, is_json: bool) -> anyhow::Result<Outcome> {
        let Some(manager) = &config.manager else {
            return Err(Wrong(
                "give --ami, --ami-user and --ami-secret-file to `agi`, or --event-socket and --event-socket-password-file to `esl`".to_owned(),
            )
            .into());
        };
        let planned = plan(&config, manager, &client).await?;
        let outcome = match self {
            Self::Plan => show_plan(&planned, is_json)?,
            Self::Adopt(Adopt { confirmation }) => {
                let count = planned.iter().flat_map(|queue| &queue.members).filter(is_adoptable).count();
                if count > 0 && !confirmation.ask(&format!("signs in {count} users"))? {
                    return Ok(Outcome::Denied);
                }
                show_adopted(&adopt(&config, planned, &client).await?, is_json)?
            }
        };
        note_planned(&config.journal, manager.address)?;
        Ok(outcome)
    }
}

fn is_adoptable(member: &&PlannedMember) -> bool {
    matches!(member.step, Step::Remove(Prospect::Allowed(_)))
}

fn show_plan(planned: &[PlannedQueue], is_json: bool) -> anyhow::Result<Outcome> {
    let members = || planned.iter().flat_map(|queue| queue.members.iter().map(move |member| (queue, member)));
    let count = |is: fn(&Step) -> bool| members().filter(|(_, member)| is(&member.step)).count();
    let (add, remove) = (count(|step| matches!(step, Step::Add)), count(|step| matches!(step, Step::Remove(_))));
    let leave = count(|step| matches!(step, Step::Keep | Step::LeaveStatic));
    if is_json {
        let queues = planned.iter().map(|queue| {
            let members = queue.members.iter().map(|member| {
                let (reason, explanation) = match &member.step {
                    Step::Remove(prospect) => reason_of(prospect),
                    Step::Keep | Step::LeaveStatic | Step::Add => (String::new(), String::new()),
                };
                json!({
                    "interface": member.interface,
                    "user_extension": member.extension.map(|extension| extension.to_string()),
                    "step": step_name(&member.step),
                    "adoptable": is_adoptable(&member),
                    "reason": reason,
                    "explanation": explanation,
                })
            });
            json!({
                "organization_id": queue.organization.as_str(),
                "queue_id": queue.queue.name(),
                "pbx_queue": queue.pbx_queue,
                "members": members.collect::<Vec<_>>(),
            })
        });
        let queues: Vec<_> = queues.collect();
        print::json_value(&json!({ "queues": queues, "add": add, "remove": remove, "leave": leave }))?;
        return Ok(Outcome::Done);
    }
    print::table(
        ["QUEUE", "MEMBER", "USER", "RECONCILING", "ADOPT"],
        members().map(|(queue, member)| {
            let adoption = match &member.step {
                Step::Remove(prospect) => described(prospect),
                Step::Keep | Step::LeaveStatic | Step::Add => String::new(),
            };
            let step = step_name(&member.step).to_owned();
            [queue.pbx_queue.clone(), member.interface.clone(), extension(member.extension), step, adoption]
        }),
    )?;
    print::line(&format!("{} queues: {add} members to add, {remove} to remove, {leave} to leave", planned.len()))?;
    Ok(Outcome::Done)
}

fn show_adopted(adopted: &[Adoption], is_json: bool) -> anyhow::Result<Outcome> {
    let signed_in = adopted.iter().filter(|adoption| matches!(adoption.result, Prospect::Allowed(_))).count();
    let left = adopted.len() - signed_in;
    if is_json {
        let members = adopted.iter().map(|adoption| {
            let (reason, explanation) = reason_of(&adoption.result);
            json!({
                "pbx_queue": adoption.pbx_queue,
                "interface": adoption.interface,
                "user_extension": adoption.extension.map(|extension| extension.to_string()),
                "signed_in": matches!(adoption.result, Prospect::Allowed(_)),
                "reason": reason,
                "explanation": explanation,
            })
        });
        let members: Vec<_> = members.collect();
        print::json_value(&json!({ "members": members, "signed_in": signed_in, "left": left }))?;
    } else {
        let refused = adopted.iter().filter(|adoption| !matches!(adoption.result, Prospect::Allowed(_)));
        for Adoption { pbx_queue, interface, extension: _, result } in refused {
            print::line(&format!("{interface} in {pbx_queue} has no session: {}", described(result)))?;
        }
        print::line(&format!("{signed_in} members are signed in, {left} have no session"))?;
    }
    Ok(if left == 0 { Outcome::Done } else { Outcome::Denied })
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Keep => "keep",
        Step::LeaveStatic => "leave (static)",
        Step::Add => "add",
        Step::Remove(_) => "remove",
    }
}

fn reason_of(prospect: &Prospect) -> (String, String) {
    match prospect {
        Prospect::NoUser => ("NO_USER".to_owned(), "The interface belongs to no user.".to_owned()),
        Prospect::Allowed(reason) => (reason.clone(), String::new()),
        Prospect::Elsewhere { device } => {
            ("RINGS_ELSEWHERE".to_owned(), format!("The user is signed in, and rings at another PBX: `{device}`."))
        }
        Prospect::Denied { reason, explanation } => (reason.clone(), explanation.clone()),
    }
}

fn described(prospect: &Prospect) -> String {
    match prospect {
        Prospect::NoUser => "the interface belongs to no user".to_owned(),
        Prospect::Allowed(reason) => format!("signs in: {reason}"),
        Prospect::Elsewhere { device } => format!("rings at another PBX: `{device}`"),
        Prospect::Denied { reason, explanation } => format!("denied: {reason}. {explanation}"),
    }
}

fn extension(extension: Option<crate::domain::ids::Extension>) -> String {
    extension.map(|extension| extension.to_string()).unwrap_or_default()
}
