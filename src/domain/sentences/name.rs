//! The names in sentences.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::domain::ids::Extension;

/// A user or a queue by the name that people know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Name<'a> {
    /// The display name, or the id. Empty if only the extension is known.
    pub text: Cow<'a, str>,
    /// The extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
}

impl Name<'_> {
    /// Return the name with a copy of its text.
    pub fn into_owned(self) -> Name<'static> {
        Name { text: Cow::Owned(self.text.into_owned()), extension: self.extension }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extension {
            Some(extension) if self.text.is_empty() => f.write_str(&extension.digits()),
            Some(extension) => {
                for part in [&self.text, " (", &extension.digits(), ")"] {
                    f.write_str(part)?;
                }
                Ok(())
            }
            None => f.write_str(&self.text),
        }
    }
}
