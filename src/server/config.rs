//! The configuration of a server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{error::Error, limits::Limits, net::TlsFiles};
use crate::{auth::TokenFile, state::clock::Clock, telemetry::traces::Traces};

/// What a server needs to know.
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// The database file.
    pub database: PathBuf,
    /// Who may call; none: everybody may do everything.
    pub tokens: Option<TokenFile>,
    /// The certificates to speak TLS with; none: plain HTTP/2.
    pub tls: Option<TlsFiles>,
    /// Whether to listen beyond this machine without tokens or TLS.
    pub exposure: Exposure,
    /// Whether to serve metrics and probes beyond this machine, where they have neither tokens nor TLS.
    pub metrics_exposure: Exposure,
    /// Whether to tell callers what services there are.
    pub reflection: Reflection,
    /// Where to serve metrics and probes, over plain HTTP; none: nowhere.
    pub metrics: Option<Listen>,
    /// Where spans of calls go; none: nowhere.
    pub traces: Option<Traces>,
    /// How much to take on.
    pub limits: Limits,
    /// How long health says NOT_SERVING before calls are refused, once the server is asked to stop, so that those who
    /// share the load out can learn of it.
    pub drain_delay: Duration,
    /// How long calls that are under way may take to finish after that.
    pub drain_deadline: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// At an address; port 0 takes a free one.
    At(SocketAddr),
    /// At a socket that the process was started with.
    Inherited(std::net::TcpListener),
}

/// Whether a server may listen beyond this machine without tokens or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It may not.
    Refused,
    /// The operator says that something else keeps strangers out.
    Accepted,
}

/// Whether a server tells what services it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// It does.
    On,
    /// It doesn't.
    Off,
}

impl Config {
    /// A server for this machine alone, with everything else as it is by default.
    pub fn new(listen: SocketAddr, database: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: Listen::At(listen),
            database,
            tokens: None,
            tls: None,
            exposure: Exposure::Refused,
            metrics_exposure: Exposure::Refused,
            reflection: Reflection::On,
            metrics: None,
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

/// A server that other machines reach must know who calls, and let nobody read along.
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
