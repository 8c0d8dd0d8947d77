//! The start of a call, as the PBX reports it.

/// A user of the PBX's directory, whose password the PBX has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SipUser {
    pub name: String,
    pub domain: String,
}

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
    /// The authenticated user. `None` on Asterisk, where the channel's name tells the endpoint.
    pub user: Option<SipUser>,
}
