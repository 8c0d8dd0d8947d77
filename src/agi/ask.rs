//! Questions to queuegate, each with a deadline, and what their failures mean: whether something may have been done all the
//! same.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Code, ConnectError, Request, Response, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::{
    client::Connection,
    domain::ids::{Extension, OrganizationId, QueueRef},
    rpc::proto::{self, queue_access_service_client::QueueAccessServiceClient},
};

/// How often a question is put.
const TRIES: u32 = 3;

/// How long is waited before it is put again.
const PAUSE: Duration = Duration::from_millis(100);

/// A user that there may be or not: what is asked about is the queue.
const ANYBODY: &str = "queuegate-agi";

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Nothing was done, and will not be.
    NotDone(Why),
    /// It may have been done, or may be yet.
    Unknown(Why),
}

/// A reason for the dialplan, and what the log is told.
#[derive(Debug, Clone)]
pub(super) struct Why {
    pub reason: String,
    pub text: String,
    pub code: Code,
}

impl Failure {
    pub(super) fn why(&self) -> &Why {
        match self {
            Self::NotDone(why) | Self::Unknown(why) => why,
        }
    }

    /// Whether asking again later is of no use.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::NotDone(Why { code: Code::InvalidArgument | Code::NotFound | Code::AlreadyExists, .. }))
    }

    /// Whether whoever was asked for anything else now would fail as well.
    pub(super) fn is_of_all(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NotDone(Why { code: Code::Unavailable | Code::ResourceExhausted, .. }))
    }
}

/// What queuegate calls a queue, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueFacts {
    pub id: String,
    pub extension: Option<String>,
    pub kind: proto::QueueKind,
}

/// A client of queuegate.
#[derive(Debug, Clone)]
pub(super) struct Questions(pub QueueAccessServiceClient<Connection>);

/// Puts a queue into a request's own `oneof`.
macro_rules! queue {
    ($queue:expr, $module:ident) => {{
        use proto::$module::Queue as OneOf;
        match $queue {
            QueueRef::Id(id) => OneOf::QueueId(id.to_string()),
            QueueRef::Extension(extension) => OneOf::QueueExtension(extension.to_string()),
        }
    }};
}

impl Questions {
    /// Signs in. The same `request_id` may be given again, and has one outcome.
    pub(super) async fn sign_in(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        device: &str,
        request_id: &str,
        by: Instant,
    ) -> Result<proto::SignInResponse, Failure> {
        let request = proto::SignInRequest {
            organization_id: organization.to_string(),
            user: Some(proto::sign_in_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, sign_in_request)),
            channel: proto::Channel::FeatureCode.into(),
            device: device.to_owned(),
            request_id: request_id.to_owned(),
        };
        self.put(request, by, async |mut client, request| client.sign_in(request).await).await
    }

    /// Signs out.
    pub(super) async fn sign_out(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<proto::SignOutResponse, Failure> {
        let request = proto::SignOutRequest {
            organization_id: organization.to_string(),
            user: Some(proto::sign_out_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, sign_out_request)),
            all_queues: false,
            request_id: String::new(),
        };
        self.put(request, by, async |mut client, request| client.sign_out(request).await).await
    }

    /// Whether a user may sign in.
    pub(super) async fn check(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<proto::Decision, Failure> {
        let user = proto::check_queue_access_request::User::UserExtension(user.to_string());
        let request = proto::CheckQueueAccessRequest {
            organization_id: organization.to_string(),
            user: Some(user),
            queue: Some(queue!(queue, check_queue_access_request)),
            channel: proto::Channel::FeatureCode.into(),
            explain: false,
            at_least_revision: String::new(),
        };
        let answer =
            self.put(request, by, async |mut client, request| client.check_queue_access(request).await).await?;
        Ok(answer.decision.unwrap_or_default())
    }

    /// The live session of a user on a queue.
    pub(super) async fn session(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<Option<proto::Session>, Failure> {
        let request = proto::GetSessionRequest {
            organization_id: organization.to_string(),
            user: Some(proto::get_session_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, get_session_request)),
            at_least_revision: String::new(),
        };
        match self.put(request, by, async |mut client, request| client.get_session(request).await).await {
            Ok(answer) => Ok(answer.session),
            // Whatever became of an earlier try: reading changes nothing.
            Err(failure) if failure.why().code == Code::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Who is signed in to a queue.
    pub(super) async fn sessions(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<Vec<proto::Session>, Failure> {
        let mut request = proto::ListSessionsRequest {
            organization_id: organization.to_string(),
            user: None,
            queue: Some(queue!(queue, list_sessions_request)),
            retained_only: false,
            page_size: 1_000,
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut sessions = Vec::new();
        loop {
            let page =
                self.put(request.clone(), by, async |mut client, request| client.list_sessions(request).await).await?;
            sessions.extend(page.sessions);
            if page.next_page_token.is_empty() {
                return Ok(sessions);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Fails if there is no such organization, or it is not this handler's.
    pub(super) async fn is_known(&self, organization: &OrganizationId, by: Instant) -> Result<(), Failure> {
        let user = proto::check_queue_access_request::User::UserId(ANYBODY.to_owned());
        let queue = proto::check_queue_access_request::Queue::QueueId(ANYBODY.to_owned());
        self.facts(organization, user, queue, by).await.map(drop)
    }

    /// What a queue is; none if there is none.
    pub(super) async fn queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<Option<QueueFacts>, Failure> {
        let user = proto::check_queue_access_request::User::UserId(ANYBODY.to_owned());
        let facts = self.facts(organization, user, queue!(queue, check_queue_access_request), by).await?;
        let given = |text: String| (!text.is_empty()).then_some(text);
        let kind = facts.queue_kind();
        let extension = given(facts.queue_extension);
        Ok(given(facts.queue_id).map(|id| QueueFacts { id, extension, kind }))
    }

    /// The extension of a user; none if they have none.
    pub(super) async fn extension(
        &self,
        organization: &OrganizationId,
        user_id: &str,
        queue_id: &str,
        by: Instant,
    ) -> Result<Option<Extension>, Failure> {
        let user = proto::check_queue_access_request::User::UserId(user_id.to_owned());
        let queue = proto::check_queue_access_request::Queue::QueueId(queue_id.to_owned());
        Ok(self.facts(organization, user, queue, by).await?.user_extension.parse().ok())
    }

    async fn facts(
        &self,
        organization: &OrganizationId,
        user: proto::check_queue_access_request::User,
        queue: proto::check_queue_access_request::Queue,
        by: Instant,
    ) -> Result<proto::Facts, Failure> {
        let request = proto::CheckQueueAccessRequest {
            organization_id: organization.to_string(),
            user: Some(user),
            queue: Some(queue),
            channel: proto::Channel::FeatureCode.into(),
            explain: true,
            at_least_revision: String::new(),
        };
        let answer =
            self.put(request, by, async |mut client, request| client.check_queue_access(request).await).await?;
        Ok(answer.decision.and_then(|decision| decision.facts).unwrap_or_default())
    }

    /// Asks, and asks again where that can help, until the deadline.
    async fn put<Q: Clone, A>(
        &self,
        question: Q,
        by: Instant,
        ask: impl AsyncFn(QueueAccessServiceClient<Connection>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let mut is_unknown = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = Request::new(question.clone());
            // The server gives up with us, so that nothing is done after we said that it failed.
            request.set_timeout(by.saturating_duration_since(Instant::now()));
            let status = match timeout_at(by, ask(self.0.clone(), request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("queuegate took too long"),
            };
            let is_refusal = is_refusal(&status);
            is_unknown |= !is_refusal;
            let may_help =
                matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::ResourceExhausted);
            let pause = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or(PAUSE);
            if !may_help || tries >= TRIES || Instant::now() + pause >= by {
                let why = why(&status);
                return Err(if is_unknown { Failure::Unknown(why) } else { Failure::NotDone(why) });
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The reasons of errors that promise that nothing happened. Any other, and any that is new, leaves the outcome unknown.
const NOTHING_HAPPENED: [&str; 22] = [
    "INVALID_FIELD",
    "MESSAGE_TOO_LARGE",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "REQUEST_ID_REUSED",
    "LICENSE_REQUIRED",
    "ACTOR_NOT_PERMITTED",
    "ACTOR_REQUIRED",
    "SCOPE_REQUIRED",
    "ORGANIZATION_NOT_PERMITTED",
    "CREDENTIALS_MISSING",
    "CREDENTIALS_MALFORMED",
    "CREDENTIALS_UNKNOWN",
    "CREDENTIALS_EXPIRED",
    "CALLER_LIMIT",
    "SLOW_READER",
    "LOADING",
    "OVERLOADED",
    "NOT_WRITABLE",
    "STOPPING",
    "DRAINING",
    "UNKNOWN_METHOD",
];

/// Whether the server promises that nothing happened, or never heard of it.
fn is_refusal(status: &Status) -> bool {
    match status.get_details_error_info() {
        Some(info) => NOTHING_HAPPENED.contains(&info.reason.as_str()),
        None => has_cause::<ConnectError>(status),
    }
}

fn has_cause<E: std::error::Error + 'static>(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn why(status: &Status) -> Why {
    let reason = status.get_details_error_info().map(|info| info.reason).filter(|reason| !reason.is_empty());
    let is_late = status.code() == Code::DeadlineExceeded || has_cause::<TimeoutExpired>(status);
    let by_code = || if is_late { "DEADLINE_EXCEEDED" } else { "UNAVAILABLE" };
    Why {
        reason: reason.unwrap_or_else(|| by_code().to_owned()),
        text: status.message().to_owned(),
        code: status.code(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    /// The server gave up waiting for the writer, which may carry it out yet.
    #[test]
    fn only_errors_that_promise_that_nothing_happened_are_refusals() {
        let said = |code, reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "queuegate", []);
            Status::with_error_details(code, "", details)
        };
        for (status, expected) in [
            (said(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), false),
            (said(Code::Unavailable, "DRAINING"), true),
            (said(Code::ResourceExhausted, "OVERLOADED"), true),
            (said(Code::NotFound, "NOT_FOUND"), true),
            (said(Code::Unavailable, "STOPPING"), true),
            (said(Code::Unavailable, "OUTCOME_UNKNOWN"), false),
            (said(Code::DeadlineExceeded, "OUTCOME_UNKNOWN"), false),
            (said(Code::Internal, "INTERNAL"), false),
            // A later server may have reasons that this client doesn't know.
            (said(Code::Aborted, "SOMETHING_NEW"), false),
            // From something in between, or from the connection: whether the server heard of it isn't known.
            (Status::unavailable(""), false),
            (Status::deadline_exceeded(""), false),
            (Status::cancelled(""), false),
        ] {
            assert_eq!(is_refusal(&status), expected, "{status:?}");
        }
    }
}
