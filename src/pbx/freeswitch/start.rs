//! The start of a call, by the variables of its channel. PURE.
//!
//! The caller is the user whose password the SIP profile has checked: `sip_authorized` with `sip_auth_username`, and the
//! user and the domain of the directory. A caller id is no proof, and neither is the address of the peer, by which an ACL
//! lets calls in.

use super::message::Message;
use crate::pbx::connection::{
    member::ChannelOrigin,
    start::{CallStart, SipUser},
};

/// The endpoint whose channels name their authenticated user.
const SOFIA: &str = "mod_sofia";

/// The variables that FreeSWITCH sets on a channel after a transfer, a redirection, or a diversion by another phone. All are
/// empty on a channel whose phone dialed.
const TRANSFERS: [&str; 8] = [
    "variable_transfer_history",
    "variable_transfer_source",
    "variable_sip_h_Referred-By",
    "variable_sip_referred_by_user_stripped",
    "variable_sip_replaces_call_id",
    "variable_sip_redirected_by",
    "variable_sip_redirected_to",
    "variable_sip_h_Diversion",
];

/// Return the start of a call from the data of its channel.
pub(super) fn call_start(channel: &Message) -> CallStart {
    CallStart {
        channel: channel.get("Channel-Name").to_owned(),
        unique_id: channel.get("Unique-ID").to_owned(),
        script: channel.get("variable_socket_path").to_owned(),
        arguments: Vec::new(),
        user: authenticated_user(channel),
    }
}

/// Return whether the channel's phone dialed.
pub(super) fn origin(channel: &Message) -> ChannelOrigin {
    let is_inbound = channel.get("Call-Direction") == "inbound";
    if is_inbound && TRANSFERS.iter().all(|name| channel.get(name).is_empty()) {
        ChannelOrigin::Dialed
    } else {
        ChannelOrigin::Transferred
    }
}

fn authenticated_user(channel: &Message) -> Option<SipUser> {
    let is_authenticated = channel.get("Caller-Source") == SOFIA
        && channel.get("variable_sip_authorized") == "true"
        && channel.get("variable_sip_acl_authed_by").is_empty()
        && !channel.get("variable_sip_auth_username").is_empty();
    let (name, domain) = (channel.get("variable_user_name"), channel.get("variable_domain_name"));
    (is_authenticated && !name.is_empty() && !domain.is_empty())
        .then(|| SipUser { name: name.to_owned(), domain: domain.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a channel whose phone dialed, with some of the variables changed.
    fn channel(changes: &[(&str, &str)]) -> Message {
        let mut headers: Vec<(String, String)> = Vec::new();
        let dialed = [
            ("Channel-Name", "sofia/internal/999@198.51.100.7"),
            ("Unique-ID", "8e2e4c1a"),
            ("Call-Direction", "inbound"),
            ("Caller-Source", "mod_sofia"),
            ("Caller-Caller-ID-Number", "999"),
            ("variable_sip_from_user", "999"),
            ("variable_sip_authorized", "true"),
            ("variable_sip_auth_username", "101"),
            ("variable_user_name", "101"),
            ("variable_domain_name", "pbx.example.com"),
            ("variable_socket_path", "sign-in?queue=801"),
        ];
        for (name, value) in dialed.iter().chain(changes) {
            headers.retain(|(known, _)| known != name);
            headers.push(((*name).to_owned(), (*value).to_owned()));
        }
        Message { headers, body: String::new() }
    }

    #[test]
    fn the_authenticated_user_is_the_caller_and_the_caller_id_is_nobody() {
        let start = call_start(&channel(&[]));
        assert_eq!(start.user, Some(SipUser { name: "101".to_owned(), domain: "pbx.example.com".to_owned() }));
        assert_eq!((start.script.as_str(), start.unique_id.as_str()), ("sign-in?queue=801", "8e2e4c1a"));
        for change in [
            ("Caller-Source", "mod_loopback"),
            ("variable_sip_authorized", ""),
            ("variable_sip_acl_authed_by", "lan"),
            ("variable_sip_auth_username", ""),
            ("variable_user_name", ""),
            ("variable_domain_name", ""),
        ] {
            assert_eq!(call_start(&channel(&[change])).user, None, "{change:?}");
        }
    }

    #[test]
    fn a_transferred_or_originated_call_is_nobodys_dial() {
        assert_eq!(origin(&channel(&[])), ChannelOrigin::Dialed);
        for name in TRANSFERS {
            assert_eq!(origin(&channel(&[(name, "x")])), ChannelOrigin::Transferred, "{name}");
        }
        assert_eq!(origin(&channel(&[("Call-Direction", "outbound")])), ChannelOrigin::Transferred);
    }
}
