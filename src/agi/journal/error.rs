//! Errors of the journal's file.

use std::path::PathBuf;

/// A journal that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read or written.
    #[error("`{}`: {problem}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        problem: std::io::Error,
    },
    /// Another process uses the file.
    #[error("`{}` is used by another process; give this one its own --journal", .0.display())]
    InUse(PathBuf),
    /// The file isn't a journal.
    #[error("`{}`: line {line} is not an entry of a journal; give another --journal", file.display())]
    NotOurs {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl Error {
    /// Tell whether the error may disappear without a change of the configuration.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::InUse(_) => true,
            Self::Io { .. } | Self::NotOurs { .. } => false,
        }
    }
}
