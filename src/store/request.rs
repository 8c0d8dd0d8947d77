//! Requests that carried a request id.

use crate::domain::{
    ids::{OrganizationId, RequestId, Sequence},
    time::Timestamp,
};

/// A request that was carried out, kept so that it can be repeated safely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The caller's name for it.
    pub request_id: RequestId,
    /// The hash of the request's content.
    pub content_sha256: String,
    /// The outcome, as JSON.
    pub outcome: String,
    /// The revision of the answer.
    pub sequence: Sequence,
    /// The time of the change.
    pub time: Timestamp,
}
