//! The server: the listener, the services, health, reflection, and the drain.

mod limits;
mod drain;
mod call;
mod net;
mod operator;
mod error;
mod config;
mod run;

pub use self::{
    config::{Config, ConsoleConfig, Database, Exposure, Listen, Reflection, SharedDatabase, WhenStale},
    error::Error,
    limits::Limits,
    net::{TlsError, TlsFiles},
    operator::{Served, Status},
    run::{Server, start},
};
