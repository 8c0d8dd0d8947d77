//! The errors of PostgreSQL.

use std::{error::Error as _, fmt::Display};

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::error::Error;

/// Return the error of a database that can't be used as it is configured. Nothing was written.
pub(super) fn refused(database: &str, problem: &dyn Display) -> Error {
    Error::Unusable { database: database.to_owned(), problem: problem.to_string() }
}

/// Return whether the database rolled the statement back. After any other error, its outcome is unknown.
pub(super) fn is_rolled_back(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// Convert an error of a statement that was rolled back, or that wrote nothing.
pub(super) fn of_statement(error: &tokio_postgres::Error) -> Error {
    let Some(found) = error.as_db_error() else { return Error::Unreachable(described(error)) };
    let code = found.code();
    if *code == SqlState::DISK_FULL || *code == SqlState::OUT_OF_MEMORY {
        return Error::Refused(described(error));
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        || is_class(found, "08")
        || is_class(found, "57")
        || found.parsed_severity() != Some(Severity::Error)
    {
        return Error::Unreachable(described(error));
    }
    if is_class(found, "40") || is_class(found, "53") || is_class(found, "55") || is_class(found, "25") {
        return Error::Refused(described(error));
    }
    Error::Damaged(described(error))
}

fn is_class(error: &DbError, class: &str) -> bool {
    error.code().code().starts_with(class)
}

/// Format an error with its cause. The text of tokio-postgres alone is `db error`.
pub(super) fn described(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(found) => format!("{} (SQLSTATE {})", found.message(), found.code().code()),
        None => error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    }
}
