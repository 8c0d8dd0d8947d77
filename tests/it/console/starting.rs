//! Where a console may listen.

use std::sync::Arc;

use queuegate::{
    auth::TokenFile,
    console::Changes,
    server::{self, Config, ConsoleConfig, Exposure, Listen},
};

use crate::support::ManualClock;

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
