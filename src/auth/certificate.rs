//! The names in a client's certificate, with their kinds: a certificate for an e-mail address or a URI is none for a
//! host of the same text.

use std::{fmt, net::IpAddr, str::FromStr};

/// A subject alternative name. INVARIANT: case-insensitive parts are in lower case, so that equivalent names are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// A host's name, case-insensitive.
    Dns(String),
    /// A URI, such as a SPIFFE id. Its scheme and host are case-insensitive, its path is not.
    Uri(String),
    /// An e-mail address. Its domain is case-insensitive.
    Email(String),
    /// An address of the Internet Protocol.
    Ip(IpAddr),
}

impl CertificateName {
    /// A host's name.
    pub fn dns(text: &str) -> Self {
        Self::Dns(text.to_ascii_lowercase())
    }

    /// A URI.
    pub fn uri(text: &str) -> Self {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let scheme = scheme.to_ascii_lowercase();
        let Some(rest) = rest.strip_prefix("//") else { return Self::Uri(format!("{scheme}:{rest}")) };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // A user name before the host is case-sensitive.
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self::Uri(format!("{scheme}://{user}{}{path}", host.to_ascii_lowercase()))
    }

    /// An e-mail address.
    pub fn email(text: &str) -> Self {
        let (mailbox, domain) = text.split_at(text.rfind('@').map_or(0, |at| at + 1));
        Self::Email(format!("{mailbox}{}", domain.to_ascii_lowercase()))
    }
}

impl FromStr for CertificateName {
    type Err = std::convert::Infallible;

    /// Parse a name. Its form determines the kind: an address, `scheme:...`, `mailbox@domain`, or else a host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        Ok(match text {
            uri if uri.contains(':') => Self::uri(uri),
            email if email.contains('@') => Self::email(email),
            host => Self::dns(host),
        })
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => f.write_str(text),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> CertificateName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_matches_only_a_name_of_its_kind() {
        for text in ["dash.example.com", "spiffe://example.com/pbx", "pbx@example.com", "192.0.2.1"] {
            let kinds = [CertificateName::dns(text), CertificateName::uri(text), CertificateName::email(text)];
            let matching = kinds.iter().filter(|name| **name == read(text)).count();
            assert_eq!(matching, usize::from(text != "192.0.2.1"), "{text}");
        }
        assert_eq!(read("2001:db8:0::1"), CertificateName::Ip("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn hosts_have_no_case_and_paths_have() {
        assert_eq!(read("DASH.Example.com"), read("dash.example.com"));
        assert_eq!(read("SPIFFE://Example.COM/Pbx"), read("spiffe://example.com/Pbx"));
        assert_ne!(read("spiffe://example.com/Pbx"), read("spiffe://example.com/pbx"));
        assert_ne!(read("urn:uuid:A"), read("urn:uuid:a"));
        assert_eq!(read("pbx@EXAMPLE.com"), read("pbx@example.com"));
        assert_ne!(read("Pbx@example.com"), read("pbx@example.com"));
    }
}
