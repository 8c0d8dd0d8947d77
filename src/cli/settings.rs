//! Permission settings by their paths.

use clap::{Args, Subcommand};
use prost_types::FieldMask;

use super::{
    args::{Common, Wrong},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// `settings get` and `settings set`.
#[derive(Subcommand)]
pub(super) enum Settings {
    /// Print the settings.
    Get(Get),
    /// Change settings: `settings set organization.unassigned_queue_sign_in=RESTRICTED`.
    Set(Set),
}

/// Arguments of `settings get`.
#[derive(Args)]
pub(super) struct Get {
    #[command(flatten)]
    common: Common,
}

/// Arguments of `settings set`.
#[derive(Args)]
pub(super) struct Set {
    /// A setting's path and its new value: true or false, ALLOWED or RESTRICTED.
    #[arg(required = true, value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Refuse if the settings have changed since this etag was read.
    #[arg(long, default_value = "")]
    etag: String,
    /// Makes a retry safe: repeating the command with the same id changes nothing.
    #[arg(long, default_value = "", value_name = "ID")]
    request_id: String,
    #[command(flatten)]
    common: Common,
}

impl Settings {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Get(get) => get.run().await,
            Self::Set(set) => set.run().await,
        }
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
        let mut settings = proto::PermissionSettings { etag: self.etag, ..Default::default() };
        let mut paths: Vec<String> = Vec::new();
        for assignment in &self.settings {
            let wrong = |problem: &str| Wrong(format!("`{assignment}`: {problem}"));
            let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("write it as PATH=VALUE"))?;
            set(&mut settings, path, value).map_err(|problem| wrong(&problem))?;
            if paths.iter().any(|other| other == path) {
                return Err(wrong("the setting is given twice").into());
            }
            paths.push(path.to_owned());
        }
        let request = proto::UpdatePermissionSettingsRequest {
            organization_id: self.common.organization.clone(),
            settings: Some(settings),
            update_mask: Some(FieldMask { paths: paths.clone() }),
            request_id: self.request_id,
        };
        let mut client = self.common.connect().await?;
        let response = client.permission.update_permission_settings(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            print_some(response.settings.unwrap_or_default(), &paths)?;
        }
        Ok(Outcome::Done)
    }
}

/// The switches of a message by their paths.
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

fn set(settings: &mut proto::PermissionSettings, path: &str, value: &str) -> Result<(), String> {
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

/// The settings of these paths, a line each.
pub(super) fn print_some(settings: proto::PermissionSettings, paths: &[&str]) -> anyhow::Result<()> {
    let wanted = rows(settings).into_iter().filter(|[path, _]| paths.contains(&path.as_str()));
    wanted.map(|[path, value]| format!("{path} is {value}")).try_for_each(|text| print::line(&text))
}
