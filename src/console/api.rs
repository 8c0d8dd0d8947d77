//! The API as a person in the console calls it: the generated clients, over a connection within the process.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tonic::{
    Request, Status,
    codegen::Service,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    auth::Identity,
    domain::language::Language,
    rpc::proto::{
        audit_service_client::AuditServiceClient, directory_service_client::DirectoryServiceClient,
        permission_service_client::PermissionServiceClient, queue_access_service_client::QueueAccessServiceClient,
    },
};

/// Connects a caller in this process to the server's entrance.
pub type Connect = Arc<dyn Fn(Identity) -> DuplexStream + Send + Sync>;

/// Time limit for the start of a response.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that says the language of the answers.
pub type Connection = InterceptedService<Channel, Spoken>;

/// The API for one caller, with answers in one language.
#[derive(Clone)]
pub struct Api {
    channel: Channel,
    language: Language,
}

impl Api {
    /// Connect as this caller, once there is a call. Must be called within an async runtime.
    pub fn new(connect: &Connect, identity: Identity) -> Self {
        let endpoint = Endpoint::from_static("http://console").timeout(CALL_TIMEOUT);
        let channel = endpoint.connect_with_connector_lazy(InProcess { connect: Arc::clone(connect), identity });
        Self { channel, language: Language::default() }
    }

    /// Return the same API with answers in this language.
    pub fn in_language(&self, language: Language) -> Self {
        Self { channel: self.channel.clone(), language }
    }

    pub fn queue_access(&self) -> QueueAccessServiceClient<Connection> {
        QueueAccessServiceClient::with_interceptor(self.channel.clone(), Spoken(self.language))
    }

    pub fn permission(&self) -> PermissionServiceClient<Connection> {
        PermissionServiceClient::with_interceptor(self.channel.clone(), Spoken(self.language))
    }

    pub fn directory(&self) -> DirectoryServiceClient<Connection> {
        DirectoryServiceClient::with_interceptor(self.channel.clone(), Spoken(self.language))
    }

    pub fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::with_interceptor(self.channel.clone(), Spoken(self.language))
    }
}

/// Says the language of the answers.
#[derive(Debug, Clone, Copy)]
pub struct Spoken(Language);

impl Interceptor for Spoken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("accept-language", MetadataValue::from_static(self.0.code()));
        Ok(request)
    }
}

/// Makes connections within the process.
#[derive(Clone)]
struct InProcess {
    connect: Connect,
    identity: Identity,
}

impl Service<Uri> for InProcess {
    type Response = TokioIo<DuplexStream>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Ok(TokioIo::new((self.connect)(self.identity.clone()))))
    }
}
