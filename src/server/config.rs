//! The configuration of a server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{error::Error, limits::Limits, net::TlsFiles};
use crate::{auth::TokenFile, console, state::clock::Clock, store::postgres::Target, telemetry::traces::Traces};

/// The configuration of a server.
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// The database.
    pub database: Database,
    /// The token file; `None`: every caller may do everything.
    pub tokens: Option<TokenFile>,
    /// The certificates for TLS; `None`: plain HTTP/2.
    pub tls: Option<TlsFiles>,
    /// Whether to listen beyond this machine without tokens or TLS.
    pub exposure: Exposure,
    /// Whether to serve metrics and probes beyond this machine, where they have neither tokens nor TLS.
    pub metrics_exposure: Exposure,
    /// Whether to serve reflection.
    pub reflection: Reflection,
    /// Where to serve metrics and probes, over plain HTTP; `None`: nowhere.
    pub metrics: Option<Listen>,
    /// The console; `None`: the server has none.
    pub console: Option<ConsoleConfig>,
    /// The destination of calls' spans; `None`: no traces.
    pub traces: Option<Traces>,
    /// The limits of connections, calls and times.
    pub limits: Limits,
    /// How long health says NOT_SERVING before calls are refused, when the server stops. In this time, load balancers
    /// notice.
    pub drain_delay: Duration,
    /// How long the drain may take after that.
    pub drain_deadline: Duration,
    /// The source of the time.
    pub clock: Arc<dyn Clock>,
}

/// The console of a server.
#[derive(Debug)]
pub struct ConsoleConfig {
    /// Where to listen for browsers.
    pub listen: Listen,
    /// The console's address as browsers see it; `None`: the one on which it listens.
    pub origin: Option<console::Origin>,
    /// Whether people may change anything.
    pub changes: console::Changes,
}

/// The database of a server.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file, of which this server is the only one.
    File(PathBuf),
    /// A PostgreSQL database that several nodes share.
    Shared(SharedDatabase),
}

/// A PostgreSQL database that several nodes share.
#[derive(Debug, Clone)]
pub struct SharedDatabase {
    /// Its address.
    pub target: Target,
    /// The address that the node announces; `None`: the one on which it listens.
    pub node_address: Option<String>,
    /// How long the database may be out of reach. After that, the node isn't ready.
    pub stale_after: Duration,
    /// The decisions of a node that isn't ready for that reason.
    pub when_stale: WhenStale,
}

/// The decisions of a node that can't reach the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// It goes on to decide by the last state that it knows.
    Decide,
    /// It refuses to decide.
    Refuse,
}

impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// At an address; port 0 chooses a free port.
    At(SocketAddr),
    /// At a socket that the process inherited.
    Inherited(std::net::TcpListener),
}

/// Whether a server may listen beyond this machine without tokens or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// The server refuses to.
    Refused,
    /// It may, because the operator asserts that something else keeps strangers out.
    Accepted,
}

/// Whether a server serves reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// It serves reflection.
    On,
    /// It doesn't serve reflection.
    Off,
}

impl Config {
    /// Create the configuration of a server for this machine alone, with all other values at their defaults.
    pub fn new(listen: SocketAddr, database: impl Into<Database>, clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: Listen::At(listen),
            database: database.into(),
            tokens: None,
            tls: None,
            exposure: Exposure::Refused,
            metrics_exposure: Exposure::Refused,
            reflection: Reflection::On,
            metrics: None,
            console: None,
            traces: None,
            limits: Limits::default(),
            drain_delay: Duration::ZERO,
            drain_deadline: Duration::from_secs(10),
            clock,
        }
    }
}

impl Listen {
    pub(super) async fn bind(self, flag: &'static str) -> Result<TcpListener, Error> {
        match self {
            Self::At(address) => {
                let refused = |problem| Error::Listen { address: address.to_string(), flag, problem };
                TcpListener::bind(address).await.map_err(refused)
            }
            Self::Inherited(listener) => {
                let refused = |problem| Error::Listen { address: "the inherited socket".to_owned(), flag, problem };
                listener.set_nonblocking(true).map_err(refused)?;
                TcpListener::from_std(listener).map_err(refused)
            }
        }
    }
}

pub(super) fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    let unknown = |problem| Error::Listen { address: "the socket".to_owned(), flag: "--listen", problem };
    listener.local_addr().map_err(unknown)
}

/// Refuse a console for other machines without TLS, tokens and an address. Return how browsers reach it.
pub(super) fn console_settings(
    address: SocketAddr,
    origin: Option<console::Origin>,
    changes: console::Changes,
    exposure: Exposure,
    [has_tokens, has_tls]: [bool; 2],
) -> Result<console::Settings, Error> {
    let is_loopback = address.ip().is_loopback();
    if !is_loopback {
        let is_encrypted = has_tls || exposure == Exposure::Accepted;
        let (missing, flags) = match (has_tokens, is_encrypted, origin.is_some()) {
            (true, true, true) => ("", ""),
            (false, _, _) => ("tokens", "--tokens"),
            (_, false, _) => ("TLS", "--tls-certificate and --tls-key"),
            (_, _, false) => ("the address of the console", "--console-origin"),
        };
        if !missing.is_empty() {
            return Err(Error::ConsoleExposed { address, missing, flags });
        }
    }
    // Behind a proxy, a listener on loopback is open to others.
    let is_local = is_loopback && origin.is_none();
    let scheme = if has_tls { console::Scheme::Https } else { console::Scheme::Http };
    Ok(console::Settings {
        hosts: console::hosts(origin.as_ref(), address),
        origin: origin.unwrap_or_else(|| console::Origin::of_listener(scheme, address)),
        entrance: if is_local && !has_tokens { console::Entrance::Picker } else { console::Entrance::Links },
        changes,
    })
}

/// Refuse to serve other machines without authentication and encryption.
pub(super) fn refuse_exposure(address: SocketAddr, has_tokens: bool, has_tls: bool) -> Result<(), Error> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let (missing, flags) = match (has_tokens, has_tls) {
        (true, true) => return Ok(()),
        (false, true) => ("tokens", "--tokens"),
        (true, false) => ("TLS", "--tls-certificate and --tls-key"),
        (false, false) => ("tokens and no TLS", "--tokens, --tls-certificate and --tls-key"),
    };
    Err(Error::Exposed { address, missing, flags })
}
