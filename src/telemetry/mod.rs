//! The server's log, metrics and traces.

mod calls;
pub mod logging;
pub mod metrics;
pub mod traces;
