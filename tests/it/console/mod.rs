//! The console over HTTP: its guard, its ways in, and its pages for each role in each language.

mod browser;
mod changes;
mod entrance;
mod guard;
mod live;
mod pages;
mod starting;

use std::sync::Arc;

use queuegate::{
    console::Changes,
    server::{ConsoleConfig, Listen},
};

use self::browser::Browser;
use crate::support::{ManualClock, TestServer};

/// A server with the example contact center and a console.
async fn acme() -> (TestServer, Browser) {
    acme_as(Changes::Allowed).await
}

async fn acme_as(changes: Changes) -> (TestServer, Browser) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let browser = Browser::new(listener.local_addr().unwrap());
    let change = |config: &mut queuegate::server::Config| {
        config.console = Some(ConsoleConfig { listen: Listen::Inherited(listener), origin: None, changes });
    };
    let mut server = TestServer::start_as(tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()), change).await;
    server.import(include_str!("../../../examples/acme.yaml")).await.unwrap();
    (server, browser)
}
