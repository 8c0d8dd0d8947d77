//! The effective configuration of the handler.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{
    asterisk::manager_tls::ManagerTls,
    freeswitch::settings::FreeSwitch,
    names::{Endpoints, Interface, Lamp, OwnPbx, QueueName},
    prompts::Prompts,
};
use crate::{
    domain::ids::{Extension, OrganizationId},
    rpc::proto::Session,
};

/// The configuration of the handler.
#[derive(Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address of the metrics. `None`: they aren't served.
    pub metrics_listen: Option<SocketAddr>,
    /// The networks that may connect, besides this machine.
    pub allow: Vec<Network>,
    /// Concurrent calls.
    pub max_calls: usize,
    /// The time limit of a call, without the time that its caller takes.
    pub deadline: Duration,
    /// The time that calls in flight may continue after a stop.
    pub drain_deadline: Duration,
    /// The organization of calls that name none.
    pub organization: Option<OrganizationId>,
    /// The mapping between endpoints and extensions.
    pub endpoints: Endpoints,
    /// The template of the PBX's queue names.
    pub queue_name: QueueName,
    /// The template of the phones that ring.
    pub interface: Interface,
    /// The identification of callers.
    pub identify: Identify,
    /// The kind of the PBX.
    pub kind: PbxKind,
    /// The PBX's name, if it is one of several. `None`: every session rings here.
    pub pbx: Option<OwnPbx>,
    /// The party that adds and removes members during a call. With `Dialplan` the handler changes none.
    pub members: DoneBy,
    /// The party that plays prompts. The dialplan finds the sound's name in `QUEUEGATE_PROMPT`.
    pub prompting: DoneBy,
    /// The sounds of the prompts.
    pub prompts: Prompts,
    /// The pause after which a number that a caller enters is complete.
    pub digit_pause: Duration,
    /// The file of operations whose outcome is open.
    pub journal: PathBuf,
    /// The PBX's interface for programs, to reconcile members with sessions. `None`: they aren't reconciled.
    pub manager: Option<Manager>,
}

impl Config {
    /// Return whether a peer may connect: this machine, and the allowed networks.
    pub fn admits(&self, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || self.allow.iter().any(|network| network.contains(peer))
    }

    /// Return the interface in the device of a session if it may ring for the user with this extension.
    ///
    /// INVARIANT: any caller of queuegate can write a session's device. A device reaches the PBX only if this handler
    /// derives the same interface from an endpoint in this organization: an endpoint of this user, unless people may
    /// sign in at any phone.
    pub(super) fn interface_of_session<'d>(
        &self,
        organization: &OrganizationId,
        extension: Extension,
        device: &'d str,
    ) -> Option<&'d str> {
        let interface = self.pbx.as_ref().map_or(Some(device), |own| own.interface(device))?;
        let (_, owner) = self.interface.owner(organization, interface, &self.endpoints)?;
        let may_ring = match self.identify {
            Identify::ByEndpoint => owner == extension,
            Identify::ByPin { .. } => true,
        };
        may_ring.then_some(interface)
    }

    /// Return the device of a session that rings at an interface.
    pub(super) fn device(&self, interface: &str) -> String {
        self.pbx.as_ref().map_or_else(|| interface.to_owned(), |own| own.device(interface))
    }

    /// Return whether another PBX rings for a session of the user with this extension.
    pub(super) fn rings_elsewhere(&self, extension: Extension, session: &Session) -> bool {
        self.pbx.as_ref().is_some_and(|own| own.rings_elsewhere(extension, &session.device))
    }

    /// Return the device that a member has beside its interface, or `None` for the PBX's default.
    pub(super) fn member_device(&self, organization: &OrganizationId, interface: &str) -> Option<String> {
        let template = match &self.kind {
            PbxKind::Asterisk { state_interface } => state_interface.as_ref(),
            PbxKind::FreeSwitch(settings) => Some(&settings.contact),
        }?;
        let (endpoint, extension) = self.interface.owner(organization, interface, &self.endpoints)?;
        template.of(organization, &endpoint, &extension)
    }
}

/// The kind of a PBX, with the settings that only this kind has.
#[derive(Debug)]
pub enum PbxKind {
    /// Asterisk.
    Asterisk {
        /// The template of the devices whose state tells whether a phone is free. `None`: the phone's own state.
        state_interface: Option<Interface>,
    },
    /// FreeSWITCH.
    FreeSwitch(FreeSwitch),
}

/// The identification of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identify {
    /// The caller is the user of the endpoint.
    ByEndpoint,
    /// The caller enters a number and a PIN, at any phone.
    ByPin {
        /// Whether a person who is signed in at another phone moves.
        moving: Moving,
    },
}

/// Whether a person who is signed in at another phone moves to the one that they dial from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// They move.
    Allowed,
    /// Their sign-in is refused.
    Refused,
}

/// The party that does a part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneBy {
    /// This program.
    Handler,
    /// The dialplan.
    Dialplan,
}

/// The PBX's interface for programs: on Asterisk, the manager interface; on FreeSWITCH, the event socket.
#[derive(Debug, Clone)]
pub struct Manager {
    /// Its address.
    pub address: SocketAddr,
    /// TLS to it. `None`: plain text.
    pub tls: Option<ManagerTls>,
    /// The user, such as the one in `manager.conf`.
    pub user: String,
    /// The user's secret.
    pub secret: Secret,
    /// The organizations whose queues the PBX has.
    pub organizations: Vec<OrganizationId>,
    /// The interval at which all members and sessions are compared, even without events.
    pub interval: Duration,
    /// Whether members without a session are removed.
    pub removal: Removal,
    /// The template of the lamps that show sessions. `None`: there are none.
    pub lamp: Option<Lamp>,
}

/// Whether reconciling removes dynamic members without a session. A member whose session the handler has seen is always
/// removed when that session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Only if the plan for this PBX was seen (`agi plan`), or its members were adopted (`agi adopt`), before the start.
    IfPlanned,
    /// Never; they are reported.
    Never,
    /// Always.
    Always,
}

/// A secret, which is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Addresses with a common prefix: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Return whether the network contains an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` must be an address such as 192.0.2.7, or a network such as 192.0.2.0/24");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| fault()))?;
        if bits > most {
            return Err(fault());
        }
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, address, contained) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
            ("192.0.2.0/25", "192.0.2.128", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            assert_eq!(
                network.parse::<Network>().unwrap().contains(address.parse().unwrap()),
                contained,
                "{network} {address}"
            );
        }
        for text in ["", "pbx", "192.0.2.0/33", "192.0.2.0/x", "::/129", "192.0.2.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
