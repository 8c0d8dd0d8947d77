//! Text of names on the PBX: the allowed letters, and templates with one placeholder.

use crate::domain::ids::OrganizationId;

/// The length of a name on the PBX, in bytes. Asterisk keeps 80, including the terminator.
const MAX_NAME_BYTES: usize = 79;

/// The placeholder for an organization's id.
pub(super) const ORGANIZATION: &str = "{organization}";

/// A text in the configuration that can't be a name or a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub(super) String);

/// Return whether the PBX reads the text as one name, without substitution or separators.
pub fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:/+*#".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A template of an organization, with one placeholder such as `{extension}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: String,
    pub(super) placeholder: &'static str,
    after: String,
}

impl Template {
    /// Check a text that may contain `{organization}` once.
    pub(super) fn check(text: &str, placeholders: &[&'static str]) -> Result<(), InvalidName> {
        Self::parse(&text.replacen(ORGANIZATION, "o", 1), placeholders).map(drop)
    }

    /// Fill in the organization, and parse the template.
    pub(super) fn of(text: &str, organization: &OrganizationId, placeholders: &[&'static str]) -> Option<Self> {
        Self::parse(&text.replacen(ORGANIZATION, organization.as_str(), 1), placeholders).ok()
    }

    fn parse(text: &str, placeholders: &[&'static str]) -> Result<Self, InvalidName> {
        let choices = placeholders.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" or ");
        let fault = || {
            InvalidName(format!(
                "`{text}` must have {choices} in it, once; else only letters, digits and ._-@:/+*# are allowed"
            ))
        };
        let (before, rest) = text.split_once('{').ok_or_else(fault)?;
        let (name, after) = rest.split_once('}').ok_or_else(fault)?;
        let placeholder = placeholders.iter().find(|known| **known == name).ok_or_else(fault)?;
        if [before, after].iter().any(|part| !part.is_empty() && !is_plain(part)) {
            return Err(fault());
        }
        Ok(Self { before: before.to_owned(), placeholder, after: after.to_owned() })
    }

    /// Return the name with this value, or `None` if it isn't plain.
    pub(super) fn fill(&self, value: &str) -> Option<String> {
        let name = format!("{}{value}{}", self.before, self.after);
        is_plain(&name).then_some(name)
    }

    /// Return the value of the placeholder in a name, or `None` if the name doesn't fit the template.
    pub(super) fn value<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str()).filter(|value| !value.is_empty())
    }
}
