//! The errors of SQLite.

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::store::error::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

pub(super) fn unopenable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unopenable { path: path.display().to_string(), problem: error.to_string() }
}

/// Explain an error of opening, with advice for the operator.
pub(super) fn at_open(path: &Path, error: Error) -> Error {
    match error {
        Error::Full(_) => Error::NoSpace { path: path.display().to_string() },
        // Every start makes the index of the write-ahead log anew, which takes a little space.
        Error::Sqlite(error) if is_index_refused(&error) => Error::NoSpace { path: path.display().to_string() },
        Error::Sqlite(error) if is_read_only(&error) => {
            let problem = "it, or the write-ahead log beside it, is read-only; make them and the folder writable for \
                           queuegate";
            unopenable(path, &problem)
        }
        Error::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            let problem = format!(
                "{error}; queuegate must be able to create files in its folder, and to read and write those beside it"
            );
            unopenable(path, &problem)
        }
        error => error.of_file(path),
    }
}

/// Return whether SQLite may only read the file.
pub(super) fn is_read_only(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ReadOnly)
}

/// Return whether the index of the write-ahead log, a separate file, could not grow.
pub(super) fn is_index_refused(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}
