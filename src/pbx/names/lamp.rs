//! Lamps, which the keys of phones show: custom device states of Asterisk, or presences of FreeSWITCH.

use std::{fmt, str::FromStr};

use super::text::{InvalidName, Template};
use crate::domain::ids::{Extension, OrganizationId};

const QUEUE: &str = "{queue}";
const EXTENSION: [&str; 1] = ["extension"];

/// The kind of devices whose state a program sets.
pub(crate) const CUSTOM: &str = "Custom:";

/// The kind of a lamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A custom device of Asterisk.
    Device,
    /// A presence of FreeSWITCH. The queue stands in it without its domain, because a presence has a domain itself.
    Presence,
}

/// The template of lamps: `Custom:QG_{extension}_{queue}` or `queuegate+{extension}-{queue}@pbx.example.com`, with
/// `{organization}` if the PBX has several. A lamp is lit while the user with the extension is signed in to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lamp {
    template: String,
    kind: Kind,
}

impl FromStr for Lamp {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with(CUSTOM) && is_template(text) {
            return Ok(Self { template: text.to_owned(), kind: Kind::Device });
        }
        Err(InvalidName(format!(
            "`{text}` must begin with {CUSTOM} and have {{extension}} and {QUEUE} in it, each once; else only letters, digits \
             and ._-@:/+*# are allowed"
        )))
    }
}

impl Lamp {
    /// Parse the template of presences.
    pub fn presence(text: &str) -> Result<Self, InvalidName> {
        if text.matches('@').count() == 1 && is_template(text) {
            return Ok(Self { template: text.to_owned(), kind: Kind::Presence });
        }
        Err(InvalidName(format!(
            "`{text}` must have {{extension}}, {QUEUE} and an @ in it, each once; else only letters, digits and ._-:/+*# are \
             allowed"
        )))
    }

    fn template(&self, organization: &OrganizationId, pbx_queue: &str) -> Option<Template> {
        let queue = match self.kind {
            Kind::Device => pbx_queue,
            Kind::Presence => pbx_queue.split_once('@').map_or(pbx_queue, |(queue, _)| queue),
        };
        Template::of(&self.template.replacen(QUEUE, queue, 1), organization, &EXTENSION)
    }

    /// Return the device of a user and a queue, by the PBX's name of the queue.
    pub fn of(&self, organization: &OrganizationId, extension: Extension, pbx_queue: &str) -> Option<String> {
        self.template(organization, pbx_queue)?.fill(&extension.digits())
    }

    /// Return whether a device is the lamp of some user on this queue.
    pub fn is_on(&self, organization: &OrganizationId, pbx_queue: &str, device: &str) -> bool {
        let template = self.template(organization, pbx_queue);
        template.is_some_and(|template| template.value(device).is_some_and(|value| value.parse::<Extension>().is_ok()))
    }
}

impl fmt::Display for Lamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

fn is_template(text: &str) -> bool {
    text.matches(QUEUE).count() == 1 && Template::check(&text.replacen(QUEUE, "q", 1), &EXTENSION).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lamp_belongs_to_one_user_and_queue() {
        let (acme, anna) = ("acme".parse().unwrap(), "101".parse().unwrap());
        for (template, device) in [
            ("Custom:QG_{extension}_{queue}", "Custom:QG_101_801"),
            ("Custom:QUEUE{extension}*{queue}", "Custom:QUEUE101*801"),
            ("Custom:{organization}-{queue}-{extension}", "Custom:acme-801-101"),
        ] {
            let lamp: Lamp = template.parse().unwrap();
            assert_eq!(lamp.of(&acme, anna, "801").as_deref(), Some(device));
            assert!(lamp.is_on(&acme, "801", device), "{template}");
            assert!(!lamp.is_on(&acme, "802", device), "{template}");
            assert!(!lamp.is_on(&acme, "801", "Custom:DND101"), "{template}");
            // It fits the template, but no user has such an extension.
            assert!(!lamp.is_on(&acme, "801", &device.replace("101", "night")), "{template}");
        }
        let lamp: Lamp = "Custom:QG_{extension}_{queue}".parse().unwrap();
        assert_eq!(lamp.of(&acme, anna, "a,b"), None);
        for text in
            ["QG_{extension}_{queue}", "Custom:{extension}", "Custom:{queue}", "Custom:{queue}{queue}{extension}"]
        {
            assert!(text.parse::<Lamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_presence_names_the_queue_without_its_domain() {
        let (acme, anna) = ("acme".parse().unwrap(), "101".parse().unwrap());
        let lamp = Lamp::presence("queuegate+{extension}-{queue}@{organization}.example.com").unwrap();
        assert_eq!(lamp.of(&acme, anna, "801@default").as_deref(), Some("queuegate+101-801@acme.example.com"));
        assert!(lamp.is_on(&acme, "801@default", "queuegate+101-801@acme.example.com"));
        assert!(Lamp::presence("{extension}-{queue}").is_err() && Lamp::presence("{queue}@pbx.example.com").is_err());
    }
}
