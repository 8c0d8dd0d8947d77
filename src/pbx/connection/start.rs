//! The start of a call, as the PBX reports it.

/// The start of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallStart {
    /// The channel's name.
    pub channel: String,
    /// The channel's unique id.
    pub unique_id: String,
    /// The path and query of the dialplan's address, such as `sign-in?queue=801`.
    pub script: String,
    /// The arguments after the address, in order.
    pub arguments: Vec<String>,
}
