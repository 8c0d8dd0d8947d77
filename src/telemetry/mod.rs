//! Logs, metrics and traces, of the server and of a PBX's handler.

mod buckets;
mod calls;
pub mod logging;
pub mod metrics;
pub mod handler_metrics;
#[cfg(test)]
mod documented;
pub mod traces;
