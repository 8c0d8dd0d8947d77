//! The import of static members in Asterisk's `queues.conf` as assignments.

use std::{io::Read, path::Path};

use clap::Args;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    args::{Common, Wrong},
    exit::Outcome,
    print,
};
use crate::{
    client::Client,
    domain::ids::{QueueRef, shortened},
    pbx::{
        asterisk::queues_conf::{self, Folder, Found, LeftOut, Mapped, Member, Place, Reading, StaticMember},
        names::{Endpoints, Interface, NamedEndpoint, Prefix, QueueName, named_endpoint},
    },
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

/// The names of queues and phones on the PBX, as `queuegate agi` has them.
#[derive(Args)]
pub(super) struct Names {
    /// With --from asterisk-queues: template of the queues' names, with {extension} or {id}. Absent: digits are an
    /// extension, and other names an id.
    #[arg(long, value_name = "TEMPLATE", requires = "from")]
    queue_name: Option<QueueName>,
    /// With --from asterisk-queues: template of the members, such as Local/{extension}@from-queue/n or PJSIP/{endpoint}.
    /// Absent: all usual ones that contain an extension or an endpoint.
    #[arg(long, value_name = "TEMPLATE", requires = "from")]
    interface: Option<Interface>,
    /// With --from asterisk-queues: prefix of the extension in the names of endpoints.
    #[arg(long, value_name = "TEXT", requires = "from", default_value = "", hide_default_value = true)]
    endpoint_prefix: Prefix,
    /// With --from asterisk-queues: endpoints or members whose names don't contain their extension: NAME=EXTENSION,
    /// separated by commas.
    #[arg(long, value_name = "LIST", requires = "from", value_delimiter = ',', value_parser = named_endpoint)]
    endpoint: Vec<NamedEndpoint>,
}

impl Names {
    fn of(self, organization: &str) -> Result<queues_conf::Names, Wrong> {
        Ok(queues_conf::Names {
            organization: organization.parse().map_err(|error| Wrong(format!("the organization {error}")))?,
            queue_name: self.queue_name,
            interface: self.interface,
            endpoints: Endpoints { prefix: self.endpoint_prefix, named: self.endpoint, ..Endpoints::default() },
        })
    }
}

/// Assign static members, and report each line that can't be mapped.
pub(super) async fn import_queues(
    file: &Path,
    names: Names,
    common: &Common,
    validation: Validation,
) -> anyhow::Result<Outcome> {
    let names = names.of(&common.organization)?;
    let Reading { members: read, mut left_out } = read(file)?;
    let Mapped { members, left_out: unmapped, made_ids } = names.map(&read);
    left_out.extend(unmapped);
    let mut client = common.connect().await?;
    let (mut assigned, mut already_assigned, mut assignable) = (0, 0, 0);
    for member in members {
        match assign(&mut client, common, &member, validation).await? {
            LineOutcome::Assigned => assigned += 1,
            LineOutcome::AlreadyAssigned => already_assigned += 1,
            LineOutcome::Assignable => assignable += 1,
            LineOutcome::LeftOut(why) => {
                let text = format!("[{}] member => {}", member.queue.name(), member.interface);
                left_out.push(LeftOut { place: member.place, text, why });
            }
        }
    }
    left_out.sort_by(|one, other| one.place.cmp(&other.place));
    if common.server.json {
        let left_out = left_out.iter().map(|LeftOut { place: Place { file, line }, text, why }| {
            json!({ "file": file.as_deref(), "line": line, "text": text, "why": why })
        });
        let read = read.iter().map(|Member { place: Place { file, line }, queue, interface, penalty }| {
            json!({
                "file": file.as_deref(), "line": line, "pbx_queue": queue, "interface": interface, "penalty": penalty,
            })
        });
        let made_ids = made_ids.iter().map(|(id, name)| json!({ "pbx_queue": name, "queue_id": id.as_str() }));
        print::json_value(&json!({
            "assigned": assigned,
            "assigned_before": already_assigned,
            "would_be_assigned": assignable,
            "left_out": left_out.collect::<Vec<_>>(),
            "made_ids": made_ids.collect::<Vec<_>>(),
            "members": read.collect::<Vec<_>>(),
        }))?;
    } else {
        for (id, name) in &made_ids {
            print::line(&format!("[{}] is taken as the queue `{id}`", shortened(name)))?;
        }
        for LeftOut { place, text, why } in &left_out {
            print::line(&format!("{place}: {text}\n    left out: {why}"))?;
        }
        let summary = match validation {
            Validation::Only => format!("{assignable} of the members can be assigned"),
            Validation::AndAssignment => format!("{assigned} assigned, {already_assigned} assigned before"),
        };
        print::line(&format!("{summary}; {} left out", left_out.len()))?;
    }
    Ok(if left_out.is_empty() { Outcome::Done } else { Outcome::Denied })
}

/// Read a file, or standard input if it is `-`, and the files that it includes.
fn read(file: &Path) -> Result<Reading, Wrong> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|found| bytes = found)
    };
    read.map_err(|error| Wrong(format!("can't read `{}`: {error}", file.display())))?;
    let is_blank = bytes.trim_ascii().is_empty();
    // Its name is as the folder would give it, so that an inclusion of itself is noticed.
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reading = queues_conf::read(Found { name, bytes }, &Folder::of(file));
    let reading = reading.map_err(|refused| Wrong(format!("can't read `{}`: {refused}", file.display())))?;
    if reading.members.is_empty() && reading.left_out.is_empty() && !is_blank {
        // Probably another kind of file; a script must not treat it as imported.
        return Err(Wrong(format!("`{}` contains no members; give a queues.conf", file.display())));
    }
    Ok(reading)
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
                penalty: member.penalty.map(|penalty| penalty.number().into()),
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
