//! The listener: it accepts calls up to a limit, and drains them after a stop.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::Instant};
use tonic::Code;
use tracing::{error, info, warn};

use super::{
    adoption::{MarkerError, is_planned},
    api::{ApiClient, Failure},
    call,
    config::{Config, Manager, Removal},
    context::HandlerContext,
    journal::{self, Journal},
    metrics_page, reconcile, replay,
};
use crate::{client::Client, domain::ids::OrganizationId};

/// The time limit of a request for an organization, and the longest pause between two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failure to accept a connection, and the first pause between two requests for an organization.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// An error at the start of the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use, or isn't one of this machine's.
    #[error(
        "can't listen on {address}: {problem}; another program may have the port (`ss -ltnp` names it), or give another \
         --listen or --metrics-listen address, and the same --listen address in the dialplan"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        problem: std::io::Error,
    },
    /// Any machine could sign agents in and out.
    #[error(
        "{0} can be reached from other machines, and its protocol has no authentication: give --allow with the addresses of \
         your PBX, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// Other machines could read the metrics.
    #[error(
        "{0} can be reached from other machines, and metrics have no authentication: serve them on 127.0.0.1, or give \
         --metrics-insecure if the network is protected"
    )]
    MetricsExposed(SocketAddr),
    /// The manager's secret could be read on the network.
    #[error(
        "{0} is another machine, and the manager's secret would be sent in plain text; give --ami-tls, or --ami-insecure if \
         the network is protected"
    )]
    ManagerExposed(SocketAddr),
    /// The event socket's password could be read on the network.
    #[error(
        "{0} is another machine, and the event socket's password would be sent in plain text; run the handler on the PBX, or \
         give --event-socket-insecure if the network is protected"
    )]
    EventSocketExposed(SocketAddr),
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// It can't be told whether the plan for the PBX was seen.
    #[error(transparent)]
    Marker(#[from] MarkerError),
}

impl Error {
    /// Return whether the error may disappear without a change of the configuration: another process may release the
    /// address or the journal.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Listen { .. } => true,
            Self::Journal(error) => error.is_transient(),
            Self::Exposed(_)
            | Self::MetricsExposed(_)
            | Self::ManagerExposed(_)
            | Self::EventSocketExposed(_)
            | Self::Marker(_) => false,
        }
    }
}

/// A handler that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    context: Arc<HandlerContext>,
    /// The listener for metrics.
    metrics: Option<TcpListener>,
    /// The PBX's interface for programs, and whether members without a session are removed.
    manager: Option<(Manager, bool)>,
}

/// Start a server. queuegate need not be reachable yet.
pub async fn start(config: Config, client: Client) -> Result<Server, Error> {
    if !config.listen.ip().is_loopback() && config.allow.is_empty() {
        return Err(Error::Exposed(config.listen));
    }
    let journal = Journal::open(&config.journal)?;
    let manager = config.manager.clone().map(|manager| match manager.removal {
        Removal::Always => Ok((manager, true)),
        Removal::Never => Ok((manager, false)),
        Removal::IfPlanned => is_planned(&config.journal, manager.address).map(|is_planned| (manager, is_planned)),
    });
    let manager = manager.transpose()?;
    let (listener, address) = bind(config.listen).await?;
    info!(%address, "listening");
    let metrics = match config.metrics_listen {
        Some(wanted) => {
            let (listener, address) = bind(wanted).await?;
            info!(%address, "serving metrics");
            Some(listener)
        }
        None => None,
    };
    let context = Arc::new(HandlerContext::new(config, ApiClient::new(client.queue_access), journal));
    Ok(Server { listener, address, context, metrics, manager })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |problem| Error::Listen { address, problem };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Server {
    /// Return the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the address of the metrics, if they are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Handle calls until `stop` completes, and then drain the calls in flight.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, address: _, context, metrics, manager } = self;
        let mut background = JoinSet::new();
        background.spawn(replay::run(Arc::clone(&context)));
        background.spawn(check_organizations(Arc::clone(&context)));
        if let Some(listener) = metrics {
            background.spawn(metrics_page::serve(Arc::clone(&context), listener));
        }
        if let Some((manager, removes)) = manager {
            if !removes {
                warn!(
                    "reconciling leaves members without a session; the command `plan` lists them, and `adopt` makes sessions of \
                     them"
                );
            }
            background.spawn(reconcile::run(Arc::clone(&context), manager, removes));
        } else {
            warn!(
                "without reconciling, a supervisor's sign-in makes no phone ring, and a phone rings on after its session has expired; give --ami or --event-socket"
            );
        }
        let permits = Arc::new(Semaphore::new(context.config.max_calls));
        let mut calls = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = calls.join_next(), if !calls.is_empty() => continue,
                () = &mut stop => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
            if !context.config.admits(peer.ip()) {
                warn!(%peer, "a connection was closed, because its address is not allowed");
                continue;
            }
            // A dialplan without a status refuses the caller, so closing the connection is a refusal.
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                warn!(max_calls = context.config.max_calls, "a call was shed, because there are too many");
                continue;
            };
            let _ = stream.set_nodelay(true);
            let context = Arc::clone(&context);
            calls.spawn(async move {
                call::handle(&context, stream).await;
                drop(permit);
            });
        }
        drop(listener);
        info!(calls = calls.len(), "stopping");
        let drained = async { while calls.join_next().await.is_some() {} };
        if tokio::time::timeout(context.config.drain_deadline, drained).await.is_err() {
            warn!(calls = calls.len(), "calls in flight were cut off");
        }
    }
}

/// Log the configured organizations that don't exist, or that the handler's credentials aren't valid for.
async fn check_organizations(context: Arc<HandlerContext>) {
    let managed = context.config.manager.iter().flat_map(|manager| &manager.organizations);
    let organizations: BTreeSet<OrganizationId> = managed.chain(&context.config.organization).cloned().collect();
    for organization in organizations {
        let mut pause = RETRY_PAUSE;
        loop {
            match context.api.require_organization(&organization, Instant::now() + REQUEST_TIMEOUT).await {
                Ok(()) => break,
                Err(Failure::Refused(cause)) if !matches!(cause.code, Code::Unavailable | Code::ResourceExhausted) => {
                    error!(
                        %organization, reason = cause.reason, error = cause.text,
                        "no user of this organization can sign in"
                    );
                    break;
                }
                Err(Failure::Refused(_) | Failure::OutcomeUnknown(_)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REQUEST_TIMEOUT);
                }
            }
        }
    }
}
