//! The parts that all pages share.

use std::sync::Arc;

use super::{
    api::{Api, Connect},
    hub::Hubs,
    origin::Scheme,
    session::Sessions,
    settings::{Changes, Settings},
};
use crate::{
    auth::{Identity, Links},
    domain::time::Timestamp,
};

/// The source of the time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The parts that all pages share.
pub struct Shared {
    pub settings: Settings,
    pub connect: Connect,
    pub links: Arc<Links>,
    pub now: Now,
    pub sessions: Sessions,
    pub hubs: Hubs,
    /// Reads the directory for people who haven't entered yet.
    pub directory: Api,
}

impl Shared {
    pub fn new(settings: Settings, connect: Connect, links: Arc<Links>, now: Now) -> Self {
        let directory = Api::new(&connect, Identity::of_console(None));
        let hubs = Hubs::new(Arc::clone(&connect));
        Self { settings, connect, links, now, sessions: Sessions::default(), hubs, directory }
    }

    /// Return the time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Return whether people may change anything.
    pub fn may_change(&self) -> bool {
        self.settings.changes == Changes::Allowed
    }

    /// Return the name of the session's cookie. The prefix makes browsers insist on TLS.
    pub fn session_cookie(&self) -> &'static str {
        match self.settings.origin.scheme() {
            Scheme::Https => "__Host-queuegate",
            Scheme::Http => "queuegate_session",
        }
    }

    /// Return a `set-cookie` header. The script reads no cookie.
    pub fn set_cookie(&self, name: &str, value: &str, max_age_seconds: u32) -> String {
        let secure = match self.settings.origin.scheme() {
            Scheme::Https => "; Secure",
            Scheme::Http => "",
        };
        format!("{name}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}
