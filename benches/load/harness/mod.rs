//! The load generator: connections, worker threads, pacing, measurements and reports.
//!
//! INVARIANT: the harness imports no server and no scenario. It calls a [`connection::Target`].

pub mod request;
pub mod process_usage;
pub mod connection;
pub mod workers;
pub mod measurement;
pub mod turn;
pub mod pacing;
pub mod loops;
pub mod rounds;
pub mod report;
