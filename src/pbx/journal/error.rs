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
    /// SQLite can't read or write the file.
    #[error("`{}`: {problem}", file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// The error of SQLite.
        problem: rusqlite::Error,
    },
    /// Another process uses the file.
    #[error("`{}` is used by another process; give this one its own --journal", .0.display())]
    InUse(PathBuf),
    /// The file isn't a journal.
    #[error("`{}` is not a journal of queuegate; give another --journal", .0.display())]
    NotOurs(PathBuf),
}

impl Error {
    /// Return whether the error may disappear without a change of the configuration.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::InUse(_) => true,
            Self::Io { .. } | Self::Sqlite { .. } | Self::NotOurs(_) => false,
        }
    }
}
