//! The settings that the handlers of all PBXs have, `agi` and `esl`, and their commands `plan` and `adopt`.

mod adoption;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Command};

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
        config::{Config, DoneBy, Identify, Manager, Moving, Network, PbxKind, Removal},
        names::{
            Endpoints, Home, Interface, NamedEndpoint, OwnPbx, PbxName, Prefix, QueueName, named_endpoint,
            require_organization_in_names,
        },
        prompts::{Prompts, prompt},
    },
};

/// The environment variables of `esl`, by clap's name of the flag.
const ESL_ENVIRONMENT: [(&str, &str); 23] = [
    ("config", "QUEUEGATE_ESL_CONFIG"),
    ("listen", "QUEUEGATE_ESL_LISTEN"),
    ("metrics_listen", "QUEUEGATE_ESL_METRICS_LISTEN"),
    ("metrics_insecure", "QUEUEGATE_ESL_METRICS_INSECURE"),
    ("allow", "QUEUEGATE_ESL_ALLOW"),
    ("deadline", "QUEUEGATE_ESL_DEADLINE"),
    ("max_calls", "QUEUEGATE_ESL_MAX_CALLS"),
    ("drain_deadline", "QUEUEGATE_ESL_DRAIN_DEADLINE"),
    ("endpoint_prefix", "QUEUEGATE_ESL_ENDPOINT_PREFIX"),
    ("endpoint", "QUEUEGATE_ESL_ENDPOINT"),
    ("queue_name", "QUEUEGATE_ESL_QUEUE_NAME"),
    ("identify", "QUEUEGATE_ESL_IDENTIFY"),
    ("moves", "QUEUEGATE_ESL_MOVE"),
    ("members", "QUEUEGATE_ESL_MEMBERS"),
    ("play", "QUEUEGATE_ESL_PLAY"),
    ("prompt", "QUEUEGATE_ESL_PROMPT"),
    ("digit_pause", "QUEUEGATE_ESL_DIGIT_PAUSE"),
    ("journal", "QUEUEGATE_ESL_JOURNAL"),
    ("pbx", "QUEUEGATE_ESL_PBX"),
    ("pbx_home", "QUEUEGATE_ESL_PBX_HOME"),
    ("organizations", "QUEUEGATE_ESL_ORGANIZATIONS"),
    ("reconcile_interval", "QUEUEGATE_ESL_RECONCILE_INTERVAL"),
    ("reconcile", "QUEUEGATE_ESL_RECONCILE"),
];

/// The defaults of `esl` that differ from those of `agi`.
const ESL_DEFAULTS: [(&str, &str); 3] =
    [("listen", "127.0.0.1:4581"), ("queue_name", "{extension}@default"), ("journal", "queuegate-esl.journal")];

/// Give the shared settings of `esl` its own environment variables and defaults.
pub(super) fn for_esl(mut esl: Command) -> Command {
    for (id, variable) in ESL_ENVIRONMENT {
        esl = esl.mut_arg(id, |argument| argument.env(variable));
    }
    for (id, value) in ESL_DEFAULTS {
        esl = esl.mut_arg(id, |argument| argument.default_value(value));
    }
    esl
}

/// The shared arguments of `agi` and `esl`.
#[derive(Args)]
pub(super) struct Handler {
    /// A TOML file with any of these settings; its keys are the flags without `--`. Flags and environment variables
    /// take precedence.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_AGI_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on for the PBX. Other than loopback only with --allow.
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
    /// Prefix of the extension in the names of endpoints; {organization} stands for the organization's id.
    #[arg(
        long,
        value_name = "TEXT",
        env = "QUEUEGATE_AGI_ENDPOINT_PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub endpoint_prefix: Prefix,
    /// Endpoints whose names don't contain their extension: NAME=EXTENSION, separated by commas. On a PBX with several
    /// organizations: NAME=ORGANIZATION/EXTENSION.
    #[arg(long, value_name = "LIST", env = "QUEUEGATE_AGI_ENDPOINT", value_delimiter = ',', value_parser = named_endpoint)]
    pub endpoint: Vec<NamedEndpoint>,
    /// Template of the PBX's queue names, with {extension} or {id}, and with {organization} if it has several.
    #[arg(long, value_name = "TEMPLATE", env = "QUEUEGATE_AGI_QUEUE_NAME", default_value = "{extension}")]
    queue_name: QueueName,
    /// Callers are the users of their endpoints; or they enter a number and a PIN, at any phone.
    #[arg(long, value_name = "MODE", env = "QUEUEGATE_AGI_IDENTIFY", default_value = "endpoint", value_enum)]
    identify: IdentifyBy,
    /// With --identify pin: a person who is signed in at another phone moves to the one that they dial from. False:
    /// their sign-in is refused.
    #[arg(long = "move", value_name = "BOOL", env = "QUEUEGATE_AGI_MOVE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    moves: bool,
    /// Add and remove queue members during a call. False: change none; the dialplan does it.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_MEMBERS", action = clap::ArgAction::Set, default_value = "true")]
    members: bool,
    /// Play prompts. False: the dialplan plays the sound in QUEUEGATE_PROMPT.
    #[arg(long, value_name = "BOOL", env = "QUEUEGATE_AGI_PLAY", action = clap::ArgAction::Set, default_value = "true")]
    play: bool,
    /// Sounds: NAME=SOUND, separated by commas. A name is signed-in, signed-out, denied, failed, ask-queue, ask-agent, ask-pin or a
    /// reason such as UNKNOWN_QUEUE.
    #[arg(long, value_name = "LIST", env = "QUEUEGATE_AGI_PROMPT", value_delimiter = ',', value_parser = prompt)]
    pub prompt: Vec<(String, String)>,
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
    /// The organizations whose queues the PBX has, separated by commas. Absent: --organization.
    #[arg(long, value_name = "IDS", env = "QUEUEGATE_AGI_ORGANIZATIONS", value_delimiter = ',')]
    organizations: Vec<OrganizationId>,
    /// Interval at which all members and sessions are compared, even without events.
    #[arg(long, value_name = "DURATION", env = "QUEUEGATE_AGI_RECONCILE_INTERVAL", default_value = "1m",
          value_parser = humantime::parse_duration)]
    pub reconcile_interval: Duration,
    /// Whether reconciling removes members without a session: `planned`, after the command `plan` or `adopt` was run;
    /// `report`, never; `enforce`, always.
    #[arg(long, value_name = "MODE", env = "QUEUEGATE_AGI_RECONCILE", default_value = "planned", value_enum)]
    reconcile: Reconcile,
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: Option<AdoptionCommand>,
}

/// The part of the configuration that each kind of PBX makes of its own settings.
pub(super) struct OfPbx {
    /// The mapping between endpoints and extensions.
    pub endpoints: Endpoints,
    /// The template of the phones that ring.
    pub interface: Interface,
    /// The kind of the PBX.
    pub kind: PbxKind,
    /// The PBX's interface for programs.
    pub manager: Option<Manager>,
    /// The sounds of the prompts.
    pub prompts: Prompts,
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

impl Handler {
    /// Run the handler, or the command below it. `settings` makes its configuration of these arguments.
    pub(super) async fn run(
        mut self,
        settings: impl FnOnce(Self) -> anyhow::Result<Config>,
    ) -> anyhow::Result<Outcome> {
        if let Some(command) = self.command.take() {
            let (client, is_json) = (self.server.connect().await?, self.server.json);
            return command.run(settings(self)?, client, is_json).await;
        }
        let client = self.server.prepare()?;
        self.log.start()?;
        let config = settings(self)?;
        let stop = stop_signal()?;
        pbx::start(config, client).await?.run(stop).await;
        Ok(Outcome::Done)
    }

    /// Return the configuration of the handler for a PBX.
    pub(super) fn config(self, of_pbx: OfPbx) -> anyhow::Result<Config> {
        let OfPbx { endpoints, interface, kind, manager, prompts } = of_pbx;
        Ok(Config {
            identify: self.identify(),
            metrics_listen: self.metrics_listen()?,
            pbx: self.own_pbx()?,
            listen: self.listen,
            allow: self.allow,
            max_calls: self.max_calls,
            deadline: self.deadline,
            drain_deadline: self.drain_deadline,
            organization: self.organization,
            endpoints,
            queue_name: self.queue_name,
            interface,
            kind,
            members: done_by(self.members),
            prompting: done_by(self.play),
            prompts,
            digit_pause: self.digit_pause,
            journal: self.journal,
            manager,
        })
    }

    /// Return the organizations whose queues the PBX has. `flag` is the one that asks for reconciling.
    pub(super) fn organizations(
        &self,
        flag: &str,
        endpoints: &Endpoints,
        interface: &Interface,
    ) -> anyhow::Result<Vec<OrganizationId>> {
        let organizations = match (&self.organizations[..], &self.organization) {
            ([], Some(organization)) => vec![organization.clone()],
            ([], None) => return Err(Wrong(format!("{flag} needs --organization or --organizations")).into()),
            (organizations, _) => organizations.to_vec(),
        };
        if organizations.len() > 1 && !self.queue_name.names_organization() {
            let problem =
                "the queues of several organizations would have the same names; give --queue-name with {organization}";
            return Err(Wrong(problem.to_owned()).into());
        }
        if organizations.len() > 1 {
            require_organization_in_names(endpoints, interface).map_err(|error| Wrong(error.to_string()))?;
        }
        Ok(organizations)
    }

    /// Return the address of the metrics, or `None` if they aren't served.
    pub(super) fn metrics_listen(&self) -> Result<Option<SocketAddr>, pbx::Error> {
        match self.metrics_listen {
            Some(address) if !address.ip().is_loopback() && !self.metrics_insecure => {
                Err(pbx::Error::MetricsExposed(address))
            }
            address => Ok(address),
        }
    }

    /// Return the name of this PBX and its users, if queuegate serves several.
    pub(super) fn own_pbx(&self) -> Result<Option<OwnPbx>, Wrong> {
        match (&self.pbx, &self.pbx_home) {
            (None, None) => Ok(None),
            (Some(name), Some(home)) => Ok(Some(OwnPbx { name: name.clone(), home: home.clone() })),
            (Some(_), None) | (None, Some(_)) => Err(Wrong("--pbx and --pbx-home need each other".to_owned())),
        }
    }

    /// Return the identification of callers.
    pub(super) fn identify(&self) -> Identify {
        match (self.identify, self.moves) {
            (IdentifyBy::Endpoint, _) => Identify::ByEndpoint,
            (IdentifyBy::Pin, true) => Identify::ByPin { moving: Moving::Allowed },
            (IdentifyBy::Pin, false) => Identify::ByPin { moving: Moving::Refused },
        }
    }

    /// Return whether reconciling removes members without a session.
    pub(super) fn removal(&self) -> Removal {
        match self.reconcile {
            Reconcile::Planned => Removal::IfPlanned,
            Reconcile::Report => Removal::Never,
            Reconcile::Enforce => Removal::Always,
        }
    }
}

/// Return the party that does a part of a call.
fn done_by(handler: bool) -> DoneBy {
    if handler { DoneBy::Handler } else { DoneBy::Dialplan }
}

/// Read a file with a secret.
pub(super) fn secret(file: &std::path::Path) -> Result<pbx::config::Secret, Wrong> {
    let secret = std::fs::read_to_string(file);
    let secret = secret.map_err(|error| Wrong(format!("can't read `{}`: {error}", file.display())))?;
    Ok(pbx::config::Secret(secret.trim().to_owned()))
}

fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(50)..=Duration::from_secs(60);
    if range.contains(&deadline) { Ok(deadline) } else { Err("must be from 50ms to 1m".to_owned()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn esl_has_its_own_environment_variables() {
        let all = crate::cli::command_line();
        let esl = all.find_subcommand("esl").unwrap();
        let variables: Vec<String> =
            esl.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect();
        assert!(variables.len() > 20, "{variables:?}");
        let of_agi: Vec<&String> = variables.iter().filter(|name| name.starts_with("QUEUEGATE_AGI_")).collect();
        assert!(of_agi.is_empty(), "add these to ESL_ENVIRONMENT: {of_agi:?}");
    }
}
