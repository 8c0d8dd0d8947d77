//! The errors of calls. [`status`](super::status) converts them for callers.

use std::fmt::Display;

use crate::{
    auth::{Refused, Scope},
    domain::{
        change::ActorRefusal,
        command::Rejection,
        explain::explain_refused_actor,
        ids::{OrganizationId, Revision},
        language::Language,
    },
    state, store,
};

/// A violation in one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request.
    pub field: String,
    /// The problem, and how to correct it.
    pub description: String,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// Fields are malformed or missing. The list has all of them.
    Invalid(Vec<FieldViolation>),
    /// The page token's revision isn't held any more.
    PageTokenExpired,
    /// The requested part of the audit log was cut.
    Compacted,
    /// The database is still being loaded.
    Loading,
    /// The server is stopping, and ended the wait.
    Stopping,
    /// Too many imports are in flight.
    TooManyImports,
    /// The server didn't reach `at_least_revision` in time.
    RevisionNotReached,
    /// The client of a watch is a slow reader.
    SlowReader {
        /// The last revision up to which all changes were sent; `None` if not all INITIAL sessions were sent.
        last: Option<Revision>,
    },
    /// The node hasn't reached the database for too long, and is configured to refuse to decide then.
    Stale,
    /// A failover or a restore lost changes that a watch may have sent.
    HistoryRewritten,
    /// The client of a long answer is a slow reader.
    TooSlow,
    /// The caller's unread answers exceed the server's limit.
    TooMuchUnread,
    /// An import of this caller or organization is in flight.
    ImportInFlight(&'static str),
    /// Too many lists and batches of the organization wait.
    TooManyScans,
    /// Too many long answers are in flight.
    TooManyReaders,
    /// The server is stopping and ended a watch.
    Draining {
        /// The last revision up to which all changes were sent; `None` if not all INITIAL sessions were sent.
        last: Option<Revision>,
    },
    /// The caller isn't authenticated.
    Unauthenticated(Refused),
    /// The caller's credentials were revoked, or expired, during the call.
    CredentialsEnded,
    /// The caller has no such scope.
    ScopeRequired(Scope),
    /// The caller may not use the organization, whether or not it exists.
    NotTheirs(OrganizationId),
    /// The caller may change this only on behalf of an acting user.
    ActorRequired,
    /// The caller acts for one user at most, and the request names another.
    NotTheUser,
    /// The server has no console.
    ConsoleOff,
    /// There is no such method.
    UnknownMethod,
    /// The caller has too many calls in flight.
    CallerLimit {
        /// The most calls that a caller may have in flight.
        most: usize,
    },
    /// The server is overloaded and shed the call.
    Overloaded,
    /// A command wasn't executed.
    State(state::Error),
    /// The acting user may not do this, and the explanation is in the language of the caller.
    ActorNotPermitted {
        /// The refusal, with its explanation in English.
        refusal: ActorRefusal,
        /// The explanation in the language.
        explanation: String,
        /// The language.
        language: Language,
    },
    /// The store couldn't be read.
    Store(store::Error),
    /// A bug in this program.
    Internal(String),
}

impl Error {
    /// Create the error of one malformed or missing field.
    pub fn invalid(field: impl Into<String>, description: &dyn Display) -> Self {
        Self::Invalid(vec![FieldViolation { field: field.into(), description: description.to_string() }])
    }

    /// Create the error of a malformed `grpc-timeout` header.
    pub fn malformed_deadline() -> Self {
        Self::invalid("grpc-timeout", &"must be one to eight digits and a unit (H, M, S, m, u or n), such as `250m`")
    }
}

impl Error {
    /// Explain the refusal of an acting user in a language. Other errors stay as they are.
    pub(super) fn in_language(self, language: Language) -> Self {
        match self {
            Self::State(state::Error::Rejected(Rejection::ActorNotPermitted { refusal, translatable })) => {
                let explanation = explain_refused_actor(translatable.as_deref(), language);
                Self::ActorNotPermitted { refusal, explanation, language }
            }
            error => error,
        }
    }
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        Self::State(error)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::State(rejection.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}
