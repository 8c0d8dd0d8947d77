//! The import of static members in Asterisk's `queues.conf` as assignments.

use std::{io::Read, path::Path};

use tonic::Code;
use tonic_types::StatusExt;

use super::{
    args::{Common, Wrong},
    exit::Outcome,
    print,
};
use crate::{
    agi::queues_conf::{self, LeftOut, StaticMember},
    client::Client,
    domain::ids::QueueRef,
    rpc::proto,
};

/// Whether an import only validates or also assigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validation {
    Only,
    AndAssignment,
}

/// The outcome of a line.
enum LineOutcome {
    Assigned,
    AlreadyAssigned,
    /// The line was only validated. An import would assign the member, or has done so.
    Assignable,
    LeftOut(String),
}

/// Assign static members, and report each line that can't be mapped.
pub(super) async fn import_queues(file: &Path, common: &Common, validation: Validation) -> anyhow::Result<Outcome> {
    let unreadable = |error: &dyn std::fmt::Display| Wrong(format!("can't read `{}`: {error}", file.display()));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|found| bytes = found)
    };
    read.map_err(|error| unreadable(&error))?;
    let text = queues_conf::decode(&bytes).map_err(|error| unreadable(&error))?;
    let reading = queues_conf::read(&text);
    if reading.members.is_empty() && reading.left_out.is_empty() && !text.trim().is_empty() {
        // Probably another kind of file; a script must not treat it as imported.
        return Err(Wrong(format!("`{}` contains no members; give a queues.conf", file.display())).into());
    }
    let mut client = common.connect().await?;
    let mut left_out = reading.left_out;
    let (mut assigned, mut already_assigned, mut assignable) = (0, 0, 0);
    for member in reading.members {
        match assign(&mut client, common, &member, validation).await? {
            LineOutcome::Assigned => assigned += 1,
            LineOutcome::AlreadyAssigned => already_assigned += 1,
            LineOutcome::Assignable => assignable += 1,
            LineOutcome::LeftOut(why) => {
                let text = format!("[{}] member => {}", member.queue.name(), member.interface);
                left_out.push(LeftOut { line: member.line, text, why });
            }
        }
    }
    left_out.sort_by_key(|left_out| left_out.line);
    if common.server.json {
        let left_out = left_out
            .iter()
            .map(|LeftOut { line, text, why }| serde_json::json!({ "line": line, "text": text, "why": why }));
        print::json_value(&serde_json::json!({
            "assigned": assigned,
            "assigned_before": already_assigned,
            "would_be_assigned": assignable,
            "left_out": left_out.collect::<Vec<_>>(),
        }))?;
    } else {
        for LeftOut { line, text, why } in &left_out {
            print::line(&format!("line {line}: {text}\n    left out: {why}"))?;
        }
        let summary = match validation {
            Validation::Only => format!("{assignable} of the members can be assigned"),
            Validation::AndAssignment => format!("{assigned} assigned, {already_assigned} assigned before"),
        };
        print::line(&format!("{summary}; {} left out", left_out.len()))?;
    }
    Ok(if left_out.is_empty() { Outcome::Done } else { Outcome::Denied })
}

async fn assign(
    client: &mut Client,
    common: &Common,
    member: &StaticMember,
    validation: Validation,
) -> anyhow::Result<LineOutcome> {
    let outcome = match validation {
        Validation::Only => validate(client, common, member).await,
        Validation::AndAssignment => {
            let request = proto::AssignRoleRequest {
                organization_id: common.organization.clone(),
                user: Some(proto::assign_role_request::User::UserExtension(member.user.to_string())),
                role: proto::Role::Agent.into(),
                queue: Some(match &member.queue {
                    QueueRef::Id(id) => proto::assign_role_request::Queue::QueueId(id.to_string()),
                    QueueRef::Extension(extension) => {
                        proto::assign_role_request::Queue::QueueExtension(extension.to_string())
                    }
                }),
                request_id: String::new(),
                actor_user_id: String::new(),
            };
            let answer = client.directory.assign_role(request).await;
            answer.map(
                |answer| if answer.into_inner().created { LineOutcome::Assigned } else { LineOutcome::AlreadyAssigned },
            )
        }
    };
    match outcome {
        Ok(outcome) => Ok(outcome),
        // These errors concern only this member; any other error concerns all.
        Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
            let resource = status.get_details_resource_info().map(|info| info.resource_type).unwrap_or_default();
            if resource.ends_with("Organization") {
                return Err(status.into());
            }
            Ok(LineOutcome::LeftOut(status.message().to_owned()))
        }
        Err(status) => Err(status.into()),
    }
}

/// Check that the member's user and queue exist, and that the user may have a role.
async fn validate(client: &mut Client, common: &Common, member: &StaticMember) -> Result<LineOutcome, tonic::Status> {
    let request = proto::GetQueueRequest {
        organization_id: common.organization.clone(),
        queue: Some(match &member.queue {
            QueueRef::Id(id) => proto::get_queue_request::Queue::QueueId(id.to_string()),
            QueueRef::Extension(extension) => proto::get_queue_request::Queue::QueueExtension(extension.to_string()),
        }),
        at_least_revision: String::new(),
    };
    client.directory.get_queue(request).await?;
    let request = proto::GetUserRequest {
        organization_id: common.organization.clone(),
        user: Some(proto::get_user_request::User::UserExtension(member.user.to_string())),
        at_least_revision: String::new(),
    };
    let user = client.directory.get_user(request).await?.into_inner().user.unwrap_or_default();
    if !user.contact_center_license() {
        return Ok(LineOutcome::LeftOut(format!("user `{}` has no contact-center licence", user.user_id)));
    }
    Ok(LineOutcome::Assignable)
}
