//! The words for values of the API.

use super::text::Text;
use crate::rpc::proto::{Basis, Channel, QueueKind, Role};

pub fn role(text: &Text, role: Role) -> &'static str {
    match role {
        Role::ContactAdmin => text.contact_admin,
        Role::Supervisor => text.supervisor,
        Role::Agent => text.agent,
        Role::Unspecified => "",
    }
}

pub fn kind(text: &Text, kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::CallQueue => text.call_queue,
        QueueKind::Inbox => text.inbox,
        QueueKind::Campaign => text.campaign,
        QueueKind::RingGroup => text.ring_group,
        QueueKind::Unspecified => "",
    }
}

pub fn channel(text: &Text, channel: Channel) -> &'static str {
    match channel {
        Channel::FeatureCode => text.feature_code,
        Channel::AgentDashboard => text.agent_dashboard,
        Channel::Supervisor => text.by_supervisor,
        Channel::Unspecified => "",
    }
}

pub fn basis(text: &Text, basis: Basis) -> &'static str {
    match basis {
        Basis::Assigned => text.assigned,
        Basis::UnassignedAllowed => text.not_assigned,
        Basis::Supervisor => text.temporary,
        Basis::Unspecified => "",
    }
}
