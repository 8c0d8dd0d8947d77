//! A FastAGI server, so that an Asterisk dialplan can ask queuegate: a client of the gRPC API, as the command line is.
//!
//! A call comes in (`server`), says what it wants (`protocol`, `request`, `names`), and gets it (`flow`). What queuegate could
//! not be told then is told later (`debts`, `settle`). Beside the calls, the PBX's members are kept in line with the sessions
//! (`reconcile`, over `manager`).

mod ask;
mod call;
pub mod config;
mod debts;
mod desk;
mod flow;
mod lines;
mod manager;
pub mod names;
mod places;
pub mod protocol;
pub mod queues_conf;
mod reconcile;
pub mod request;
mod server;
mod settle;

pub use config::Config;
pub use server::{Error, Server, start};
