//! Commands on permission settings, by their paths.

use clap::{Args, Subcommand};
use prost_types::FieldMask;

use super::{
    args::{Acting, Common, Retry, Wrong},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Subcommands of `settings`.
#[derive(Subcommand)]
pub(super) enum Settings {
    /// Print the settings.
    Get(Get),
    /// Change settings: `settings set organization.unassigned_queue_sign_in=RESTRICTED`.
    Set(Set),
    /// Print the impact of a change of settings on users and sessions, and change nothing.
    Preview(Preview),
}

/// Arguments of `settings get`.
#[derive(Args)]
pub(super) struct Get {
    #[command(flatten)]
    common: Common,
}

/// New values for settings.
#[derive(Args)]
struct Change {
    /// A setting's path and its new value: true or false, ALLOWED or RESTRICTED.
    #[arg(required = true, value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Fail if the settings have changed since this etag was read.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

/// Arguments of `settings set`.
#[derive(Args)]
pub(super) struct Set {
    #[command(flatten)]
    change: Change,
    /// Print the settings as they would be, and change nothing.
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `settings preview`.
#[derive(Args)]
pub(super) struct Preview {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    common: Common,
}

impl Settings {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Get(get) => get.run().await,
            Self::Set(set) => set.run().await,
            Self::Preview(preview) => preview.run().await,
        }
    }
}

impl Change {
    /// The settings that carry the new values, and their paths.
    fn read(&self) -> Result<(proto::PermissionSettings, Vec<String>), Wrong> {
        let mut settings = proto::PermissionSettings { etag: self.etag.clone(), ..Default::default() };
        let mut paths: Vec<String> = Vec::new();
        for assignment in &self.settings {
            let wrong = |problem: &str| Wrong(format!("`{assignment}`: {problem}"));
            let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("write it as PATH=VALUE"))?;
            set(&mut settings, path, value).map_err(|problem| wrong(&problem))?;
            if paths.iter().any(|other| other == path) {
                return Err(wrong("the setting is given twice"));
            }
            paths.push(path.to_owned());
        }
        Ok((settings, paths))
    }
}

impl Get {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::GetPermissionSettingsRequest {
            organization_id: self.common.organization.clone(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let response = client.permission.get_permission_settings(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_settings(response.settings.unwrap_or_default())?;
        }
        Ok(Outcome::Done)
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<Outcome> {
        let (settings, paths) = self.change.read()?;
        let request = proto::UpdatePermissionSettingsRequest {
            organization_id: self.common.organization.clone(),
            settings: Some(settings),
            update_mask: Some(FieldMask { paths: paths.clone() }),
            request_id: self.retry.request_id,
            validate_only: self.validate_only,
            actor_user_id: self.acting.actor,
        };
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let response = client.permission.update_permission_settings(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print_some(
                response.settings.unwrap_or_default(),
                &paths,
                if self.validate_only { "would be" } else { "is" },
            )?;
        }
        Ok(Outcome::Done)
    }
}

impl Preview {
    async fn run(self) -> anyhow::Result<Outcome> {
        let (settings, paths) = self.change.read()?;
        let mut request = proto::PreviewPermissionSettingsRequest {
            organization_id: self.common.organization.clone(),
            settings: Some(settings),
            update_mask: Some(FieldMask { paths: paths.clone() }),
            page_size: if self.common.server.json { 1_000 } else { 100 },
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut all = proto::PreviewPermissionSettingsResponse::default();
        loop {
            let page = client.permission.preview_permission_settings(request.clone()).await?.into_inner();
            let mut impact = page.impact.unwrap_or_default();
            let before = all.impact.take().unwrap_or_default();
            impact.users.splice(..0, before.users);
            impact.sessions.splice(..0, before.sessions);
            (all.impact, all.revision, all.next_page_token) = (Some(impact), page.revision, page.next_page_token);
            // Text output has the numbers and some of the names; JSON has everything.
            if all.next_page_token.is_empty() || !self.common.server.json {
                break;
            }
            request.page_token.clone_from(&all.next_page_token);
        }
        if self.common.server.json {
            print::json(&all)?;
        } else {
            print_impact(all.impact.unwrap_or_default(), &paths)?;
            if !all.next_page_token.is_empty() {
                print::line("... and more users and sessions; --json lists them all")?;
            }
        }
        Ok(Outcome::Done)
    }
}

pub(super) fn print_impact(impact: proto::PermissionSettingsImpact, paths: &[String]) -> anyhow::Result<()> {
    print_some(impact.settings.unwrap_or_default(), paths, "would be")?;
    if impact.users.is_empty() && impact.sessions.is_empty() {
        return print::line("Nobody would gain or lose anything.");
    }
    if !impact.permissions.is_empty() {
        let rows = impact.permissions.iter().map(|permission| {
            let name = super::permissions::name(permission.permission());
            [name, permission.users_gaining.to_string(), permission.users_losing.to_string()]
        });
        print::table(["PERMISSION", "USERS GAIN IT", "USERS LOSE IT"], rows)?;
    }
    if !impact.users.is_empty() {
        let rows = impact.users.iter().map(|user| {
            let list = |permissions: &mut dyn Iterator<Item = proto::Permission>| {
                permissions.map(super::permissions::name).collect::<Vec<_>>().join(", ")
            };
            [
                user.user_id.clone(),
                user.display_name.clone(),
                list(&mut user.gained_permissions()),
                list(&mut user.lost_permissions()),
                match user.gained_queues - user.lost_queues {
                    0 => String::new(),
                    queues => format!("{queues:+}"),
                },
            ]
        });
        print::table(["USER", "NAME", "GAINS", "LOSES", "QUEUES IN REACH"], rows)?;
    }
    let (becoming, ceasing) = (impact.sessions_becoming_retained, impact.sessions_ceasing_to_be_retained);
    if becoming + ceasing > 0 {
        print::line(&format!("sessions: {becoming} would become retained, {ceasing} would cease to be"))?;
    }
    if !impact.sessions.is_empty() {
        let rows = impact.sessions.iter().map(|impact| {
            let session = impact.session.clone().unwrap_or_default();
            let becomes = if impact.retained {
                "becomes retained: kept until sign-out, but no new sign-in"
            } else {
                "is no longer retained: a new sign-in is allowed"
            };
            let since = print::time(session.sign_in_time.as_ref());
            [session.user_id, session.queue_id, since, becomes.to_owned()]
        });
        print::table(["USER", "SIGNED IN TO", "SINCE", "THE SESSION"], rows)?;
    }
    Ok(())
}

/// The boolean settings of a message by their paths.
fn switches(settings: &mut proto::PermissionSettings) -> [(&'static str, &mut Option<bool>); 11] {
    let supervisor = settings.supervisor.get_or_insert_default();
    let agent = settings.agent.get_or_insert_default();
    [
        ("supervisor.access_configuration_portal", &mut supervisor.access_configuration_portal),
        ("supervisor.limit_to_assigned_queues", &mut supervisor.limit_to_assigned_queues),
        ("supervisor.view_queue_settings", &mut supervisor.view_queue_settings),
        ("supervisor.manage_queue_settings", &mut supervisor.manage_queue_settings),
        ("supervisor.view_pause_reasons", &mut supervisor.view_pause_reasons),
        ("supervisor.manage_pause_reasons", &mut supervisor.manage_pause_reasons),
        ("supervisor.view_skills", &mut supervisor.view_skills),
        ("supervisor.manage_skills", &mut supervisor.manage_skills),
        ("agent.manage_prerecorded_messages", &mut agent.manage_prerecorded_messages),
        ("agent.manage_public_canned_messages", &mut agent.manage_public_canned_messages),
        ("agent.create_custom_tags", &mut agent.create_custom_tags),
    ]
}

pub(super) const UNASSIGNED_QUEUE_SIGN_IN: &str = "organization.unassigned_queue_sign_in";

pub(super) fn set(settings: &mut proto::PermissionSettings, path: &str, value: &str) -> Result<(), String> {
    if path == UNASSIGNED_QUEUE_SIGN_IN {
        let value = match value {
            "ALLOWED" => proto::UnassignedQueueSignIn::Allowed,
            "RESTRICTED" => proto::UnassignedQueueSignIn::Restricted,
            _ => return Err("the value must be ALLOWED or RESTRICTED".to_owned()),
        };
        settings.organization.get_or_insert_default().unassigned_queue_sign_in = value.into();
        return Ok(());
    }
    let names: Vec<&str> = switches(settings).map(|(name, _)| name).to_vec();
    let found = switches(settings).into_iter().find(|(name, _)| *name == path);
    let (_, switch) = found
        .ok_or_else(|| format!("no such setting; the settings are {UNASSIGNED_QUEUE_SIGN_IN}, {}", names.join(", ")))?;
    *switch = Some(value.parse().map_err(|_| "the value must be true or false")?);
    Ok(())
}

/// Every setting and its value.
fn rows(mut settings: proto::PermissionSettings) -> Vec<[String; 2]> {
    let unassigned = settings.organization.unwrap_or_default().unassigned_queue_sign_in();
    let unassigned = print::short(unassigned.as_str_name(), "UNASSIGNED_QUEUE_SIGN_IN_");
    let mut rows = vec![[UNASSIGNED_QUEUE_SIGN_IN.to_owned(), unassigned]];
    rows.extend(switches(&mut settings).map(|(path, on)| [path.to_owned(), on.unwrap_or_default().to_string()]));
    rows
}

fn print_settings(settings: proto::PermissionSettings) -> anyhow::Result<()> {
    let etag = settings.etag.clone();
    let mut rows = rows(settings);
    rows.push(["etag".to_owned(), etag]);
    print::table(["SETTING", "VALUE"], rows)
}

/// The settings of these paths, a line each, such as `supervisor.view_skills is true`.
pub(super) fn print_some(settings: proto::PermissionSettings, paths: &[String], verb: &str) -> anyhow::Result<()> {
    let wanted = rows(settings).into_iter().filter(|[path, _]| paths.contains(path));
    wanted.map(|[path, value]| format!("{path} {verb} {value}")).try_for_each(|text| print::line(&text))
}
