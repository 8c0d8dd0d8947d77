//! Commands that list and check permissions.

use clap::{Args, Subcommand};

use super::{
    args::{Common, Explanations, Name, Server, Wrong, one_of},
    exit::Outcome,
    hints::{self, Kind},
    print,
};
use crate::{client::Client, rpc::proto};

/// Subcommands of `permissions`.
#[derive(Subcommand)]
pub(super) enum Permissions {
    /// Print all permissions: meaning, roles, and the setting that governs each.
    List(List),
    /// Check whether a user has a permission.
    Check(Check),
    /// Print every permission with the decision for a user.
    Of(Of),
}

/// Arguments of `permissions list`.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    server: Server,
}

/// Arguments of `permissions check`.
#[derive(Args)]
pub(super) struct Check {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The permission, such as sign-in-agents or SIGN_IN_AGENTS.
    permission: String,
    /// The queue, for a permission on a queue: an id, or ext:NUMBER.
    queue: Option<Name>,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `permissions of`.
#[derive(Args)]
pub(super) struct Of {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    /// The queue for permissions on a queue: an id, or ext:NUMBER.
    queue: Option<Name>,
    #[command(flatten)]
    explanations: Explanations,
    #[command(flatten)]
    common: Common,
}

impl Permissions {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::List(list) => list.run().await,
            Self::Check(check) => check.run().await,
            Self::Of(of) => of.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.explanations.of(self.server.connect().await?);
        let response = client.permission.list_permissions(proto::ListPermissionsRequest {}).await?.into_inner();
        if self.server.json {
            print::json(&response)?;
            return Ok(Outcome::Done);
        }
        let rows = response.permissions.iter().map(|described| {
            let of = |role: proto::Role| held_by(described, role);
            [
                name(described.permission()),
                described.description.clone(),
                of(proto::Role::ContactAdmin),
                of(proto::Role::Supervisor),
                of(proto::Role::Agent),
                setting(described),
            ]
        });
        print::table(["PERMISSION", "TO", "CONTACT ADMIN", "SUPERVISOR", "AGENT", "SETTING (DEFAULT)"], rows)?;
        Ok(Outcome::Done)
    }
}

/// Describes a role's share in a permission in a few words.
fn held_by(described: &proto::PermissionDescription, role: proto::Role) -> String {
    let held = match role {
        _ if !described.roles().any(|other| other == role) => return "no".to_owned(),
        _ if described.governed_role() == role && described.removable => "setting",
        _ => "yes",
    };
    let which = match role {
        _ if !described.queue_scoped => "",
        proto::Role::Supervisor => ", queues in reach",
        proto::Role::Agent => ", queues assigned or signed in to",
        proto::Role::ContactAdmin | proto::Role::Unspecified => ", all queues",
    };
    format!("{held}{which}")
}

fn setting(described: &proto::PermissionDescription) -> String {
    match described.default_on {
        None => String::new(),
        Some(on) => {
            let always = if described.removable { "" } else { ", always" };
            format!("{} ({}{always})", described.setting, if on { "on" } else { "off" })
        }
    }
}

impl Check {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::CheckPermissionRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user.clone(), check_permission_request::User)),
            permission: parse(&self.permission)?.into(),
            queue: self.queue.clone().map(|queue| one_of!(queue, check_permission_request::Queue)),
            at_least_revision: String::new(),
        };
        let mut client = self.explanations.of(self.common.connect().await?);
        let response = client.permission.check_permission(request).await?.into_inner();
        let decision = response.decision.clone().unwrap_or_default();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::answer(decision.allowed(), &reason(&decision), &decision.explanation)?;
            let names = (&self.user, self.queue.as_ref());
            print_hint(&mut client, &self.common.organization, decision.reason(), names).await?;
        }
        Ok(if decision.allowed() { Outcome::Done } else { Outcome::Denied })
    }
}

impl Of {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::ListUserPermissionsRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user.clone(), list_user_permissions_request::User)),
            queue: self.queue.clone().map(|queue| one_of!(queue, list_user_permissions_request::Queue)),
            at_least_revision: String::new(),
        };
        let mut client = self.explanations.of(self.common.connect().await?);
        let response = client.permission.list_user_permissions(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            let rows = response.permissions.iter().map(|permission| match &permission.decision {
                Some(decision) => {
                    let may = if decision.allowed() { "yes" } else { "no" };
                    [name(permission.permission()), may.to_owned(), reason(decision), decision.explanation.clone()]
                }
                None => {
                    let why = "Depends on the queue: name one to see.".to_owned();
                    [name(permission.permission()), "-".to_owned(), String::new(), why]
                }
            });
            print::table(["PERMISSION", "MAY", "REASON", "WHY"], rows)?;
            let names = (&self.user, self.queue.as_ref());
            let reasons = response.permissions.iter().filter_map(|permission| permission.decision.as_ref());
            let unknown = reasons.map(proto::PermissionDecision::reason).find(|reason| {
                matches!(reason, proto::PermissionReason::UnknownUser | proto::PermissionReason::UnknownQueue)
            });
            print_hint(&mut client, &self.common.organization, unknown.unwrap_or_default(), names).await?;
        }
        let any = response.permissions.iter().filter_map(|permission| permission.decision.as_ref());
        Ok(if any.clone().any(proto::PermissionDecision::allowed) { Outcome::Done } else { Outcome::Denied })
    }
}

/// Print a hint if a decision is about an unknown user or queue.
async fn print_hint(
    client: &mut Client,
    organization: &str,
    reason: proto::PermissionReason,
    (user, queue): (&Name, Option<&Name>),
) -> anyhow::Result<()> {
    match (reason, queue) {
        (proto::PermissionReason::UnknownUser, _) => hints::print(client, organization, Kind::User, user).await,
        (proto::PermissionReason::UnknownQueue, Some(queue)) => {
            hints::print(client, organization, Kind::Queue, queue).await
        }
        _ => Ok(()),
    }
}

pub(super) fn name(permission: proto::Permission) -> String {
    print::short(permission.as_str_name(), "PERMISSION_")
}

fn reason(decision: &proto::PermissionDecision) -> String {
    print::short(decision.reason().as_str_name(), "PERMISSION_REASON_")
}

/// Parse a permission's name, in upper case with underscores or in lower case with dashes.
fn parse(text: &str) -> Result<proto::Permission, Wrong> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let name = if name.starts_with("PERMISSION_") { name } else { format!("PERMISSION_{name}") };
    let known = proto::Permission::from_str_name(&name).filter(|known| *known != proto::Permission::Unspecified);
    known.ok_or_else(|| Wrong(format!("there is no permission `{text}`; `queuegate permissions list` lists them")))
}
