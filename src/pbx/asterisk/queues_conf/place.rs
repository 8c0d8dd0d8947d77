//! The places of lines. PURE.

use std::{fmt, sync::Arc};

use crate::domain::ids::shortened;

/// The place of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The name of the included file, or `None` in the file that is read first.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} line {}", shortened(file), self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// A line that isn't imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The place of the line.
    pub place: Place,
    /// The text of the line.
    pub text: String,
    /// The reason why it is left out.
    pub why: String,
}
