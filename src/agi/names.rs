//! What a PBX calls things, and what queuegate calls them. PURE.
//!
//! An agent is who sits at an endpoint (`PJSIP/101`), never who a caller id claims to be. A queue of the PBX has the name
//! that a template gives it (`{extension}`), and a member the interface that another one does (`PJSIP/{endpoint}`).

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

/// Whose phone an endpoint is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Channel technologies whose channels are named by authenticated endpoints.
    pub technologies: Vec<String>,
    /// What stands before the extension in an endpoint's name, such as `phone-`.
    pub prefix: String,
    /// Endpoints whose name doesn't say it.
    pub named: Vec<(String, Extension)>,
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

    /// The extension of whoever sits at an endpoint.
    pub fn extension(&self, endpoint: &str) -> Option<Extension> {
        if let Some((_, extension)) = self.named.iter().find(|(name, _)| name == endpoint) {
            return Some(*extension);
        }
        endpoint.strip_prefix(self.prefix.as_str())?.parse().ok()
    }

    /// The endpoint of an extension, where only that is known.
    pub fn endpoint(&self, extension: &Extension) -> String {
        let named = self.named.iter().find(|(_, of)| of == extension);
        named.map_or_else(|| format!("{}{extension}", self.prefix), |(name, _)| name.clone())
    }
}

/// `NAME=EXTENSION`.
pub fn named_endpoint(text: &str) -> Result<(String, Extension), Wrong> {
    let (name, extension) = text.split_once('=').ok_or_else(|| Wrong("write it as ENDPOINT=EXTENSION".to_owned()))?;
    if !is_plain(name) {
        return Err(Wrong(format!("`{name}` is no endpoint's name")));
    }
    Ok((name.to_owned(), extension.parse().map_err(|error| Wrong(format!("the extension {error}")))?))
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

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}{}", self.before, self.name, self.after)
    }
}

/// How the PBX names a queue: `{extension}`, `{id}`, with text around it, in which `{organization}` may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueName(String);

impl FromStr for QueueName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Template::read(&text.replacen("{organization}", "o", 1), &["extension", "id"])?;
        Ok(Self(text.to_owned()))
    }
}

impl QueueName {
    fn template(&self, organization: &OrganizationId) -> Option<Template> {
        Template::read(&self.0.replacen("{organization}", organization.as_str(), 1), &["extension", "id"]).ok()
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
        self.0.contains("{organization}")
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the PBX names the phone that rings for an agent: `PJSIP/{endpoint}`, or `Local/{extension}@from-queue/n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(Template);

impl FromStr for Interface {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Template::read(text, &["endpoint", "extension"]).map(Self)
    }
}

impl Interface {
    /// The interface of whoever has this endpoint and this extension.
    pub fn of(&self, endpoint: &str, extension: &Extension) -> Option<String> {
        if self.0.name == "endpoint" { self.0.fill(endpoint) } else { self.0.fill(&extension.digits()) }
    }

    /// The endpoint and the extension that an interface is of.
    pub fn whose(&self, interface: &str, endpoints: &Endpoints) -> Option<(String, Extension)> {
        let value = self.0.value(interface)?;
        if self.0.name == "endpoint" {
            return Some((value.to_owned(), endpoints.extension(value)?));
        }
        let extension = value.parse().ok()?;
        Some((endpoints.endpoint(&extension), extension))
    }

    /// Whether a session's device is such an interface, and not a browser or what else there is.
    pub fn is_one(&self, device: &str) -> bool {
        is_plain(device) && self.0.value(device).is_some()
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            technologies: vec!["PJSIP".to_owned(), "SIP".to_owned()],
            prefix: String::new(),
            named: vec![("anna-desk".to_owned(), "101".parse().unwrap())],
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
        let extension = |endpoints: &Endpoints, endpoint| endpoints.extension(endpoint).map(|found| found.to_string());
        assert_eq!(extension(&endpoints, "101").as_deref(), Some("101"));
        assert_eq!(extension(&endpoints, "anna-desk").as_deref(), Some("101"));
        assert_eq!(extension(&endpoints, "anonymous"), None);
        assert_eq!(endpoints.endpoint(&"101".parse().unwrap()), "anna-desk");
        endpoints.prefix = "phone-".to_owned();
        assert_eq!(extension(&endpoints, "phone-0102").as_deref(), Some("0102"));
        assert_eq!(extension(&endpoints, "102"), None);
        assert_eq!(endpoints.endpoint(&"102".parse().unwrap()), "phone-102");
        assert_eq!(named_endpoint("x=1").unwrap().0, "x");
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
    fn an_interface_is_told_from_other_devices() {
        let extension = "101".parse().unwrap();
        let interface: Interface = "PJSIP/{endpoint}".parse().unwrap();
        assert_eq!(interface.of("anna-desk", &extension).as_deref(), Some("PJSIP/anna-desk"));
        assert!(interface.is_one("PJSIP/anna-desk"));
        for device in ["browser-7", "PJSIP/", "PJSIP/101,1", "SIP/101", "", "PJSIP/${EXTEN}"] {
            assert!(!interface.is_one(device), "{device}");
        }
        let local: Interface = "Local/{extension}@from-queue/n".parse().unwrap();
        assert_eq!(local.of("anna-desk", &extension).as_deref(), Some("Local/101@from-queue/n"));
        let whose = local.whose("Local/101@from-queue/n", &endpoints()).unwrap();
        assert_eq!(whose, ("anna-desk".to_owned(), extension));
        assert_eq!(interface.whose("PJSIP/anna-desk", &endpoints()).unwrap().1, extension);
        assert!(local.is_one("Local/102@from-queue/n") && !local.is_one("Local/102@elsewhere/n"));
    }
}
