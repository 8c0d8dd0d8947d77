//! queuegate decides whether a contact-center agent may sign in to a queue, and explains why. It also records sessions.
//!
//! `ARCHITECTURE.md` has the reading order. `ARCHITECTURE.md` lists the permitted dependencies between them.

pub mod auth;
pub mod cli;
pub mod client;
pub mod console;
pub mod document;
pub mod domain;
pub mod pbx;
pub mod rpc;
pub mod server;
pub mod state;
pub mod store;
pub mod telemetry;
