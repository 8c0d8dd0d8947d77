//! Lamps: custom device states of the PBX, which the keys of phones show.

use std::{fmt, str::FromStr};

use super::text::{InvalidName, Template};
use crate::domain::ids::{Extension, OrganizationId};

const QUEUE: &str = "{queue}";
const EXTENSION: [&str; 1] = ["extension"];

/// The kind of devices whose state a program sets.
pub(crate) const CUSTOM: &str = "Custom:";

/// The template of lamps: `Custom:QG_{extension}_{queue}`, with `{organization}` if the PBX has several. A lamp is lit
/// while the user with the extension is signed in to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lamp(String);

impl FromStr for Lamp {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_template = text.starts_with(CUSTOM)
            && text.matches(QUEUE).count() == 1
            && Template::check(&text.replacen(QUEUE, "q", 1), &EXTENSION).is_ok();
        if is_template {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName(format!(
            "`{text}` must begin with {CUSTOM} and have {{extension}} and {QUEUE} in it, each once; else only letters, digits \
             and ._-@:/+*# are allowed"
        )))
    }
}

impl Lamp {
    fn template(&self, organization: &OrganizationId, pbx_queue: &str) -> Option<Template> {
        Template::of(&self.0.replacen(QUEUE, pbx_queue, 1), organization, &EXTENSION)
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
        f.write_str(&self.0)
    }
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
}
