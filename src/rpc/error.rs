//! Why a call failed. [`status`](super::status) says it to the caller.

use std::fmt::Display;

use crate::{
    auth::{Refused, Scope},
    domain::{
        command::Rejection,
        ids::{OrganizationId, Revision},
    },
    state, store,
};

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// Fields are malformed or missing: all of them that are.
    Invalid(Vec<FieldViolation>),
    /// The page token's revision isn't held any more.
    PageTokenExpired,
    /// What is asked for was cut off the audit log.
    Compacted,
    /// The database is still being loaded.
    Loading,
    /// The server is stopping, and what was waited for will not come.
    Stopping,
    /// Too many documents are being imported.
    TooManyImports,
    /// `at_least_revision` didn't come in time.
    RevisionNotReached,
    /// A watcher didn't keep up.
    SlowReader {
        /// The last revision up to which everything was sent; none if the INITIAL sessions were not all sent.
        last: Option<Revision>,
    },
    /// A reader of a long answer didn't keep up.
    TooSlow,
    /// The caller leaves more unread than the server keeps.
    TooMuchUnread,
    /// An import of this caller or organization is in flight.
    ImportInFlight(&'static str),
    /// Too many lists and batches of the organization are waiting.
    TooManyScans,
    /// Too many long answers are under way.
    TooManyReaders,
    /// The server is stopping and ended a watch.
    Draining {
        /// The last revision up to which everything was sent; none if the INITIAL sessions were not all sent.
        last: Option<Revision>,
    },
    /// The caller isn't let in.
    Unauthenticated(Refused),
    /// The caller's credentials were revoked, or expired, while they were answered.
    CredentialsEnded,
    /// The caller has no such scope.
    ScopeRequired(Scope),
    /// The caller may not use the organization, whether or not it exists.
    NotTheirs(OrganizationId),
    /// The caller may change this only on behalf of an acting user.
    ActorRequired,
    /// There is no such method.
    UnknownMethod,
    /// The caller has too many calls under way.
    CallerLimit {
        /// How many they may have.
        most: usize,
    },
    /// The server has more to do than it can do in time.
    Overloaded,
    /// A command wasn't carried out.
    State(state::Error),
    /// The store couldn't be read.
    Store(store::Error),
    /// A mistake in this program.
    Internal(String),
}

impl Error {
    /// A field is malformed or missing.
    pub fn invalid(field: impl Into<String>, description: &dyn Display) -> Self {
        Self::Invalid(vec![FieldViolation { field: field.into(), description: description.to_string() }])
    }

    /// The `grpc-timeout` header is not a deadline.
    pub fn malformed_deadline() -> Self {
        Self::invalid("grpc-timeout", &"must be one to eight digits and a unit (H, M, S, m, u or n), such as `250m`")
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
