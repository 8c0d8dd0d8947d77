//! Why a page can't be shown. The guard turns it into a page in the person's language.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tonic::{Code, Status};

/// Why a page can't be shown, or a change wasn't made.
#[derive(Debug, Clone)]
pub enum Failure {
    /// There is no such page, user, queue or event.
    NotFound,
    /// The person lacks the permission.
    NotPermitted,
    /// The request came from another site, or names an unknown host.
    Foreign,
    /// The console is read-only.
    ReadOnly,
    /// A field of the form is missing or malformed.
    Malformed,
    /// The API answered with an error.
    Api(Status),
}

impl Failure {
    /// Return the status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotPermitted | Self::Foreign | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Api(status) => match status.code() {
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::PermissionDenied => StatusCode::FORBIDDEN,
                Code::InvalidArgument => StatusCode::BAD_REQUEST,
                Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition | Code::OutOfRange => {
                    StatusCode::CONFLICT
                }
                Code::Unavailable | Code::ResourceExhausted => StatusCode::SERVICE_UNAVAILABLE,
                Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Api(status)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
