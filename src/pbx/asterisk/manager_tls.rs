//! TLS to Asterisk's manager interface.

use std::{io, net::IpAddr, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A setting from which no verified connection can be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTls(String);

/// The verification of the manager's certificate.
#[derive(Debug, Clone)]
pub struct ManagerTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl ManagerTls {
    /// Verify that the certificate is for a name, or for the address if no name is given. Its authority must be in the file
    /// `ca`, or be one of the system's if no file is given.
    pub fn new(address: IpAddr, server_name: Option<&str>, ca: Option<&Path>) -> Result<Self, InvalidTls> {
        let server_name = match server_name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| InvalidTls(format!("`{name}` is not the name of a server")))?,
            None => ServerName::IpAddress(address.into()),
        };
        let roots = match ca {
            Some(file) => authorities_of(file).map_err(|problem| {
                InvalidTls(format!("can't use the authorities in `{}`: {problem}", file.display()))
            })?,
            None => authorities_of_system()?,
        };
        let versions =
            ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
        let config = versions.map_err(|error| InvalidTls(error.to_string()))?;
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { config, server_name })
    }

    /// Begin TLS on a connection, and verify the certificate.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.server_name.clone(), stream).await
    }
}

fn authorities_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it has no certificate".to_owned()) } else { Ok(roots) }
}

fn authorities_of_system() -> Result<RootCertStore, InvalidTls> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        return Err(InvalidTls(format!("the system has no certificate authorities; give --ami-ca. {problems}")));
    }
    Ok(roots)
}
