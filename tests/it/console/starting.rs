//! Where a console may listen.

use std::sync::Arc;

use queuegate::{
    auth::TokenFile,
    console::Changes,
    server::{self, Config, ConsoleConfig, Exposure, Listen},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{support::ManualClock, tls::Certificates};

/// Start a server with a console at this address.
async fn start(
    address: &str,
    origin: Option<&str>,
    change: impl FnOnce(&mut Config, &std::path::Path),
) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("test.db");
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), database, Arc::new(ManualClock::default()));
    config.console = Some(ConsoleConfig {
        listen: Listen::At(address.parse().unwrap()),
        origin: origin.map(|origin| origin.parse().unwrap()),
        changes: Changes::Allowed,
    });
    change(&mut config, folder.path());
    match server::start(config).await {
        Ok(server) => Ok(server.console_address().unwrap().1.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn with_tokens(config: &mut Config, folder: &std::path::Path) {
    let path = folder.join("tokens.toml");
    std::fs::write(&path, "").unwrap();
    config.tokens = Some(TokenFile::new(path));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_beyond_loopback_needs_tokens_and_tls_and_its_address() {
    let origin = Some("https://pbx.example.com/queuegate");
    let refused = start("0.0.0.0:0", origin, |_, _| {}).await.unwrap_err();
    assert!(refused.contains("no tokens; give --tokens"), "{refused}");
    let refused = start("0.0.0.0:0", origin, with_tokens).await.unwrap_err();
    assert!(refused.contains("no TLS; give --tls-certificate"), "{refused}");
    let insecure = |config: &mut Config, folder: &std::path::Path| {
        with_tokens(config, folder);
        config.exposure = Exposure::Accepted;
    };
    let refused = start("0.0.0.0:0", None, insecure).await.unwrap_err();
    assert!(refused.contains("--console-origin"), "{refused}");
    let console = start("0.0.0.0:0", origin, insecure).await.unwrap();
    assert_eq!(console, "https://pbx.example.com/queuegate");
    assert!(start("127.0.0.1:0", None, |_, _| {}).await.unwrap().starts_with("http://127.0.0.1:"));
}

/// Send a request over TLS, and return the response.
async fn over_tls(address: std::net::SocketAddr, certificates: &Certificates, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&certificates.read("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    // A server may close without a farewell.
    let _ = stream.read_to_string(&mut response).await;
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_cookies_are_secure_and_the_protocol_is_http_1() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "authority");
    let mut config =
        Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("test.db"), Arc::new(ManualClock::default()));
    config.tls = Some(certificates.server());
    config.console = Some(ConsoleConfig {
        listen: Listen::At("127.0.0.1:0".parse().unwrap()),
        origin: None,
        changes: Changes::Allowed,
    });
    let server = server::start(config).await.unwrap();
    let (address, origin) = server.console_address().map(|(address, origin)| (address, origin.to_owned())).unwrap();
    assert_eq!(origin, format!("https://{address}"));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let leave = format!(
        "POST /choose HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\nconnection: close\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: 24\r\n\r\nlanguage=de&theme=system"
    );
    let response = over_tls(address, &certificates, &leave).await;
    assert!(response.starts_with("HTTP/1.1 303"), "{response}");
    assert!(
        response.contains("queuegate_language=de; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure"),
        "{response}"
    );
    let plain = leave.replace("origin: https", "origin: http");
    assert!(over_tls(address, &certificates, &plain).await.starts_with("HTTP/1.1 403"));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
