//! The users and the queues of static members. PURE.

use std::collections::BTreeMap;

use super::{
    place::{LeftOut, Place},
    section::Member,
};
use crate::{
    domain::{
        ids::{Extension, OrganizationId, QueueId, QueueRef, shortened},
        model::Penalty,
    },
    pbx::names::{Endpoints, Interface, QueueName},
};

/// Channel technologies, old and new, whose channels can be named by extensions.
const PHONES: [&str; 8] = ["PJSIP", "SIP", "IAX2", "IAX", "Local", "SCCP", "Skinny", "MGCP"];

/// The length of an id, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The mapping of the names on a PBX.
#[derive(Debug)]
pub struct Names {
    /// The organization of the users and queues.
    pub organization: OrganizationId,
    /// The template of queue names. `None`: digits are an extension, and other names an id.
    pub queue_name: Option<QueueName>,
    /// The template of interfaces. `None`: all usual ones that contain an extension or an endpoint.
    pub interface: Option<Interface>,
    /// The mapping between endpoints and extensions.
    pub endpoints: Endpoints,
}

/// A member whose user and queue are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticMember {
    /// The place of the line.
    pub place: Place,
    /// The queue.
    pub queue: QueueRef,
    /// The extension of the phone's user.
    pub user: Extension,
    /// The interface as Asterisk reads it.
    pub interface: String,
    /// The penalty, if the line gives one.
    pub penalty: Option<Penalty>,
}

/// The members of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Members whose user and queue are named.
    pub members: Vec<StaticMember>,
    /// All other members.
    pub left_out: Vec<LeftOut>,
    /// The ids that were made from names that aren't ids.
    pub made_ids: BTreeMap<QueueId, String>,
}

/// A queue, and whether its id was made from the name.
struct NamedQueue {
    queue: QueueRef,
    made_id: Option<QueueId>,
}

impl Names {
    /// Find the users and queues of members.
    pub fn map(&self, members: &[Member]) -> Mapped {
        let mut mapped = Mapped::default();
        let is_own = |id: &QueueId| members.iter().any(|member| member.queue == id.as_str());
        for Member { place, queue: name, interface, penalty } in members {
            let read = self.queue(name).and_then(|named| {
                if let Some(id) = &named.made_id {
                    let known = mapped.made_ids.entry(id.clone()).or_insert_with(|| name.clone());
                    if known != name || is_own(id) {
                        return Err(format!("another queue has the id `{id}`, which its name would become"));
                    }
                }
                Ok((named.queue, self.user(interface)?))
            });
            match read {
                Ok((queue, user)) => {
                    let (place, interface) = (place.clone(), interface.clone());
                    mapped.members.push(StaticMember { place, queue, user, interface, penalty: *penalty });
                }
                Err(why) => {
                    let text = shortened(&format!("[{name}] member => {interface}"));
                    mapped.left_out.push(LeftOut { place: place.clone(), text, why });
                }
            }
        }
        mapped.made_ids.retain(|id, _| !is_own(id));
        mapped
    }

    fn queue(&self, name: &str) -> Result<NamedQueue, String> {
        let known = match &self.queue_name {
            Some(template) => template.queue(&self.organization, name),
            None => name.parse().map(QueueRef::Extension).or_else(|_| name.parse().map(QueueRef::Id)).ok(),
        };
        if let Some(queue) = known {
            return Ok(NamedQueue { queue, made_id: None });
        }
        let text = match &self.queue_name {
            Some(template) => template
                .id_in(&self.organization, name)
                .ok_or_else(|| format!("`{}` doesn't fit the template {template}", shortened(name)))?,
            None => name,
        };
        let id = made_id(text).ok_or_else(|| format!("`{}` has no letter or digit for an id", shortened(name)))?;
        Ok(NamedQueue { queue: QueueRef::Id(id.clone()), made_id: Some(id) })
    }

    fn user(&self, interface: &str) -> Result<Extension, String> {
        // An old channel such as Zap/3 can be named too.
        if let Some(extension) = self.named(interface) {
            return Ok(extension);
        }
        if let Some(template) = &self.interface {
            let owner = template.owner(&self.organization, interface, &self.endpoints);
            let (_, extension) = owner.ok_or_else(|| {
                format!("`{}` doesn't fit the template {template} and the endpoints", shortened(interface))
            })?;
            return Ok(extension);
        }
        let (technology, rest) = interface.split_once('/').unwrap_or(("", interface));
        let is = |known: &&str| technology.eq_ignore_ascii_case(known);
        let user = if is(&"Local") {
            // `Local/101@from-queue/n` dials 101.
            rest.split(['@', '/']).next().and_then(|number| number.parse().ok())
        } else {
            self.endpoints.extension(&self.organization, rest)
        };
        let user = user.ok_or_else(|| format!("`{}` doesn't say which extension it is", shortened(interface)))?;
        if is(&"Agent") {
            return Err("the numbers of app_agent_pool's agents are not extensions".to_owned());
        }
        if ["DAHDI", "Zap"].iter().any(is) {
            return Err(format!("the number of a {technology} channel is not an extension"));
        }
        if !PHONES.iter().any(is) && self.named(rest).is_none() {
            return Err(format!(
                "the technology of `{}` is unknown, so its name may not be an extension",
                shortened(interface)
            ));
        }
        Ok(user)
    }

    /// Return the extension that the configuration gives a name.
    fn named(&self, name: &str) -> Option<Extension> {
        let is_named = self.endpoints.named.iter().any(|named| named.name == name);
        is_named.then(|| self.endpoints.extension(&self.organization, name)).flatten()
    }
}

/// Make an id of a name: its letters in lower case, and `-` for each run of characters that an id can't have.
fn made_id(name: &str) -> Option<QueueId> {
    let mut id = String::new();
    for letter in name.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-') {
            id.push(letter);
        } else if !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_start_matches(['.', '_', '-']);
    let id = id.get(..MAX_ID_BYTES).unwrap_or(id).trim_end_matches('-');
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::names::named_endpoint;

    fn names() -> Names {
        Names {
            organization: "acme".parse().unwrap(),
            queue_name: None,
            interface: None,
            endpoints: Endpoints::default(),
        }
    }

    fn map(names: &Names, members: &[(&str, &str)]) -> Mapped {
        let place = Place { file: None, line: 1 };
        let member = |(queue, interface): &(&str, &str)| Member {
            place: place.clone(),
            queue: (*queue).to_owned(),
            interface: (*interface).to_owned(),
            penalty: None,
        };
        names.map(&members.iter().map(member).collect::<Vec<_>>())
    }

    fn user(names: &Names, interface: &str) -> Result<String, String> {
        let mapped = map(names, &[("801", interface)]);
        let left_out = mapped.left_out.first().map(|left_out| left_out.why.clone()).unwrap_or_default();
        mapped.members.first().map(|member| member.user.to_string()).ok_or(left_out)
    }

    #[test]
    fn a_user_is_found_by_channels_of_all_times() {
        for interface in ["PJSIP/101", "sip/101", "IAX/101", "IAX2/101", "Local/101@from-queue/n", "Local/101/n"] {
            assert_eq!(user(&names(), interface).as_deref(), Ok("101"), "{interface}");
        }
        for (interface, why) in [
            ("PJSIP/anna-desk", "`PJSIP/anna-desk` doesn't say"),
            ("", "`` doesn't say"),
            ("Agent/7", "app_agent_pool"),
            ("Zap/3", "the number of a Zap channel"),
            ("DAHDI/1", "the number of a DAHDI channel"),
            ("Console/102", "the technology of `Console/102` is unknown"),
        ] {
            assert!(user(&names(), interface).unwrap_err().contains(why), "{interface}");
        }
    }

    #[test]
    fn a_user_is_found_by_the_settings_of_the_pbx() {
        let named = ["anna-desk=101", "Zap/3=103", "console=acme/104", "globex-7=globex/105"];
        let mut names = names();
        names.endpoints.prefix = "{organization}-".parse().unwrap();
        names.endpoints.named = named.map(|text| named_endpoint(text).unwrap()).to_vec();
        for (interface, extension) in [
            ("PJSIP/anna-desk", "101"),
            ("PJSIP/acme-102", "102"),
            ("Zap/3", "103"),
            ("Console/console", "104"),
            ("Local/106@acme/n", "106"),
        ] {
            assert_eq!(user(&names, interface).as_deref(), Ok(extension), "{interface}");
        }
        for interface in ["PJSIP/102", "PJSIP/globex-7", "PJSIP/globex-102"] {
            assert!(user(&names, interface).is_err(), "{interface}");
        }
        names.interface = Some("Local/{extension}@{organization}/n".parse().unwrap());
        assert_eq!(user(&names, "Local/106@acme/n").as_deref(), Ok("106"));
        assert!(user(&names, "PJSIP/acme-102").unwrap_err().contains("doesn't fit the template"));
    }

    #[test]
    fn a_name_that_is_no_id_becomes_one_unless_another_queue_has_it() {
        for (name, id) in [
            ("Front Desk", Some("front-desk")),
            ("Süd / Vertrieb_2!", Some("s-d-vertrieb_2")),
            ("-.Sales", Some("sales")),
            ("***", None),
        ] {
            assert_eq!(made_id(name).as_ref().map(QueueId::as_str), id, "{name}");
        }
        assert_eq!(made_id(&"A".repeat(80)).unwrap().as_str().len(), 64);
        let members = [
            ("801", "SIP/1"),
            ("sales", "SIP/1"),
            ("Front Desk", "SIP/1"),
            ("FRONT-DESK", "SIP/1"),
            ("SALES", "SIP/1"),
        ];
        let mapped = map(&names(), &members);
        let queues: Vec<_> = mapped.members.iter().map(|member| member.queue.name()).collect();
        assert_eq!(queues, ["801", "sales", "front-desk"]);
        assert_eq!(mapped.made_ids.values().collect::<Vec<_>>(), ["Front Desk"]);
        assert!(mapped.left_out.iter().all(|left_out| left_out.why.contains("another queue has the id")));
    }

    #[test]
    fn a_queue_is_found_by_the_template_of_names() {
        let mut names = names();
        names.queue_name = Some("{organization}-{extension}".parse().unwrap());
        let mapped = map(&names, &[("acme-801", "SIP/1"), ("globex-801", "SIP/1"), ("801", "SIP/1")]);
        assert_eq!((mapped.members.len(), mapped.left_out.len()), (1, 2));
        names.queue_name = Some("q-{id}".parse().unwrap());
        let mapped = map(&names, &[("q-sales", "SIP/1"), ("q-Front Desk", "SIP/1"), ("sales", "SIP/1")]);
        let queues: Vec<_> = mapped.members.iter().map(|member| member.queue.name()).collect();
        assert_eq!((&queues[..], mapped.left_out.len()), (&["sales", "front-desk"].map(Into::into)[..], 1));
    }
}
