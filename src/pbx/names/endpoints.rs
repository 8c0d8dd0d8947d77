//! Endpoints: the PBX's accounts of phones, and their users.

use std::str::FromStr;

use super::text::{InvalidName, ORGANIZATION, is_plain};
use crate::domain::ids::{Extension, OrganizationId};

/// A text that may contain `{organization}` once, and no other placeholder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let filled = text.replacen(ORGANIZATION, "o", 1);
        if !filled.is_empty() && !is_plain(&filled) {
            return Err(InvalidName(format!(
                "`{text}` may have {ORGANIZATION} in it, once; else only letters, digits and ._-@:/+*# are allowed"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Prefix {
    fn of(&self, organization: &OrganizationId) -> String {
        self.0.replacen(ORGANIZATION, organization.as_str(), 1)
    }

    /// Return whether the prefix differs between organizations.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

/// An endpoint whose name doesn't contain its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// The organization of its user, or `None` on a PBX with one organization.
    pub organization: Option<OrganizationId>,
    /// The extension of its user.
    pub extension: Extension,
}

impl NamedEndpoint {
    fn is_of(&self, organization: &OrganizationId) -> bool {
        self.organization.as_ref().is_none_or(|own| own == organization)
    }
}

/// Parse `NAME=EXTENSION` or `NAME=ORGANIZATION/EXTENSION`.
pub fn named_endpoint(text: &str) -> Result<NamedEndpoint, InvalidName> {
    let fault = || InvalidName("write it as ENDPOINT=EXTENSION or ENDPOINT=ORGANIZATION/EXTENSION".to_owned());
    let (name, user) = text.split_once('=').ok_or_else(fault)?;
    if !is_plain(name) {
        return Err(InvalidName(format!("`{name}` is no endpoint's name")));
    }
    let (organization, extension) = match user.split_once('/') {
        Some((organization, extension)) => (Some(organization), extension),
        None => (None, user),
    };
    let organization = organization.map(str::parse).transpose();
    Ok(NamedEndpoint {
        name: name.to_owned(),
        organization: organization.map_err(|error| InvalidName(format!("the organization {error}")))?,
        extension: extension.parse().map_err(|error| InvalidName(format!("the extension {error}")))?,
    })
}

/// The mapping between endpoints and extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Channel technologies whose channels are named by authenticated endpoints.
    pub technologies: Vec<String>,
    /// The domain of the phones' users. `None` on Asterisk, whose endpoints have none.
    pub domain: Option<Prefix>,
    /// The text before the extension in an endpoint's name, such as `phone-`.
    pub prefix: Prefix,
    /// The endpoints whose names don't contain their extension.
    pub named: Vec<NamedEndpoint>,
}

impl Endpoints {
    /// Return the endpoint of a channel: `PJSIP/101-00000001` belongs to `101`. Return `None` for a channel of another
    /// technology, such as `Local/101@agents-00000001;1`, which any dialplan can create.
    pub fn of_channel<'c>(&self, channel: &'c str) -> Option<&'c str> {
        let (technology, rest) = channel.split_once('/')?;
        if !self.technologies.iter().any(|known| known.eq_ignore_ascii_case(technology)) {
            return None;
        }
        let (endpoint, unique) = rest.rsplit_once('-')?;
        let is_unique = !unique.is_empty() && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_unique && !endpoint.is_empty()).then_some(endpoint)
    }

    /// Return the endpoint of an authenticated user, or `None` if the domain isn't the organization's.
    pub fn of_user<'u>(&self, organization: &OrganizationId, name: &'u str, domain: &str) -> Option<&'u str> {
        let own = self.domain.as_ref()?.of(organization);
        own.eq_ignore_ascii_case(domain).then_some(name)
    }

    /// Return the extension of an endpoint's user, or `None` if the endpoint isn't of the organization.
    pub fn extension(&self, organization: &OrganizationId, endpoint: &str) -> Option<Extension> {
        if let Some(named) = self.named.iter().find(|named| named.name == endpoint) {
            return named.is_of(organization).then_some(named.extension);
        }
        endpoint.strip_prefix(&self.prefix.of(organization))?.parse().ok()
    }

    /// Return the first endpoint of an extension.
    pub fn endpoint(&self, organization: &OrganizationId, extension: &Extension) -> String {
        let named = self.named.iter().find(|named| named.extension == *extension && named.is_of(organization));
        named.map_or_else(|| format!("{}{extension}", self.prefix.of(organization)), |named| named.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            technologies: vec!["PJSIP".to_owned(), "SIP".to_owned()],
            prefix: Prefix::default(),
            domain: None,
            named: vec![named_endpoint("anna-desk=101").unwrap()],
        }
    }

    #[test]
    fn a_channel_belongs_to_its_endpoint_only() {
        let endpoints = endpoints();
        for (channel, endpoint) in [
            ("PJSIP/101-00000001", Some("101")),
            ("pjsip/101-0000abcd", Some("101")),
            ("PJSIP/anna-desk-00000001", Some("anna-desk")),
            ("SIP/101-0000abcd", Some("101")),
            ("Local/101@agents-00000001;1", None),
            ("PJSIP/101", None),
            ("PJSIP/-00000001", None),
            ("PJSIP/101-xyz", None),
            ("DAHDI/1-1", None),
            ("", None),
        ] {
            assert_eq!(endpoints.of_channel(channel), endpoint, "{channel}");
        }
    }

    #[test]
    fn an_endpoint_is_an_extension_by_name_by_prefix_or_by_the_configuration() {
        let mut endpoints = endpoints();
        let acme: OrganizationId = "acme".parse().unwrap();
        let extension =
            |endpoints: &Endpoints, endpoint| endpoints.extension(&acme, endpoint).map(|found| found.to_string());
        assert_eq!(extension(&endpoints, "101").as_deref(), Some("101"));
        assert_eq!(extension(&endpoints, "anna-desk").as_deref(), Some("101"));
        assert_eq!(extension(&endpoints, "anonymous"), None);
        assert_eq!(endpoints.endpoint(&acme, &"101".parse().unwrap()), "anna-desk");
        endpoints.prefix = "phone-".parse().unwrap();
        assert_eq!(extension(&endpoints, "phone-0102").as_deref(), Some("0102"));
        assert_eq!(extension(&endpoints, "102"), None);
        assert_eq!(endpoints.endpoint(&acme, &"102".parse().unwrap()), "phone-102");
        assert_eq!(named_endpoint("x=1").unwrap().name, "x");
        assert!("a{user}".parse::<Prefix>().is_err() && "{organization}{organization}".parse::<Prefix>().is_err());
        assert!(named_endpoint("x").is_err() && named_endpoint("x=anna").is_err() && named_endpoint("a,b=1").is_err());
    }

    #[test]
    fn an_endpoint_of_one_organization_is_never_anothers() {
        let (acme, globex): (OrganizationId, OrganizationId) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let extension = "101".parse().unwrap();
        let by_prefix = Endpoints { prefix: "{organization}-".parse().unwrap(), named: Vec::new(), ..endpoints() };
        let by_name = Endpoints {
            named: ["acme-101=acme/101", "globex-101=globex/101"].map(|text| named_endpoint(text).unwrap()).to_vec(),
            ..endpoints()
        };
        for endpoints in [by_prefix, by_name] {
            for (organization, own, others) in [(&acme, "acme-101", "globex-101"), (&globex, "globex-101", "acme-101")]
            {
                assert_eq!(endpoints.endpoint(organization, &extension), own);
                assert_eq!(endpoints.extension(organization, own), Some(extension));
                assert_eq!(endpoints.extension(organization, others), None);
            }
        }
    }
}
