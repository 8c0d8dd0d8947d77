//! A client of the API, as the command line uses it.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::rpc::proto::{
    audit_service_client::AuditServiceClient, directory_service_client::DirectoryServiceClient,
    permission_service_client::PermissionServiceClient, queue_access_service_client::QueueAccessServiceClient,
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to begin.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The services of one server.
#[derive(Debug, Clone)]
pub struct Client {
    /// Decisions and sessions.
    pub queue_access: QueueAccessServiceClient<Channel>,
    /// Permission settings.
    pub permission: PermissionServiceClient<Channel>,
    /// The directory.
    pub directory: DirectoryServiceClient<Channel>,
    /// What happened.
    pub audit: AuditServiceClient<Channel>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("`{0}` is not a server's address; it looks like http://127.0.0.1:50051")]
    Address(String),
    /// The address asks for what this client doesn't do.
    #[error("`{0}`: this client speaks plain HTTP/2 only; write the address with http://")]
    Scheme(String),
    /// Nobody answers there.
    #[error("can't reach a queuegate server at {address}; is it running? start one with `queuegate serve`")]
    Unreachable {
        /// Where.
        address: String,
        /// What happened.
        source: tonic::transport::Error,
    },
}

impl Client {
    /// Connects to a server, such as `http://127.0.0.1:50051`. The scheme may be left out.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        if !address.starts_with("http://") {
            return Err(Error::Scheme(address));
        }
        let endpoint = Endpoint::from_shared(address.clone()).map_err(|_| Error::Address(address.clone()))?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(|source| Error::Unreachable { address, source })?;
        Ok(Self {
            queue_access: QueueAccessServiceClient::new(channel.clone()),
            permission: PermissionServiceClient::new(channel.clone()),
            directory: DirectoryServiceClient::new(channel.clone()),
            audit: AuditServiceClient::new(channel),
        })
    }
}
