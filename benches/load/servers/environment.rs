//! The environment of the servers under test: a folder, a token, certificates and flags.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::options::Options;

/// The environment in which a scenario starts servers.
pub struct Environment {
    /// The folder of the databases. It is removed at the end.
    pub folder: TempDir,
    /// The queuegate program.
    pub program: PathBuf,
    /// A token with the scope `admin`.
    pub token: String,
    /// The certificate of all servers, or `None` for plain HTTP/2.
    pub tls: Option<Tls>,
    /// More flags of `queuegate serve`.
    pub flags: Vec<String>,
    /// Whether servers run on the first processor and the load on the second.
    pub pin: bool,
}

/// A self-signed certificate for this machine, and a client's configuration that trusts it.
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client: Arc<ClientConfig>,
}

impl Environment {
    /// Create the environment of the program that the options name.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Self::of(options, &options.program)
    }

    /// Create the environment of another program.
    pub fn of(options: &Options, program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(&options.folder).context("can't create a folder for the databases")?;
        let tls = if options.tls { Some(Tls::new(&folder)?) } else { None };
        let mut environment = Self {
            program: program.to_owned(),
            token: String::new(),
            tls,
            flags: options.flags.clone(),
            pin: options.pin,
            folder,
        };
        let arguments = ["token", "new", "bench", "--scope", "admin", "--tokens"].map(OsString::from);
        let token = environment.run(arguments.into_iter().chain([environment.tokens().into_os_string()]))?;
        environment.token = token.trim().to_owned();
        Ok(environment)
    }

    /// Return the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Return the path of the token file.
    pub fn tokens(&self) -> PathBuf {
        self.path("tokens.toml")
    }

    /// Run a command of the program, and return its standard output.
    pub fn run(&self, arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<String> {
        let output = Command::new(&self.program).args(arguments).env("QUEUEGATE_TOKEN", &self.token).output()?;
        if !output.status.success() {
            bail!("{}: {}", self.program.display(), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Tls {
    fn new(folder: &TempDir) -> anyhow::Result<Self> {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        fs::write(&certificate, pair.cert.pem())?;
        fs::write(&key, pair.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate)?)?;
        let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { certificate, key, client: Arc::new(client) })
    }
}
