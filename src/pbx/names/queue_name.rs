//! The names of queues on the PBX.

use std::{fmt, str::FromStr};

use super::text::{InvalidName, ORGANIZATION, Template};
use crate::domain::ids::{OrganizationId, QueueId, QueueRef};

const PLACEHOLDERS: [&str; 2] = ["extension", "id"];

/// The template of queue names: `{extension}` or `{id}` with text around it, and with `{organization}` if the PBX has
/// several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueName(String);

impl FromStr for QueueName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Template::check(text, &PLACEHOLDERS)?;
        Ok(Self(text.to_owned()))
    }
}

impl QueueName {
    fn template(&self, organization: &OrganizationId) -> Option<Template> {
        Template::of(&self.0, organization, &PLACEHOLDERS)
    }

    /// Return the name of a queue, or `None` if the template needs an id or an extension that is absent.
    pub fn of(&self, organization: &OrganizationId, id: Option<&str>, extension: Option<&str>) -> Option<String> {
        let template = self.template(organization)?;
        template.fill(if template.placeholder == "id" { id } else { extension }?)
    }

    /// Return the queue with this name, or `None` if no queue of the organization can have it.
    pub fn queue(&self, organization: &OrganizationId, name: &str) -> Option<QueueRef> {
        let template = self.template(organization)?;
        let value = template.value(name)?;
        Some(match template.placeholder {
            "id" => QueueRef::Id(value.parse::<QueueId>().ok()?),
            _ => QueueRef::Extension(value.parse().ok()?),
        })
    }

    /// Return the text in place of `{id}`, which may not be an id, or `None` if the name doesn't fit.
    pub fn id_in<'n>(&self, organization: &OrganizationId, name: &'n str) -> Option<&'n str> {
        let template = self.template(organization).filter(|template| template.placeholder == "id")?;
        template.value(name)
    }

    /// Return whether the names of queues differ between organizations.
    pub fn names_organization(&self) -> bool {
        self.0.contains(ORGANIZATION)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_its_name() {
        let acme: OrganizationId = "acme".parse().unwrap();
        for (template, name, queue) in [
            ("{extension}", "801", QueueRef::Extension("801".parse().unwrap())),
            ("{id}", "sales", QueueRef::Id("sales".parse().unwrap())),
            ("{organization}-{extension}", "acme-801", QueueRef::Extension("801".parse().unwrap())),
            ("q/{id}", "q/sales", QueueRef::Id("sales".parse().unwrap())),
        ] {
            let template: QueueName = template.parse().unwrap();
            assert_eq!(template.of(&acme, Some("sales"), Some("801")).as_deref(), Some(name));
            assert_eq!(template.queue(&acme, name), Some(queue));
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
}
