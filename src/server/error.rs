//! The errors of a server.

use std::net::SocketAddr;

use super::net::TlsError;
use crate::{auth, store};

/// Why a server can't start, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or isn't one of this machine's.
    #[error("can't listen on {address}: {problem}; give another {flag} address")]
    Listen {
        /// The address.
        address: String,
        /// The flag that sets it.
        flag: &'static str,
        /// The cause.
        problem: std::io::Error,
    },
    /// Strangers could call the server.
    #[error(
        "{address} can be reached from other machines, and the server has no {missing}: anybody could sign agents in and \
         out, or read along; give {flags}, listen on 127.0.0.1, or say --insecure if something else keeps strangers out"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
        /// The missing protection.
        missing: &'static str,
        /// The flags that provide it.
        flags: &'static str,
    },
    /// Strangers could use the console.
    #[error(
        "the console on {address} can be reached from other machines, and the server has no {missing}; give {flags}, or \
         listen on 127.0.0.1"
    )]
    ConsoleExposed {
        /// The address.
        address: SocketAddr,
        /// The missing protection.
        missing: &'static str,
        /// The flags that provide it.
        flags: &'static str,
    },
    /// Strangers could read metrics, and delay probes.
    #[error(
        "{address} can be reached from other machines, and metrics and probes have neither tokens nor TLS; listen on \
         127.0.0.1, or say --metrics-insecure if something else keeps strangers out"
    )]
    MetricsExposed {
        /// The address.
        address: SocketAddr,
    },
    /// A certificate or key can't be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The token file can't be used.
    #[error(transparent)]
    Tokens(#[from] auth::Error),
    /// The database can't be used, or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system has no more threads.
    #[error("can't start the threads that serve calls: {0}")]
    Threads(std::io::Error),
    /// An essential part of the server ended.
    #[error("the {0} ended unexpectedly")]
    Broken(&'static str),
    /// The disk didn't answer in time when the server stopped.
    #[error(
        "the writer didn't finish in time; no acknowledged change is lost, other changes may or may not have happened"
    )]
    Stuck,
}
