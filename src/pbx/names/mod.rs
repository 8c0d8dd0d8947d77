//! The names of phones and queues on the PBX, and the users and queues they stand for. PURE.
//!
//! A caller is the user of an endpoint such as `PJSIP/101`, never of a caller id. Templates derive the PBX's names: the
//! name of a queue from its extension or id, and the interface of a member from its endpoint or extension.
//!
//! INVARIANT: an extension is unique only within an organization. So each function that maps an endpoint, an extension
//! or an interface takes the organization.

mod text;
mod endpoints;
mod queue_name;
mod interface;
mod lamp;
mod member_profile;
mod own_pbx;

pub use self::{
    endpoints::{Endpoints, NamedEndpoint, Prefix, named_endpoint},
    interface::{Interface, require_organization_in_names},
    lamp::Lamp,
    own_pbx::{Home, OwnPbx, PbxName},
    queue_name::QueueName,
    text::{InvalidName, is_plain},
};
pub(crate) use self::{lamp::CUSTOM, member_profile::MemberProfile};
