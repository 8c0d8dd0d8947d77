//! The client: one method for each request that the handler sends.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::failure::{Cause, Failure};
use crate::{
    client::{Connection, is_refusal},
    domain::ids::{Extension, OrganizationId, QueueRef},
    rpc::proto::{self, queue_access_service_client::QueueAccessServiceClient},
};

/// The number of attempts for a request.
const MAX_ATTEMPTS: u32 = 3;

/// The pause between two attempts, unless the server names another.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The size of a list's pages: the largest.
const PAGE_SIZE: i32 = 1_000;

/// The id in requests for the facts of a queue. The user need not exist.
const PLACEHOLDER_ID: &str = "queuegate-agi";

/// The id, the extension and the kind of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueInfo {
    pub id: String,
    pub extension: Option<String>,
    pub kind: proto::QueueKind,
}

/// A client of queuegate.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient(QueueAccessServiceClient<Connection>);

/// Convert a queue to a request's own `oneof`.
macro_rules! queue {
    ($queue:expr, $module:ident) => {{
        use proto::$module::Queue as OneOf;
        match $queue {
            QueueRef::Id(id) => OneOf::QueueId(id.to_string()),
            QueueRef::Extension(extension) => OneOf::QueueExtension(extension.to_string()),
        }
    }};
}

impl ApiClient {
    /// Wrap a client of the service.
    pub(crate) fn new(client: QueueAccessServiceClient<Connection>) -> Self {
        Self(client)
    }

    /// Sign in. A repeated `request_id` has the outcome of the first request.
    pub(crate) async fn sign_in(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        device: &str,
        request_id: &str,
        deadline: Instant,
    ) -> Result<proto::SignInResponse, Failure> {
        let request = proto::SignInRequest {
            organization_id: organization.to_string(),
            user: Some(proto::sign_in_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, sign_in_request)),
            channel: proto::Channel::FeatureCode.into(),
            device: device.to_owned(),
            request_id: request_id.to_owned(),
            all_assigned_queues: false,
        };
        self.call(request, deadline, async |mut client, request| client.sign_in(request).await).await
    }

    /// Sign out.
    pub(crate) async fn sign_out(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<proto::SignOutResponse, Failure> {
        let request = proto::SignOutRequest {
            organization_id: organization.to_string(),
            user: Some(proto::sign_out_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, sign_out_request)),
            all_queues: false,
            request_id: String::new(),
        };
        self.call(request, deadline, async |mut client, request| client.sign_out(request).await).await
    }

    /// Compare a PIN with a user's.
    pub(crate) async fn verify_pin(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        pin: String,
        deadline: Instant,
    ) -> Result<proto::VerifyPinResponse, Failure> {
        let request = proto::VerifyPinRequest {
            organization_id: organization.to_string(),
            user: Some(proto::verify_pin_request::User::UserExtension(user.to_string())),
            pin,
        };
        self.call(request, deadline, async |mut client, request| client.verify_pin(request).await).await
    }

    /// Check whether a user may sign in.
    pub(crate) async fn check(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<proto::Decision, Failure> {
        let request = proto::CheckQueueAccessRequest {
            organization_id: organization.to_string(),
            user: Some(proto::check_queue_access_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, check_queue_access_request)),
            channel: proto::Channel::FeatureCode.into(),
            explain: false,
            at_least_revision: String::new(),
        };
        let answer =
            self.call(request, deadline, async |mut client, request| client.check_queue_access(request).await).await?;
        Ok(answer.decision.unwrap_or_default())
    }

    /// Return the live session of a user on a queue, or `None`.
    pub(crate) async fn session(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<Option<proto::Session>, Failure> {
        let request = proto::GetSessionRequest {
            organization_id: organization.to_string(),
            user: Some(proto::get_session_request::User::UserExtension(user.to_string())),
            queue: Some(queue!(queue, get_session_request)),
            at_least_revision: String::new(),
        };
        match self.call(request, deadline, async |mut client, request| client.get_session(request).await).await {
            Ok(answer) => Ok(answer.session),
            // An earlier attempt with an unknown outcome has no effect either.
            Err(failure) if failure.cause().code == Code::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Return the live sessions on a queue.
    pub(crate) async fn sessions(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<Vec<proto::Session>, Failure> {
        let request = proto::ListSessionsRequest {
            organization_id: organization.to_string(),
            queue: Some(queue!(queue, list_sessions_request)),
            ..Default::default()
        };
        self.list_sessions(request, deadline).await
    }

    /// Return the live sessions of a user.
    pub(crate) async fn sessions_of_user(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        deadline: Instant,
    ) -> Result<Vec<proto::Session>, Failure> {
        let request = proto::ListSessionsRequest {
            organization_id: organization.to_string(),
            user: Some(proto::list_sessions_request::User::UserExtension(user.to_string())),
            ..Default::default()
        };
        self.list_sessions(request, deadline).await
    }

    /// Return the queues to which a user may sign in. An unknown or disabled user has none, and then the reason says so.
    pub(crate) async fn accessible_queues(
        &self,
        organization: &OrganizationId,
        user: &Extension,
        deadline: Instant,
    ) -> Result<(Vec<proto::AccessibleQueue>, proto::Reason), Failure> {
        let mut request = proto::ListAccessibleQueuesRequest {
            organization_id: organization.to_string(),
            user: Some(proto::list_accessible_queues_request::User::UserExtension(user.to_string())),
            channel: proto::Channel::FeatureCode.into(),
            page_size: PAGE_SIZE,
            ..Default::default()
        };
        let mut queues = Vec::new();
        loop {
            let send = async |mut client: QueueAccessServiceClient<Connection>, request| {
                client.list_accessible_queues(request).await
            };
            let page = self.call(request.clone(), deadline, send).await?;
            let denied_reason = page.denied_reason();
            queues.extend(page.queues);
            if page.next_page_token.is_empty() {
                return Ok((queues, denied_reason));
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn list_sessions(
        &self,
        mut request: proto::ListSessionsRequest,
        deadline: Instant,
    ) -> Result<Vec<proto::Session>, Failure> {
        request.page_size = PAGE_SIZE;
        let mut sessions = Vec::new();
        loop {
            let page = self
                .call(request.clone(), deadline, async |mut client, request| client.list_sessions(request).await)
                .await?;
            sessions.extend(page.sessions);
            if page.next_page_token.is_empty() {
                return Ok(sessions);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Watch the sessions of an organization.
    pub(crate) async fn watch_sessions(
        &self,
        organization: &OrganizationId,
    ) -> Result<Streaming<proto::WatchSessionsResponse>, Status> {
        let request = proto::WatchSessionsRequest { organization_id: organization.to_string(), ..Default::default() };
        Ok(self.0.clone().watch_sessions(request).await?.into_inner())
    }

    /// Fail if the organization doesn't exist, or the handler's credentials aren't valid for it.
    pub(crate) async fn require_organization(
        &self,
        organization: &OrganizationId,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let user = proto::check_queue_access_request::User::UserId(PLACEHOLDER_ID.to_owned());
        let queue = proto::check_queue_access_request::Queue::QueueId(PLACEHOLDER_ID.to_owned());
        self.facts(organization, user, queue, deadline).await.map(drop)
    }

    /// Return a queue, or `None` if it doesn't exist.
    pub(crate) async fn queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<Option<QueueInfo>, Failure> {
        let user = proto::check_queue_access_request::User::UserId(PLACEHOLDER_ID.to_owned());
        let facts = self.facts(organization, user, queue!(queue, check_queue_access_request), deadline).await?;
        let non_empty = |text: String| (!text.is_empty()).then_some(text);
        let kind = facts.queue_kind();
        let extension = non_empty(facts.queue_extension);
        Ok(non_empty(facts.queue_id).map(|id| QueueInfo { id, extension, kind }))
    }

    /// Return the extension of a user, or `None` if the user has none.
    pub(crate) async fn extension(
        &self,
        organization: &OrganizationId,
        user_id: &str,
        queue_id: &str,
        deadline: Instant,
    ) -> Result<Option<Extension>, Failure> {
        let user = proto::check_queue_access_request::User::UserId(user_id.to_owned());
        let queue = proto::check_queue_access_request::Queue::QueueId(queue_id.to_owned());
        Ok(self.facts(organization, user, queue, deadline).await?.user_extension.parse().ok())
    }

    async fn facts(
        &self,
        organization: &OrganizationId,
        user: proto::check_queue_access_request::User,
        queue: proto::check_queue_access_request::Queue,
        deadline: Instant,
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
            self.call(request, deadline, async |mut client, request| client.check_queue_access(request).await).await?;
        Ok(answer.decision.and_then(|decision| decision.facts).unwrap_or_default())
    }

    /// Send a request, and repeat it until the deadline where a repetition can help.
    async fn call<Q: Clone, A>(
        &self,
        message: Q,
        deadline: Instant,
        send: impl AsyncFn(QueueAccessServiceClient<Connection>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let mut is_outcome_unknown = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut request = Request::new(message.clone());
            // The server has the same deadline, so it carries out nothing after this handler has reported the failure.
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let status = match timeout_at(deadline, send(self.0.clone(), request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("queuegate did not answer in time"),
            };
            is_outcome_unknown |= !is_refusal(&status);
            let may_help =
                matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::ResourceExhausted);
            let pause = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or(RETRY_PAUSE);
            if !may_help || attempts >= MAX_ATTEMPTS || Instant::now() + pause >= deadline {
                let cause = Cause::from(&status);
                return Err(if is_outcome_unknown { Failure::OutcomeUnknown(cause) } else { Failure::Refused(cause) });
            }
            tokio::time::sleep(pause).await;
        }
    }
}
