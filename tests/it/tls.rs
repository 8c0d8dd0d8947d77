//! TLS: the certificates of servers and clients, and the authorities that both trust.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use queuegate::{
    auth::{Entry, Scope, TokenFile},
    client::{Client, Credentials},
    rpc::proto::*,
    server::{self, Config, Exposure, TlsFiles},
    state::clock::SystemClock,
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    access::entry,
    support::{described, program},
};

#[tokio::test]
async fn beyond_this_machine_a_server_needs_tokens_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::new(folder.path(), "first");
    let tokens = TokenFile::new(folder.path().join("tokens.toml"));
    tokens.add(&entry("root", &[Scope::Admin], &[])).unwrap();
    let config = |has_tokens: bool, has_tls: bool, exposure| Config {
        tokens: has_tokens.then(|| tokens.clone()),
        tls: has_tls.then(|| files.server()),
        exposure,
        ..Config::new("0.0.0.0:0".parse().unwrap(), folder.path().join("test.db"), Arc::new(SystemClock::start()))
    };
    for (has_tokens, has_tls, says) in
        [(false, false, "has no tokens and no TLS"), (true, false, "has no TLS"), (false, true, "has no tokens")]
    {
        let error = server::start(config(has_tokens, has_tls, Exposure::Refused)).await.err().unwrap().to_string();
        assert!(error.contains(says) && error.contains("--insecure") && error.contains("127.0.0.1"), "{error}");
        assert!(!folder.path().join("test.db").exists(), "no database was created");
    }
    for (database, config) in
        [("a.db", config(true, true, Exposure::Refused)), ("b.db", config(false, false, Exposure::Accepted))]
    {
        let server = server::start(Config { database: folder.path().join(database).into(), ..config }).await.unwrap();
        server.run(std::future::ready(())).await.unwrap();
    }
}

/// An authority, with its certificates for a server on this machine and for a client.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub fn new(folder: &Path, authority: &str) -> Self {
        let certificates = Self { folder: folder.to_owned() };
        certificates.renew(authority);
        certificates
    }

    /// Replaces all of them by those of another authority.
    fn renew(&self, authority: &str) {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, authority);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write("ca.pem", &issuer.pem());
        let leaf = |name: &str, names: Vec<SanType>| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = names;
            self.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        };
        leaf("server", vec![SanType::IpAddress("127.0.0.1".parse().unwrap())]);
        leaf("client", vec![SanType::URI("spiffe://example.com/pbx".try_into().unwrap())]);
    }

    fn write(&self, name: &str, text: &str) {
        // Atomically, as tools for certificate renewal do it.
        let new = self.folder.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.join(name)).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    pub fn server(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.folder.join("server.pem"),
            key: self.folder.join("server.key"),
            client_ca: Some(self.folder.join("ca.pem")),
        }
    }

    fn client(&self) -> Credentials {
        Credentials {
            token: None,
            ca: Some(self.read("ca.pem")),
            certificate: Some((self.read("client.pem"), self.read("client.key"))),
        }
    }
}

/// Start a server with TLS for the callers `root`, who has a token, and `pbx`, who has a certificate.
async fn serving(
    folder: &Path,
    certificates: &Certificates,
) -> (String, oneshot::Sender<()>, JoinHandle<Result<(), server::Error>>) {
    let tokens = TokenFile::new(folder.join("tokens.toml"));
    tokens.add(&entry("root", &[Scope::Admin], &[])).unwrap();
    let by_certificate = "spiffe://example.com/pbx".parse().ok();
    let pbx = Entry { sha256: None, certificate: by_certificate, ..entry("pbx", &[Scope::Check], &[]) };
    tokens.add(&pbx).unwrap();
    let config = Config {
        tokens: Some(tokens),
        tls: Some(certificates.server()),
        ..Config::new("127.0.0.1:0".parse().unwrap(), folder.join("test.db"), Arc::new(SystemClock::start()))
    };
    let server = server::start(config).await.unwrap();
    let address = format!("https://{}", server.address());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    (address, stop, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_trusts_the_authorities_of_the_system_and_an_added_one() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "first");
    let (address, stop, running) = serving(folder.path(), &certificates).await;
    certificates.write("root.token", "root");
    let ca = folder.path().join("ca.pem").to_str().unwrap().to_owned();
    for (system, added, expected) in [(&*ca, None, 0), ("/dev/null", Some(&*ca), 0), ("/dev/null", None, 2)] {
        let mut command = program();
        command.args(["permissions", "list", "--server", &address]).env("SSL_CERT_DIR", folder.path().join("none"));
        command.env("SSL_CERT_FILE", system).env("QUEUEGATE_TOKEN_FILE", folder.path().join("root.token"));
        command.args(added.into_iter().flat_map(|ca| ["--ca", ca]));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{system} {added:?}: {error}");
        assert!(expected == 0 || error.contains("give --ca"), "{error}");
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

/// Authentication of callers over TLS, and certificates that are renewed while the server runs.
#[tokio::test]
async fn a_client_certificate_says_who_calls() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "first");
    let (address, stop, running) = serving(folder.path(), &certificates).await;
    let request = GetOrganizationRequest { organization_id: "acme".into(), ..Default::default() };
    let ask = async |credentials: Credentials| {
        let mut client = Client::connect_as(&address, credentials).await.map_err(|error| format!("{error:?}"))?;
        loop {
            let status = client.directory.get_organization(request.clone()).await.unwrap_err();
            let (_, reason, _) = described(&status);
            if reason != "LOADING" {
                return Ok::<_, String>(reason);
            }
        }
    };
    let with_token = || Credentials { token: Some("root".into()), certificate: None, ..certificates.client() };
    assert_eq!(ask(certificates.client()).await.unwrap(), "SCOPE_REQUIRED", "it may only check");
    assert_eq!(ask(with_token()).await.unwrap(), "NOT_FOUND", "a token does over TLS too");
    assert_eq!(ask(Credentials { token: None, ..with_token() }).await.unwrap(), "CREDENTIALS_MISSING");

    let before = certificates.client();
    certificates.renew("second");
    // The server notices after a moment; then clients that trust the new authority can connect.
    while ask(with_token()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(certificates.client()).await.unwrap(), "SCOPE_REQUIRED");
    assert!(ask(before).await.is_err(), "the old authority doesn't vouch for the new certificate");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
