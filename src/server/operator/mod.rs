//! The operator's view: health, probes, metrics, systemd, and reloaded files.

mod health;
mod quiet;
mod status;
mod http;
mod reload;

pub use self::status::{Served, Status};
pub(super) use self::{
    health::{Health, ServingStatus},
    http::{Operator, notify_systemd},
    reload::watch as reload,
};
