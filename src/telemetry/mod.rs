//! What an operator sees of the server: its log, its metrics, its traces.

mod calls;
pub mod logging;
pub mod metrics;
pub mod traces;
