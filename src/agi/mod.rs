//! A FastAGI server through which an Asterisk dialplan asks queuegate. It is a client of the gRPC API, as the command
//! line is.
//!
//! `server` accepts a call, `request` parses it, and `call` carries it out. `journal` keeps the operations whose
//! outcome is open, and `replay` repeats them until queuegate answers. Beside the calls, `reconcile` corrects the
//! members of the PBX's queues, so that they follow the sessions. `adoption` prepares a PBX that has members already.

pub mod names;
pub mod prompts;
pub mod manager_tls;
pub mod config;
pub mod queues_conf;
mod lines;
mod protocol;
mod request;
mod api;
mod key_locks;
mod journal;
mod pbx;
mod context;
mod call;
mod replay;
mod reconcile;
pub mod adoption;
mod server;

pub use self::{
    config::Config,
    server::{Error, Server, start},
};
