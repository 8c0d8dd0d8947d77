//! The environment that Asterisk sends at the start of a call. PURE.

use std::collections::BTreeMap;

use super::malformed::{MAX_ENTRIES, Malformed};
use crate::domain::ids::shortened;

/// The variables of a call, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(BTreeMap<String, String>);

/// Whether the environment is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More lines follow.
    Incomplete,
    /// The empty line at the end was read.
    Complete,
}

impl Environment {
    /// Add the next line.
    pub(crate) fn add_line(&mut self, line: &str) -> Result<Progress, Malformed> {
        if line.is_empty() {
            return Ok(Progress::Complete);
        }
        if self.0.len() >= MAX_ENTRIES {
            return Err(Malformed::TooManyEntries);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| Malformed::Entry(shortened(line)))?;
        if !name.starts_with("agi_") || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(Malformed::Entry(shortened(line)));
        }
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match self.0.insert(name.to_owned(), value) {
            None => Ok(Progress::Incomplete),
            Some(_) => Err(Malformed::Repeated(shortened(name))),
        }
    }

    /// Return the value of a variable, or an empty text if it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Return the arguments that the dialplan passes after the address, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        (1..).map_while(|number| self.0.get(&format!("agi_arg_{number}")).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Environment, Malformed> {
        let mut environment = Environment::default();
        for line in lines {
            environment.add_line(line)?;
        }
        Ok(environment)
    }

    #[test]
    fn an_environment_is_read_as_asterisk_sends_it() {
        let environment = read(&[
            "agi_network: yes",
            "agi_network_script: sign-in?queue=801",
            "agi_channel: PJSIP/101-00000001",
            "agi_callerid: ",
            "agi_accountcode:",
            "agi_arg_1: organization=acme",
            "agi_arg_2: a: b",
        ])
        .unwrap();
        assert_eq!(environment.get("agi_channel"), "PJSIP/101-00000001");
        assert_eq!((environment.get("agi_callerid"), environment.get("agi_accountcode")), ("", ""));
        assert_eq!(environment.arguments().collect::<Vec<_>>(), ["organization=acme", "a: b"]);
        assert_eq!(Environment::default().add_line(""), Ok(Progress::Complete));
    }

    #[test]
    fn an_environment_that_asterisk_does_not_send_is_refused() {
        for line in ["GET / HTTP/1.1", "agi_channel", "agi_a b: c", "host: x", " agi_channel: x"] {
            assert!(matches!(read(&[line]), Err(Malformed::Entry(_))), "{line}");
        }
        let many: Vec<String> = (0..=MAX_ENTRIES).map(|number| format!("agi_arg_{number}: x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(read(&many), Err(Malformed::TooManyEntries));
        // Dialed text replaces no variable, neither after Asterisk's own line nor before it.
        let twice = read(&["agi_channel: PJSIP/101-1", "agi_channel: PJSIP/102-1"]);
        assert_eq!(twice, Err(Malformed::Repeated("agi_channel".to_owned())));
    }
}
