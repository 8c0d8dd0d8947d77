//! The command that runs the FastAGI server for Asterisk, and those that prepare a PBX for it.

mod adoption;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use self::adoption::AdoptionCommand;
use super::{
    args::{Server, Wrong},
    exit::Outcome,
    serve::{Log, stop_signal},
};
use crate::{
    domain::ids::OrganizationId,
    pbx::{
        self,
        asterisk::manager_tls::ManagerTls,
        config::{Config, DoneBy, Identify, Manager, Moving, Network, PbxKind, Removal, Secret},
        names::{
            Endpoints, Home, Interface, Lamp, NamedEndpoint, OwnPbx, PbxName, Prefix, QueueName, named_endpoint,
            require_organization_in_names,
        },
        prompts::{Prompts, prompt},
    },
};

/// Arguments of `agi`.
#[derive(Args)]
pub(super) struct Agi {
    /// A TOML file with any of these settings; its keys are the flags without `--`. Flags and environment variables
    /// take precedence.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_AGI_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on for Asterisk. Other than loopback only with --allow.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_AGI_LISTEN", default_value = "127.0.0.1:4580",
          value_parser = super::args::address)]
    listen: SocketAddr,
    /// Address to serve /metrics on, over plain HTTP. Absent: disabled.
    #[arg(long, value_name = "ADDRESS", env = "QUEUEGATE_AGI_METRICS_LISTEN", value_parser = super::args::address)]
    metrics_listen: Option<SocketAddr>,
    /// Serve metrics on a non-loopback address, because the network is protected otherwise.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_METRICS_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    metrics_insecure: bool,
    /// Addresses and networks that may connect, besides this machine; separated by commas.
    #[arg(long, value_name = "NETWORKS", env = "QUEUEGATE_AGI_ALLOW", value_delimiter = ',')]
    allow: Vec<Network>,
    /// The organization of calls that name none.
    #[arg(long, short, value_name = "ID", env = "QUEUEGATE_ORGANIZATION")]
    organization: Option<OrganizationId>,
    /// Time limit of a call, without the time that its caller takes. After it, the call fails.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_AGI_DEADLINE", default_value = "2s",
          value_parser = deadline)]
    deadline: Duration,
    /// Concurrent calls.
    #[arg(long, value_name = "COUNT", env = "QUEUEGATE_AGI_MAX_CALLS", default_value = "1024")]
    max_calls: usize,
    /// Time that calls in flight may continue after a stop.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_AGI_DRAIN_DEADLINE", default_value = "10s",
          value_parser = humantime::parse_duration)]
    drain_deadline: Duration,
    /// Channel technologies whose channels are named by authenticated endpoints, separated by commas.
    #[arg(
        long,
        value_name = "NAMES",
        env = "QUEUEGATE_AGI_TECHNOLOGY",
        value_delimiter = ',',
        default_value = "PJSIP,SIP,IAX2"
    )]
    technology: Vec<String>,
    /// Prefix of the extension in the names of endpoints; {organization} stands for the organization's id.
    #[arg(
        long,
        value_name = "TEXT",
        env = "QUEUEGATE_AGI_ENDPOINT_PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    endpoint_prefix: Prefix,
    /// Endpoints whose names don't contain their extension: NAME=EXTENSION, separated by commas. On a PBX with several
    /// organizations: NAME=ORGANIZATION/EXTENSION.
    #[arg(long, value_name = "LIST", env = "QUEUEGATE_AGI_ENDPOINT", value_delimiter = ',', value_parser = named_endpoint)]
    endpoint: Vec<NamedEndpoint>,
    /// Template of the PBX's queue names, with {extension} or {id}, and with {organization} if it has several.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_QUEUE_NAME", default_value = "{extension}")]
    queue_name: QueueName,
    /// Template of the phones that ring, with {endpoint} or {extension}, and with {organization} if the PBX has
    /// several.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_INTERFACE", default_value = "PJSIP/{endpoint}")]
    interface: Interface,
    /// Callers are the users of their endpoints; or they enter a number and a PIN, at any phone.
    #[arg(long, value_name = "MODE", env = "QUEUEGATE_AGI_IDENTIFY", default_value = "endpoint", value_enum)]
    identify: IdentifyBy,
    /// With --identify pin: a person who is signed in at another phone moves to the one that they dial from. False:
    /// their sign-in is refused.
    #[arg(long = "move", value_name = "BOOL", env = "QUEUEGATE_AGI_MOVE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    moves: bool,
    /// Template of the devices whose state tells whether a phone is free, such as hint:{extension}@ext-local. Absent:
    /// the phone's own state.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_STATE_INTERFACE")]
    state_interface: Option<Interface>,
    /// Add and remove queue members with AddQueueMember and RemoveQueueMember. False: run no application; the dialplan
    /// does it.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_MEMBERS", action = clap::ArgAction::Set, default_value = "true")]
    members: bool,
    /// Play prompts. False: the dialplan plays the sound in QUEUEGATE_PROMPT.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_PLAY", action = clap::ArgAction::Set, default_value = "true")]
    play: bool,
    /// Sounds: NAME=SOUND, separated by commas. A name is signed-in, signed-out, denied, failed, ask-queue, ask-agent, ask-pin or a
    /// reason such as UNKNOWN_QUEUE.
    #[arg(long, value_name = "LIST", env = "QUEUEGATE_AGI_PROMPT", value_delimiter = ',', value_parser = prompt)]
    prompt: Vec<(String, String)>,
    /// Pause after which a number that a caller enters is complete.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_AGI_DIGIT_PAUSE", default_value = "3s",
          value_parser = humantime::parse_duration)]
    digit_pause: Duration,
    /// File for sign-ins and sign-outs whose outcome is open; created if it doesn't exist.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_AGI_JOURNAL", default_value = "queuegate-agi.journal")]
    journal: PathBuf,
    /// Name of this PBX, if queuegate serves several: sessions begin with it in their device, and each PBX rings for its own.
    /// Needs --pbx-home.
    #[arg(long, value_name = "NAME", env = "QUEUEGATE_AGI_PBX")]
    pbx: Option<PbxName>,
    /// The users who ring at this PBX for a session that names none, such as a supervisor's sign-in: all, none, or the
    /// beginnings of their extensions, separated by commas.
    #[arg(long, value_name = "LIST", env = "QUEUEGATE_AGI_PBX_HOME")]
    pbx_home: Option<Home>,
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
    /// The organizations whose queues the PBX has, separated by commas. Absent: --organization.
    #[arg(long, value_name = "IDS", env = "QUEUEGATE_AGI_ORGANIZATIONS", value_delimiter = ',')]
    organizations: Vec<OrganizationId>,
    /// Interval at which all members and sessions are compared, even without events.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_AGI_RECONCILE_INTERVAL", default_value = "1m",
          value_parser = humantime::parse_duration)]
    reconcile_interval: Duration,
    /// Whether reconciling removes members without a session: `planned`, after `agi plan` or `agi adopt` was run; `report`,
    /// never; `enforce`, always.
    #[arg(long, value_name = "MODE", env = "QUEUEGATE_AGI_RECONCILE", default_value = "planned", value_enum)]
    reconcile: Reconcile,
    /// Template of the lamps that show sessions, with {extension} and {queue}: custom devices such as
    /// Custom:QG_{extension}_{queue}. Absent: none. The manager's user needs the write class `call`.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_LAMP")]
    lamp: Option<Lamp>,
    /// Send the manager's secret to another machine in plain text, because the network is protected.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_AMI_INSECURE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    ami_insecure: bool,
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: Option<AdoptionCommand>,
}

/// The identification of callers.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum IdentifyBy {
    Endpoint,
    Pin,
}

/// Whether reconciling removes members without a session.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Reconcile {
    Planned,
    Report,
    Enforce,
}

impl Agi {
    pub(super) async fn run(mut self) -> anyhow::Result<Outcome> {
        if let Some(command) = self.command.take() {
            let (client, is_json) = (self.server.connect().await?, self.server.json);
            return command.run(self.settings()?, client, is_json).await;
        }
        let client = self.server.prepare()?;
        self.log.start()?;
        let config = self.settings()?;
        let stop = stop_signal()?;
        pbx::start(config, client).await?.run(stop).await;
        Ok(Outcome::Done)
    }

    fn settings(self) -> anyhow::Result<Config> {
        let manager = self.manager()?;
        if let Some(address) = self.metrics_listen
            && !address.ip().is_loopback()
            && !self.metrics_insecure
        {
            return Err(pbx::Error::MetricsExposed(address).into());
        }
        let pbx = match (self.pbx, self.pbx_home) {
            (None, None) => None,
            (Some(name), Some(home)) => Some(OwnPbx { name, home }),
            (Some(_), None) | (None, Some(_)) => {
                return Err(Wrong("--pbx and --pbx-home need each other".to_owned()).into());
            }
        };
        Ok(Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            allow: self.allow,
            max_calls: self.max_calls,
            deadline: self.deadline,
            drain_deadline: self.drain_deadline,
            organization: self.organization,
            endpoints: Endpoints { technologies: self.technology, prefix: self.endpoint_prefix, named: self.endpoint },
            queue_name: self.queue_name,
            interface: self.interface,
            identify: match (self.identify, self.moves) {
                (IdentifyBy::Endpoint, _) => Identify::ByEndpoint,
                (IdentifyBy::Pin, true) => Identify::ByPin { moving: Moving::Allowed },
                (IdentifyBy::Pin, false) => Identify::ByPin { moving: Moving::Refused },
            },
            pbx,
            kind: PbxKind::Asterisk { state_interface: self.state_interface },
            members: done_by(self.members),
            prompting: done_by(self.play),
            prompts: Prompts::with(self.prompt),
            digit_pause: self.digit_pause,
            journal: self.journal,
            manager,
        })
    }

    fn manager(&self) -> anyhow::Result<Option<Manager>> {
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
        let organizations = match (&self.organizations[..], &self.organization) {
            ([], Some(organization)) => vec![organization.clone()],
            ([], None) => return Err(Wrong("--ami needs --organization or --organizations".to_owned()).into()),
            (organizations, _) => organizations.to_vec(),
        };
        if organizations.len() > 1 && !self.queue_name.names_organization() {
            let problem =
                "the queues of several organizations would have the same names; give --queue-name with {organization}";
            return Err(Wrong(problem.to_owned()).into());
        }
        if organizations.len() > 1 {
            let endpoints = Endpoints {
                technologies: Vec::new(),
                prefix: self.endpoint_prefix.clone(),
                named: self.endpoint.clone(),
            };
            require_organization_in_names(&endpoints, &self.interface).map_err(|error| Wrong(error.to_string()))?;
        }
        let secret = std::fs::read_to_string(file);
        let secret = secret.map_err(|error| Wrong(format!("can't read `{}`: {error}", file.display())))?;
        let tls = || ManagerTls::new(address.ip(), self.ami_server_name.as_deref(), self.ami_ca.as_deref());
        let tls = self.ami_tls.then(tls).transpose().map_err(|error| Wrong(error.to_string()))?;
        Ok(Some(Manager {
            address,
            tls,
            user: user.clone(),
            secret: Secret(secret.trim().to_owned()),
            organizations,
            interval: self.reconcile_interval,
            removal: match self.reconcile {
                Reconcile::Planned => Removal::IfPlanned,
                Reconcile::Report => Removal::Never,
                Reconcile::Enforce => Removal::Always,
            },
            lamp: self.lamp.clone(),
        }))
    }
}

fn done_by(handler: bool) -> DoneBy {
    if handler { DoneBy::Handler } else { DoneBy::Dialplan }
}

fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(50)..=Duration::from_secs(60);
    if range.contains(&deadline) { Ok(deadline) } else { Err("must be from 50ms to 1m".to_owned()) }
}
