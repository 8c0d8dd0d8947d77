//! The connections to the PBX of any kind: one for each call, and one beside the calls for reconciling.
//!
//! Each kind of PBX has its own protocol and verbs, in a folder of its own. This folder has their common types, and two
//! enums through which the rest of the room uses them.

pub(super) mod member;
pub(super) mod start;
pub(super) mod error;
pub(super) mod deadline;
mod call;
mod pbx;

pub(super) use self::{
    call::{CallConnection, CallError},
    error::PbxError,
    member::{ChannelOrigin, Member, MemberChange, MemberState, MemberStatus},
    pbx::PbxConnection,
    start::CallStart,
};
