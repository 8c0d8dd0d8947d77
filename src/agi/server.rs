//! The listener: who may connect, how many, and how it stops.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::Instant};
use tonic::Code;
use tracing::{error, info, warn};

use super::{
    ask::{Failure, Questions},
    config::Config,
    debts::{self, Debts},
    desk::Desk,
    flow, reconcile, settle,
};
use crate::{client::Client, domain::ids::OrganizationId};

/// How long queuegate may take to say whether it has an organization.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited after the system refused to give a connection.
const BREATH: Duration = Duration::from_millis(50);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or isn't one of this machine's.
    #[error(
        "can't listen on {address}: {problem}; another program may have the port (`ss -ltnp` names it), or give another \
         --listen address, and the same in the dialplan"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        problem: std::io::Error,
    },
    /// Strangers could sign agents in and out.
    #[error(
        "{0} can be reached from other machines, and FastAGI asks nobody who they are: give --allow with the addresses of \
         your PBX, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The secret could be read along.
    #[error(
        "{0} is another machine, to which the manager's secret would go in the clear; say --ami-insecure if nobody reads along"
    )]
    ManagerExposed(SocketAddr),
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] debts::Error),
}

impl Error {
    /// Whether it may be over in a moment: another program has the address, or the journal until it has ended.
    pub fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Listen { .. } | Self::Journal(debts::Error::InUse(_)) => true,
            Self::Exposed(_)
            | Self::ManagerExposed(_)
            | Self::Journal(debts::Error::Io { .. } | debts::Error::NotOurs { .. }) => false,
        }
    }
}

/// A FastAGI server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
}

/// Starts a server. It works for whichever queuegate the client reaches, now or later.
pub async fn start(config: Config, client: Client) -> Result<Server, Error> {
    if !config.listen.ip().is_loopback() && config.allow.is_empty() {
        return Err(Error::Exposed(config.listen));
    }
    let debts = Debts::open(&config.journal)?;
    let listen = |problem| Error::Listen { address: config.listen, problem };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    info!(%address, "listening");
    let desk = Arc::new(Desk::new(config, Questions(client.queue_access), debts));
    Ok(Server { listener, address, desk })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers calls until `stop` completes, and those that are under way after that.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, address: _, desk } = self;
        let mut helpers = JoinSet::new();
        helpers.spawn(settle::run(Arc::clone(&desk)));
        helpers.spawn(check_organizations(Arc::clone(&desk)));
        if let Some(manager) = desk.config.manager.clone() {
            helpers.spawn(reconcile::run(Arc::clone(&desk), manager));
        } else {
            warn!(
                "without --ami a phone doesn't ring for a supervisor's sign-in, and rings on after a session expired"
            );
        }
        let places = Arc::new(Semaphore::new(desk.config.calls));
        let mut calls = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = calls.join_next(), if !calls.is_empty() => continue,
                () = &mut stop => break,
            };
            let (connection, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            if !desk.config.admits(peer.ip()) {
                warn!(%peer, "a stranger was turned away");
                continue;
            }
            // The dialplan lets nobody in without an answer, so closing is refusing.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                warn!(most = desk.config.calls, "there are too many calls");
                continue;
            };
            let _ = connection.set_nodelay(true);
            let desk = Arc::clone(&desk);
            calls.spawn(async move {
                flow::answer(&desk, connection).await;
                drop(place);
            });
        }
        drop(listener);
        info!(calls = calls.len(), "stopping");
        let finished = async { while calls.join_next().await.is_some() {} };
        if tokio::time::timeout(desk.config.drain_deadline, finished).await.is_err() {
            warn!(calls = calls.len(), "calls were cut off");
        }
    }
}

/// Says which configured organizations queuegate doesn't have, or doesn't show to this handler. Nobody of them can sign in.
async fn check_organizations(desk: Arc<Desk>) {
    let managed = desk.config.manager.iter().flat_map(|manager| &manager.organizations);
    let organizations: BTreeSet<OrganizationId> = managed.chain(&desk.config.organization).cloned().collect();
    for organization in organizations {
        let mut pause = BREATH;
        loop {
            match desk.questions.is_known(&organization, Instant::now() + PATIENCE).await {
                Ok(()) => break,
                Err(Failure::NotDone(why)) if !matches!(why.code, Code::Unavailable | Code::ResourceExhausted) => {
                    error!(%organization, reason = why.reason, error = why.text, "nobody of this organization can sign in");
                    break;
                }
                Err(Failure::NotDone(_) | Failure::Unknown(_)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PATIENCE);
                }
            }
        }
    }
}
