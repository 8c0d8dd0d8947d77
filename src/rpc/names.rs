//! The names of the API's values, and the labels of metrics.

use tonic::Code;

use super::{code, methods};
use crate::{domain::vocabulary::Reason, telemetry::metrics::CallLabels};

/// The prefixes of the API's names for the values of the rules.
pub(super) const PERMISSION_PREFIX: &str = "PERMISSION_";
pub(super) const AUDIT_ACTION_PREFIX: &str = "AUDIT_ACTION_";

/// Return the labels of the call metrics: methods by their index in [`methods::METHODS`], codes and reasons by their
/// own numbers.
pub fn call_labels() -> CallLabels {
    CallLabels {
        methods: methods::METHODS.iter().map(|method| method.path).collect(),
        codes: (0..=Code::Unauthenticated as i32).map(|code| code::name(code.into())).collect(),
        reasons: Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
    }
}
