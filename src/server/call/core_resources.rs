//! The resources that all connections of one processor share.

use std::sync::Arc;

use tonic::service::Routes;

use super::{admission::Admission, callers::Callers};
use crate::{
    auth::Authority,
    rpc::Rpc,
    state::clock::Clock,
    telemetry::{metrics::Metrics, traces::Traces},
};

/// The resources that all connections of one processor share.
pub struct CoreResources {
    pub rpc: Rpc,
    /// The services of other crates, such as health and reflection.
    pub others: Routes,
    /// `None`: no authentication, and every caller may do everything.
    pub authority: Option<Arc<Authority>>,
    pub admission: Arc<Admission>,
    pub callers: Arc<Callers>,
    pub metrics: Arc<Metrics>,
    /// `None`: no call is traced.
    pub traces: Option<Arc<Traces>>,
    pub clock: Arc<dyn Clock>,
}
