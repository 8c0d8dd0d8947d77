//! How much a server takes on: of connections, of calls, and of time.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// How many descriptors are for everything but connections: the database's files and their readers, the token file and the
/// certificates, metrics and probes, logs and traces.
const RESERVED: usize = 256;

/// How many each processor's runtime takes besides.
const RESERVED_PER_PROCESSOR: usize = 8;

/// The limits of a server. Everything has one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more are closed as soon as they come.
    pub connections: usize,
    /// How long a new connection may take to say that it speaks TLS, where that is asked for, and HTTP/2.
    pub handshake: Duration,
    /// Calls at once on one connection.
    pub streams_per_connection: u32,
    /// The size of a call's headers, in bytes, as HTTP/2 counts them.
    pub header_bytes: u32,
    /// After how long of hearing nothing a connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take.
    pub keepalive_timeout: Duration,
    /// After how long without a call a connection is closed.
    pub idle: Duration,
    /// After how long a connection takes no more calls, more or less a tenth, so that not all end at once.
    pub age: Duration,
    /// How long calls may go on after that.
    pub age_grace: Duration,
    /// Calls of one caller at once that are answered once. More are RESOURCE_EXHAUSTED.
    pub calls_per_caller: usize,
    /// Calls of one caller at once that go on and on, such as watches. More are RESOURCE_EXHAUSTED.
    pub streams_per_caller: usize,
    /// Bytes of large answers that one caller may leave unread. Above it, more large answers are RESOURCE_EXHAUSTED.
    pub unread_bytes_per_caller: usize,
    /// The same for all callers together.
    pub unread_bytes: usize,
    /// How long an answer may wait for a reader who takes no byte of it, before its stream or its connection is closed.
    pub read_patience: Duration,
    /// How long a watch says nothing before it sends a CHECKPOINT.
    pub quiet: Duration,
    /// How long work may have to wait for a processor before new work is refused with UNAVAILABLE.
    pub shed_delay: Duration,
}

impl Limits {
    /// Raises the process's limit of descriptors as far as the system lets it, and takes no more connections than it allows.
    pub(super) fn within_descriptors(self, processors: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        // None: there is no limit.
        let Some(descriptors) = (if raised.is_ok() { maximum } else { current }) else { return self };
        let most = most_connections(usize::try_from(descriptors).unwrap_or(usize::MAX), processors);
        if self.connections > most {
            warn!(
                asked = self.connections,
                most,
                descriptors,
                "fewer connections are taken than asked for; raise the limit of open files (ulimit -n)"
            );
        }
        Self { connections: self.connections.min(most), ..self }
    }
}

/// How many connections so many descriptors allow. Where there are few, half of them are kept.
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
    fn descriptors_are_kept_for_what_is_no_connection() {
        for (descriptors, processors, most) in
            [(1_024, 2, 752), (65_536, 16, 65_152), (100, 2, 50), (1, 2, 1), (usize::MAX, 1, usize::MAX - 264)]
        {
            assert_eq!(most_connections(descriptors, processors), most, "{descriptors}");
        }
    }

    #[test]
    fn a_quiet_connection_is_asked_well_before_a_proxy_gives_it_up() {
        // nginx gives up a stream after 60 s, and HAProxy after 50.
        assert!(Limits::default().keepalive_interval <= Duration::from_secs(30));
    }
}
