//! The manager interface with TLS: a certificate that isn't verified gets no secret.

use std::{net::IpAddr, path::Path, process::Command, sync::Arc};

use queuegate::{
    client::{Client, Credentials},
    pbx::{adoption::plan, asterisk::manager_tls::ManagerTls, config::Manager},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::{
    Agi, Center, config,
    manager::{ManagerPort, SECRET},
    manager_of,
};
use crate::{support::Shell, tls::Certificates};

fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(&certificates.read("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&certificates.read("server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_follow_sessions_over_tls_and_an_unverified_manager_gets_no_secret() {
    let mut center = Center::open().await;
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let certificates = Certificates::new(own.path(), "pbx");
    let _ = Certificates::new(other.path(), "elsewhere");
    let port = ManagerPort::open_as(Arc::clone(&center.pbx), Some(acceptor(&certificates))).await;
    let ip: IpAddr = port.address.ip();
    let tls = |name: Option<&str>, folder: &Path| Manager {
        tls: Some(ManagerTls::new(ip, name, Some(&folder.join("ca.pem"))).unwrap()),
        ..manager_of(port.address)
    };
    let queuegate = Client::prepare_as(&center.server.address.to_string(), Credentials::default()).unwrap();
    let settings = config(&center.folder);
    for manager in [tls(None, other.path()), tls(Some("pbx.example.com"), own.path())] {
        let error = plan(&settings, &manager, &queuegate).await.unwrap_err().to_string();
        assert!(error.contains("the connection can't be encrypted: invalid peer certificate"), "{error}");
    }
    assert!(plan(&settings, &tls(None, own.path()), &queuegate).await.is_ok());
    center.take_agi().stop().await;
    let make = || queuegate::pbx::Config { manager: Some(tls(None, own.path())), ..config(&center.folder) };
    let agi = Agi::start(make, &center.server.address.to_string()).await;
    center.server.sign_in("anna", "sales").await;
    center.pbx.until_members(&[("801", "PJSIP/101")]).await;
    agi.stop().await;
}

/// Without `--ami-ca`, the authorities of the system count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_with_a_certificate_of_the_systems_authorities_is_trusted() {
    let center = Center::open().await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path(), "pbx");
    let port = ManagerPort::open_as(Arc::clone(&center.pbx), Some(acceptor(&certificates))).await;
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("secret"), SECRET).unwrap();
    let plan = format!(
        "agi plan --ami {} --ami-tls --ami-user queuegate --ami-secret-file {} --journal {}",
        port.address,
        file("secret"),
        file("journal")
    );
    for (system, expected) in [(file("ca.pem"), 0), ("/dev/null".to_owned(), 2)] {
        let trusting = move |command: &mut Command| {
            command.env("SSL_CERT_DIR", "/nowhere").env("SSL_CERT_FILE", system);
        };
        let (out, err, code) = Shell::new(&center.server).run_with(&plan, trusting).await;
        assert_eq!(code, expected, "{out}{err}");
    }
}

#[test]
fn wrong_settings_of_tls_are_reported_at_the_start() {
    let ip: IpAddr = "192.0.2.7".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    assert!(ManagerTls::new(ip, None, Some(&file)).unwrap_err().to_string().contains("ca.pem`"));
    std::fs::write(&file, "").unwrap();
    let error = ManagerTls::new(ip, None, Some(&file)).unwrap_err().to_string();
    assert!(error.contains("it has no certificate"), "{error}");
    let error = ManagerTls::new(ip, Some("no name"), Some(&file)).unwrap_err().to_string();
    assert!(error.contains("`no name` is not the name of a server"), "{error}");
}
