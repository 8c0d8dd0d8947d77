//! What a PBX calls things, and what queuegate calls them. PURE.
//!
//! An agent is who sits at an endpoint (`PJSIP/101`), never who a caller id claims to be. A queue of the PBX has the name
//! that a template gives it (`{extension}`), and a member the interface that another one does (`PJSIP/{endpoint}`).
//!
//! Extensions are unique in an organization only. INVARIANT: an endpoint, an extension and an interface belong together within
//! one organization, and every step from one to another takes the organization.

use std::{fmt, str::FromStr};

use crate::domain::ids::{Extension, OrganizationId, QueueId, QueueRef};

/// How long a name on the PBX may be, in bytes. Asterisk keeps 80.
const LONGEST: usize = 79;

/// Why a text in the configuration is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

/// What Asterisk takes as one name, and in which nothing is substituted or separated.
pub fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:/+*#".contains(&byte);
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The placeholder for an organization's id.
const ORGANIZATION: &str = "{organization}";

/// A text in which `{organization}` may stand once, and no other placeholder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let filled = text.replacen(ORGANIZATION, "o", 1);
        if !filled.is_empty() && !is_plain(&filled) {
            return Err(Wrong(format!(
                "`{text}` may have {ORGANIZATION} in it, once, and else letters, digits and ._-@:/+*#"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Prefix {
    fn of(&self, organization: &OrganizationId) -> String {
        self.0.replacen(ORGANIZATION, organization.as_str(), 1)
    }

    /// Whether organizations have different ones.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

/// An endpoint whose name doesn't say its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// Whose it is, or `None` where there is one organization.
    pub organization: Option<OrganizationId>,
    /// The extension of the user at the endpoint.
    pub extension: Extension,
}

/// Whose phone an endpoint is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Channel technologies whose channels are named by authenticated endpoints.
    pub technologies: Vec<String>,
    /// What stands before the extension in an endpoint's name, such as `phone-`.
    pub prefix: Prefix,
    /// Endpoints whose name doesn't say it.
    pub named: Vec<NamedEndpoint>,
}

impl Endpoints {
    /// The endpoint of a channel: `PJSIP/101-00000001` is `101`'s. None for channels that aren't an endpoint's own, such as
    /// `Local/101@agents-00000001;1`, which anybody's dialplan may make.
    pub fn of_channel<'c>(&self, channel: &'c str) -> Option<&'c str> {
        let (technology, rest) = channel.split_once('/')?;
        if !self.technologies.iter().any(|known| known.eq_ignore_ascii_case(technology)) {
            return None;
        }
        let (endpoint, unique) = rest.rsplit_once('-')?;
        let is_unique = !unique.is_empty() && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_unique && !endpoint.is_empty()).then_some(endpoint)
    }

    /// The extension of the user of an organization at an endpoint, or `None` if the endpoint is not theirs.
    pub fn extension(&self, organization: &OrganizationId, endpoint: &str) -> Option<Extension> {
        if let Some(named) = self.named.iter().find(|named| named.name == endpoint) {
            return named.is_of(organization).then_some(named.extension);
        }
        endpoint.strip_prefix(&self.prefix.of(organization))?.parse().ok()
    }

    /// The endpoint of an extension, where only that is known.
    pub fn endpoint(&self, organization: &OrganizationId, extension: &Extension) -> String {
        let named = self.named.iter().find(|named| named.extension == *extension && named.is_of(organization));
        named.map_or_else(|| format!("{}{extension}", self.prefix.of(organization)), |named| named.name.clone())
    }
}

impl NamedEndpoint {
    fn is_of(&self, organization: &OrganizationId) -> bool {
        self.organization.as_ref().is_none_or(|own| own == organization)
    }
}

/// `NAME=EXTENSION`, or `NAME=ORGANIZATION/EXTENSION`.
pub fn named_endpoint(text: &str) -> Result<NamedEndpoint, Wrong> {
    let fault = || Wrong("write it as ENDPOINT=EXTENSION or ENDPOINT=ORGANIZATION/EXTENSION".to_owned());
    let (name, user) = text.split_once('=').ok_or_else(fault)?;
    if !is_plain(name) {
        return Err(Wrong(format!("`{name}` is no endpoint's name")));
    }
    let (organization, extension) = match user.split_once('/') {
        Some((organization, extension)) => (Some(organization), extension),
        None => (None, user),
    };
    let organization = organization.map(str::parse).transpose();
    Ok(NamedEndpoint {
        name: name.to_owned(),
        organization: organization.map_err(|error| Wrong(format!("the organization {error}")))?,
        extension: extension.parse().map_err(|error| Wrong(format!("the extension {error}")))?,
    })
}

/// Whether the phones of several organizations can be told apart, or what must be given.
pub fn tell_organizations_apart(endpoints: &Endpoints, interface: &Interface) -> Result<(), Wrong> {
    if let Some(named) = endpoints.named.iter().find(|named| named.organization.is_none()) {
        let NamedEndpoint { name, extension, .. } = named;
        return Err(Wrong(format!(
            "several organizations may have an extension {extension}; say whose the endpoint is: --endpoint {name}=ORGANIZATION/{extension}"
        )));
    }
    if !endpoints.prefix.names_organization() && !interface.names_organization() {
        return Err(Wrong(format!(
            "the phones of several organizations can't be told apart; give --endpoint-prefix or --interface with {ORGANIZATION}"
        )));
    }
    Ok(())
}

/// A text with one name in braces, such as `Local/{extension}@agents/n`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    before: String,
    name: &'static str,
    after: String,
}

impl Template {
    fn read(text: &str, names: &[&'static str]) -> Result<Self, Wrong> {
        let choices = names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" or ");
        let fault =
            || Wrong(format!("`{text}` must have {choices} in it, once, and else letters, digits and ._-@:/+*#"));
        let (before, rest) = text.split_once('{').ok_or_else(fault)?;
        let (name, after) = rest.split_once('}').ok_or_else(fault)?;
        let name = names.iter().find(|known| **known == name).ok_or_else(fault)?;
        if [before, after].iter().any(|part| !part.is_empty() && !is_plain(part)) {
            return Err(fault());
        }
        Ok(Self { before: before.to_owned(), name, after: after.to_owned() })
    }

    fn fill(&self, value: &str) -> Option<String> {
        let name = format!("{}{value}{}", self.before, self.after);
        is_plain(&name).then_some(name)
    }

    fn value<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str()).filter(|value| !value.is_empty())
    }
}

/// How the PBX names a queue: `{extension}`, `{id}`, with text around it, in which `{organization}` may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueName(String);

impl FromStr for QueueName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Template::read(&text.replacen(ORGANIZATION, "o", 1), &["extension", "id"])?;
        Ok(Self(text.to_owned()))
    }
}

impl QueueName {
    fn template(&self, organization: &OrganizationId) -> Option<Template> {
        Template::read(&self.0.replacen(ORGANIZATION, organization.as_str(), 1), &["extension", "id"]).ok()
    }

    /// The name of the queue with this id and this extension; none if the template needs what isn't known.
    pub fn of(&self, organization: &OrganizationId, id: Option<&str>, extension: Option<&str>) -> Option<String> {
        let template = self.template(organization)?;
        template.fill(if template.name == "id" { id } else { extension }?)
    }

    /// The queue that has this name, if it can be one of the organization.
    pub fn queue(&self, organization: &OrganizationId, name: &str) -> Option<QueueRef> {
        let template = self.template(organization)?;
        let value = template.value(name)?;
        Some(match template.name {
            "id" => QueueRef::Id(value.parse::<QueueId>().ok()?),
            _ => QueueRef::Extension(value.parse().ok()?),
        })
    }
}

impl QueueName {
    /// Whether the queues of several organizations have different names.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the PBX names the phone that rings for an agent: `PJSIP/{endpoint}`, or `Local/{extension}@from-queue/n`, in which
/// `{organization}` may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(String);

impl FromStr for Interface {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Template::read(&text.replacen(ORGANIZATION, "o", 1), &["endpoint", "extension"])?;
        Ok(Self(text.to_owned()))
    }
}

impl Interface {
    fn template(&self, organization: &OrganizationId) -> Option<Template> {
        Template::read(&self.0.replacen(ORGANIZATION, organization.as_str(), 1), &["endpoint", "extension"]).ok()
    }

    /// The interface of the user of an organization with this endpoint and this extension.
    pub fn of(&self, organization: &OrganizationId, endpoint: &str, extension: &Extension) -> Option<String> {
        let template = self.template(organization)?;
        if template.name == "endpoint" { template.fill(endpoint) } else { template.fill(&extension.digits()) }
    }

    /// The endpoint and the extension that an interface is of, if it is one of the organization.
    pub fn whose(
        &self,
        organization: &OrganizationId,
        interface: &str,
        endpoints: &Endpoints,
    ) -> Option<(String, Extension)> {
        let template = self.template(organization).filter(|_| is_plain(interface))?;
        let value = template.value(interface)?;
        if template.name == "endpoint" {
            return Some((value.to_owned(), endpoints.extension(organization, value)?));
        }
        let extension = value.parse().ok()?;
        Some((endpoints.endpoint(organization, &extension), extension))
    }

    /// Whether the phones of several organizations have different ones.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            technologies: vec!["PJSIP".to_owned(), "SIP".to_owned()],
            prefix: Prefix::default(),
            named: vec![named_endpoint("anna-desk=101").unwrap()],
        }
    }

    #[test]
    fn a_channel_is_its_endpoints_and_no_one_elses() {
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
    fn a_queues_name_leads_back_to_the_queue() {
        let acme: OrganizationId = "acme".parse().unwrap();
        for (template, name, back) in [
            ("{extension}", "801", QueueRef::Extension("801".parse().unwrap())),
            ("{id}", "sales", QueueRef::Id("sales".parse().unwrap())),
            ("{organization}-{extension}", "acme-801", QueueRef::Extension("801".parse().unwrap())),
            ("q/{id}", "q/sales", QueueRef::Id("sales".parse().unwrap())),
        ] {
            let template: QueueName = template.parse().unwrap();
            assert_eq!(template.of(&acme, Some("sales"), Some("801")).as_deref(), Some(name));
            assert_eq!(template.queue(&acme, name), Some(back));
        }
        let template: QueueName = "{organization}-{extension}".parse().unwrap();
        assert_eq!(template.of(&acme, Some("sales"), None), None);
        for name in ["globex-801", "801", "acme-", "acme-sales"] {
            assert_eq!(template.queue(&acme, name), None, "{name}");
        }
        for template in ["sales", "{queue}", "{id}{extension}", "{id},x", "${EXTEN}{id}", "{id"] {
            assert!(template.parse::<QueueName>().is_err(), "{template}");
        }
    }

    #[test]
    fn an_interface_is_told_from_other_devices_and_other_users_phones() {
        let (acme, extension) = ("acme".parse().unwrap(), "101".parse().unwrap());
        let endpoints = endpoints();
        let interface: Interface = "PJSIP/{endpoint}".parse().unwrap();
        assert_eq!(interface.of(&acme, "anna-desk", &extension).as_deref(), Some("PJSIP/anna-desk"));
        let whose = |device| interface.whose(&acme, device, &endpoints).map(|(_, extension)| extension.to_string());
        assert_eq!(whose("PJSIP/anna-desk").as_deref(), Some("101"));
        assert_eq!(whose("PJSIP/102").as_deref(), Some("102"));
        let strange =
            ["browser-7", "PJSIP/", "PJSIP/101,1", "SIP/101", "", "PJSIP/${EXTEN}", "PJSIP/0019005550100@trunk"];
        for device in strange.into_iter().chain([
            "PJSIP/101:x@trunk/sip:evil@198.51.100.7",
            "PJSIP/somebody",
            "PJSIP/101/sip:1@b",
        ]) {
            assert_eq!(whose(device), None, "{device}");
        }
        let local: Interface = "Local/{extension}@from-queue/n".parse().unwrap();
        assert_eq!(local.of(&acme, "anna-desk", &extension).as_deref(), Some("Local/101@from-queue/n"));
        let whose = local.whose(&acme, "Local/101@from-queue/n", &endpoints).unwrap();
        assert_eq!(whose, ("anna-desk".to_owned(), extension));
        assert!(local.whose(&acme, "Local/102@elsewhere/n", &endpoints).is_none());
        for template in ["PJSIP/{user}", "PJSIP/101", "{endpoint}{extension}"] {
            assert!(template.parse::<Interface>().is_err(), "{template}");
        }
    }

    #[test]
    fn one_organizations_phone_is_never_anothers() {
        let (acme, globex): (OrganizationId, OrganizationId) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        let extension = "101".parse().unwrap();
        let by_prefix = Endpoints { prefix: "{organization}-".parse().unwrap(), ..endpoints() };
        let by_name = Endpoints {
            named: ["acme-101=acme/101", "globex-101=globex/101"].map(|text| named_endpoint(text).unwrap()).to_vec(),
            ..endpoints()
        };
        for endpoints in [Endpoints { named: Vec::new(), ..by_prefix }, by_name.clone()] {
            for (organization, own, others) in [(&acme, "acme-101", "globex-101"), (&globex, "globex-101", "acme-101")]
            {
                assert_eq!(endpoints.endpoint(organization, &extension), own);
                assert_eq!(endpoints.extension(organization, own), Some(extension));
                assert_eq!(endpoints.extension(organization, others), None);
            }
        }
        let interface = |text: &str| text.parse::<Interface>().unwrap();
        let ambiguous = Endpoints { named: vec![named_endpoint("acme-101=101").unwrap()], ..by_name.clone() };
        let error = tell_organizations_apart(&ambiguous, &interface("PJSIP/{organization}-{extension}")).unwrap_err();
        assert!(error.to_string().contains("acme-101=ORGANIZATION/101"), "{error}");
        let error = tell_organizations_apart(&by_name, &interface("PJSIP/{endpoint}")).unwrap_err();
        assert!(error.to_string().contains("{organization}"), "{error}");
        assert!(tell_organizations_apart(&by_name, &interface("Local/{extension}@{organization}/n")).is_ok());
        assert_eq!(
            interface("Local/{extension}@{organization}/n").of(&globex, "", &extension).as_deref(),
            Some("Local/101@globex/n")
        );
    }
}
