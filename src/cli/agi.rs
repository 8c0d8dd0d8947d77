//! The command that runs the FastAGI server for Asterisk, and those that prepare an Asterisk for it.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{
    args::Wrong,
    exit::Outcome,
    handler::{Handler, OfPbx, secret},
};
use crate::pbx::{
    self,
    asterisk::manager_tls::ManagerTls,
    config::{Config, Manager, PbxKind},
    names::{Endpoints, Interface, Lamp},
    prompts::Prompts,
};

/// Arguments of `agi`.
#[derive(Args)]
pub(super) struct Agi {
    #[command(flatten)]
    handler: Handler,
    #[command(flatten)]
    asterisk: Asterisk,
}

/// The settings that only Asterisk has.
#[derive(Args)]
struct Asterisk {
    /// Channel technologies whose channels are named by authenticated endpoints, separated by commas.
    #[arg(
        long,
        value_name = "NAMES",
        env = "QUEUEGATE_AGI_TECHNOLOGY",
        value_delimiter = ',',
        default_value = "PJSIP,SIP,IAX2"
    )]
    technology: Vec<String>,
    /// Template of the phones that ring, with {endpoint} or {extension}, and with {organization} if the PBX has
    /// several.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_INTERFACE", default_value = "PJSIP/{endpoint}")]
    interface: Interface,
    /// Template of the devices whose state tells whether a phone is free, such as hint:{extension}@ext-local. Absent:
    /// the phone's own state.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_STATE_INTERFACE")]
    state_interface: Option<Interface>,
    /// Address of Asterisk's manager interface (AMI), to reconcile members with sessions. Absent: disabled.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_AGI_AMI", value_parser = super::args::address)]
    ami: Option<SocketAddr>,
    /// The user in manager.conf, with read and write permission for `agent`.
    #[arg(long, value_name = "NAME", env = "QUEUEGATE_AGI_AMI_USER")]
    ami_user: Option<String>,
    /// A file with that user's secret.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_AGI_AMI_SECRET_FILE")]
    ami_secret_file: Option<PathBuf>,
    /// Connect to the manager interface with TLS, and verify its certificate.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_AMI_TLS", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    ami_tls: bool,
    /// The authorities of the manager's certificate (PEM). Absent: the system's.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_AGI_AMI_CA")]
    ami_ca: Option<PathBuf>,
    /// The name in the manager's certificate. Absent: the address.
    #[arg(long, value_name = "NAME", env = "QUEUEGATE_AGI_AMI_SERVER_NAME")]
    ami_server_name: Option<String>,
    /// Send the manager's secret to another machine in plain text, because the network is protected.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_AMI_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    ami_insecure: bool,
    /// Template of the lamps that show sessions, with {extension} and {queue}: custom devices such as
    /// Custom:QG_{extension}_{queue}. Absent: none. The manager's user needs the write class `call`.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_LAMP")]
    lamp: Option<Lamp>,
}

impl Agi {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Self { handler, asterisk } = self;
        handler.run(|handler| asterisk.settings(handler)).await
    }
}

impl Asterisk {
    fn settings(self, handler: Handler) -> anyhow::Result<Config> {
        let endpoints = Endpoints {
            technologies: self.technology.clone(),
            domain: None,
            prefix: handler.endpoint_prefix.clone(),
            named: handler.endpoint.clone(),
        };
        let manager = self.manager(&handler, &endpoints)?;
        let prompts = Prompts::with(handler.prompt.iter().cloned());
        let kind = PbxKind::Asterisk { state_interface: self.state_interface };
        handler.config(OfPbx { endpoints, interface: self.interface, kind, manager, prompts })
    }

    fn manager(&self, handler: &Handler, endpoints: &Endpoints) -> anyhow::Result<Option<Manager>> {
        let Some(address) = self.ami else { return Ok(None) };
        // clap would check the arguments before the file is read.
        let (Some(user), Some(file)) = (&self.ami_user, &self.ami_secret_file) else {
            return Err(Wrong("--ami needs --ami-user and --ami-secret-file".to_owned()).into());
        };
        if !self.ami_tls && (self.ami_ca.is_some() || self.ami_server_name.is_some()) {
            return Err(Wrong("--ami-ca and --ami-server-name need --ami-tls".to_owned()).into());
        }
        if !address.ip().is_loopback() && !self.ami_tls && !self.ami_insecure {
            return Err(pbx::Error::ManagerExposed(address).into());
        }
        let organizations = handler.organizations("--ami", endpoints, &self.interface)?;
        let tls = || ManagerTls::new(address.ip(), self.ami_server_name.as_deref(), self.ami_ca.as_deref());
        let tls = self.ami_tls.then(tls).transpose().map_err(|error| Wrong(error.to_string()))?;
        Ok(Some(Manager {
            address,
            tls,
            user: user.clone(),
            secret: secret(file)?,
            organizations,
            interval: handler.reconcile_interval,
            removal: handler.removal(),
            lamp: self.lamp.clone(),
        }))
    }
}
