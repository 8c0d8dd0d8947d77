//! The commands `assign`, `unassign` and `assignments`.

use clap::{Args, ValueEnum};

use super::{
    args::{Acting, Common, Name, Retry, all_pages, one_of},
    confirm::Confirmation,
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Arguments of `assign`.
#[derive(Args)]
pub(super) struct Assign {
    #[command(flatten)]
    assignment: Assignment,
    /// The order in which the PBX rings the queue's agents: 0 to 999, lower ones first. Only for the role agent on a
    /// queue. Absent: as it was, or 0.
    #[arg(long, value_name = "NUMBER")]
    penalty: Option<i32>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `unassign`.
#[derive(Args)]
pub(super) struct Unassign {
    #[command(flatten)]
    assignment: Assignment,
    /// Also end the user's session on the queue. Only for the role agent on a queue.
    #[arg(long)]
    end_sessions: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    common: Common,
}

/// Arguments of both.
#[derive(Args)]
struct Assignment {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue: an id, or ext:NUMBER. Absent: the whole organization.
    queue: Option<Name>,
    /// The role.
    #[arg(long, value_enum)]
    role: Role,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
}

/// Arguments of `assignments`.
#[derive(Args)]
pub(super) struct Assignments {
    /// Only this user's roles: an id, or ext:NUMBER.
    #[arg(long)]
    user: Option<Name>,
    /// Only roles on this queue: an id, or ext:NUMBER.
    #[arg(long)]
    queue: Option<Name>,
    /// Only this role.
    #[arg(long, value_enum)]
    role: Option<Role>,
    #[command(flatten)]
    common: Common,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answers contacts.
    Agent,
    /// Supervises agents.
    Supervisor,
    /// Administers the contact center. For the whole organization only.
    ContactAdmin,
}

impl From<Role> for proto::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Agent => Self::Agent,
            Role::Supervisor => Self::Supervisor,
            Role::ContactAdmin => Self::ContactAdmin,
        }
    }
}

impl Assignment {
    /// The role and its queue, such as `AGENT on sales`.
    fn role_on_queue(&self) -> String {
        let role = print::role(self.role.into());
        self.queue.as_ref().map_or_else(|| role.clone(), |queue| format!("{role} on {queue}"))
    }
}

impl Assign {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let sets_penalty = self.penalty.is_some();
        let (user, role) = (self.assignment.user.to_string(), self.assignment.role_on_queue());
        let request = proto::AssignRoleRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.assignment.user, assign_role_request::User)),
            role: proto::Role::from(self.assignment.role).into(),
            queue: self.assignment.queue.map(|queue| one_of!(queue, assign_role_request::Queue)),
            request_id: self.assignment.retry.request_id,
            actor_user_id: self.assignment.acting.actor,
            penalty: self.penalty,
        };
        let mut client = self.assignment.acting.explanations.of(self.common.connect().await?);
        let response = client.directory.assign_role(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            let penalty = response.assignment.map_or(0, |assignment| assignment.penalty);
            let penalty = if penalty == 0 { String::new() } else { format!(" with penalty {penalty}") };
            let before = if response.created || sets_penalty { "" } else { "; nothing to change" };
            print::line(&format!("{user} is assigned {role}{penalty}{before}"))?;
        }
        Ok(Outcome::Done)
    }
}

impl Unassign {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let (user, role) = (self.assignment.user.to_string(), self.assignment.role_on_queue());
        let effect = format!("takes {role} from {user}, and ends their session");
        if self.end_sessions && !self.confirmation.ask(&effect)? {
            return Ok(Outcome::Denied);
        }
        let request = proto::UnassignRoleRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.assignment.user, unassign_role_request::User)),
            role: proto::Role::from(self.assignment.role).into(),
            queue: self.assignment.queue.map(|queue| one_of!(queue, unassign_role_request::Queue)),
            end_sessions: self.end_sessions,
            request_id: self.assignment.retry.request_id,
            actor_user_id: self.assignment.acting.actor,
        };
        let mut client = self.assignment.acting.explanations.of(self.common.connect().await?);
        let response = client.directory.unassign_role(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("{user} is no longer assigned {role}"))?;
            response.ended_sessions.iter().try_for_each(print::session)?;
        }
        Ok(Outcome::Done)
    }
}

impl Assignments {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::ListRoleAssignmentsRequest {
            organization_id: self.common.organization.clone(),
            user: self.user.map(|user| one_of!(user, list_role_assignments_request::User)),
            queue: self.queue.map(|queue| one_of!(queue, list_role_assignments_request::Queue)),
            role: self.role.map_or(proto::Role::Unspecified, Into::into).into(),
            ..Default::default()
        };
        let mut client = self.common.connect().await?;
        let all = all_pages!(client.directory.list_role_assignments(request), assignments);
        if self.common.server.json {
            print::json(&all)?;
        } else if all.assignments.is_empty() {
            print::line("nobody is assigned")?;
        } else {
            let rows = all.assignments.iter().map(|assignment| {
                let penalty = if assignment.penalty == 0 { String::new() } else { assignment.penalty.to_string() };
                [assignment.user_id.clone(), print::role(assignment.role()), assignment.queue_id.clone(), penalty]
            });
            print::table(["USER", "ROLE", "QUEUE", "PENALTY"], rows)?;
        }
        Ok(Outcome::Done)
    }
}
