//! A call, from its headers to the last byte of its answer.

mod activity;
mod content_type;
mod request_body;
mod services;
mod compression;
mod callers;
mod admission;
mod core_resources;
mod peer;
mod answer;
mod refused;
mod admitted;
mod gate;

pub(super) use self::{
    activity::Activity, admission::Admission, callers::Callers, core_resources::CoreResources, gate::ConnectionService,
};
