//! TLS: the server's certificate, and the trusted authorities of client certificates. The files are reloaded when they
//! change.

use std::{
    fmt::Display,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::auth::{CertificateName, Keeping, Reserve, exposure};

/// The paths of certificates and keys, as PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, and the intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The trusted authorities of client certificates; `None`: the server doesn't request client certificates.
    pub client_ca: Option<PathBuf>,
}

/// The fault of a file.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct Error {
    path: String,
    problem: String,
}

impl Error {
    fn new(path: &Path, problem: &dyn Display) -> Self {
        Self { path: path.display().to_string(), problem: problem.to_string() }
    }
}

/// The present TLS configuration.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Configs>,
    /// The contents of the last read, to notice changes. Locked during a reload.
    last_read: Mutex<Read>,
    reserve: Reserve,
}

/// The configurations of the two listeners with TLS.
struct Configs {
    /// For calls: HTTP/2.
    calls: Arc<ServerConfig>,
    /// For browsers: HTTP/1.1, without a request for a client certificate.
    browsers: Arc<ServerConfig>,
}

/// The contents of the files.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    pub fn open(files: TlsFiles) -> Result<Self, Error> {
        let reserve = Reserve::default();
        let read = Read::of(&files, &reserve)?;
        let current = ArcSwap::from_pointee(read.configs(&files)?);
        Ok(Self { files, current, last_read: Mutex::new(read), reserve })
    }

    /// Return the configuration of connections for calls.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().calls)
    }

    /// Return the configuration of connections of browsers.
    pub fn browser_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().browsers)
    }

    /// Return the accesses to the files that others have and should not.
    pub fn exposures(&self) -> impl Iterator<Item = String> {
        let TlsFiles { certificate, key, client_ca } = &self.files;
        let public = [Some(certificate), client_ca.as_ref()].into_iter().flatten();
        public.filter_map(|path| exposure(path, Keeping::Public)).chain(exposure(key, Keeping::Secret))
    }

    /// Reload the files, and return whether they changed. On an error, the previous configuration stays in force.
    pub fn refresh(&self) -> Result<bool, Error> {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Read::of(&self.files, &self.reserve)?;
        if read == *last_read {
            return Ok(false);
        }
        self.current.store(Arc::new(read.configs(&self.files)?));
        *last_read = read;
        Ok(true)
    }
}

impl Read {
    fn of(files: &TlsFiles, reserve: &Reserve) -> Result<Self, Error> {
        let read = |path: &PathBuf| {
            reserve.read(path).map_err(|error| Error::new(path, &format_args!("can't be read: {error}")))
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_ref().map(read).transpose()?,
        })
    }

    fn configs(&self, files: &TlsFiles) -> Result<Configs, Error> {
        let calls = self.config(files, self.client_ca.as_ref(), b"h2")?;
        Ok(Configs { calls, browsers: self.config(files, None, b"http/1.1")? })
    }

    fn config(
        &self,
        files: &TlsFiles,
        client_ca: Option<&Vec<u8>>,
        protocol: &[u8],
    ) -> Result<Arc<ServerConfig>, Error> {
        let chain = certificates(&files.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| Error::new(&files.key, &"has no private key in PEM (BEGIN PRIVATE KEY)"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::new(&files.certificate, &error))?;
        let builder = match (&files.client_ca, client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, pem)? {
                    roots.add(certificate).map_err(|error| Error::new(path, &error))?;
                }
                // A client without a certificate may still have a token.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.allow_unauthenticated().build().map_err(|error| Error::new(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let unfit = |error| Error::new(&files.certificate, &format_args!("can't be used with its key: {error}"));
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| Error::new(path, &format_args!("is not a PEM file: {error}")))?;
    if found.is_empty() {
        return Err(Error::new(path, &"has no certificate in PEM (BEGIN CERTIFICATE)"));
    }
    Ok(found)
}

/// Return the subject alternative names of the client's verified certificate.
pub fn client_names(connection: &ServerConnection) -> Vec<CertificateName> {
    let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else { return Vec::new() };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<CertificateName> {
    match name {
        GeneralName::DNSName(name) => Some(CertificateName::dns(name)),
        GeneralName::URI(name) => Some(CertificateName::uri(name)),
        GeneralName::RFC822Name(name) => Some(CertificateName::email(name)),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(CertificateName::Ip(IpAddr::from([a, b, c, d]))),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| CertificateName::Ip(IpAddr::from(bytes))),
        },
        _ => None,
    }
}
