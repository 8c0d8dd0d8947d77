//! The settings of a console.

use std::net::SocketAddr;

use super::origin::Origin;

/// The settings of a console.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The console's address as browsers see it.
    pub origin: Origin,
    /// The hosts that requests may name.
    pub hosts: Vec<String>,
    /// How people enter.
    pub entrance: Entrance,
    /// Whether people may change anything.
    pub changes: Changes,
}

/// How people enter the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// They choose a person from the directory. Nobody is authenticated.
    Picker,
    /// By one-time links alone.
    Links,
}

/// Whether people may change anything in the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// By their permissions.
    Allowed,
    /// They may only read.
    ReadOnly,
}

/// Return the hosts that requests may name: that of the origin, or those of a listener on loopback.
pub fn hosts(origin: Option<&Origin>, address: SocketAddr) -> Vec<String> {
    match origin {
        Some(origin) => vec![origin.authority().to_owned()],
        None => ["127.0.0.1", "[::1]", "localhost"].map(|host| format!("{host}:{}", address.port())).to_vec(),
    }
}
