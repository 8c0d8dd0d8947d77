//! The sessions of people in the console. A cookie has 256 random bits, and only its hash is kept.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::api::{Api, Connect};
use crate::{
    auth::{Fingerprint, Identity, Secret},
    domain::{
        ids::{OrganizationId, UserId},
        time::Timestamp,
    },
};

/// How long a session lasts without a request.
const IDLE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long a session lasts at most.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// The most sessions. Then the one that was unused for the longest time ends.
const MOST_SESSIONS: usize = 10_000;

/// The live sessions, by the hash of their cookies.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// A person in the console.
pub struct Session {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub api: Api,
    identity: Identity,
    began: Timestamp,
    used_ms: AtomicI64,
}

impl Session {
    fn is_live(&self, now: Timestamp) -> bool {
        let used = Timestamp::from_unix_ms(self.used_ms.load(Ordering::Relaxed));
        !self.identity.has_ended() && now.since(used) < IDLE && now.since(self.began) < LONGEST
    }

    /// Complete when the session has ended by a sign-out or for its user.
    pub async fn ended(&self) {
        self.identity.ended().await;
    }
}

impl Sessions {
    /// Begin a session, and return its cookie.
    pub fn begin(
        &self,
        connect: &Connect,
        organization_id: OrganizationId,
        user_id: UserId,
        now: Timestamp,
    ) -> Result<Secret, getrandom::Error> {
        let secret = Secret::generate()?;
        let identity = Identity::of_person(organization_id.clone(), user_id.clone());
        let api = Api::new(connect, identity.clone());
        let used_ms = AtomicI64::new(now.unix_ms());
        let session = Arc::new(Session { organization_id, user_id, api, identity, began: now, used_ms });
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, session| {
            let is_live = session.is_live(now);
            if !is_live {
                session.identity.end();
            }
            is_live
        });
        if live.len() >= MOST_SESSIONS {
            let oldest = live.iter().min_by_key(|(_, session)| session.used_ms.load(Ordering::Relaxed));
            if let Some(session) = oldest.map(|(key, _)| key.clone()).and_then(|key| live.remove(&key)) {
                session.identity.end();
            }
        }
        live.insert(secret.fingerprint().to_string(), session);
        Ok(secret)
    }

    /// Return the live session with this cookie, and note its use.
    pub fn used(&self, cookie: &str, now: Timestamp) -> Option<Arc<Session>> {
        let key = Fingerprint::of(cookie.as_bytes()).to_string();
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = Arc::clone(live.get(&key)?);
        if session.is_live(now) {
            session.used_ms.store(now.unix_ms(), Ordering::Relaxed);
            return Some(session);
        }
        session.identity.end();
        live.remove(&key);
        None
    }

    /// Return whether a session is live, without noting a use, and end it if it isn't.
    pub fn is_live(&self, session: &Session, now: Timestamp) -> bool {
        let is_live = session.is_live(now);
        if !is_live {
            session.identity.end();
        }
        is_live
    }

    /// End a session.
    pub fn end(&self, session: &Session) {
        session.identity.end();
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, session| !session.identity.has_ended());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_unix_ms(hours * 3_600_000)
    }

    #[tokio::test]
    async fn a_session_ends_after_eight_idle_hours_or_twelve_in_all_or_by_a_sign_out() {
        let connect: Connect = Arc::new(|_| tokio::io::duplex(1).0);
        let sessions = Sessions::default();
        let begin = || {
            let begun = sessions.begin(&connect, "acme".parse().unwrap(), "sam".parse().unwrap(), at(0)).unwrap();
            begun.reveal().to_owned()
        };
        let (idle, busy, left) = (begin(), begin(), begin());
        assert!(sessions.used("qgt_other", at(0)).is_none());
        assert!(sessions.used(&busy, at(7)).is_some());
        assert!(sessions.used(&idle, at(8)).is_none());
        assert!(sessions.used(&busy, at(11)).is_some());
        assert!(sessions.used(&busy, at(12)).is_none());
        let session = sessions.used(&left, at(1)).unwrap();
        sessions.end(&session);
        assert!(sessions.used(&left, at(1)).is_none() && !sessions.is_live(&session, at(1)));
        session.ended().await;
        assert!(sessions.0.lock().unwrap().is_empty());
    }
}
