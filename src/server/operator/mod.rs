//! The operator's view: health, probes, metrics, systemd, and reloaded files.

mod health;
mod quiet;
mod http;
mod reload;

pub(super) use self::{
    health::{Health, ServingStatus},
    http::{Operator, notify_systemd},
    reload::watch as reload,
};
