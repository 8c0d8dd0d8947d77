//! A call-control handler beside a PBX, through which its dialplan asks queuegate. It is a client of the gRPC API, as the
//! command line is.
//!
//! `server` accepts a call, `request` parses it, and `call` carries it out. `journal` keeps the operations whose
//! outcome is open, and `replay` repeats them until queuegate answers. Beside the calls, `reconcile` corrects the
//! members of the PBX's queues, so that they follow the sessions. `adoption` prepares a PBX that has members already.
//!
//! All of this is the same for every kind of PBX. `asterisk` and `freeswitch` have the protocols and the verbs
//! of one kind each.

pub mod names;
pub mod prompts;
mod percent;
mod lines;
pub mod asterisk;
pub mod freeswitch;
pub mod config;
mod connection;
mod request;
mod api;
mod key_locks;
mod journal;
mod queues;
mod context;
mod call;
mod replay;
mod reconcile;
pub mod adoption;
mod metrics_page;
mod server;

pub use self::{
    config::Config,
    server::{Error, Server, start},
};
