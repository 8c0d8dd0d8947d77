//! The static tiers in `callcenter.conf.xml`, as `xml_locate` prints it. PURE.

use std::collections::BTreeSet;

/// The queue and the agent of a tier.
pub(super) type Tier = (String, String);

/// Return the tiers of a configuration.
pub(super) fn static_tiers(xml: &str) -> BTreeSet<Tier> {
    let elements =
        xml.split("<tier ").skip(1).filter_map(|rest| rest.split_once('>').map(|(attributes, _)| attributes));
    elements.filter_map(|attributes| Some((attribute(attributes, "queue")?, attribute(attributes, "agent")?))).collect()
}

/// Return the value of an attribute. FreeSWITCH prints all values in double quotes.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (before, after) = rest.split_once("=\"")?;
        let (value, others) = after.split_once('"')?;
        if before.trim() == name {
            return Some(unescaped(value));
        }
        rest = others;
    }
}

fn unescaped(value: &str) -> String {
    value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_tiers_are_found_by_their_attributes() {
        let xml = r#"<configuration name="callcenter.conf">
  <queues><queue name="801@default"></queue></queues>
  <agents><agent name="102@pbx" contact="user/102@pbx"></agent></agents>
  <tiers>
    <tier agent="102@pbx" queue="801@default" level="1" position="1"></tier>
    <tier level="1" queue="a&amp;b" agent="x queue=y"></tier>
    <tier agent="103@pbx"></tier>
  </tiers>
</configuration>"#;
        let expected = [("801@default", "102@pbx"), ("a&b", "x queue=y")];
        assert_eq!(static_tiers(xml), expected.map(|(queue, agent)| (queue.to_owned(), agent.to_owned())).into());
        assert!(static_tiers("-ERR no reply").is_empty());
    }
}
