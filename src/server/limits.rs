//! The limits of a server: connections, calls and times.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// The descriptors reserved for everything except connections: the database's files and their readers, the token file
/// and the certificates, metrics and probes, logs and traces.
const RESERVED: usize = 256;

/// The descriptors also reserved for each processor's runtime.
const RESERVED_PER_PROCESSOR: usize = 8;

/// The limits of a server. Everything has one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent connections. More are closed at once.
    pub connections: usize,
    /// How long the handshake of a new connection may take: TLS, if it is configured, and HTTP/2.
    pub handshake: Duration,
    /// Concurrent calls on one connection.
    pub streams_per_connection: u32,
    /// The largest headers of a call, in bytes, as HTTP/2 counts them.
    pub header_bytes: u32,
    /// The silence after which a connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to the ping may take.
    pub keepalive_timeout: Duration,
    /// The time without a call after which a connection is closed.
    pub idle: Duration,
    /// The age at which a connection accepts no more calls, give or take a tenth, so that not all end at once.
    pub age: Duration,
    /// How long the calls in flight may go on after that.
    pub age_grace: Duration,
    /// Concurrent unary calls per caller. More are RESOURCE_EXHAUSTED.
    pub calls_per_caller: usize,
    /// Concurrent streams per caller, such as watches. More are RESOURCE_EXHAUSTED.
    pub streams_per_caller: usize,
    /// The unread bytes of large answers per caller. Above it, more large answers are RESOURCE_EXHAUSTED.
    pub unread_bytes_per_caller: usize,
    /// The unread bytes of large answers of all callers together.
    pub unread_bytes: usize,
    /// How long an answer may wait for a client that reads no byte of it. Then its stream or its connection is closed.
    pub read_patience: Duration,
    /// The time without messages after which a watch sends a CHECKPOINT.
    pub quiet: Duration,
    /// The queueing delay above which new calls are shed, with UNAVAILABLE.
    pub shed_delay: Duration,
}

impl Limits {
    /// Raise the process's limit of descriptors as far as the system allows, and lower the limit of connections to fit
    /// it.
    pub(super) fn within_descriptors(self, processors: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        // `None`: there is no limit.
        let Some(descriptors) = (if raised.is_ok() { maximum } else { current }) else { return self };
        let most = most_connections(usize::try_from(descriptors).unwrap_or(usize::MAX), processors);
        if self.connections > most {
            warn!(
                asked = self.connections,
                most,
                descriptors,
                "fewer connections are accepted than configured; raise the limit of open files (ulimit -n)"
            );
        }
        Self { connections: self.connections.min(most), ..self }
    }
}

/// Return the most connections that these descriptors allow. If there are few, half of them are reserved.
fn most_connections(descriptors: usize, processors: usize) -> usize {
    let reserved = RESERVED + RESERVED_PER_PROCESSOR * processors;
    descriptors.saturating_sub(reserved.min(descriptors / 2)).max(1)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            handshake: Duration::from_secs(10),
            streams_per_connection: 256,
            header_bytes: 16 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            idle: Duration::from_secs(15 * 60),
            age: Duration::from_secs(24 * 60 * 60),
            age_grace: Duration::from_secs(5 * 60),
            calls_per_caller: 1_024,
            streams_per_caller: 2_048,
            unread_bytes_per_caller: 64 * 1024 * 1024,
            unread_bytes: 256 * 1024 * 1024,
            read_patience: Duration::from_secs(30),
            quiet: Duration::from_secs(30),
            shed_delay: Duration::from_millis(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_other_uses_than_connections() {
        for (descriptors, processors, most) in
            [(1_024, 2, 752), (65_536, 16, 65_152), (100, 2, 50), (1, 2, 1), (usize::MAX, 1, usize::MAX - 264)]
        {
            assert_eq!(most_connections(descriptors, processors), most, "{descriptors}");
        }
    }

    #[test]
    fn a_quiet_connection_is_pinged_well_before_a_proxy_closes_it() {
        // nginx closes a quiet stream after 60 s, and HAProxy after 50.
        assert!(Limits::default().keepalive_interval <= Duration::from_secs(30));
    }
}
