//! What the operator decides.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::names::{Endpoints, Interface, QueueName};
use crate::domain::ids::OrganizationId;

/// How a FastAGI server works.
#[derive(Debug)]
pub struct Config {
    /// Where Asterisk finds it.
    pub listen: SocketAddr,
    /// Who else may connect than this machine.
    pub allow: Vec<Network>,
    /// Calls at once.
    pub calls: usize,
    /// How long a call takes at most, not counting its caller.
    pub deadline: Duration,
    /// How long calls may go on after a stop.
    pub drain_deadline: Duration,
    /// The organization that is meant where a call names none.
    pub organization: Option<OrganizationId>,
    /// Whose phone an endpoint is.
    pub endpoints: Endpoints,
    /// How the PBX names queues.
    pub queue_name: QueueName,
    /// How the PBX names the phones that ring.
    pub interface: Interface,
    /// Whose state says whether they are free, if it isn't the phone's own.
    pub state_interface: Option<Interface>,
    /// Whether members are added and removed here, and not by the dialplan.
    pub members: Members,
    /// Whether prompts are played here, and not by the dialplan.
    pub playing: Playing,
    /// The sounds.
    pub prompts: Prompts,
    /// After which pause a number is taken to be complete.
    pub digit_pause: Duration,
    /// Where what queuegate is still to be told is kept.
    pub journal: PathBuf,
    /// How members are kept in line with sessions; none: they are not.
    pub manager: Option<Manager>,
}

impl Config {
    /// Whether somebody at this address may connect: this machine, and whom the configuration allows.
    pub fn admits(&self, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || self.allow.iter().any(|network| network.has(peer))
    }

    /// Whose state says whether an interface is free, if it isn't its own.
    pub(super) fn state_of(&self, organization: &OrganizationId, interface: &str) -> Option<String> {
        let state = self.state_interface.as_ref()?;
        let (endpoint, extension) = self.interface.whose(organization, interface, &self.endpoints)?;
        state.of(organization, &endpoint, &extension)
    }
}

/// Who adds and removes a queue's members during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// This program, by AddQueueMember and RemoveQueueMember: the only applications that it ever runs.
    Here,
    /// The dialplan. Then this program runs no application at all.
    InDialplan,
}

/// Who plays prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playing {
    /// This program.
    Here,
    /// The dialplan, which finds the sound's name in `QUEUEGATE_PROMPT`.
    InDialplan,
}

/// Asterisk's manager interface.
#[derive(Debug, Clone)]
pub struct Manager {
    /// Where it listens.
    pub address: SocketAddr,
    /// The user in `manager.conf`.
    pub user: String,
    /// Their secret.
    pub secret: Secret,
    /// The organizations whose queues the PBX has.
    pub organizations: Vec<OrganizationId>,
    /// After how long everything is compared, whether or not anything happened.
    pub interval: Duration,
}

/// What is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Addresses that begin alike: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
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

/// The moments that have a sound of their own, and the stock sound that says it best. Reasons may have one besides.
pub const PROMPTS: [(&str, &str); 6] = [
    ("signed-in", "agent-loginok"),
    ("signed-out", "agent-loggedoff"),
    // The stock set has no "denied"; this one says that the feature is not available on this line.
    ("denied", "feature-not-avail-line"),
    ("UNKNOWN_QUEUE", "invalid"),
    ("failed", "sorry-youre-having-problems"),
    ("ask-queue", "vm-enter-num-to-call"),
];

/// Which sound says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(BTreeMap<String, String>);

impl Default for Prompts {
    fn default() -> Self {
        Self(PROMPTS.map(|(name, sound)| (name.to_owned(), sound.to_owned())).into())
    }
}

impl Prompts {
    /// The stock sounds, but for these.
    pub fn with(changes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut prompts = Self::default();
        prompts.0.extend(changes);
        prompts
    }

    /// The sound for a reason, or else for the moment.
    pub(super) fn sound(&self, moment: &str, reason: &str) -> &str {
        self.0.get(reason).or_else(|| self.0.get(moment)).map(String::as_str).unwrap_or_default()
    }
}

/// `NAME=SOUND`: a moment or a reason, and the sound for it.
pub fn prompt(text: &str) -> Result<(String, String), String> {
    let (name, sound) = text.split_once('=').ok_or("write it as NAME=SOUND")?;
    let is_moment = PROMPTS.iter().any(|(moment, _)| *moment == name);
    let is_reason = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if !is_moment && !is_reason {
        let moments: Vec<&str> = PROMPTS.iter().map(|(moment, _)| *moment).collect();
        return Err(format!("`{name}` must be one of {}, or a reason such as USER_DISABLED", moments.join(", ")));
    }
    if !super::names::is_plain(sound) {
        return Err(format!("`{sound}` is no sound's name, such as agent-loginok or custom/welcome"));
    }
    Ok((name.to_owned(), sound.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, address, has) in [
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
            assert_eq!(network.parse::<Network>().unwrap().has(address.parse().unwrap()), has, "{network} {address}");
        }
        for text in ["", "pbx", "192.0.2.0/33", "192.0.2.0/x", "::/129", "192.0.2.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reason_may_have_a_sound_of_its_own() {
        let prompts = Prompts::with([prompt("USER_DISABLED=custom/no").unwrap(), prompt("failed=beeperr").unwrap()]);
        assert_eq!(prompts.sound("denied", "USER_DISABLED"), "custom/no");
        assert_eq!(prompts.sound("denied", "UNASSIGNED_RESTRICTED"), "feature-not-avail-line");
        assert_eq!(prompts.sound("denied", "UNKNOWN_QUEUE"), "invalid");
        assert_eq!(prompts.sound("failed", "UNAVAILABLE"), "beeperr");
        for text in ["signed-in", "signedin=beep", "=beep", "denied=a,b", "denied=", "denied=${X}"] {
            assert!(prompt(text).is_err(), "{text}");
        }
    }
}
