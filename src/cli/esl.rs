//! The command that handles the calls of FreeSWITCH over the event socket, and those that prepare a FreeSWITCH for it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{
    args::Wrong,
    exit::Outcome,
    handler::{Handler, OfPbx, secret},
};
use crate::pbx::{
    self,
    config::{Config, Manager, PbxKind},
    freeswitch::settings::{AgentStatus, FreeSwitch},
    names::{Endpoints, Interface, Lamp, Prefix},
    prompts::Prompts,
};

/// Stands for the domain in the defaults of templates.
const DOMAIN: &str = "{domain}";

/// Arguments of `esl`.
#[derive(Args)]
pub(super) struct Esl {
    #[command(flatten)]
    handler: Handler,
    #[command(flatten)]
    freeswitch: FreeSwitchArguments,
}

/// The settings that only FreeSWITCH has.
#[derive(Args)]
struct FreeSwitchArguments {
    /// Domain of the phones' users in the directory; {organization} stands for the organization's id. Required.
    #[arg(long, value_name = "DOMAIN", env = "QUEUEGATE_ESL_DOMAIN")]
    domain: Option<String>,
    /// Template of the agents of mod_callcenter, with {endpoint} or {extension}; {domain} stands for --domain.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_ESL_AGENT", default_value = "{endpoint}@{domain}")]
    agent: String,
    /// Template of the agents' contacts, which ring, with {endpoint} or {extension}; {domain} stands for --domain.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_ESL_CONTACT", default_value = "user/{endpoint}@{domain}")]
    contact: String,
    /// Status of agents who are signed in.
    #[arg(long, value_name = "STATUS", env = "QUEUEGATE_ESL_AGENT_STATUS", default_value = "available", value_enum)]
    agent_status: Status,
    /// Address of FreeSWITCH's event socket, to reconcile tiers with sessions. Absent: disabled.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_ESL_EVENT_SOCKET", value_parser = super::args::address)]
    event_socket: Option<SocketAddr>,
    /// A file with the password in event_socket.conf.xml.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_ESL_EVENT_SOCKET_PASSWORD_FILE")]
    event_socket_password_file: Option<PathBuf>,
    /// Send the password to another machine in plain text, because the network is protected.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_ESL_EVENT_SOCKET_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    event_socket_insecure: bool,
    /// Template of the presences that show sessions, with {extension} and {queue}, such as
    /// queuegate+{extension}-{queue}@{domain}. Absent: none.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_ESL_LAMP")]
    lamp: Option<String>,
}

/// The status of agents who are signed in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Available,
    OnDemand,
}

impl Esl {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { handler, freeswitch } = self;
        handler.run(|handler| freeswitch.settings(handler)).await
    }
}

impl FreeSwitchArguments {
    fn settings(self, handler: Handler) -> anyhow::Result<Config> {
        let domain = self.domain.as_deref().filter(|domain| !domain.is_empty());
        let domain = domain.ok_or_else(|| Wrong("give --domain, the domain of the phones' users".to_owned()))?;
        let invalid = |flag: &str, error: &dyn std::fmt::Display| Wrong(format!("--{flag}: {error}"));
        let own_domain: Prefix = domain.parse().map_err(|error| invalid("domain", &error))?;
        let template = |flag: &str, text: &str| -> Result<Interface, Wrong> {
            text.replace(DOMAIN, domain).parse().map_err(|error| invalid(flag, &error))
        };
        let (interface, contact) = (template("agent", &self.agent)?, template("contact", &self.contact)?);
        let lamp = self.lamp.as_ref().map(|lamp| Lamp::presence(&lamp.replace(DOMAIN, domain)));
        let lamp = lamp.transpose().map_err(|error| invalid("lamp", &error))?;
        let endpoints = Endpoints {
            technologies: Vec::new(),
            domain: Some(own_domain),
            prefix: handler.endpoint_prefix.clone(),
            named: handler.endpoint.clone(),
        };
        let status = match self.agent_status {
            Status::Available => AgentStatus::Available,
            Status::OnDemand => AgentStatus::OnDemand,
        };
        let manager = self.manager(&handler, &endpoints, &interface, lamp)?;
        let prompts = Prompts::with_freeswitch(handler.prompt.iter().cloned());
        let kind = PbxKind::FreeSwitch(FreeSwitch { contact, status });
        handler.config(OfPbx { endpoints, interface, kind, manager, prompts })
    }

    fn manager(
        &self,
        handler: &Handler,
        endpoints: &Endpoints,
        interface: &Interface,
        lamp: Option<Lamp>,
    ) -> anyhow::Result<Option<Manager>> {
        let Some(address) = self.event_socket else { return Ok(None) };
        let Some(file) = &self.event_socket_password_file else {
            return Err(Wrong("--event-socket needs --event-socket-password-file".to_owned()).into());
        };
        if !address.ip().is_loopback() && !self.event_socket_insecure {
            return Err(pbx::Error::EventSocketExposed(address).into());
        }
        Ok(Some(Manager {
            address,
            tls: None,
            user: String::new(),
            secret: secret(file)?,
            organizations: handler.organizations("--event-socket", endpoints, interface)?,
            interval: handler.reconcile_interval,
            removal: handler.removal(),
            lamp,
        }))
    }
}
