//! Members of the PBX's queues, and the changes of them.

/// A member of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Member {
    pub interface: String,
    /// Whether it isn't in the PBX's configuration, so it can be removed.
    pub is_dynamic: bool,
    pub state: MemberState,
    /// Whether the PBX has no such phone.
    pub is_invalid: bool,
    /// Whether it doesn't ring, because its agent is logged out in all queues.
    pub is_logged_out: bool,
}

/// The state of a member, which a queue drops when it removes the member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberState {
    pub penalty: u32,
    /// The name for people, or an empty text.
    pub name: String,
    pub is_paused: bool,
    pub pause_reason: String,
}

/// A change of a member during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberChange<'c> {
    /// Add it, with its device from [`crate::pbx::Config::member_device`], its penalty and its name for people.
    Add { device: Option<&'c str>, penalty: u32, name: &'c str },
    /// Remove it.
    Remove,
    /// Pause it, with a reason code or an empty text.
    Pause { reason: &'c str },
    /// End its pause.
    Unpause,
}

/// The result of a change of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberStatus {
    Added,
    AlreadyMember,
    Removed,
    NotMember,
    NoSuchQueue,
    /// The member is static: the PBX's configuration contains it.
    NotDynamic,
    Paused,
    Unpaused,
    /// The PBX gave no status, or an unknown one.
    Unknown,
}

/// The origin of a call, as the PBX reports it for the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelOrigin {
    /// It is the channel of the call's start, and its phone dialed.
    Dialed,
    /// It is the channel of the call's start, and another phone transferred or forwarded the call.
    Transferred,
    /// It is another channel, or the PBX doesn't report its name.
    Unverified,
}
