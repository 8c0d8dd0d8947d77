//! The events after which the members of queues may differ from the sessions. PURE.
//!
//! mod_callcenter has no event for a tier. But FreeSWITCH reports each command of its API, and so each change of a tier.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Message;

/// The events that FreeSWITCH is to send. The subclass of custom events must be the last.
pub(super) const EVENTS: &str = "event plain API PRESENCE_PROBE CUSTOM callcenter::info";

/// The events that pass, each by one header's value. Others, such as those of each call, aren't sent.
pub(super) const FILTERS: [&str; 3] =
    ["API-Command callcenter_config", "Event-Name PRESENCE_PROBE", "CC-Action agent-status-change"];

/// The queues of each agent, as they were last read.
#[derive(Debug, Default)]
pub(super) struct QueuesOfAgents {
    pub queues: BTreeSet<String>,
    pub by_agent: BTreeMap<String, BTreeSet<String>>,
}

impl QueuesOfAgents {
    /// Return the queues whose members an event may have changed.
    pub(super) fn changed_by(&self, event: &Message) -> BTreeSet<String> {
        if event.get("CC-Action") == "agent-status-change" {
            return self.of(event.get("CC-Agent"));
        }
        let words: Vec<&str> = event.get("API-Command-Argument").split_whitespace().collect();
        let unquoted = |word: &str| word.trim_matches('\'').to_owned();
        match words[..] {
            ["tier", "reload", "all", ..] | ["agent", "reload", ..] => self.queues.clone(),
            ["tier", "add" | "del" | "reload", queue, ..] | ["queue", "load" | "reload" | "unload", queue, ..] => {
                [unquoted(queue)].into()
            }
            ["agent", "del", agent, ..] | ["agent", "set", "status" | "contact", agent, ..] => {
                self.of(&unquoted(agent))
            }
            _ => BTreeSet::new(),
        }
    }

    fn of(&self, agent: &str) -> BTreeSet<String> {
        self.by_agent.get(agent).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_tier_or_an_agent_names_its_queues() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let known = QueuesOfAgents {
            queues: set(&["801@default", "802@default"]),
            by_agent: [("101@pbx".to_owned(), set(&["801@default", "802@default"]))].into(),
        };
        let both: &[&str] = &["801@default", "802@default"];
        for (arguments, queues) in [
            ("tier add 801@default 101@pbx 1 1", &["801@default"][..]),
            ("tier del '801@default' 101@pbx", &["801@default"]),
            ("tier reload all", both),
            ("queue reload 801@default", &["801@default"]),
            ("agent set status 101@pbx 'Logged Out'", both),
            ("agent del 101@pbx", both),
            ("agent del 102@pbx", &[]),
            ("tier list", &[]),
            ("agent list", &[]),
            ("queue list tiers 801@default", &[]),
            ("", &[]),
        ] {
            let headers = vec![("API-Command-Argument".to_owned(), arguments.to_owned())];
            assert_eq!(known.changed_by(&Message { headers, body: String::new() }), set(queues), "{arguments}");
        }
        let headers = [("CC-Action", "agent-status-change"), ("CC-Agent", "101@pbx")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(known.changed_by(&Message { headers, body: String::new() }), set(both));
    }
}
