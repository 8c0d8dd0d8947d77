//! queuegate decides whether a contact-center agent may sign in to a queue, records who is signed in, and says why.
//!
//! The modules in reading order; `ARCHITECTURE.md` says what each may know of the others.

pub mod agi;
pub mod auth;
pub mod cli;
pub mod client;
pub mod document;
pub mod domain;
pub mod rpc;
pub mod server;
pub mod state;
pub mod store;
pub mod telemetry;
