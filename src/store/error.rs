//! The errors of the store.

use std::path::Path;

use crate::domain::ids::Sequence;

/// An error of the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the lock.
    #[error("`{path}` is in use by another queuegate process ({owner}); stop it, or give this one another --database")]
    InUse {
        /// The file.
        path: String,
        /// The other process, as its lock file describes it.
        owner: String,
    },
    /// The file, or the lock beside it, can't be opened.
    #[error("can't open `{path}`: {problem}")]
    Unopenable {
        /// The file.
        path: String,
        /// The cause.
        problem: String,
    },
    /// The file is not a queuegate database.
    #[error("`{path}` is not a queuegate database; it was left as it is. Give another --database")]
    NotOurs {
        /// The file.
        path: String,
    },
    /// The file was written by a later version.
    #[error(
        "`{path}` has schema {found}, and this version knows schemas up to {known}; it was left as it is. Use a newer \
         queuegate"
    )]
    NewerSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The linked SQLite is too old to be safe.
    #[error("SQLite {found} can lose commits in WAL mode; 3.51.3 or later is needed")]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// There is no database to back up or to examine.
    #[error("`{path}` holds no queuegate database")]
    Missing {
        /// The file.
        path: String,
    },
    /// The file was written by an earlier version. Only `serve` and `restore` bring it up to date.
    #[error("`{path}` has schema {found}, which an earlier version wrote; `queuegate serve` brings it up to date")]
    OlderSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
    },
    /// The file exists, and is never overwritten.
    #[error("`{path}` exists, and is not overwritten; {hint}")]
    Exists {
        /// The file.
        path: String,
        /// The advice.
        hint: &'static str,
    },
    /// A file can't be written.
    #[error("can't write `{path}`: {problem}")]
    Unwritable {
        /// The file.
        path: String,
        /// The cause.
        problem: std::io::Error,
    },
    /// The integrity check failed, and the copy is not used.
    #[error("`{path}` is damaged, and no copy was made of it: {}", .problems.join("; "))]
    Broken {
        /// The copied file.
        path: String,
        /// Its problems.
        problems: Vec<String>,
    },
    /// There is no space to open the file.
    #[error("no space left to open `{path}`; free some; the file was not changed")]
    NoSpace {
        /// The file.
        path: String,
    },
    /// The file contains an impossible value, and is not used.
    #[error(
        "`{path}` is damaged: {problem}; it was left as it is. `queuegate verify` describes the damage, and \
         `queuegate restore` makes a database from a backup"
    )]
    DamagedFile {
        /// The file.
        path: String,
        /// The damage.
        problem: String,
    },
    /// The database contains an impossible value.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// An event of the audit log can't be read.
    #[error("event {} of the audit log is damaged: {problem}", .sequence.0)]
    DamagedEvent {
        /// The event.
        sequence: Sequence,
        /// The damage.
        problem: String,
    },
    /// There is no space left. Nothing was written, and writing can be tried again.
    #[error("no space left for the database")]
    Full(#[source] rusqlite::Error),
    /// Another program has locked the database. Nothing was written, and writing can be tried again.
    #[error("another program has locked the database")]
    Busy(#[source] rusqlite::Error),
    /// SQLite failed. The outcome of the last commit is unknown.
    #[error("the database failed: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// A file was removed, renamed, replaced or overwritten while it was served. The outcome of the last commits is
    /// unknown.
    #[error(
        "`{path}` {problem} while it was served; no more changes are acknowledged. Keep other programs away from the \
         database and the files beside it, check them with `queuegate verify`, and start again"
    )]
    Displaced {
        /// The file.
        path: String,
        /// The change of the file, as a phrase that follows its path.
        problem: String,
    },
    /// The write-ahead log could not be synced. The outcome of the last commits is unknown.
    #[error("the database failed: can't sync `{path}`: {problem}")]
    Unsynced {
        /// The log.
        path: String,
        /// The cause.
        problem: std::io::Error,
    },
    /// A PostgreSQL database can't be used as it is configured, or a database was moved. Nothing was written.
    #[error("can't use `{database}`: {problem}")]
    Unusable {
        /// The database's path, or its address without a password.
        database: String,
        /// The problem, with advice.
        problem: String,
    },
    /// PostgreSQL can't be reached. Nothing was written, and it can be tried again.
    #[error("PostgreSQL can't be reached: {0}")]
    Unreachable(String),
    /// PostgreSQL refused a write, and rolled it back. It can be tried again.
    #[error("PostgreSQL refused the write: {0}")]
    Refused(String),
    /// The database's history doesn't include the changes that this node has seen.
    #[error("the database's history was rewritten: {0}")]
    Rewritten(String),
}

impl Error {
    /// Return whether nothing was written and writing can be tried again.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_) | Self::Unreachable(_) | Self::Refused(_))
    }

    /// Add the name of the file to an error of damage.
    pub(super) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Damaged(problem) => Self::DamagedFile { path: path.display().to_string(), problem },
            error => error,
        }
    }
}
