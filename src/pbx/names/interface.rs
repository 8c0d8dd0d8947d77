//! Interfaces: the PBX's names for the phones that ring.

use std::{fmt, str::FromStr};

use super::{
    endpoints::{Endpoints, NamedEndpoint},
    text::{InvalidName, ORGANIZATION, Template, is_plain},
};
use crate::domain::ids::{Extension, OrganizationId};

const PLACEHOLDERS: [&str; 2] = ["endpoint", "extension"];

/// The template of interfaces: `PJSIP/{endpoint}` or `Local/{extension}@from-queue/n`, with `{organization}` if the PBX
/// has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(String);

impl FromStr for Interface {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Template::check(text, &PLACEHOLDERS)?;
        Ok(Self(text.to_owned()))
    }
}

impl Interface {
    fn template(&self, organization: &OrganizationId) -> Option<Template> {
        Template::of(&self.0, organization, &PLACEHOLDERS)
    }

    /// Return the interface of a user with this endpoint and this extension.
    pub fn of(&self, organization: &OrganizationId, endpoint: &str, extension: &Extension) -> Option<String> {
        let template = self.template(organization)?;
        if template.placeholder == "endpoint" { template.fill(endpoint) } else { template.fill(&extension.digits()) }
    }

    /// Return the endpoint and the extension of an interface, or `None` if it isn't of the organization.
    pub fn owner(
        &self,
        organization: &OrganizationId,
        interface: &str,
        endpoints: &Endpoints,
    ) -> Option<(String, Extension)> {
        let template = self.template(organization).filter(|_| is_plain(interface))?;
        let value = template.value(interface)?;
        if template.placeholder == "endpoint" {
            return Some((value.to_owned(), endpoints.extension(organization, value)?));
        }
        let extension = value.parse().ok()?;
        Some((endpoints.endpoint(organization, &extension), extension))
    }

    /// Return whether interfaces differ between organizations.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Check that the names of phones differ between organizations, for a PBX with several.
pub fn require_organization_in_names(endpoints: &Endpoints, interface: &Interface) -> Result<(), InvalidName> {
    if let Some(named) = endpoints.named.iter().find(|named| named.organization.is_none()) {
        let NamedEndpoint { name, extension, organization: _ } = named;
        return Err(InvalidName(format!(
            "several organizations may have an extension {extension}; name the endpoint's organization: --endpoint {name}=ORGANIZATION/{extension}"
        )));
    }
    if !endpoints.prefix.names_organization() && !interface.names_organization() {
        return Err(InvalidName(format!(
            "phones of different organizations would have the same names; give --endpoint-prefix or --interface with {ORGANIZATION}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::names::named_endpoint;

    fn endpoints() -> Endpoints {
        Endpoints { named: vec![named_endpoint("anna-desk=101").unwrap()], ..Endpoints::default() }
    }

    fn interface(text: &str) -> Interface {
        text.parse().unwrap()
    }

    #[test]
    fn an_interface_has_one_owner_and_other_devices_have_none() {
        let (acme, extension) = ("acme".parse().unwrap(), "101".parse().unwrap());
        let endpoints = endpoints();
        let by_endpoint = interface("PJSIP/{endpoint}");
        assert_eq!(by_endpoint.of(&acme, "anna-desk", &extension).as_deref(), Some("PJSIP/anna-desk"));
        let owner = |device| by_endpoint.owner(&acme, device, &endpoints).map(|(_, extension)| extension.to_string());
        assert_eq!(owner("PJSIP/anna-desk").as_deref(), Some("101"));
        assert_eq!(owner("PJSIP/102").as_deref(), Some("102"));
        for device in [
            "browser-7",
            "PJSIP/",
            "PJSIP/101,1",
            "SIP/101",
            "",
            "PJSIP/${EXTEN}",
            "PJSIP/0019005550100@trunk",
            "PJSIP/101:x@trunk/sip:evil@198.51.100.7",
            "PJSIP/somebody",
            "PJSIP/101/sip:1@b",
        ] {
            assert_eq!(owner(device), None, "{device}");
        }
        let local = interface("Local/{extension}@from-queue/n");
        assert_eq!(local.of(&acme, "anna-desk", &extension).as_deref(), Some("Local/101@from-queue/n"));
        let owner = local.owner(&acme, "Local/101@from-queue/n", &endpoints).unwrap();
        assert_eq!(owner, ("anna-desk".to_owned(), extension));
        assert!(local.owner(&acme, "Local/102@elsewhere/n", &endpoints).is_none());
        for template in ["PJSIP/{user}", "PJSIP/101", "{endpoint}{extension}"] {
            assert!(template.parse::<Interface>().is_err(), "{template}");
        }
    }

    #[test]
    fn phones_of_several_organizations_need_different_names() {
        let globex: OrganizationId = "globex".parse().unwrap();
        let extension = "101".parse().unwrap();
        let by_name = Endpoints {
            named: ["acme-101=acme/101", "globex-101=globex/101"].map(|text| named_endpoint(text).unwrap()).to_vec(),
            ..endpoints()
        };
        let ambiguous = Endpoints { named: vec![named_endpoint("acme-101=101").unwrap()], ..by_name.clone() };
        let error =
            require_organization_in_names(&ambiguous, &interface("PJSIP/{organization}-{extension}")).unwrap_err();
        assert!(error.to_string().contains("acme-101=ORGANIZATION/101"), "{error}");
        let error = require_organization_in_names(&by_name, &interface("PJSIP/{endpoint}")).unwrap_err();
        assert!(error.to_string().contains("{organization}"), "{error}");
        assert!(require_organization_in_names(&by_name, &interface("Local/{extension}@{organization}/n")).is_ok());
        assert_eq!(
            interface("Local/{extension}@{organization}/n").of(&globex, "", &extension).as_deref(),
            Some("Local/101@globex/n")
        );
    }
}
