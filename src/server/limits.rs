//! How much a server takes on: of connections, of calls, and of time.

use std::time::Duration;

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

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            handshake: Duration::from_secs(10),
            streams_per_connection: 256,
            header_bytes: 16 * 1024,
            keepalive_interval: Duration::from_secs(60),
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
