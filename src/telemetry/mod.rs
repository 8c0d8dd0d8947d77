//! The server's log, metrics and traces.

mod buckets;
mod calls;
pub mod logging;
pub mod metrics;
pub mod traces;
