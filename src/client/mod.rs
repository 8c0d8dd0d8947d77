//! A client of the API, for the command line and for programs in Rust. With the addresses of several equal servers, it
//! uses one of them, and goes on with another when that one fails.

mod failure;
mod request_id;
pub mod rules;
mod servers;

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

pub use self::failure::{has_source, is_refusal, may_help_to_repeat};
use self::servers::Servers;
use crate::rpc::proto::{
    audit_service_client::AuditServiceClient, console_service_client::ConsoleServiceClient,
    directory_service_client::DirectoryServiceClient, permission_service_client::PermissionServiceClient,
    queue_access_service_client::QueueAccessServiceClient,
};

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for the start of a response.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval of keepalive pings on a long-lived connection, and the time limit of the reply.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// A connection that sends our credentials, and the languages that we accept.
pub type Connection = InterceptedService<Servers, CallMetadata>;

/// The API of a server, or of several equal ones.
#[derive(Debug, Clone)]
pub struct Client {
    /// Decisions and sessions.
    pub queue_access: QueueAccessServiceClient<Connection>,
    /// Permission settings.
    pub permission: PermissionServiceClient<Connection>,
    /// The directory.
    pub directory: DirectoryServiceClient<Connection>,
    /// The audit log.
    pub audit: AuditServiceClient<Connection>,
    /// Links into the console.
    pub console: ConsoleServiceClient<Connection>,
    servers: Servers,
    metadata: CallMetadata,
}

/// Our credentials, and the authorities that we trust.
#[derive(Default)]
pub struct Credentials {
    /// Our bearer token.
    pub token: Option<String>,
    /// Authorities of the server's certificate (PEM), besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its private key (PEM).
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// The metadata of every call: our token, and the languages that we accept.
#[derive(Clone, Default)]
pub struct CallMetadata {
    authorization: Option<MetadataValue<Ascii>>,
    accept_language: Option<MetadataValue<Ascii>>,
}

impl std::fmt::Debug for CallMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallMetadata(..)")
    }
}

impl Interceptor for CallMetadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Self { authorization, accept_language } = self;
        for (name, value) in [("authorization", authorization), ("accept-language", accept_language)] {
            if let Some(value) = value {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

/// The reasons why a client can't connect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is malformed.
    #[error("`{0}` is not a server's address; it looks like http://127.0.0.1:50051")]
    Address(String),
    /// The address has an unsupported scheme, or one that doesn't fit these credentials.
    #[error("`{0}`: write the address with https:// for a server that speaks TLS, or http:// for one that doesn't")]
    Scheme(String),
    /// Others on the network could read the token.
    #[error("`{0}`: a token is not sent to another machine in plain text; write the address with https://")]
    Exposed(String),
    /// There is no authority for the server's certificate.
    #[error(
        "`{0}`: the system has no certificate authorities; give --ca (or QUEUEGATE_CA), the authority of the server's \
         certificate, as PEM"
    )]
    NoAuthority(String),
    /// A certificate or key is malformed.
    #[error("can't use these certificates: {0}")]
    Tls(#[source] tonic::transport::Error),
    /// The token has invalid characters.
    #[error("the token is not one that `queuegate token new` printed")]
    Token,
    /// No server responds at the address.
    #[error("can't reach a queuegate server at {address}; is it running? start one with `queuegate serve`")]
    Unreachable {
        /// The address.
        address: String,
        /// The cause.
        source: tonic::transport::Error,
    },
    /// No server responds at any of the addresses.
    #[error("can't reach any queuegate server of {0}; are they running?")]
    NoneReachable(String),
}

impl Client {
    /// Connect to a server, such as `http://127.0.0.1:50051`, without credentials. The scheme may be left out.
    pub async fn connect(addresses: &str) -> Result<Self, Error> {
        Self::connect_as(addresses, Credentials::default()).await
    }

    /// Connect to a server, such as `https://queuegate.example.com:50051`, or to one of several, separated by commas.
    /// Without a scheme, it is https if there are authorities or a certificate, and http otherwise.
    pub async fn connect_as(addresses: &str, credentials: Credentials) -> Result<Self, Error> {
        if addresses.contains(',') {
            let (client, servers) = Self::prepared(addresses, credentials)?;
            let found = servers.choose().await;
            return if found { Ok(client) } else { Err(Error::NoneReachable(addresses.to_owned())) };
        }
        let Prepared { address, endpoint, metadata } = prepared(addresses, &credentials)?;
        let channel = endpoint.timeout(CALL_TIMEOUT).connect().await;
        let channel = channel.map_err(|source| Error::Unreachable { address, source })?;
        Ok(Self::with(Servers::new(vec![channel]), metadata))
    }

    /// Return a client that connects on demand, so that the servers may start later or restart. Every call needs its
    /// own deadline. Must be called within an async runtime.
    pub fn prepare_as(addresses: &str, credentials: Credentials) -> Result<Self, Error> {
        Self::prepared(addresses, credentials).map(|(client, _)| client)
    }

    /// Return a client of the same servers whose calls accept these languages, such as `de-CH, en;q=0.5`. Explanations
    /// are in the best of them that the server has, and in English otherwise.
    #[must_use]
    pub fn accepting(self, languages: MetadataValue<Ascii>) -> Self {
        Self::with(self.servers, CallMetadata { accept_language: Some(languages), ..self.metadata })
    }

    /// Return whether there are several servers, so that a watch that one of them ended can go on with another.
    pub fn has_several_servers(&self) -> bool {
        self.servers.are_several()
    }

    fn prepared(addresses: &str, credentials: Credentials) -> Result<(Self, Servers), Error> {
        let (mut channels, mut common) = (Vec::new(), CallMetadata::default());
        let (interval, timeout) = KEEPALIVE;
        for address in addresses.split(',') {
            let Prepared { address: _, endpoint, metadata } = prepared(address.trim(), &credentials)?;
            let endpoint = endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(timeout);
            channels.push(endpoint.connect_lazy());
            common = metadata;
        }
        let servers = Servers::new(channels);
        Ok((Self::with(servers.clone(), common), servers))
    }

    fn with(servers: Servers, metadata: CallMetadata) -> Self {
        Self {
            queue_access: QueueAccessServiceClient::with_interceptor(servers.clone(), metadata.clone()),
            permission: PermissionServiceClient::with_interceptor(servers.clone(), metadata.clone()),
            directory: DirectoryServiceClient::with_interceptor(servers.clone(), metadata.clone()),
            audit: AuditServiceClient::with_interceptor(servers.clone(), metadata.clone()),
            console: ConsoleServiceClient::with_interceptor(servers.clone(), metadata.clone()),
            servers,
            metadata,
        }
    }
}

/// The endpoint to connect to.
struct Prepared {
    address: String,
    endpoint: Endpoint,
    metadata: CallMetadata,
}

fn prepared(address: &str, credentials: &Credentials) -> Result<Prepared, Error> {
    let Credentials { token, ca, certificate } = credentials;
    let wants_tls = ca.is_some() || certificate.is_some();
    let address = match (address.contains("://"), wants_tls) {
        (true, _) => address.to_owned(),
        (false, true) => format!("https://{address}"),
        (false, false) => format!("http://{address}"),
    };
    let is_secure = address.starts_with("https://");
    if !is_secure && (wants_tls || !address.starts_with("http://")) {
        return Err(Error::Scheme(address));
    }
    let mut endpoint = Endpoint::from_shared(address.clone()).map_err(|_| Error::Address(address.clone()))?;
    if token.is_some() && !is_secure && !is_here(&endpoint) {
        return Err(Error::Exposed(address));
    }
    if is_secure {
        endpoint = with_tls(endpoint, ca.as_ref(), certificate.as_ref()).map_err(|error| match error {
            Some(error) => Error::Tls(error),
            None => Error::NoAuthority(address.clone()),
        })?;
    }
    let authorization = token.as_ref().map(|token| format!("Bearer {}", token.trim()).parse());
    let mut authorization: Option<MetadataValue<Ascii>> = authorization.transpose().map_err(|_| Error::Token)?;
    if let Some(authorization) = &mut authorization {
        authorization.set_sensitive(true);
    }
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    Ok(Prepared { address, endpoint, metadata: CallMetadata { authorization, accept_language: None } })
}

/// Trust the system's authorities and the given one. The error is `None` if there is neither.
fn with_tls(
    endpoint: Endpoint,
    ca: Option<&Vec<u8>>,
    certificate: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<Endpoint, Option<tonic::transport::Error>> {
    let mut tls = ClientTlsConfig::new();
    if let Some((certificate, key)) = certificate {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let system = ClientTlsConfig::new().with_native_roots();
    let has_system = endpoint.clone().tls_config(system).is_ok();
    match (ca, has_system) {
        (None, false) => return Err(None),
        (None, true) => tls = tls.with_native_roots(),
        (Some(ca), false) => tls = tls.ca_certificate(Certificate::from_pem(ca)),
        (Some(ca), true) => tls = tls.with_native_roots().ca_certificate(Certificate::from_pem(ca)),
    }
    endpoint.tls_config(tls).map_err(Some)
}

/// Whether the server is on this machine, so that plain text is safe.
fn is_here(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
