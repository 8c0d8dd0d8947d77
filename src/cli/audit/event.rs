//! An event as text.

use super::super::print;
use crate::rpc::proto;

/// Print an event: time, outcome, action, user and queue; then the actor and the explanation.
pub(crate) fn print_event(event: &proto::AuditEvent) -> anyhow::Result<()> {
    let (style, word) = if event.allowed() { (print::GREEN, "done  ") } else { (print::RED, "denied") };
    let dim = print::DIM;
    let either = |id: &str, extension: &str| {
        if extension.is_empty() { id.to_owned() } else { format!("ext:{extension}") }
    };
    let subject = [either(&event.user_id, &event.user_extension), either(&event.queue_id, &event.queue_extension)];
    let subject = subject.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    let time = print::time(event.time.as_ref());
    let action = action_name(event.action());
    let why = why(event)?;
    print::line(format!("{time}  {style}{word}{style:#}  {action:<19} {subject:<20} {why}").trim_end())?;
    let actor = either(&event.actor_user_id, &event.actor_extension);
    let by = if actor.is_empty() { event.caller.clone() } else { format!("{actor} through {}", event.caller) };
    print::line(&format!("{dim}    by {by}  {}{dim:#}", event.revision))?;
    if !event.explanation.is_empty() {
        print::line(&format!("    {}", event.explanation))?;
    }
    if !event.justification.is_empty() {
        print::line(&format!("    \"{}\"", event.justification))?;
    }
    Ok(())
}

pub(super) fn action_name(action: proto::AuditAction) -> String {
    print::short(action.as_str_name(), "AUDIT_ACTION_")
}

/// The reason of a decision, the role, the end of a session, or the changed values.
fn why(event: &proto::AuditEvent) -> anyhow::Result<String> {
    let mut parts = Vec::new();
    if event.role() != proto::Role::Unspecified {
        parts.push(print::short(event.role().as_str_name(), "ROLE_"));
    }
    if event.reason() != proto::Reason::Unspecified {
        parts.push(print::reason(event.reason));
    }
    if !event.allowed() && event.reason() == proto::Reason::Unspecified {
        let refusal = if event.action() == proto::AuditAction::VerifyPin { "WRONG" } else { "ACTOR_NOT_PERMITTED" };
        parts.push(refusal.to_owned());
    }
    if let Some(cut) = &event.cut_through {
        parts.push(format!("through {}", cut.revision));
    }
    match (&event.before, event.after.as_ref().or(event.attempted.as_ref())) {
        (Some(_), Some(proto::AuditState { session: Some(session), .. })) => {
            if event.reason() == proto::Reason::Unspecified {
                parts.push(print::end_reason(session.end_reason));
            }
        }
        (Some(before), Some(after)) => parts.extend(print::differences(before, after)?),
        (_, None) | (None, _) => {}
    }
    Ok(parts.join(", "))
}
