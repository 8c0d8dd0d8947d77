//! A PBX among several of one queuegate. It puts its name before the interface in a session's device:
//! `berlin::PJSIP/anna-desk`. So a session rings at one PBX at most, if the homes of the PBXs don't overlap.

use std::{fmt, str::FromStr};

use super::text::InvalidName;
use crate::domain::ids::Extension;

/// The end of a PBX's name in a device. No interface and no address of a phone, such as `sip:101@example.com`, begins so.
const SEPARATOR: &str = "::";

/// The length of a PBX's name.
const MAX_NAME_BYTES: usize = 32;

/// A PBX among several, and the users who are at home there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPbx {
    /// Its name in devices.
    pub name: PbxName,
    /// The users whose sessions ring here if their device names no PBX.
    pub home: Home,
}

impl OwnPbx {
    /// Return the device of a session that rings at an interface of this PBX.
    pub(crate) fn device(&self, interface: &str) -> String {
        format!("{}{SEPARATOR}{interface}", self.name)
    }

    /// Return the part of a device that this PBX can have as an interface, or `None` if it names another PBX.
    pub(crate) fn interface<'d>(&self, device: &'d str) -> Option<&'d str> {
        match named_pbx(device) {
            Some((name, interface)) => (name == self.name.0).then_some(interface),
            None => Some(device),
        }
    }

    /// Return whether another PBX rings for a session of a user.
    pub(crate) fn rings_elsewhere(&self, extension: Extension, device: &str) -> bool {
        named_pbx(device).map_or_else(|| !self.home.contains(extension), |(name, _)| name != self.name.0)
    }
}

/// Return the PBX that a device names, and the interface.
fn named_pbx(device: &str) -> Option<(&str, &str)> {
    device.split_once(SEPARATOR).filter(|(name, interface)| is_name(name) && !interface.is_empty())
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The name of a PBX: letters, digits and `._-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PbxName(String);

impl FromStr for PbxName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName(format!("`{text}` must be a name of 1 to {MAX_NAME_BYTES} letters, digits and ._-")))
    }
}

impl fmt::Display for PbxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The users who are at home at a PBX: all, none, or those whose extensions begin with one of these digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Every user.
    All,
    /// No user.
    Nobody,
    /// The users whose extensions begin so.
    Beginnings(Vec<String>),
}

impl Home {
    fn contains(&self, extension: Extension) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Beginnings(beginnings) => {
                let digits = extension.digits();
                beginnings.iter().any(|beginning| digits.starts_with(beginning.as_str()))
            }
        }
    }
}

impl FromStr for Home {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::Nobody),
            _ => {}
        }
        let beginnings: Vec<String> = text.split(',').map(|beginning| beginning.trim().to_owned()).collect();
        let are_digits =
            |beginning: &String| !beginning.is_empty() && beginning.bytes().all(|byte| byte.is_ascii_digit());
        if beginnings.iter().all(are_digits) {
            return Ok(Self::Beginnings(beginnings));
        }
        Err(InvalidName(format!("`{text}` must be all, none, or the beginnings of extensions, such as 1,20")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(home: &str) -> OwnPbx {
        OwnPbx { name: "berlin".parse().unwrap(), home: home.parse().unwrap() }
    }

    #[test]
    fn a_session_rings_at_the_pbx_that_its_device_names_and_otherwise_at_home() {
        let (anna, bo) = ("101".parse().unwrap(), "202".parse().unwrap());
        for (device, rings_for_anna, rings_for_bo) in [
            // Device, and whether it rings in Berlin for a user of Berlin and for one of Munich.
            ("berlin::PJSIP/101", true, true),
            ("munich::PJSIP/101", false, false),
            ("munich::Local/101@from-queue/n", false, false),
            ("munich::101@pbx.example.com", false, false),
            ("PJSIP/101", true, false),
            ("Local/101@from-queue/n", true, false),
            ("", true, false),
            ("browser-7", true, false),
            // These name no PBX.
            ("sip:101@example.com", true, false),
            ("sip:[2001:db8::1]", true, false),
            ("munich::", true, false),
            ("PJSIP/101:x@trunk/sip:y", true, false),
        ] {
            assert_eq!(berlin("1").rings_elsewhere(anna, device), !rings_for_anna, "{device}");
            assert_eq!(berlin("1").rings_elsewhere(bo, device), !rings_for_bo, "{device}");
        }
        assert!(!berlin("all").rings_elsewhere(bo, "") && berlin("none").rings_elsewhere(anna, ""));
        assert!(!berlin("3,20").rings_elsewhere(bo, "") && berlin("3,02").rings_elsewhere(bo, ""));
    }

    #[test]
    fn a_device_has_the_interface_after_the_name() {
        let berlin = berlin("all");
        assert_eq!(berlin.device("PJSIP/101"), "berlin::PJSIP/101");
        assert_eq!(berlin.interface("berlin::Local/101@from-queue/n"), Some("Local/101@from-queue/n"));
        assert_eq!(berlin.interface("PJSIP/101"), Some("PJSIP/101"));
        assert_eq!(berlin.interface("munich::PJSIP/101"), None);
    }

    #[test]
    fn names_and_homes_are_checked() {
        for name in ["", "a:b", "a/b", "a b", &"a".repeat(33)] {
            assert!(name.parse::<PbxName>().is_err(), "{name}");
        }
        for home in ["", "1,", "a", "1-2", "all,1"] {
            assert!(home.parse::<Home>().is_err(), "{home}");
        }
    }
}
